// From ids to rows: an open-addressing hash table of row numbers, 4 bytes per slot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "store/snapshot.hpp"

namespace nestling {

// The ids themselves stay in the chunks of the snapshot that is passed in.
class IdTable {
 public:
  // Adds the rows of `snapshot` from size() on.
  void extend(const Snapshot& snapshot);

  // The live row with this id.
  std::optional<std::size_t> find(const Snapshot& snapshot, std::int64_t id) const;
  std::size_t size() const { return size_; }
  std::size_t bytes() const { return slots_.size() * sizeof(std::uint32_t); }

 private:
  std::size_t slot_of(std::int64_t id) const;
  void insert(const Snapshot& snapshot, std::size_t row);

  std::vector<std::uint32_t> slots_;
  std::size_t size_ = 0;
};

}  // namespace nestling
