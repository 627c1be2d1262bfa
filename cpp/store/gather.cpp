#include "store/gather.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/pool.hpp"

namespace nestling {

using simd::kBlockRows;

Snapshot gather(const Layout& layout, std::span<const Part> parts, std::size_t threads) {
  struct Source {
    std::uint32_t part, row;
  };
  std::vector<Source> kept;
  for (std::size_t part = 0; part < parts.size(); ++part)
    for (const std::uint32_t row : live_rows(*parts[part].rows))
      kept.push_back({static_cast<std::uint32_t>(part), row});
  const auto id = [&](const Source& source) {
    const Part& part = parts[source.part];
    return part.rows->id(source.row) + part.shift;
  };

  Snapshot after;
  after.rows = kept.size();
  after.chunks.resize(chunk_count(after.rows));
  bool numbered = true;
  for (std::size_t row = 0; row < kept.size() && numbered; ++row)
    numbered = id(kept[row]) == static_cast<std::int64_t>(row);
  for (std::size_t c = 0; c < after.chunks.size(); ++c) {
    Chunk& chunk = after.chunks[c];
    reserve_rows(layout, chunk, 0, rows_in_chunk(after.rows, c));
    if (!numbered) chunk.ids = allocate(chunk.capacity * sizeof(std::int64_t));
  }
  if (layout.coarse && after.rows % kBlockRows != 0)
    after.tail = allocate(layout.coarse->block_bytes());

  const std::size_t blocks = block_count(after.rows);
  constexpr std::size_t kTaskBlocks = 256;
  parallel_for((blocks + kTaskBlocks - 1) / kTaskBlocks, threads, [&](std::size_t task) {
    const std::size_t end = std::min((task + 1) * kTaskBlocks * kBlockRows, after.rows);
    for (std::size_t row = task * kTaskBlocks * kBlockRows; row < end; ++row) {
      const std::size_t source = kept[row].row;
      const Snapshot& before = *parts[kept[row].part].rows;
      if (layout.coarse) {
        std::uint8_t* block = after.writable_block(*layout.coarse, row);
        if (row % kBlockRows == 0) clear_block(*layout.coarse, block);
        copy_row(*layout.coarse, before.block(*layout.coarse, source), source % kBlockRows, block,
                 row % kBlockRows);
      }
      Chunk& chunk = after.chunks[row / kChunkRows];
      for (std::size_t s = 0; s < layout.shells.size(); ++s) {
        const std::size_t stride = layout.shells[s].stride();
        std::memcpy(chunk.shells[s].get() + row % kChunkRows * stride,
                    before.shell(source / kChunkRows, s) + source % kChunkRows * stride, stride);
      }
      if (!numbered)
        reinterpret_cast<std::int64_t*>(chunk.ids.get())[row % kChunkRows] = id(kept[row]);
    }
  });
  return after;
}

void copy_codes(const CoarseLayout& coarse, const Snapshot& snapshot,
                std::span<const std::uint32_t> rows, std::uint8_t* blocks) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::uint8_t* block = blocks + i / kBlockRows * coarse.block_bytes();
    if (i % kBlockRows == 0) clear_block(coarse, block);
    copy_row(coarse, snapshot.block(coarse, rows[i]), rows[i] % kBlockRows, block, i % kBlockRows);
  }
}

}  // namespace nestling
