// AVX2 with FMA and F16C (Haswell and Zen onwards).
#include <immintrin.h>

#include "simd/kernels.hpp"

namespace nestling::simd {
namespace {

#include "simd/avx2.inl.hpp"

// vpmaddubsw sums pairs of products into 16 bits. encode_query (store/codes.hpp) keeps a query's
// codes so small that 16 tiles of 4-bit codes cannot overflow them, so the sums are widened only
// once in 128 dimensions.
struct Dot4 {
  static constexpr int kQueries = 4, kAccs = 1, kColumns = 1;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kTileDims = 8;
  static constexpr std::size_t kQueryBytes = 8;
  static constexpr std::size_t kFoldTiles = 16;
  static constexpr int kParts = 2;  // dims 0..3, then 4..7
  using Part = Nibbles;
  struct Acc {
    __m256i v[2];
  };
  static Part load(const std::uint8_t* tile, int part) { return load_nibbles(tile, part); }
  static Acc zero() { return {{_mm256_setzero_si256(), _mm256_setzero_si256()}}; }
  static void pin(Acc& acc) { __asm__("" : "+x"(acc.v[0]), "+x"(acc.v[1])); }
  static void mac(Acc& acc, const Part& codes, const std::uint8_t* query, int part) {
    const __m256i q = broadcast_word(query + 4 * part);
    acc.v[0] = _mm256_add_epi16(acc.v[0], _mm256_maddubs_epi16(codes.v[0], q));
    acc.v[1] = _mm256_add_epi16(acc.v[1], _mm256_maddubs_epi16(codes.v[1], q));
  }
  static void fold(const Acc& acc, Sums* sums) {
    const __m256i one = _mm256_set1_epi16(1);
    add(*sums, {_mm256_madd_epi16(acc.v[0], one), _mm256_madd_epi16(acc.v[1], one)});
  }
  static constexpr auto pack = copy_codes<kQueryBytes>;
};

// vpmaddubsw would saturate on 8-bit codes, so both sides are widened to 16 bits: even and odd
// dimensions of a tile separately, and the query as the pairs (q0, q2) and (q1, q3).
struct Dot8 {
  static constexpr int kQueries = 4, kAccs = 1, kColumns = 1;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kTileDims = 4;
  static constexpr std::size_t kQueryBytes = 8;
  static constexpr std::size_t kFoldTiles = SIZE_MAX;
  static constexpr int kParts = 2;  // even, then odd dimensions
  struct Part {
    __m256i v[2];  // rows 0..7 and 8..15
  };
  using Acc = Sums;
  static Part load(const std::uint8_t* tile, int part) {
    const __m256i a = load_codes(tile), b = load_codes(tile + 32);
    if (part == 1) return {{_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8)}};
    const __m256i byte = _mm256_set1_epi16(255);
    return {{_mm256_and_si256(a, byte), _mm256_and_si256(b, byte)}};
  }
  static Acc zero() { return all_sums(0); }
  static void pin(Acc& acc) { __asm__("" : "+x"(acc.low), "+x"(acc.high)); }
  static void mac(Acc& acc, const Part& codes, const std::uint8_t* query, int part) {
    const __m256i q = broadcast_word(query + 4 * part);
    acc.low = _mm256_add_epi32(acc.low, _mm256_madd_epi16(codes.v[0], q));
    acc.high = _mm256_add_epi32(acc.high, _mm256_madd_epi16(codes.v[1], q));
  }
  static void fold(const Acc& acc, Sums* sums) { add(*sums, acc); }
  static std::int32_t pack(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed) {
    for (std::size_t t = 0; t < tiles; ++t) {
      const std::int8_t* q = codes + t * 4;
      const std::int16_t pairs[4] = {q[0], q[2], q[1], q[3]};
      __builtin_memcpy(packed + t * kQueryBytes, pairs, sizeof pairs);
    }
    return 0;
  }
};

using Dot1 = DotTables<1>;
using Dot2 = DotTables<2>;

#include "simd/dot.inl.hpp"
#include "simd/probe.inl.hpp"
#include "simd/scan.inl.hpp"
#include "simd/table.inl.hpp"

}  // namespace

const Kernels kAvx2 = make_table("avx2");

}  // namespace nestling::simd
