#include "search/filter.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "simd/cpu.hpp"

namespace nestling {

using simd::kBlockRows;

RowSet RowSet::none(const Snapshot& snapshot) {
  return RowSet(snapshot.rows);
}

RowSet RowSet::live(const Snapshot& snapshot) {
  RowSet set(snapshot.rows);
  for (std::size_t c = 0; c < snapshot.chunks.size(); ++c) {
    const auto words = std::span(set.words_).subspan(c * kChunkBlocks);
    const std::size_t count = std::min(words.size(), kChunkBlocks);
    if (const Bytes& alive = snapshot.chunks[c].alive)
      std::memcpy(words.data(), alive.get(), count * sizeof(std::uint32_t));
    else
      std::ranges::fill(words.first(count), ~0U);
  }
  if (const std::size_t last = snapshot.rows % kBlockRows; last != 0)
    set.words_.back() &= (1U << last) - 1;
  set.count();
  return set;
}

RowSet RowSet::masked(const Snapshot& snapshot, std::span<const std::uint8_t> mask) {
  RowSet set = live(snapshot);
  if (snapshot.has_ids()) {
    for (std::size_t block = 0; block < set.words_.size(); ++block)
      for (std::uint32_t left = set.words_[block]; left != 0; left &= left - 1) {
        const auto lane = static_cast<std::size_t>(std::countr_zero(left));
        const auto id = static_cast<std::uint64_t>(snapshot.id(block * kBlockRows + lane));
        if (id >= mask.size() || mask[id] == 0) set.words_[block] &= ~(1U << lane);
      }
  } else {
    std::vector<std::uint32_t> masked(set.words_.size());
    const std::size_t whole = std::min(mask.size() / kBlockRows, masked.size());
    simd::active().pack_bits(mask.data(), whole, masked.data());
    for (std::size_t row = whole * kBlockRows; row < std::min(mask.size(), snapshot.rows); ++row)
      masked[row / kBlockRows] |= static_cast<std::uint32_t>(mask[row] != 0) << row % kBlockRows;
    for (std::size_t block = 0; block < masked.size(); ++block) set.words_[block] &= masked[block];
  }
  set.count();
  return set;
}

void RowSet::count() {
  size_ = simd::active().count_bits(words_.data(), words_.size());
}

AllowedRows::AllowedRows(const Snapshot& snapshot,
                         std::optional<std::span<const std::uint8_t>> mask)
    : snapshot_(&snapshot), mask_(mask), size_(mask ? 0 : snapshot.live_count()) {
  // Few rows are counted, and those of an index so small that this takes no time.
  constexpr std::size_t kCountedRows = 65'536, kCountedShare = 16;
  if (!mask) return;
  if (snapshot.rows > kCountedRows) size_ = sample();
  if (size_ <= snapshot.rows / kCountedShare) collect();
}

void AllowedRows::collect() {
  if (set_) return;
  set_ = mask_ ? RowSet::masked(*snapshot_, *mask_) : RowSet::live(*snapshot_);
  size_ = set_->size();
}

// How many rows pass if as many do as of a sample of them, which lie apart by a step of no period.
std::size_t AllowedRows::sample() const {
  constexpr std::uint32_t kSample = 1024, kStep = 0x9e3779b1;  // 2^32 / golden ratio
  std::uint64_t passed = 0;
  std::uint32_t place = 0;  // of 2^32 that all rows share
  for (std::uint32_t i = 0; i < kSample; ++i, place += kStep)
    passed += static_cast<std::uint64_t>(passes(place * std::uint64_t{snapshot_->rows} >> 32));
  return passed * snapshot_->rows / kSample;
}

}  // namespace nestling
