// The coarse matrix: the codes of the first `dims` dimensions of every row, in blocks of 32 rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "simd/kernels.hpp"
#include "store/codes.hpp"

namespace nestling {

// Blocks that `rows` rows take, the last of which may be partial.
constexpr std::size_t block_count(std::size_t rows) {
  return (rows + simd::kBlockRows - 1) / simd::kBlockRows;
}

// A block is a run of pairs of 64-byte tiles, then the 32 row scales, then, where rows are centred,
// 32 row offsets. A pair of tiles holds 32 / bits dimensions in one of two arrangements:
//  * 4 and 8 bits, for multiply-adds: rows 0..15 in the first tile, 16..31 in the second, 4 bytes a
//    row. At 8 bits a byte is one dimension; at 4 bits the low nibbles are dimensions 0..3, the
//    high ones 4..7.
//  * 1 and 2 bits, for table look-ups: four slabs of 32 bytes, one byte a row, that holds
//    8 / bits dimensions, the first in the lowest bits.
struct CoarseLayout {
  std::size_t dims;
  int bits;
  bool has_offsets = false;

  constexpr std::size_t tile_dims() const { return 32 / static_cast<std::size_t>(bits); }
  constexpr std::size_t tiles() const { return (dims + tile_dims() - 1) / tile_dims(); }
  constexpr std::size_t scales_offset() const {
    return tiles() * simd::kColumnsPerBlock * simd::kTileBytes;
  }
  constexpr std::size_t offsets_offset() const {
    return scales_offset() + simd::kBlockRows * sizeof(BFloat16);
  }
  constexpr std::size_t block_bytes() const {
    return offsets_offset() + (has_offsets ? simd::kBlockRows * sizeof(Float16) : 0);
  }
};

// 48 dimensions at 4 bits: 6 pairs of tiles of 128 bytes and 64 bytes of scales, or of offsets too.
static_assert(CoarseLayout{48, 4}.block_bytes() == 6 * 128 + 64);
static_assert(CoarseLayout{48, 4, true}.block_bytes() == 6 * 128 + 128);
static_assert(CoarseLayout{33, 1}.block_bytes() == 2 * 128 + 64);

// Makes a block without rows: all codes are 0, and every row is absent.
void clear_block(const CoarseLayout& coarse, std::uint8_t* block);

// What a block holds of one row besides its codes.
struct RowTerms {
  BFloat16 scale;
  Float16 offset = 0;  // added to every score of the row, where the layout has offsets
};

// Writes row `lane` of a block. The lane must not have been written since the block was cleared.
void write_row(const CoarseLayout& coarse, std::uint8_t* block, std::size_t lane,
               std::span<const std::uint8_t> codes, RowTerms terms);

// Copies a row to a lane that was not written since its block was cleared.
void copy_row(const CoarseLayout& coarse, const std::uint8_t* from, std::size_t from_lane,
              std::uint8_t* to, std::size_t to_lane);

// The scale of a row; NaN for an absent row.
float row_scale(const CoarseLayout& coarse, const std::byte* block, std::size_t lane);

// Decodes a row: level * scale.
void read_row(const CoarseLayout& coarse, const std::uint8_t* block, std::size_t lane,
              std::span<float> values);

}  // namespace nestling
