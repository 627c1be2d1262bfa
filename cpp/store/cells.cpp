#include "store/cells.hpp"

#include <algorithm>
#include <cmath>

#include "base/error.hpp"

namespace nestling {

using simd::kBlockRows;

Cells::Cells(const CellOptions& options, std::size_t rows, Parts parts)
    : options_(options), rows_(rows), parts_(std::move(parts)) {}

void Cells::check_tree() const {
  const CentroidTree& tree = this->tree();
  if (!std::ranges::all_of(tree.centre_values(), [](float v) { return std::abs(v) <= 1.5F; }))
    throw FormatError("the centre of the centroids is not a mean of unit vectors");
  const CoarseLayout layout = tree.layout();
  for (std::size_t l = 0; l < tree.levels.size(); ++l) {
    const CentroidLevel& level = tree.levels[l];
    const auto starts = level.child_starts();
    if (!std::ranges::is_sorted(starts) || starts[0] != 0)
      throw FormatError("the blocks of cells are out of order");
    if (l + 1 < tree.levels.size() && level.child_blocks() != tree.levels[l + 1].blocks)
      throw FormatError("a level of centroids does not have the blocks that its parents refer to");
    std::size_t present = 0;
    for (std::size_t slot = 0; slot < level.slots(); ++slot) {
      const std::byte* block = level.codes.get() + slot / kBlockRows * layout.block_bytes();
      const float scale = row_scale(layout, block, slot % kBlockRows);
      const bool is_absent = std::isnan(scale);
      present += !is_absent;
      if (std::isinf(scale) || (is_absent && starts[slot] != starts[slot + 1]))
        throw FormatError("a cell without a centroid, or a centroid that is not finite");
    }
    if (l + 1 == tree.levels.size() && present != options_.count)
      throw FormatError("there are more or fewer centroids than cells");
  }
}

void Cells::check_rows() const {
  for (std::size_t slot = 0; slot < slots(); ++slot)
    if (slot_rows()[slot] >= rows_) throw FormatError("a cell has a row that does not exist");
  for (std::size_t row = 0; row < (options_.links > 0 ? rows_ : 0); ++row)
    for (const std::uint32_t linked : links(row))
      if (linked >= rows_) throw FormatError("a row is linked to one that does not exist");
}

}  // namespace nestling
