#include "store/rows.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>
#include <sstream>

#include "base/error.hpp"
#include "base/pool.hpp"
#include "simd/cpu.hpp"
#include "store/codes.hpp"

namespace nestling {

using simd::kBlockRows;

Bytes allocate(std::size_t size) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t alignment = size >= 2 * kHugePage ? kHugePage : 64;
  const std::size_t rounded =
      (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment;
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(alignment, rounded));
  if (memory == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);  // a wish: fewer TLB misses
#endif
  return {memory, [](std::byte* p) { std::free(p); }};
}

const std::uint8_t* Snapshot::block(const CoarseLayout& coarse, std::size_t row) const {
  const std::size_t block = row / kBlockRows;
  const Bytes& bytes = block < whole_blocks() ? chunks[block / kChunkBlocks].coarse : tail;
  const std::size_t offset =
      block < whole_blocks() ? block % kChunkBlocks * coarse.block_bytes() : 0;
  return reinterpret_cast<const std::uint8_t*>(bytes.get()) + offset;
}

namespace {

void normalise(Metric metric, std::span<const float> vector, std::span<float> out, const char* what,
               std::size_t number) {
  double partial[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= vector.size(); i += 8)
    for (std::size_t j = 0; j < 8; ++j)
      partial[j] += static_cast<double>(vector[i + j]) * static_cast<double>(vector[i + j]);
  for (; i < vector.size(); ++i) partial[0] += static_cast<double>(vector[i]) * vector[i];
  double squares = 0.0;
  for (const double p : partial) squares += p;

  if (!std::isfinite(squares)) {  // squares of finite floats always are
    const auto bad =
        std::find_if(vector.begin(), vector.end(), [](float v) { return !std::isfinite(v); });
    std::ostringstream message;
    message << what << " " << number << " has " << *bad << " at dimension " << bad - vector.begin()
            << "; every value must be finite";
    throw VectorError(message.str());
  }
  const double norm = std::sqrt(squares);
  if (metric == Metric::inner_product) {
    if (norm > kLargestNorm) {
      std::ostringstream message;
      message << what << " " << number << " has norm " << norm
              << "; inner products need norms of at most " << kLargestNorm;
      throw VectorError(message.str());
    }
    std::copy(vector.begin(), vector.end(), out.begin());
    return;
  }
  const double factor = norm > 0.0 ? 1.0 / norm : 0.0;
  for (std::size_t d = 0; d < vector.size(); ++d)
    out[d] = static_cast<float>(static_cast<double>(vector[d]) * factor);
}

}  // namespace

void prepare(const Layout& layout, std::span<const float> vector, std::span<float> out,
             const char* what, std::size_t number) {
  normalise(layout.metric, vector, out, what, number);
  if (layout.transform.rotation.empty()) return;
  const std::vector<float> unrotated(out.begin(), out.end());
  rotate(layout.transform, unrotated, out);
}

namespace {

// Encodes prepared rows into the storage of one index.
class Encoder {
 public:
  explicit Encoder(const Layout& layout)
      : layout_(layout), kernels_(simd::active()), prefix_(layout.dim), codes_(layout.dim) {}

  // Row `lane` of a coarse block.
  void to_block(std::span<const float> row, std::size_t lane, std::uint8_t* block) {
    const CoarseLayout& coarse = *layout_.coarse;
    const std::span<float> prefix(prefix_.data(), coarse.dims);
    const float norm = prefix_norm(row, coarse.dims);
    const float factor = norm < kSmallestNorm               ? 0.0F
                         : layout_.metric == Metric::cosine ? 1.0F / norm
                                                            : 1.0F;
    for (std::size_t d = 0; d < coarse.dims; ++d) prefix[d] = row[d] * factor;
    RowTerms terms{};
    if (coarse.has_offsets) {
      const std::vector<float>& centre = layout_.transform.centre;
      for (std::size_t d = 0; d < coarse.dims; ++d) prefix[d] -= centre[d];
      const float offset = kernels_.dot(prefix.data(), centre.data(), coarse.dims);
      kernels_.to_f16(&offset, 1, 1.0F, &terms.offset);
    }
    terms.scale = encode_row(kernels_, prefix, coarse.bits, codes_.data());
    write_row(coarse, block, lane, std::span(codes_).first(coarse.dims), terms);
  }

  void to_shell(std::span<const float> row, const ShellLayout& shell, std::byte* out) {
    const std::span<const float> values = row.subspan(shell.first, shell.dims());
    float trailer[3];
    std::size_t floats = 0;
    float inverse = 1.0F;
    if (shell.has_scale) {
      const float scale = scale_of(values, shell.bits);
      inverse = scale == 0.0F ? 0.0F : 1.0F / scale;
      trailer[floats++] = scale;
    }
    if (shell.has_norm_before) trailer[floats++] = prefix_norm(row, shell.first);
    if (shell.has_inverse_norm) {
      const float norm = prefix_norm(row, shell.last);
      trailer[floats++] = norm < kSmallestNorm ? 0.0F : 1.0F / norm;
    }
    if (shell.bits == 8)
      kernels_.to_i8(values.data(), values.size(), inverse, reinterpret_cast<std::int8_t*>(out));
    else if (shell.bits == 16)
      kernels_.to_f16(values.data(), values.size(), inverse, reinterpret_cast<std::uint16_t*>(out));
    else
      std::memcpy(out, values.data(), values.size_bytes());
    const std::size_t used = values.size() * static_cast<std::size_t>(shell.bits) / 8;
    std::memset(out + used, 0, shell.values_bytes() - used);
    std::memcpy(out + shell.values_bytes(), trailer, floats * sizeof(float));
  }

 private:
  // The largest value becomes 127 at 8 bits; at 16 a power of two, which rounds nothing, brings it
  // to 1 or less.
  static float scale_of(std::span<const float> values, int bits) {
    const float most = largest(values);
    if (most < kSmallestNorm) return 0.0F;
    if (bits == 8) return most / 127.0F;
    int exponent;
    std::frexp(most, &exponent);
    return std::ldexp(1.0F, exponent);
  }

  float prefix_norm(std::span<const float> row, std::size_t dims) const {
    return std::sqrt(kernels_.dot(row.data(), row.data(), dims));
  }

  const Layout& layout_;
  const simd::Kernels& kernels_;
  std::vector<float> prefix_;
  std::vector<std::uint8_t> codes_;
};

// Gives `chunk`, of which the first `used` rows are in use, room for `needed` rows of our own
// memory.
void reserve(const Layout& layout, Chunk& chunk, std::size_t used, std::size_t needed) {
  if (needed <= chunk.capacity) return;
  const std::size_t wanted = std::clamp(needed, 2 * chunk.capacity, kChunkRows);
  const std::size_t capacity = (wanted + kBlockRows - 1) / kBlockRows * kBlockRows;
  const auto move = [](Bytes& bytes, std::size_t bytes_used, std::size_t size) {
    Bytes fresh = allocate(size);
    if (bytes_used > 0) std::memcpy(fresh.get(), bytes.get(), bytes_used);
    bytes = std::move(fresh);
  };
  if (layout.coarse) {
    const std::size_t block = layout.coarse->block_bytes();
    move(chunk.coarse, used / kBlockRows * block, capacity / kBlockRows * block);
  }
  chunk.shells.resize(layout.shells.size());
  for (std::size_t s = 0; s < layout.shells.size(); ++s) {
    const std::size_t stride = layout.shells[s].stride();
    move(chunk.shells[s], used * stride, capacity * stride);
  }
  if (chunk.ids) move(chunk.ids, used * sizeof(std::int64_t), capacity * sizeof(std::int64_t));
  chunk.capacity = capacity;
}

// Gives every chunk the ids that it had none of, since they were its row numbers.
void number_rows(Snapshot& snapshot) {
  for (std::size_t c = 0; c < snapshot.chunks.size(); ++c) {
    Chunk& chunk = snapshot.chunks[c];
    if (chunk.ids) continue;
    const std::size_t start = c * kChunkRows;
    const std::size_t rows = std::min(snapshot.rows - start, kChunkRows);
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
  after.chunks.resize((after.rows + kChunkRows - 1) / kChunkRows);
  for (std::size_t c = before.rows / kChunkRows; c < after.chunks.size(); ++c) {
    const std::size_t start = c * kChunkRows;
    const std::size_t used = before.rows > start ? before.rows - start : 0;
    const std::size_t end = std::min(after.rows - start, kChunkRows);
    Chunk& chunk = after.chunks[c];
    reserve(layout, chunk, used, end);
    if (ids.empty()) continue;
    if (!chunk.ids) chunk.ids = allocate(chunk.capacity * sizeof(std::int64_t));
    const auto given = ids.subspan(start + used - before.rows, end - used);
    std::memcpy(chunk.ids.get() + used * sizeof(std::int64_t), given.data(), given.size_bytes());
  }
  const bool partial = after.rows % kBlockRows != 0;
  after.tail = layout.coarse && partial ? allocate(layout.coarse->block_bytes()) : nullptr;

  // A task encodes whole blocks, so that no two threads write to one.
  const std::size_t first_block = before.rows / kBlockRows;
  const std::size_t end_block = (after.rows + kBlockRows - 1) / kBlockRows;
  constexpr std::size_t kTaskBlocks = 16;
  const std::size_t tasks = (end_block - first_block + kTaskBlocks - 1) / kTaskBlocks;
  parallel_for(tasks, threads, [&](std::size_t task) {
    Encoder encoder(layout);
    std::vector<float> row(layout.dim);
    const std::size_t start = first_block + task * kTaskBlocks;
    for (std::size_t b = start; b < std::min(start + kTaskBlocks, end_block); ++b) {
      std::uint8_t* block = nullptr;
      if (layout.coarse) {
        block = const_cast<std::uint8_t*>(after.block(*layout.coarse, b * kBlockRows));
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
          encoder.to_shell(row, layout.shells[s],
                           chunk.shells[s].get() + r % kChunkRows * layout.shells[s].stride());
      }
    }
  });
  return after;
}

Snapshot remove(const Snapshot& before, std::span<const std::size_t> rows) {
  Snapshot after = before;
  std::vector<bool> copied(after.chunks.size());
  for (const std::size_t row : rows) {
    const std::size_t c = row / kChunkRows;
    Bytes& alive = after.chunks[c].alive;
    constexpr std::size_t kSize = kChunkRows / 8;
    if (!copied[c]) {  // snapshots that see the old bits keep them
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

std::vector<std::uint32_t> living_rows(const Snapshot& snapshot) {
  std::vector<std::uint32_t> living;
  living.reserve(snapshot.living());
  for (std::size_t row = 0; row < snapshot.rows; ++row)
    if (snapshot.is_alive(row)) living.push_back(static_cast<std::uint32_t>(row));
  return living;
}

Snapshot gather(const Layout& layout, std::span<const Part> parts, std::size_t threads) {
  struct Source {
    std::uint32_t part, row;
  };
  std::vector<Source> kept;
  for (std::size_t part = 0; part < parts.size(); ++part)
    for (const std::uint32_t row : living_rows(*parts[part].rows))
      kept.push_back({static_cast<std::uint32_t>(part), row});
  const auto id = [&](const Source& source) {
    const Part& part = parts[source.part];
    return part.rows->id(source.row) + part.shift;
  };

  Snapshot after;
  after.rows = kept.size();
  after.chunks.resize((after.rows + kChunkRows - 1) / kChunkRows);
  bool numbered = true;
  for (std::size_t row = 0; row < kept.size() && numbered; ++row)
    numbered = id(kept[row]) == static_cast<std::int64_t>(row);
  for (std::size_t c = 0; c < after.chunks.size(); ++c) {
    Chunk& chunk = after.chunks[c];
    reserve(layout, chunk, 0, std::min(after.rows - c * kChunkRows, kChunkRows));
    if (!numbered) chunk.ids = allocate(chunk.capacity * sizeof(std::int64_t));
  }
  if (layout.coarse && after.rows % kBlockRows != 0)
    after.tail = allocate(layout.coarse->block_bytes());

  const std::size_t blocks = (after.rows + kBlockRows - 1) / kBlockRows;
  constexpr std::size_t kTaskBlocks = 256;
  parallel_for((blocks + kTaskBlocks - 1) / kTaskBlocks, threads, [&](std::size_t task) {
    const std::size_t end = std::min((task + 1) * kTaskBlocks * kBlockRows, after.rows);
    for (std::size_t row = task * kTaskBlocks * kBlockRows; row < end; ++row) {
      const std::size_t source = kept[row].row;
      const Snapshot& before = *parts[kept[row].part].rows;
      if (layout.coarse) {
        auto* block = const_cast<std::uint8_t*>(after.block(*layout.coarse, row));
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

void reconstruct(const Layout& layout, const Snapshot& snapshot, std::size_t row, float* out) {
  std::size_t have = layout.dim;  // dimensions below this one are still to be read
  float norm_before = 1.0F;
  const simd::Kernels& kernels = simd::active();
  for (std::size_t s = layout.shells.size(); have > 0 && s-- > 0;) {
    const ShellLayout& shell = layout.shells[s];
    const std::uint8_t* at =
        snapshot.shell(row / kChunkRows, s) + row % kChunkRows * shell.stride();
    float trailer[3] = {};
    std::memcpy(trailer, at + shell.values_bytes(), shell.stride() - shell.values_bytes());
    const float scale = shell.has_scale ? trailer[0] : 1.0F;
    if (shell.has_norm_before) norm_before = trailer[shell.has_scale];
    float* values = out + shell.first;
    if (shell.bits == 8)
      kernels.widen_i8(reinterpret_cast<const std::int8_t*>(at), shell.dims(), values);
    else if (shell.bits == 16)
      kernels.widen_f16(reinterpret_cast<const std::uint16_t*>(at), shell.dims(), values);
    else
      std::memcpy(values, at, shell.dims() * sizeof(float));
    for (std::size_t d = shell.first; d < shell.last; ++d) out[d] *= scale;
    have = shell.first;
  }
  if (have == 0) return;
  read_row(*layout.coarse, snapshot.block(*layout.coarse, row), row % kBlockRows, {out, have});
  for (std::size_t d = 0; d < have; ++d) {
    if (layout.coarse->has_offsets) out[d] += layout.transform.centre[d];
    out[d] *= norm_before;
  }
}

}  // namespace nestling
