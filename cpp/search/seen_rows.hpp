// The rows that a query has found, to keep each of them once.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace nestling {

// A hash table of row numbers, with linear probing.
class SeenRows {
 public:
  // Forgets all rows, and makes room for so many.
  void reset(std::size_t rows) { slots_.assign(std::bit_ceil(2 * rows + 1), kFree); }

  // Returns whether the row is new.
  bool insert(std::uint32_t row) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = row * kMultiplier >> kShift & mask;
    while (slots_[at] != kFree) {
      if (slots_[at] == row) return false;
      at = (at + 1) & mask;
    }
    slots_[at] = row;
    return true;
  }

 private:
  static constexpr std::uint32_t kFree = ~0U;               // larger than any row
  static constexpr std::uint32_t kMultiplier = 0x9e3779b1;  // 2^32 / golden ratio
  static constexpr int kShift = 7;

  std::vector<std::uint32_t> slots_;
};

}  // namespace nestling
