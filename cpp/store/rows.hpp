// The rows of an index: chunks of 262,144, and a snapshot of them that a search can hold on to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "store/layout.hpp"

namespace nestling {

// Bytes shared by the snapshots that see them: memory of our own, or a part of a mapped file.
using Bytes = std::shared_ptr<std::byte>;

Bytes allocate(
    std::size_t size);  // 64-byte aligned, zeroed lazily by the system, huge pages if large

inline constexpr std::size_t kChunkRows = 262'144;
inline constexpr std::size_t kChunkBlocks = kChunkRows / simd::kBlockRows;

// Storage of up to kChunkRows rows. Rows that a snapshot counts never change; later rows may be
// written behind them while searches run.
struct Chunk {
  std::size_t capacity = 0;   // rows there is room for; 0 for a part of a mapped file
  Bytes coarse;               // whole blocks only
  std::vector<Bytes> shells;  // one a shell of the layout
  Bytes ids;                  // int64 a row; null where id = row number
  Bytes alive;                // a bit a row of kChunkRows, 0 for a removed one; null where none is
};

class Cells;

// What a search sees: `rows` rows, which stay as they are for as long as the snapshot is held. The
// last block of the coarse matrix, where it is not full, is apart: its bytes are not written again,
// but copied.
struct Snapshot {
  std::size_t rows = 0;     // removed ones too
  std::size_t removed = 0;  // of them
  std::vector<Chunk> chunks;
  Bytes tail;
  std::shared_ptr<const Cells> cells;  // null where rows are not partitioned

  std::size_t living() const { return rows - removed; }
  std::size_t whole_blocks() const { return rows / simd::kBlockRows; }
  bool has_ids() const {
    for (const Chunk& chunk : chunks)
      if (chunk.ids) return true;
    return false;
  }
  std::int64_t id(std::size_t row) const {
    const Bytes& ids = chunks[row / kChunkRows].ids;
    if (!ids) return static_cast<std::int64_t>(row);
    return reinterpret_cast<const std::int64_t*>(ids.get())[row % kChunkRows];
  }
  // Of the rows of one block, a bit each, those that were not removed.
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
  // The block that holds `row`, wherever it lies.
  const std::uint8_t* block(const CoarseLayout& coarse, std::size_t row) const;
};

// Norms outside these bounds: a longer vector could overflow an inner product, and is refused; a
// shorter one, or a prefix so short, counts as zero and scores 0.
inline constexpr double kLargestNorm = 1e18;
inline constexpr float kSmallestNorm = 1e-18F;

// Writes `vector`, for Metric::cosine divided by its norm, and rotated. Throws VectorError, calling
// it `what`, where a value is not finite or the norm too large.
void prepare(const Layout& layout, std::span<const float> vector, std::span<float> out,
             const char* what, std::size_t number);

// Where the vectors that are appended come from: `prepare` has yet to be done, or was.
enum class Vectors { raw, prepared };

// Appends rows (n × dim values) to the storage of `before`, which must be the newest snapshot of
// its storage, and returns the snapshot that counts them too. `ids`: one a row, or none where they
// are the row numbers. Throws VectorError before anything is published.
Snapshot append(const Layout& layout, const Snapshot& before, std::span<const float> vectors,
                std::span<const std::int64_t> ids, std::size_t threads,
                Vectors kind = Vectors::raw);

// The same rows without those of these numbers, which must be alive. Their storage stays.
Snapshot remove(const Snapshot& before, std::span<const std::size_t> rows);

// Rows to gather, with what is added to the id of each.
struct Part {
  std::shared_ptr<const Snapshot> rows;
  std::int64_t shift = 0;
};

// The living rows of all parts, which share one layout, in storage of their own, in the same order,
// bit for bit, without cells.
Snapshot gather(const Layout& layout, std::span<const Part> parts, std::size_t threads);

// The numbers of the rows that were not removed, in order.
std::vector<std::uint32_t> living_rows(const Snapshot& snapshot);

// Copies the coarse codes of these rows into blocks, side by side.
void copy_codes(const CoarseLayout& coarse, const Snapshot& snapshot,
                std::span<const std::uint32_t> rows, std::uint8_t* blocks);

// The stored values of one row at the last stage's precision: dim floats, rotated as they are
// stored.
void reconstruct(const Layout& layout, const Snapshot& snapshot, std::size_t row, float* out);

}  // namespace nestling
