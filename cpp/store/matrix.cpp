#include "store/matrix.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nestling {
namespace {

using simd::kBlockRows;
using simd::kTileBytes;
using simd::kTileRows;

// The position in a block of a code.
struct CodePosition {
  std::size_t byte;
  int shift;
};

// Where the codes of the row in one lane of a block are.
class CodePositions {
 public:
  CodePositions(const CoarseLayout& coarse, std::size_t lane)
      : bits_(coarse.bits),
        log_dims_(std::countr_zero(in_slabs() ? std::size_t{8} / static_cast<std::size_t>(bits_)
                                              : coarse.tile_dims())),
        first_(in_slabs() ? lane : lane / kTileRows * kTileBytes + lane % kTileRows * 4) {}

  // That of dimension `d`.
  CodePosition operator()(std::size_t d) const {
    const std::size_t part = d >> log_dims_;  // a shift, as divisions take most of the time
    const std::size_t at = d - (part << log_dims_);
    if (in_slabs()) return {part * kBlockRows + first_, static_cast<int>(at) * bits_};
    return {part * simd::kColumnsPerBlock * kTileBytes + first_ + at % 4,
            static_cast<int>(at / 4) * 4};
  }

 private:
  bool in_slabs() const { return bits_ <= 2; }  // else in tiles

  int bits_;
  int log_dims_;  // of the dimensions of a slab or a tile
  std::size_t first_;
};

BFloat16* scales(const CoarseLayout& coarse, std::uint8_t* block) {
  return reinterpret_cast<BFloat16*>(block + coarse.scales_offset());
}

Float16* offsets(const CoarseLayout& coarse, std::uint8_t* block) {
  return reinterpret_cast<Float16*>(block + coarse.offsets_offset());
}

}  // namespace

void clear_block(const CoarseLayout& coarse, std::uint8_t* block) {
  std::memset(block, 0, coarse.scales_offset());
  std::fill_n(scales(coarse, block), kBlockRows, kAbsentRow);
  if (coarse.has_offsets) std::fill_n(offsets(coarse, block), kBlockRows, Float16{0});
}

void write_row(const CoarseLayout& coarse, std::uint8_t* block, std::size_t lane,
               std::span<const std::uint8_t> codes, RowTerms terms) {
  const CodePositions position_of(coarse, lane);
  for (std::size_t d = 0; d < codes.size(); ++d) {
    const auto [byte, shift] = position_of(d);
    block[byte] = static_cast<std::uint8_t>(block[byte] | codes[d] << shift);
  }
  scales(coarse, block)[lane] = terms.scale;
  if (coarse.has_offsets) offsets(coarse, block)[lane] = terms.offset;
}

void copy_row(const CoarseLayout& coarse, const std::uint8_t* from, std::size_t from_lane,
              std::uint8_t* to, std::size_t to_lane) {
  // A row has `width` bytes side by side in each of the rows of tiles or slabs.
  const std::size_t width = coarse.bits <= 2 ? 1 : kTileBytes / kTileRows;
  const std::size_t step = coarse.bits <= 2 ? kBlockRows : simd::kColumnsPerBlock * kTileBytes;
  const std::uint8_t* source = from + CodePositions(coarse, from_lane)(0).byte;
  std::uint8_t* target = to + CodePositions(coarse, to_lane)(0).byte;
  if (width == 1) {
    for (std::size_t at = 0; at < coarse.scales_offset(); at += step) target[at] = source[at];
  } else {
    for (std::size_t at = 0; at < coarse.scales_offset(); at += step)
      std::memcpy(target + at, source + at, kTileBytes / kTileRows);
  }
  const auto copy_term = [&](std::size_t first) {
    std::memcpy(to + first + to_lane * sizeof(std::uint16_t),
                from + first + from_lane * sizeof(std::uint16_t), sizeof(std::uint16_t));
  };
  copy_term(coarse.scales_offset());
  if (coarse.has_offsets) copy_term(coarse.offsets_offset());
}

float row_scale(const CoarseLayout& coarse, const std::byte* block, std::size_t lane) {
  BFloat16 scale;
  std::memcpy(&scale, block + coarse.scales_offset() + lane * sizeof scale, sizeof scale);
  return from_bfloat16(scale);
}

void read_row(const CoarseLayout& coarse, const std::uint8_t* block, std::size_t lane,
              std::span<float> values) {
  const float scale = row_scale(coarse, reinterpret_cast<const std::byte*>(block), lane);
  const int max_code = (1 << coarse.bits) - 1;
  const CodePositions position_of(coarse, lane);
  for (std::size_t d = 0; d < values.size(); ++d) {
    const auto [byte, shift] = position_of(d);
    const int code = block[byte] >> shift & max_code;
    values[d] = static_cast<float>(2 * code - max_code) * scale;
  }
}

}  // namespace nestling
