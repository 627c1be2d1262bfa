// The only door to the SIMD kernels: a table of plain function pointers, one table per ISA.
//
// Contract of every kernel:
//  * All ISAs return the same bits. Integer sums are exact; floating-point sums run in 32 lanes with
//    fused multiply-add, folded by one tree (see lanes.inl.hpp).
//  * A kernel works on a block of rows, never on one, trusts its arguments and allocates nothing.
//  * Pointers may be unaligned unless stated.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestling::simd {

// Rows of a coarse matrix come in blocks of 32: two columns of tiles of 16 rows each.
inline constexpr std::size_t kTileRows = 16;
inline constexpr std::size_t kBlockRows = 32;
inline constexpr std::size_t kTileBytes = 64;

// A row that passed the threshold of a query.
struct Candidate {
  float score;
  std::uint32_t row;
};

// Where a scan puts the rows that pass. The kernel appends while there is room for a whole block and
// calls `full`, which must make room for kBlockRows more and may raise the threshold, when there is not.
struct Sink {
  float threshold;
  std::uint32_t count;
  std::uint32_t capacity;
  Candidate* candidates;
  void (*full)(Sink&);
};

// A query ready for one kernel: `codes` as Kernels::pack_query wrote them (64-byte aligned).
// score(row) = float(2 * sum(code * query) - correction) * scale * row_scale.
struct ScanQuery {
  const std::uint8_t* codes;
  std::int32_t correction;
  float scale;
  Sink* sink;
};

// A run of whole blocks of a coarse matrix, `block_bytes` apart: for each block first `tiles` pairs
// of tiles, then 32 row scales as bfloat16. A NaN scale marks a row that is not there: it never passes.
struct ScanBlocks {
  const std::uint8_t* data;
  std::size_t count;
  std::size_t block_bytes;
  std::size_t tiles;
  std::uint32_t first_row;
};

// One shell of several rows: rows[i] * stride bytes after `data` stand `dims` values.
struct ShellRows {
  const std::uint8_t* data;
  std::size_t stride;
  std::size_t dims;
  const std::uint32_t* rows;
  std::size_t count;
};

using ScanKernel = void (*)(const ScanBlocks&, const ScanQuery* queries, std::size_t count);
using DotKernel = void (*)(const ShellRows&, const float* query, float* sums);

struct Kernels {
  const char* name;

  // Bytes that one packed query takes per tile of each width, and the packing from int8 codes.
  std::size_t query_tile_bytes_4, query_tile_bytes_8;
  void (*pack_query_4)(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed);
  void (*pack_query_8)(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed);

  // Coarse scan: scores every row of the blocks for every query and appends those that pass.
  ScanKernel scan_4, scan_8;

  // Re-rank: inner products of a float query with the stored values of the rows.
  DotKernel dot_i8, dot_f16, dot_f32;

  // Encoding. `encode` writes code = clamp(rint(x * inverse_step + max_code / 2), 0, max_code) and
  // returns sum(x * level), level = 2 * code - max_code.
  float (*dot)(const float* a, const float* b, std::size_t dims);
  float (*encode)(const float* x, std::size_t dims, float inverse_step, int max_code,
                  std::uint8_t* codes);
  void (*to_i8)(const float* x, std::size_t dims, float inverse_step, std::int8_t* out);
  void (*to_f16)(const float* x, std::size_t dims, float factor, std::uint16_t* out);

  // Benchmarks only: `rounds` of the scan's multiply-adds on registers; returns how many that were.
  std::uint64_t (*multiply_add_4)(std::size_t rounds);
  std::uint64_t (*multiply_add_8)(std::size_t rounds);
};

extern const Kernels kScalar;
#if defined(__x86_64__) || defined(_M_X64)
extern const Kernels kAvx2;
extern const Kernels kAvx512Vnni;
#elif defined(__aarch64__)
extern const Kernels kNeonDot;
#endif

}  // namespace nestling::simd
