#include "store/append.hpp"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/pool.hpp"
#include "store/norms.hpp"
#include "store/row_codec.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// Gives every chunk that stores no ids, because they equal its row numbers, an array of them.
void number_rows(Snapshot& snapshot) {
  for (std::size_t c = 0; c < snapshot.chunks.size(); ++c) {
    Chunk& chunk = snapshot.chunks[c];
    if (chunk.ids) continue;
    const std::size_t start = c * kChunkRows;
    const std::size_t rows = rows_in_chunk(snapshot.rows, c);
    chunk.ids = allocate(std::max(chunk.capacity, rows) * sizeof(std::int64_t));
    auto* ids = reinterpret_cast<std::int64_t*>(chunk.ids.get());
    for (std::size_t row = 0; row < rows; ++row) ids[row] = static_cast<std::int64_t>(start + row);
  }
}

}  // namespace

Snapshot append(const Layout& layout, const Snapshot& before, std::span<const float> vectors,
                std::span<const std::int64_t> ids, std::size_t threads, Vectors kind) {
  const std::size_t count = vectors.size() / layout.dim;
  if (count == 0) return before;
  Snapshot after = before;
  if (!ids.empty()) number_rows(after);
  after.rows = before.rows + count;
  after.chunks.resize(chunk_count(after.rows));
  for (std::size_t c = before.rows / kChunkRows; c < after.chunks.size(); ++c) {
    const std::size_t start = c * kChunkRows;
    const std::size_t used = before.rows > start ? before.rows - start : 0;
    const std::size_t end = rows_in_chunk(after.rows, c);
    Chunk& chunk = after.chunks[c];
    reserve_rows(layout, chunk, used, end);
    if (ids.empty()) continue;
    if (!chunk.ids) chunk.ids = allocate(chunk.capacity * sizeof(std::int64_t));
    const auto given = ids.subspan(start + used - before.rows, end - used);
    std::memcpy(chunk.ids.get() + used * sizeof(std::int64_t), given.data(), given.size_bytes());
  }
  const bool partial = after.rows % kBlockRows != 0;
  after.tail = layout.coarse && partial ? allocate(layout.coarse->block_bytes()) : nullptr;

  // A task encodes whole blocks, so that no two threads write to the same one.
  const std::size_t first_block = before.rows / kBlockRows;
  const std::size_t end_block = block_count(after.rows);
  constexpr std::size_t kTaskBlocks = 16;
  const std::size_t tasks = (end_block - first_block + kTaskBlocks - 1) / kTaskBlocks;
  parallel_for(tasks, threads, [&](std::size_t task) {
    RowEncoder encoder(layout);
    std::vector<float> row(layout.dim);
    const std::size_t start = first_block + task * kTaskBlocks;
    for (std::size_t b = start; b < std::min(start + kTaskBlocks, end_block); ++b) {
      std::uint8_t* block = nullptr;
      if (layout.coarse) {
        block = after.writable_block(*layout.coarse, b * kBlockRows);
        if (b == first_block && before.tail)
          std::memcpy(block, before.tail.get(), layout.coarse->block_bytes());
        else
          clear_block(*layout.coarse, block);
      }
      for (std::size_t r = std::max(b * kBlockRows, before.rows);
           r < std::min((b + 1) * kBlockRows, after.rows); ++r) {
        const std::size_t number = r - before.rows;
        const auto given = vectors.subspan(number * layout.dim, layout.dim);
        if (kind == Vectors::raw)
          prepare(layout, given, row, "row", number);
        else
          std::ranges::copy(given, row.begin());
        if (block != nullptr) encoder.to_block(row, r % kBlockRows, block);
        const Chunk& chunk = after.chunks[r / kChunkRows];
        for (std::size_t s = 0; s < layout.shells.size(); ++s)
          encoder.to_shell(row, s,
                           chunk.shells[s].get() + r % kChunkRows * layout.shells[s].stride());
      }
    }
  });
  return after;
}

}  // namespace nestling
