// The only interface to the SIMD kernels: a table of plain function pointers, one table per ISA.
//
// Contract of every kernel:
//  * All ISAs return the same bits. Integer sums are exact; floating-point sums run in 32 lanes
//    with fused multiply-add, folded by one tree (see lanes.inl.hpp).
//  * A kernel works on a block of rows, never on a single row, trusts its arguments and allocates
//    nothing.
//  * Pointers may be unaligned unless stated otherwise.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestling::simd {

// Rows of a coarse matrix come in blocks of 32: two columns of tiles of 16 rows each.
inline constexpr std::size_t kTileRows = 16;
inline constexpr std::size_t kBlockRows = 32;
inline constexpr std::size_t kTileBytes = 64;
inline constexpr std::size_t kColumnsPerBlock = kBlockRows / kTileRows;

// At 1 and 2 bits a query becomes tables of what each nibble of codes adds to its sum. No entry may
// be larger than this: eight of them are added in a byte before it is widened at 1 bit, four at 2.
constexpr int largest_entry(int bits) {
  return bits == 1 ? 255 / 8 : 255 / 4;
}

// A row that passed the threshold of a query.
struct Candidate {
  float score;
  std::uint32_t row;
};

// Where a scan appends the rows that pass. When there is less room than a whole block may need, the
// kernel calls `full`, which must make room for kBlockRows more and may raise the threshold.
struct Sink {
  float threshold;
  std::uint32_t count;
  std::uint32_t capacity;
  Candidate* candidates;
  void (*full)(Sink&);
};

// A query ready for one kernel: `codes` as CodeKernels::pack_query wrote them (64-byte aligned).
// score(row) = ((sum(code * query) + excess + start) * twice_scale + rest) * row_scale +
// row_offset, where excess is what pack_query returned, and both sums of products are fused.
struct ScanQuery {
  const std::uint8_t* codes;
  std::int32_t start;
  float twice_scale, rest;
  Sink* sink;

  // The query of value = code * scale, where 2 * (sum(code * query) + excess) - correction is the
  // sum over the levels.
  static ScanQuery of(const std::uint8_t* codes, std::int32_t correction, float scale) {
    const std::int32_t odd = correction & 1;
    return {.codes = codes,
            .start = (odd - correction) / 2,
            .twice_scale = 2.0F * scale,
            .rest = odd == 0 ? 0.0F : -scale,
            .sink = nullptr};
  }
};

// Whole blocks of a coarse matrix, `block_bytes` apart: the first `count` or, with `numbers`, those
// of the first `count` numbers; of the `listed` ones, the others are scanned next. A block is first
// `tiles` pairs of tiles, then 32 row scales as bfloat16, then, with `has_offsets`, 32 row offsets
// as float16. A NaN scale marks an absent row, which never passes.
struct ScanBlocks {
  const std::uint8_t* data;
  const std::uint32_t* numbers = nullptr;
  std::size_t listed = 0;
  std::size_t count;
  std::size_t block_bytes;
  std::size_t tiles;
  bool has_offsets = false;
  std::uint32_t first_row = 0;
  const std::uint32_t* allowed =
      nullptr;                         // one word per block, a bit per row that may pass; or null
  bool sparse = false;                 // so few may pass that parts of blocks are worth skipping
  const std::uint8_t* next = nullptr;  // what is scanned next, of the same length; or null
};

// One shell of several rows: `dims` values at each of `rows`, and what else is read of a row behind
// them, `stride` bytes in all.
struct ShellRows {
  const std::uint8_t* const* rows;
  std::size_t count;
  std::size_t dims;
  std::size_t stride;
};

// How well codes represent a vector: sum(x * level) and sum(level * level), where level is
// 2 * code - max_code.
struct CodeFit {
  float product, energy;
};

// The coarse scan over codes of one width.
struct CodeKernels {
  // Bytes of a packed query per pair of tiles, and the function that packs int8 codes, as many as
  // the tiles have dimensions. It returns by how much every sum exceeds sum(code * query).
  std::size_t query_tile_bytes;
  std::int32_t (*pack_query)(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed);

  // Scores every row of the blocks for every query and appends those that pass.
  void (*scan)(const ScanBlocks&, const ScanQuery* queries, std::size_t count);

  // For benchmarks: `rounds` of the scan's multiply-adds on registers. Returns how many they were.
  std::uint64_t (*multiply_add)(std::size_t rounds);
};

using DotKernel = void (*)(const ShellRows&, const float* query, float* sums);

struct Kernels {
  const char* name;

  CodeKernels codes_1, codes_2, codes_4, codes_8;

  // Re-rank: inner products of a float query with the stored values of the rows; at 4 bits with the
  // codes themselves.
  DotKernel dot_i4, dot_i8, dot_f16, dot_f32;

  // Encoding. `encode` writes code = clamp(rint(x * inverse_step + max_code / 2), 0, max_code).
  float (*dot)(const float* a, const float* b, std::size_t dims);
  CodeFit (*encode)(const float* x, std::size_t dims, float inverse_step, int max_code,
                    std::uint8_t* codes);
  void (*to_i8)(const float* x, std::size_t dims, float inverse_step, std::int8_t* out);
  void (*to_f16)(const float* x, std::size_t dims, float factor, std::uint16_t* out);

  // Decoding: the values times `scale`; at 4 bits the levels 2 * code - 15. Codes of 4 bits lie in
  // groups of 16 bytes for 32 dimensions: 16 of them in the low nibbles, then 16 in the high ones.
  void (*decode_i4)(const std::uint8_t* x, std::size_t dims, float scale, float* out);
  void (*decode_i8)(const std::int8_t* x, std::size_t dims, float scale, float* out);
  void (*decode_f16)(const std::uint16_t* x, std::size_t dims, float scale, float* out);

  // The n-th largest of `count` values, none of which is NaN; 1 <= n <= count. Overwrites them.
  float (*nth_largest)(float* values, std::size_t count, std::size_t n);
  // Moves the rows of at least this score to the front, in their order, and returns how many they
  // are. No score is NaN.
  std::size_t (*keep_from)(Candidate* rows, std::size_t count, float score);

  // Bit i of word w is set where bytes[32 * w + i] is not 0.
  void (*pack_bits)(const std::uint8_t* bytes, std::size_t words, std::uint32_t* out);
  // The number of bits that are set.
  std::size_t (*count_bits)(const std::uint32_t* words, std::size_t count);

  DotKernel dot_rows(int bits) const {
    return bits == 4 ? dot_i4 : bits == 8 ? dot_i8 : bits == 16 ? dot_f16 : dot_f32;
  }
  const CodeKernels& codes(int bits) const {
    return bits == 1 ? codes_1 : bits == 2 ? codes_2 : bits == 4 ? codes_4 : codes_8;
  }
};

extern const Kernels kScalar;
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernels kAvx2;
extern const Kernels kAvx2Vnni;
extern const Kernels kAvx512Vnni;
#elif defined(__aarch64__)
extern const Kernels kNeonDot;
#endif

}  // namespace nestling::simd
