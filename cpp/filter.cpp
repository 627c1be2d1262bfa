#include "filter.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nestling {

using simd::kBlockRows;

namespace {

// Bit i of the result is set where byte i is not zero.
std::uint32_t pack_eight(const std::uint8_t* bytes) {
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  constexpr std::uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
  word = (((word & kLow) + kLow) | word) >> 7 & 0x0101010101010101;  // 1 for every byte not zero
  return static_cast<std::uint32_t>(word * 0x0102040810204080 >> 56);
}

std::uint32_t pack_block(const std::uint8_t* bytes) {
  return pack_eight(bytes) | pack_eight(bytes + 8) << 8 | pack_eight(bytes + 16) << 16 |
         pack_eight(bytes + 24) << 24;
}

}  // namespace

RowSet RowSet::none(const Snapshot& snapshot) {
  return RowSet(snapshot.rows);
}

RowSet RowSet::living(const Snapshot& snapshot) {
  RowSet set(snapshot.rows);
  for (std::size_t block = 0; block < set.words_.size(); ++block)
    set.words_[block] = snapshot.alive(block);
  if (const std::size_t last = snapshot.rows % kBlockRows; last != 0)
    set.words_.back() &= (1U << last) - 1;
  set.count();
  return set;
}

RowSet RowSet::masked(const Snapshot& snapshot, std::span<const std::uint8_t> mask) {
  RowSet set = living(snapshot);
  const bool has_ids = snapshot.has_ids();
  for (std::size_t block = 0; block < set.words_.size(); ++block) {
    const std::size_t first = block * kBlockRows;
    std::uint32_t wanted = 0;
    if (!has_ids && first + kBlockRows <= mask.size()) {
      wanted = pack_block(mask.data() + first);
    } else {
      for (std::size_t i = 0; i < kBlockRows && first + i < snapshot.rows; ++i) {
        const auto id = static_cast<std::uint64_t>(snapshot.id(first + i));
        wanted |= static_cast<std::uint32_t>(id < mask.size() && mask[id] != 0) << i;
      }
    }
    set.words_[block] &= wanted;
  }
  set.count();
  return set;
}

void RowSet::count() {
  size_ = 0;
  for (const std::uint32_t word : words_) size_ += static_cast<std::size_t>(std::popcount(word));
}

}  // namespace nestling
