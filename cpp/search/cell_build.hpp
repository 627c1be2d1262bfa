// Partitions the rows of a snapshot into cells.
#pragma once

#include <cstddef>
#include <memory>

#include "store/cells.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// Runs spherical k-means on a sample of the rows and assigns every row to a cell, or to two. The
// layout must have a coarse matrix. The same rows give the same cells for any number of threads.
// Throws FunnelError where there are fewer rows than cells, or more slots than kMaxRows.
std::shared_ptr<const Cells> build_cells(const Layout& layout, const Snapshot& snapshot,
                                         const CellOptions& options, std::size_t threads);

}  // namespace nestling
