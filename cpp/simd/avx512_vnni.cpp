// AVX-512 F and BW with VNNI (Ice Lake and Zen 4 onwards).
// .ci/avx512 runs these kernels on any CPU, with the intrinsics emulated by SIMDe.
#include <immintrin.h>

#include "simd/kernels.hpp"

namespace nestling::simd {
namespace {

// ---- floating point: vectors of sixteen floats

using F32 = __m512;
constexpr std::size_t kWidth = 16;

struct Half;

inline F32 zero() {
  return _mm512_setzero_ps();
}
inline F32 broadcast(float v) {
  return _mm512_set1_ps(v);
}
inline F32 load(const float* p) {
  return _mm512_loadu_ps(p);
}
inline F32 load(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F32 load(const std::int8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
// Nibbles are split as bytes, 16 at a time, and then widened.
inline F32 widen_bytes(__m128i bytes) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
inline F32 load_low_nibbles(const std::uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return widen_bytes(_mm_and_si128(bytes, _mm_set1_epi8(15)));
}
inline F32 load_high_nibbles(const std::uint8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return widen_bytes(_mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15)));
}
inline F32 add(F32 a, F32 b) {
  return _mm512_add_ps(a, b);
}
inline F32 mul(F32 a, F32 b) {
  return _mm512_mul_ps(a, b);
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return _mm512_fmadd_ps(a, b, c);
}
inline F32 round(F32 v) {
  return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline F32 clamp(F32 v, float low, float high) {
  return _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(low)), _mm512_set1_ps(high));
}
inline F32 keep_first(F32 v, std::size_t at, std::size_t count) {
  const std::size_t left = count > at ? count - at : 0;
  const auto keep = static_cast<__mmask16>(left >= kWidth ? 0xffff : (1U << left) - 1);
  return _mm512_maskz_mov_ps(keep, v);
}
inline __m256 upper_half(F32 v) {
  return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1));
}
inline float reduce(F32 v) {
  const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), upper_half(v));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline void store(float* p, F32 v) {
  _mm512_storeu_ps(p, v);
}
inline void store_half(std::uint16_t* p, F32 v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

inline std::uint32_t above(F32 a, F32 b) {
  return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
}
inline void store_some(float* p, F32 v, std::uint32_t mask) {
  store(p, _mm512_maskz_compress_ps(static_cast<__mmask16>(mask), v));
}

#include "simd/lanes.inl.hpp"
#include "simd/pack.inl.hpp"
#include "simd/select.inl.hpp"

// ---- integer sums of 16 rows: one vector

using Sums = __m512i;

inline Sums all_sums(std::int32_t v) {
  return _mm512_set1_epi32(v);
}
inline void add(Sums& a, Sums b) {
  a = _mm512_add_epi32(a, b);
}

using RowFloats = F32;

inline RowFloats no_offsets() {
  return zero();
}
// 16 halves, consecutive or every second one from p on.
template <int kStep>
inline __m256i load_halves(const std::uint16_t* p) {
  if constexpr (kStep == 1) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  // The second half of the last pair may lie past the end, so pairs are read from an even index on.
  const std::size_t odd = reinterpret_cast<std::uintptr_t>(p) / sizeof *p % 2;
  const __m512i pairs = _mm512_loadu_si512(p - odd);
  return _mm512_cvtepi32_epi16(odd != 0 ? _mm512_srli_epi32(pairs, 16) : pairs);
}
template <int kStep>
inline RowFloats load_offsets(const std::uint16_t* p) {
  return _mm512_cvtph_ps(load_halves<kStep>(p));
}
template <int kStep>
inline RowFloats load_scales(const std::uint16_t* p) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_halves<kStep>(p)), 16));
}

inline unsigned passing(Sums sums, const ScanQuery& query, RowFloats scales, RowFloats offsets,
                        std::uint32_t may_pass, float* scores) {
  const F32 product =
      fma(_mm512_cvtepi32_ps(sums), broadcast(query.twice_scale), broadcast(query.rest));
  const F32 score = fma(product, scales, offsets);
  const unsigned mask =
      _mm512_cmp_ps_mask(score, broadcast(query.sink->threshold), _CMP_GE_OQ) & may_pass;
  if (__builtin_expect(mask != 0, 0)) store(scores, score);
  return mask;
}

#ifdef NESTLING_EMULATED_AVX512
inline void keep_in_register(__m512i&) {}
#else
inline void keep_in_register(__m512i& v) {
  __asm__("" : "+v"(v));
}
#endif

void pack_bits(const std::uint8_t* bytes, std::size_t words, std::uint32_t* out) {
  for (std::size_t w = 0; w < words; ++w) {
    const __m512i wide = _mm512_castsi256_si512(
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + w * kBlockRows)));
    out[w] = static_cast<std::uint32_t>(_mm512_test_epi8_mask(wide, wide));
  }
}

inline __m512i load_codes(const std::uint8_t* p) {
  return _mm512_loadu_si512(p);
}

inline __m512i broadcast_word(const std::uint8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

// vpdpbusd: four unsigned codes by four signed query bytes, summed into 32 bits without saturation.
struct DotVnni {
  using Part = __m512i;
  using Acc = __m512i;
  static constexpr int kQueries = 8, kAccs = 2, kColumns = 1;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kFoldTiles = SIZE_MAX;
  static Acc zero() { return all_sums(0); }
  static void pin(Acc& acc) { keep_in_register(acc); }
  static void fold(Acc acc, Sums* sums) { add(*sums, acc); }
  static void mac(Acc& acc, Part codes, const std::uint8_t* query, int part) {
    acc = _mm512_dpbusd_epi32(acc, codes, broadcast_word(query + 4 * part));
  }
};

struct Dot4 : DotVnni {
  static constexpr std::size_t kTileDims = 8;
  static constexpr std::size_t kQueryBytes = 8;
  static constexpr int kParts = 2;  // dims 0..3, then 4..7
  static Part load(const std::uint8_t* tile, int part) {
    const __m512i codes = load_codes(tile);
    return _mm512_and_si512(part == 0 ? codes : _mm512_srli_epi16(codes, 4), _mm512_set1_epi8(15));
  }
  static constexpr auto pack = copy_codes<kQueryBytes>;
};

struct Dot8 : DotVnni {
  static constexpr std::size_t kTileDims = 4;
  static constexpr std::size_t kQueryBytes = 4;
  static constexpr int kParts = 1;
  static Part load(const std::uint8_t* tile, int) { return load_codes(tile); }
  static constexpr auto pack = copy_codes<kQueryBytes>;
};

#include "simd/lookup.inl.hpp"

// Two slabs of 32 rows per step, one in each half of a register. Entries are added as bytes for as
// long as they fit. Then `both` sums pairs of rows as 16-bit words, carries and all, and `odd` sums
// the upper rows of the pairs; what the lower ones sum to is both - (odd << 8), modulo 2^16.
template <int kBits>
struct DotTables {
  static constexpr int kQueries = 8, kAccs = 1, kColumns = 2, kParts = 1;
  static constexpr bool kInterleaved = true;
  static constexpr std::size_t kTileDims = 32 / kBits;
  static constexpr std::size_t kFoldTiles = 64;
  static constexpr std::size_t kTwoSlabs = kSlabs / 2;
  // The tables of both nibbles, those of each slab twice.
  static constexpr std::size_t kPartBytes = 2 * kTileBytes;
  static constexpr std::size_t kQueryBytes = kTwoSlabs * kPartBytes;
  struct Part {
    __m512i low[kTwoSlabs], high[kTwoSlabs];  // nibbles
  };
  struct Acc {
    __m512i both, odd;
  };
  static std::int32_t pack(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed) {
    std::int32_t excess = 0;
    for (std::size_t slab = 0; slab < tiles * kSlabs; ++slab) {
      std::uint8_t tables[kSlabTables];
      excess += make_tables<kBits>(codes + slab * (8 / kBits), tables);
      std::uint8_t* out = packed + slab / 2 * kPartBytes + slab % 2 * kSlabTables;
      for (std::size_t nibble = 0; nibble < 2; ++nibble)
        for (std::size_t copy = 0; copy < 2; ++copy)
          __builtin_memcpy(out + nibble * kTileBytes + copy * kTableBytes,
                           tables + nibble * kTableBytes, kTableBytes);
    }
    return excess;
  }
  static Acc zero() { return {all_sums(0), all_sums(0)}; }
  static void pin(Acc& acc) {
    keep_in_register(acc.both);
    keep_in_register(acc.odd);
  }
  static Part load(const std::uint8_t* tiles, int) {
    const __m512i nibble = _mm512_set1_epi8(15);
    Part part;
#pragma GCC unroll 2
    for (std::size_t i = 0; i < kTwoSlabs; ++i) {
      const __m512i codes = load_codes(tiles + i * kTileBytes);
      part.low[i] = _mm512_and_si512(codes, nibble);
      part.high[i] = _mm512_and_si512(_mm512_srli_epi16(codes, 4), nibble);
    }
    return part;
  }
  static __m512i look_up(const Part& codes, const std::uint8_t* query, std::size_t i) {
    const std::uint8_t* tables = query + i * kPartBytes;
    return _mm512_add_epi8(_mm512_shuffle_epi8(load_codes(tables), codes.low[i]),
                           _mm512_shuffle_epi8(load_codes(tables + kTileBytes), codes.high[i]));
  }
  static void mac(Acc& acc, const Part& codes, const std::uint8_t* query, int) {
    const __m512i bytes = _mm512_add_epi8(look_up(codes, query, 0), look_up(codes, query, 1));
    acc.both = _mm512_add_epi16(acc.both, bytes);
    acc.odd = _mm512_add_epi16(acc.odd, _mm512_srli_epi16(bytes, 8));
  }
  static __m256i add_halves(__m512i v) {
    return _mm256_add_epi16(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  }
  static void fold(const Acc& acc, Sums* sums) {
    const __m256i odd = add_halves(acc.odd);
    const __m256i even = _mm256_sub_epi16(add_halves(acc.both), _mm256_slli_epi16(odd, 8));
    add(sums[0], _mm512_cvtepu16_epi32(even));
    add(sums[1], _mm512_cvtepu16_epi32(odd));
  }
};

using Dot1 = DotTables<1>;
using Dot2 = DotTables<2>;

#include "simd/dot.inl.hpp"
#include "simd/probe.inl.hpp"
#include "simd/scan.inl.hpp"
#include "simd/table.inl.hpp"

}  // namespace

const Kernels kAvx512Vnni = make_table("avx512_vnni");

}  // namespace nestling::simd
