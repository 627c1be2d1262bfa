// Filters: which rows a search may return.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "store/snapshot.hpp"

namespace nestling {

// Which rows a search may return, by their ids: those that `ids` lists, or whose id i has
// mask[i] != 0. Ids that are not in the index match nothing.
struct Filter {
  enum class Kind { none, mask, ids };
  Kind kind = Kind::none;
  std::span<const std::uint8_t> mask;
  std::span<const std::int64_t> ids;
};

// A set of rows of one snapshot: a bit per row, 32 rows per word, as the scan kernels read it.
class RowSet {
 public:
  static RowSet none(const Snapshot& snapshot);
  // All rows that were not removed.
  static RowSet live(const Snapshot& snapshot);
  // The live rows whose id i has mask[i] != 0; ids beyond the mask are not in the set.
  static RowSet masked(const Snapshot& snapshot, std::span<const std::uint8_t> mask);

  void insert(std::size_t row) {
    size_ += !has(row);
    words_[row / simd::kBlockRows] |= 1U << row % simd::kBlockRows;
  }
  bool has(std::size_t row) const {
    return (words_[row / simd::kBlockRows] >> row % simd::kBlockRows & 1) != 0;
  }
  std::size_t size() const { return size_; }
  std::span<const std::uint32_t> words() const { return words_; }  // one per block

  // Calls visit(row) for each row of first..end that is in the set, in order.
  template <class Visit>
  void for_each(std::size_t first, std::size_t end, Visit visit) const {
    for (std::size_t block = first / simd::kBlockRows; block * simd::kBlockRows < end; ++block)
      for (std::uint32_t word = words_[block]; word != 0; word &= word - 1) {
        const std::size_t row =
            block * simd::kBlockRows + static_cast<std::size_t>(__builtin_ctz(word));
        if (row >= first && row < end) visit(row);
      }
  }

 private:
  explicit RowSet(std::size_t rows) : words_(block_count(rows)) {}
  void count();

  std::vector<std::uint32_t> words_;
  std::size_t size_ = 0;
};

}  // namespace nestling
