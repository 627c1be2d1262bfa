// Cells: rows whose prefixes lie near one centroid, with their codes stored together, so that a
// query scores only the rows of the cells that it probes (an inverted file: Sivic and Zisserman
// 2003).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/memory.hpp"
#include "store/matrix.hpp"

namespace nestling {

struct CellOptions {
  std::size_t count = 0;  // cells; 0 for none
  std::size_t dims = 0;   // of the prefix that is partitioned
  // Whether a row is stored in a second cell too, chosen so that a query that misses the first cell
  // is likely to probe the second.
  bool spill = true;
};

// A partition of the first rows() rows of an index. Immutable. Codes are copies of those of the
// coarse matrix, so a row scores the same bits in either.
class Cells {
 public:
  // What a file stores. Slots hold codes in blocks of 32. A cell starts with a new block, so some
  // slots are empty: their row is 0, and their codes are those of an absent row.
  struct Parts {
    Bytes centroids;  // blocks of 8-bit codes, kBlockRows centroids each
    Bytes starts;     // uint32 per cell and one more: its first block
    Bytes codes;      // the blocks
    Bytes rows;       // uint32 per slot
  };

  Cells(const CellOptions& options, std::size_t rows, Parts parts);

  const CellOptions& options() const { return options_; }
  const Parts& parts() const { return parts_; }
  std::size_t rows() const { return rows_; }
  std::size_t blocks() const { return starts()[options_.count]; }
  std::size_t slots() const { return blocks() * simd::kBlockRows; }
  std::span<const std::uint32_t> starts() const {
    return {reinterpret_cast<const std::uint32_t*>(parts_.starts.get()), options_.count + 1};
  }
  const std::uint32_t* slot_rows() const {
    return reinterpret_cast<const std::uint32_t*>(parts_.rows.get());
  }
  CoarseLayout centroid_layout() const { return {options_.dims, 8}; }
  std::size_t centroid_blocks() const { return block_count(options_.count); }

  // Throws FormatError where a stored partition refers to blocks or rows that do not exist.
  void check() const;

 private:
  CellOptions options_;
  std::size_t rows_;
  Parts parts_;
};

}  // namespace nestling
