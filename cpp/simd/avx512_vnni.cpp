// AVX-512 F and BW with VNNI (Ice Lake and Zen 4 onwards).
// .ci/avx512 runs these kernels on any CPU, with the intrinsics emulated by SIMDe.
#include <immintrin.h>

#include "kernels.hpp"

namespace nestling::simd {
namespace {

// ---- floating point: vectors of sixteen floats

using F32 = __m512;
constexpr std::size_t kWidth = 16;

struct Half;

inline F32 zero() { return _mm512_setzero_ps(); }
inline F32 broadcast(float v) { return _mm512_set1_ps(v); }
inline F32 load(const float* p) { return _mm512_loadu_ps(p); }
inline F32 load(const Half* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
inline F32 load(const std::int8_t* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
}
inline F32 add(F32 a, F32 b) { return _mm512_add_ps(a, b); }
inline F32 mul(F32 a, F32 b) { return _mm512_mul_ps(a, b); }
inline F32 fma(F32 a, F32 b, F32 c) { return _mm512_fmadd_ps(a, b, c); }
inline F32 round(F32 v) {
  return _mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline F32 clamp(F32 v, float low, float high) {
  return _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(low)), _mm512_set1_ps(high));
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
inline void store(float* p, F32 v) { _mm512_storeu_ps(p, v); }
inline void store_half(std::uint16_t* p, F32 v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

#include "lanes.inl.hpp"

// ---- integer sums of 16 rows: one vector

using Sums = __m512i;

inline Sums no_sums() { return _mm512_setzero_si512(); }
inline void add(Sums& a, Sums b) { a = _mm512_add_epi32(a, b); }

inline unsigned passing(Sums sums, const ScanQuery& query, const std::uint16_t* row_scales,
                        float* scores) {
  const __m256i brain = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(row_scales));
  const F32 rows = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(brain), 16));
  const __m512i exact =
      _mm512_sub_epi32(_mm512_add_epi32(sums, sums), _mm512_set1_epi32(query.correction));
  const F32 score = mul(mul(_mm512_cvtepi32_ps(exact), broadcast(query.scale)), rows);
  const unsigned mask =
      _mm512_cmp_ps_mask(score, broadcast(query.sink->threshold), _CMP_GE_OQ);
  if (__builtin_expect(mask != 0, 0)) store(scores, score);
  return mask;
}

constexpr int kQueries = 8;
constexpr int kColumns = 2;

inline __m512i load_codes(const std::uint8_t* p) { return _mm512_loadu_si512(p); }

inline __m512i broadcast_word(const std::uint8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm512_set1_epi32(word);
}

// vpdpbusd: four unsigned codes by four signed query bytes, summed into 32 bits without saturation.
struct DotVnni {
  using Part = __m512i;
  using Acc = __m512i;
  static constexpr std::size_t kFoldTiles = SIZE_MAX;
  static Acc zero() { return no_sums(); }
#ifndef NESTLING_EMULATED_AVX512
  static void pin(Acc& acc) { __asm__("" : "+v"(acc)); }
#else
  static void pin(Acc&) {}
#endif
  static Sums fold(Acc acc) { return acc; }
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
  static void pack(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed) {
    __builtin_memcpy(packed, codes, tiles * kQueryBytes);
  }
};

struct Dot8 : DotVnni {
  static constexpr std::size_t kTileDims = 4;
  static constexpr std::size_t kQueryBytes = 4;
  static constexpr int kParts = 1;
  static Part load(const std::uint8_t* tile, int) { return load_codes(tile); }
  static void pack(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed) {
    __builtin_memcpy(packed, codes, tiles * kQueryBytes);
  }
};

#include "probe.inl.hpp"
#include "scan.inl.hpp"
#include "table.inl.hpp"

}  // namespace

const Kernels kAvx512Vnni = make_table("avx512_vnni");

}  // namespace nestling::simd
