// Chunks: the storage of an index, 262,144 rows each.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/memory.hpp"
#include "store/layout.hpp"

namespace nestling {

inline constexpr std::size_t kChunkRows = 262'144;
inline constexpr std::size_t kChunkBlocks = kChunkRows / simd::kBlockRows;

// Row numbers have 32 bits and the largest of them marks a free slot of the id table, so an index
// holds as many whole chunks as leave it out: 4,294,705,152 rows.
inline constexpr std::size_t kMaxRows = (std::size_t{1} << 32) - kChunkRows;

constexpr std::size_t chunk_count(std::size_t rows) {
  return (rows + kChunkRows - 1) / kChunkRows;
}

// Rows of chunk `c` in an index of `rows` rows.
constexpr std::size_t rows_in_chunk(std::size_t rows, std::size_t c) {
  return std::min(rows - c * kChunkRows, kChunkRows);
}

// Storage of up to kChunkRows rows. Rows that a snapshot counts never change; later rows may be
// written behind them while searches run.
struct Chunk {
  std::size_t capacity = 0;   // rows that fit; 0 for a part of a mapped file
  Bytes coarse;               // whole blocks only
  std::vector<Bytes> shells;  // one per shell of the layout
  Bytes ids;                  // int64 per row; null where ids equal row numbers
  Bytes alive;                // a bit per row of kChunkRows, 0 if removed; null if none is
};

// Gives `chunk`, whose first `used` rows are in use, room for `needed` rows in memory that is not
// part of a mapped file.
void reserve_rows(const Layout& layout, Chunk& chunk, std::size_t used, std::size_t needed);

}  // namespace nestling
