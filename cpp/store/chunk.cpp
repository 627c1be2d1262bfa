#include "store/chunk.hpp"

#include <cstdint>
#include <cstring>

namespace nestling {

void reserve_rows(const Layout& layout, Chunk& chunk, std::size_t used, std::size_t needed) {
  if (needed <= chunk.capacity) return;
  const std::size_t doubled = std::clamp(needed, 2 * chunk.capacity, kChunkRows);
  const std::size_t capacity = block_count(doubled) * simd::kBlockRows;
  const auto move = [](Bytes& bytes, std::size_t bytes_used, std::size_t size) {
    Bytes fresh = allocate(size);
    if (bytes_used > 0) std::memcpy(fresh.get(), bytes.get(), bytes_used);
    bytes = std::move(fresh);
  };
  if (layout.coarse) {
    const std::size_t block = layout.coarse->block_bytes();
    move(chunk.coarse, used / simd::kBlockRows * block, capacity / simd::kBlockRows * block);
  }
  chunk.shells.resize(layout.shells.size());
  for (std::size_t s = 0; s < layout.shells.size(); ++s) {
    const std::size_t stride = layout.shells[s].stride();
    move(chunk.shells[s], used * stride, capacity * stride);
  }
  if (chunk.ids) move(chunk.ids, used * sizeof(std::int64_t), capacity * sizeof(std::int64_t));
  chunk.capacity = capacity;
}

}  // namespace nestling
