// Filters: which rows a search may return.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
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

// The rows that a search may return. A mask is read where a row is tested: a search of cells tests
// so few rows that it would take longer to make a set of all that may be hits. Other searches want
// the set. The snapshot and the mask must outlive this.
class AllowedRows {
 public:
  // All rows that were not removed.
  static AllowedRows live(const Snapshot& snapshot) { return {snapshot, std::nullopt}; }
  // Those of them whose id i has mask[i] != 0.
  static AllowedRows masked(const Snapshot& snapshot, std::span<const std::uint8_t> mask) {
    return {snapshot, mask};
  }
  static AllowedRows listed(const Snapshot& snapshot, RowSet rows) {
    return {snapshot, std::move(rows)};
  }

  bool has(std::size_t row) const { return set_ ? set_->has(row) : passes(row); }
  // Fetches what `has` reads first.
  void prefetch(std::size_t row) const {
    if (set_)
      __builtin_prefetch(&set_->words()[row / simd::kBlockRows]);
    else if (const auto id = snapshot_->id_bytes(row); !id.empty())
      __builtin_prefetch(id.data());
    else if (mask_ && row < mask_->size())
      __builtin_prefetch(&(*mask_)[row]);
  }

  // How many they are: about so many, from a sample, where a large mask allows more than a few.
  std::size_t size() const { return size_; }

  // Makes the set of all of them. Then `size` is exact.
  void collect();
  bool collected() const { return set_.has_value(); }
  // Valid once it is collected.
  const RowSet& set() const { return *set_; }

 private:
  AllowedRows(const Snapshot& snapshot, std::optional<std::span<const std::uint8_t>> mask);
  AllowedRows(const Snapshot& snapshot, RowSet rows)
      : snapshot_(&snapshot), set_(std::move(rows)), size_(set_->size()) {}
  bool passes(std::size_t row) const {
    if (!snapshot_->is_alive(row)) return false;
    if (!mask_) return true;
    const auto id = static_cast<std::uint64_t>(snapshot_->id(row));
    return id < mask_->size() && (*mask_)[id] != 0;
  }
  std::size_t sample() const;

  const Snapshot* snapshot_;
  std::optional<std::span<const std::uint8_t>> mask_;
  std::optional<RowSet> set_;
  std::size_t size_;
};

}  // namespace nestling
