#include "store/ids.hpp"

#include <bit>

namespace nestling {
namespace {

constexpr std::uint32_t kFree = 0xffffffff;

}  // namespace

// Fibonacci hashing (Knuth, vol. 3, 6.4): consecutive ids spread over the table.
std::size_t IdTable::slot_of(std::int64_t id) const {
  const auto hash = static_cast<std::uint64_t>(id) * 0x9e3779b97f4a7c15U;
  return hash >> (64 - std::countr_zero(slots_.size()));
}

void IdTable::insert(const Snapshot& snapshot, std::size_t row) {
  std::size_t slot = slot_of(snapshot.id(row));
  while (slots_[slot] != kFree) slot = (slot + 1) & (slots_.size() - 1);
  slots_[slot] = static_cast<std::uint32_t>(row);
}

void IdTable::extend(const Snapshot& snapshot) {
  std::size_t first = size_;
  if (snapshot.rows * 5 > slots_.size() * 4) {  // at most four fifths full
    slots_.assign(std::bit_ceil(snapshot.rows * 5 / 4 + 2), kFree);
    first = 0;
  }
  for (std::size_t row = first; row < snapshot.rows; ++row) insert(snapshot, row);
  size_ = snapshot.rows;
}

std::optional<std::size_t> IdTable::find(const Snapshot& snapshot, std::int64_t id) const {
  if (slots_.empty()) return std::nullopt;
  for (std::size_t slot = slot_of(id);; slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot] == kFree) return std::nullopt;
    const std::size_t row = slots_[slot];
    if (row < snapshot.rows && snapshot.id(row) == id && snapshot.is_alive(row)) return row;
  }
}

}  // namespace nestling
