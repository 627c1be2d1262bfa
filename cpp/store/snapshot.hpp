// A snapshot: the rows of an index as one search sees them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/memory.hpp"
#include "base/paging.hpp"
#include "store/cells.hpp"
#include "store/chunk.hpp"
#include "store/layout.hpp"

namespace nestling {

// Holds `rows` rows, which do not change for as long as the snapshot is held. The last block of the
// coarse matrix, if it is not full, is stored separately, so that adding rows copies it and does
// not write to it.
struct Snapshot {
  std::size_t rows = 0;     // including removed ones
  std::size_t removed = 0;  // how many of them were removed
  std::vector<Chunk> chunks;
  Bytes tail;
  std::shared_ptr<const Cells> cells;  // null where rows are not partitioned
  std::shared_ptr<Paging> paging;      // of the file that rows are mapped from; null without one

  std::size_t live_count() const { return rows - removed; }
  std::size_t whole_blocks() const { return rows / simd::kBlockRows; }
  bool has_ids() const {
    return std::ranges::any_of(chunks, [](const Chunk& chunk) { return chunk.ids != nullptr; });
  }
  std::int64_t id(std::size_t row) const {
    const Bytes& ids = chunks[row / kChunkRows].ids;
    if (!ids) return static_cast<std::int64_t>(row);
    return reinterpret_cast<const std::int64_t*>(ids.get())[row % kChunkRows];
  }
  // Where `id` reads; nothing where ids equal row numbers.
  std::span<const std::byte> id_bytes(std::size_t row) const {
    const Bytes& ids = chunks[row / kChunkRows].ids;
    if (!ids) return {};
    return {ids.get() + row % kChunkRows * sizeof(std::int64_t), sizeof(std::int64_t)};
  }
  // A bit for each row of a block, set where the row was not removed.
  std::uint32_t alive(std::size_t block) const {
    const Bytes& bits = chunks[block / kChunkBlocks].alive;
    return bits ? reinterpret_cast<const std::uint32_t*>(bits.get())[block % kChunkBlocks] : ~0U;
  }
  bool is_alive(std::size_t row) const {
    return (alive(row / simd::kBlockRows) >> row % simd::kBlockRows & 1) != 0;
  }
  const std::uint8_t* shell(std::size_t chunk, std::size_t shell) const {
    return reinterpret_cast<const std::uint8_t*>(chunks[chunk].shells[shell].get());
  }
  // The block that holds `row`, wherever it lies. Whole blocks of one chunk follow one another.
  const std::uint8_t* block(const CoarseLayout& coarse, std::size_t row) const {
    return block_at(coarse, row);
  }
  // For rows that no published snapshot counts.
  std::uint8_t* writable_block(const CoarseLayout& coarse, std::size_t row) {
    return block_at(coarse, row);
  }

 private:
  std::uint8_t* block_at(const CoarseLayout& coarse, std::size_t row) const;
};

// How many of the kMaxRows numbers are in use: those of the rows or, if these are more, those of
// the slots of cells and of the rows that are not in cells, which share one numbering in a scan.
std::size_t numbers_taken(const Snapshot& snapshot);

// The numbers of the rows that were not removed, in order.
std::vector<std::uint32_t> live_rows(const Snapshot& snapshot);

// The same rows without those of these numbers, which must be alive. Their storage is not freed.
Snapshot remove(const Snapshot& before, std::span<const std::size_t> rows);

}  // namespace nestling
