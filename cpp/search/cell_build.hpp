// Partitions the rows of a snapshot into cells.
#pragma once

#include <cstddef>
#include <memory>

#include "store/cells.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// Spherical k-means on a sample of the rows, then a place for every row. The layout must have a
// coarse matrix. The same rows give the same cells, whatever `threads`. Throws FunnelError where
// there are fewer rows than cells, or more places than kMaxRows.
std::shared_ptr<const Cells> build_cells(const Layout& layout, const Snapshot& snapshot,
                                         const CellOptions& options, std::size_t threads);

}  // namespace nestling
