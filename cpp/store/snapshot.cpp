#include "store/snapshot.hpp"

#include <algorithm>
#include <cstring>

namespace nestling {

using simd::kBlockRows;

std::uint8_t* Snapshot::block_at(const CoarseLayout& coarse, std::size_t row) const {
  const std::size_t block = row / kBlockRows;
  const Bytes& bytes = block < whole_blocks() ? chunks[block / kChunkBlocks].coarse : tail;
  const std::size_t offset =
      block < whole_blocks() ? block % kChunkBlocks * coarse.block_bytes() : 0;
  return reinterpret_cast<std::uint8_t*>(bytes.get()) + offset;
}

std::size_t numbers_taken(const Snapshot& snapshot) {
  const Cells* cells = snapshot.cells.get();
  if (cells == nullptr) return snapshot.rows;
  return std::max(snapshot.rows, cells->slots() + snapshot.rows - cells->rows());
}

std::vector<std::uint32_t> live_rows(const Snapshot& snapshot) {
  std::vector<std::uint32_t> live;
  live.reserve(snapshot.live_count());
  for (std::size_t row = 0; row < snapshot.rows; ++row)
    if (snapshot.is_alive(row)) live.push_back(static_cast<std::uint32_t>(row));
  return live;
}

Snapshot remove(const Snapshot& before, std::span<const std::size_t> rows) {
  Snapshot after = before;
  std::vector<bool> copied(after.chunks.size());
  for (const std::size_t row : rows) {
    const std::size_t c = row / kChunkRows;
    Bytes& alive = after.chunks[c].alive;
    constexpr std::size_t kSize = kChunkRows / 8;
    if (!copied[c]) {  // other snapshots keep the old bits
      Bytes fresh = allocate(kSize);
      if (alive)
        std::memcpy(fresh.get(), alive.get(), kSize);
      else
        std::memset(fresh.get(), 0xff, kSize);
      alive = std::move(fresh);
      copied[c] = true;
    }
    auto* words = reinterpret_cast<std::uint32_t*>(alive.get());
    words[row % kChunkRows / kBlockRows] &= ~(1U << row % kBlockRows);
  }
  after.removed += rows.size();
  return after;
}

}  // namespace nestling
