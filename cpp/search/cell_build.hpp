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

// Cells without rows, whose centroids are learned from the snapshot as build_cells does.
std::shared_ptr<const Cells> empty_cells(const Layout& layout, const Snapshot& snapshot,
                                         const CellOptions& options, std::size_t threads);

// Assigns every row to the cells of another partition, whose layout stores rows the same way. Some
// may stay empty. Nothing is learned, so a query finds the same cells nearest in both.
std::shared_ptr<const Cells> cells_like(const Layout& layout, const Snapshot& snapshot,
                                        const Cells& like, std::size_t threads);

}  // namespace nestling
