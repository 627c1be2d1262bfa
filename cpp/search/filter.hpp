// Which rows a search may return.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "store/rows.hpp"

namespace nestling {

// A set of the rows of one snapshot, a bit each, laid out as the scan asks for it: 32 rows a word.
class RowSet {
 public:
  static RowSet none(const Snapshot& snapshot);
  // Every row that was not removed.
  static RowSet living(const Snapshot& snapshot);
  // The living rows whose id i has mask[i] != 0; ids beyond the mask are not in the set.
  static RowSet masked(const Snapshot& snapshot, std::span<const std::uint8_t> mask);

  void insert(std::size_t row) {
    size_ += !has(row);
    words_[row / simd::kBlockRows] |= 1U << row % simd::kBlockRows;
  }
  bool has(std::size_t row) const {
    return (words_[row / simd::kBlockRows] >> row % simd::kBlockRows & 1) != 0;
  }
  std::size_t size() const { return size_; }
  std::span<const std::uint32_t> words() const { return words_; }  // one a block

  // Calls visit(row) for the rows first..end that are in the set, in order.
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
  explicit RowSet(std::size_t rows) : words_((rows + simd::kBlockRows - 1) / simd::kBlockRows) {}
  void count();

  std::vector<std::uint32_t> words_;
  std::size_t size_ = 0;
};

}  // namespace nestling
