#include "store/cells.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace nestling {

using simd::kBlockRows;

Cells::Cells(const CellOptions& options, std::size_t rows, Parts parts)
    : options_(options), rows_(rows), parts_(std::move(parts)) {}

void Cells::check() const {
  const auto starts = this->starts();
  if (!std::ranges::is_sorted(starts) || starts[0] != 0)
    throw FormatError("the blocks of cells are out of order");
  for (std::size_t slot = 0; slot < blocks() * kBlockRows; ++slot)
    if (slot_rows()[slot] >= rows_) throw FormatError("a cell has a row that does not exist");
  // Absent rows fill the last block of centroids; all other centroids are present.
  const CoarseLayout layout = centroid_layout();
  for (std::size_t cell = 0; cell < centroid_blocks() * kBlockRows; ++cell) {
    const std::byte* block = parts_.centroids.get() + cell / kBlockRows * layout.block_bytes();
    const float scale = row_scale(layout, block, cell % kBlockRows);
    if (cell < options_.count ? !std::isfinite(scale) : !std::isnan(scale))
      throw FormatError("a cell without a centroid, or a centroid without a cell");
  }
}

}  // namespace nestling
