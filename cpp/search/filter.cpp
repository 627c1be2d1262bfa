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

}  // namespace nestling
