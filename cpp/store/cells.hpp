// Cells: rows whose prefixes lie near one centroid, with their codes stored together, so that a
// query scores only the rows of the cells that it probes (an inverted file: Sivic and Zisserman
// 2003). The centroids are in cells themselves, and so on up to a level that is small enough to be
// scanned as a whole (Nistér and Stewénius 2006, "Scalable recognition with a vocabulary tree").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/memory.hpp"
#include "store/layout.hpp"
#include "store/matrix.hpp"

namespace nestling {

struct CellOptions {
  std::size_t count = 0;  // cells; 0 for none
  std::size_t dims = 0;   // of the prefix that is partitioned
  // Whether a row is stored in a second cell too, chosen so that a query that misses the first cell
  // is likely to probe the second.
  bool spill = true;
  // Near neighbours that each row refers to, so that a search can follow them from the rows that it
  // finds to those in cells that it did not probe; 0 for none.
  std::size_t links = 0;
};

// One level of the tree of centroids. A slot holds one centroid, or none. The children of a
// centroid start with a new block: of the level below or, below the last level, of the rows' codes.
struct CentroidLevel {
  std::size_t blocks = 0;
  Bytes codes;   // the blocks
  Bytes starts;  // uint32 per slot and one more: the first block of its children

  std::size_t slots() const { return blocks * simd::kBlockRows; }
  std::span<const std::uint32_t> child_starts() const {
    return {reinterpret_cast<const std::uint32_t*>(starts.get()), slots() + 1};
  }
  std::size_t child_blocks() const { return child_starts()[slots()]; }
};

// The slots of the last level number the cells.
struct CentroidTree {
  static constexpr int kBits = 2;

  std::size_t dims = 0;
  Bytes centre;  // float32 per dimension: the mean of the centroids, from which they are coded
  std::vector<CentroidLevel> levels;
  Bytes values;  // of the last level, whose order matters most: a shell of 8 bits per slot

  CoarseLayout layout() const { return {.dims = dims, .bits = kBits, .has_offsets = true}; }
  std::span<const float> centre_values() const {
    return {reinterpret_cast<const float*>(centre.get()), dims};
  }
  ShellLayout shell() const {
    return {.first = 0,
            .last = dims,
            .bits = 8,
            .refines = false,
            .has_scale = true,
            .has_norm_before = false,
            .has_inverse_norm = false};
  }
  const CentroidLevel& last() const { return levels.back(); }
};

// A partition of the first rows() rows of an index. Immutable. Codes are copies of those of the
// coarse matrix, so a row scores the same bits in either.
class Cells {
 public:
  // What a file stores. Slots hold codes in blocks of 32. A cell starts with a new block, so some
  // slots are empty: their row is 0, and their codes are those of an absent row.
  struct Parts {
    CentroidTree tree;
    Bytes codes;  // the blocks
    Bytes rows;   // uint32 per slot
    Bytes links;  // uint32 per row and link; a row that has fewer neighbours repeats itself
  };

  Cells(const CellOptions& options, std::size_t rows, Parts parts);

  const CellOptions& options() const { return options_; }
  const Parts& parts() const { return parts_; }
  const CentroidTree& tree() const { return parts_.tree; }
  std::size_t rows() const { return rows_; }
  std::size_t blocks() const { return tree().last().child_blocks(); }
  std::size_t slots() const { return blocks() * simd::kBlockRows; }
  const std::uint8_t* codes() const {
    return reinterpret_cast<const std::uint8_t*>(parts_.codes.get());
  }
  const std::uint32_t* slot_rows() const {
    return reinterpret_cast<const std::uint32_t*>(parts_.rows.get());
  }

  // The near neighbours of a row below rows().
  std::span<const std::uint32_t> links(std::size_t row) const {
    return {reinterpret_cast<const std::uint32_t*>(parts_.links.get()) + row * options_.links,
            options_.links};
  }

  // Throws FormatError where a stored partition refers to blocks that do not exist, or has
  // centroids that are not finite. Reads the tree of centroids alone.
  void check_tree() const;

  // Throws FormatError where a stored partition refers to rows that do not exist. Reads all slots
  // and links, which are 48 bytes a row and more; searches check those that they read.
  void check_rows() const;

 private:
  CellOptions options_;
  std::size_t rows_;
  Parts parts_;
};

}  // namespace nestling
