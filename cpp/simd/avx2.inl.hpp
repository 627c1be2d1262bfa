// Shared by the two AVX2 tables: floating point, sums of rows, look-ups of 1 and 2 bits.

// ---- floating point: vectors of eight floats

using F32 = __m256;
constexpr std::size_t kWidth = 8;

struct Half;

inline F32 zero() {
  return _mm256_setzero_ps();
}
inline F32 broadcast(float v) {
  return _mm256_set1_ps(v);
}
inline F32 load(const float* p) {
  return _mm256_loadu_ps(p);
}
inline F32 load(const Half* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline F32 load(const std::int8_t* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}
inline __m256i load_bytes(const std::uint8_t* p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}
inline F32 load_low_nibbles(const std::uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_and_si256(load_bytes(p), _mm256_set1_epi32(15)));
}
inline F32 load_high_nibbles(const std::uint8_t* p) {
  return _mm256_cvtepi32_ps(_mm256_srli_epi32(load_bytes(p), 4));
}
inline F32 add(F32 a, F32 b) {
  return _mm256_add_ps(a, b);
}
inline F32 mul(F32 a, F32 b) {
  return _mm256_mul_ps(a, b);
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return _mm256_fmadd_ps(a, b, c);
}
inline F32 round(F32 v) {
  return _mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
inline F32 clamp(F32 v, float low, float high) {
  return _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(low)), _mm256_set1_ps(high));
}
inline F32 keep_first(F32 v, std::size_t at, std::size_t count) {
  const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i left = _mm256_set1_epi32(static_cast<int>(count) - static_cast<int>(at));
  return _mm256_and_ps(v, _mm256_castsi256_ps(_mm256_cmpgt_epi32(left, index)));
}
inline float reduce(F32 v) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline void store(float* p, F32 v) {
  _mm256_storeu_ps(p, v);
}
inline void store_half(std::uint16_t* p, F32 v) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT));
}

inline std::uint32_t above(F32 a, F32 b) {
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
}

// For each mask of eight elements, their numbers.
struct MaskOrders {
  std::uint8_t of[256][kWidth];

  constexpr MaskOrders() : of{} {
    for (std::size_t mask = 0; mask < 256; ++mask) {
      std::size_t count = 0;
      for (std::size_t i = 0; i < kWidth; ++i)
        if ((mask >> i & 1) != 0) of[mask][count++] = static_cast<std::uint8_t>(i);
    }
  }
};
alignas(64) constexpr MaskOrders kMaskOrders;

inline void store_some(float* p, F32 v, std::uint32_t mask) {
  const auto* order = reinterpret_cast<const __m128i*>(kMaskOrders.of[mask]);
  store(p, _mm256_permutevar8x32_ps(v, _mm256_cvtepu8_epi32(_mm_loadl_epi64(order))));
}

#include "simd/lanes.inl.hpp"
#include "simd/pack.inl.hpp"
#include "simd/select.inl.hpp"

// ---- integer sums of 16 rows: two vectors of eight

struct Sums {
  __m256i low, high;
};

inline Sums all_sums(std::int32_t v) {
  return {_mm256_set1_epi32(v), _mm256_set1_epi32(v)};
}
inline void add(Sums& a, const Sums& b) {
  a.low = _mm256_add_epi32(a.low, b.low);
  a.high = _mm256_add_epi32(a.high, b.high);
}

struct RowFloats {
  F32 low, high;
};

// 16 halves, consecutive or every second one from p on, each zero-extended to 32 bits.
template <int kStep>
inline Sums load_halves(const std::uint16_t* p) {
  if constexpr (kStep == 1) {
    const auto* eight = reinterpret_cast<const __m128i*>(p);
    return {_mm256_cvtepu16_epi32(_mm_loadu_si128(eight)),
            _mm256_cvtepu16_epi32(_mm_loadu_si128(eight + 1))};
  }
  // The second half of the last pair may lie past the end, so pairs are read from an even index on.
  const std::size_t odd = reinterpret_cast<std::uintptr_t>(p) / sizeof *p % 2;
  const auto* pairs = reinterpret_cast<const __m256i*>(p - odd);
  const __m256i a = _mm256_loadu_si256(pairs), b = _mm256_loadu_si256(pairs + 1);
  if (odd != 0) return {_mm256_srli_epi32(a, 16), _mm256_srli_epi32(b, 16)};
  const __m256i low = _mm256_set1_epi32(0xffff);
  return {_mm256_and_si256(a, low), _mm256_and_si256(b, low)};
}
template <int kStep>
inline RowFloats load_scales(const std::uint16_t* p) {
  const Sums brain = load_halves<kStep>(p);
  return {_mm256_castsi256_ps(_mm256_slli_epi32(brain.low, 16)),
          _mm256_castsi256_ps(_mm256_slli_epi32(brain.high, 16))};
}
template <int kStep>
inline RowFloats load_offsets(const std::uint16_t* p) {
  const Sums halves = load_halves<kStep>(p);
  const auto narrow = [](__m256i v) {
    const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(v, v), 0x08);
    return _mm256_cvtph_ps(_mm256_castsi256_si128(packed));
  };
  return {narrow(halves.low), narrow(halves.high)};
}
inline RowFloats no_offsets() {
  return {zero(), zero()};
}

inline F32 scores_of(__m256i sums, const ScanQuery& query, F32 scales, F32 offsets) {
  const F32 product =
      fma(_mm256_cvtepi32_ps(sums), broadcast(query.twice_scale), broadcast(query.rest));
  return fma(product, scales, offsets);
}

inline unsigned passing(const Sums& sums, const ScanQuery& query, const RowFloats& scales,
                        const RowFloats& offsets, std::uint32_t may_pass, float* scores) {
  const F32 low = scores_of(sums.low, query, scales.low, offsets.low);
  const F32 high = scores_of(sums.high, query, scales.high, offsets.high);
  const F32 threshold = broadcast(query.sink->threshold);
  const F32 low_passes = _mm256_cmp_ps(low, threshold, _CMP_GE_OQ);
  const F32 high_passes = _mm256_cmp_ps(high, threshold, _CMP_GE_OQ);
  const F32 any = _mm256_or_ps(low_passes, high_passes);
  if (__builtin_expect(_mm256_testz_ps(any, any) != 0, 1)) return 0;
  const auto passes =
      static_cast<unsigned>(_mm256_movemask_ps(low_passes) | _mm256_movemask_ps(high_passes) << 8) &
      may_pass;
  if (passes == 0) return 0;
  store(scores, low);
  store(scores + 8, high);
  return passes;
}

void pack_bits(const std::uint8_t* bytes, std::size_t words, std::uint32_t* out) {
  for (std::size_t w = 0; w < words; ++w) {
    const __m256i row =
        _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes + w * kBlockRows));
    out[w] = ~static_cast<std::uint32_t>(
        _mm256_movemask_epi8(_mm256_cmpeq_epi8(row, _mm256_setzero_si256())));
  }
}

inline __m256i load_codes(const std::uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// The codes of 4 bits of a tile: rows 0..7 and 8..15, dims 0..3 (part 0) or 4..7.
struct Nibbles {
  __m256i v[2];
};
inline Nibbles load_nibbles(const std::uint8_t* tile, int part) {
  const __m256i nibble = _mm256_set1_epi8(15);
  __m256i a = load_codes(tile), b = load_codes(tile + 32);
  if (part == 1) {
    a = _mm256_srli_epi16(a, 4);
    b = _mm256_srli_epi16(b, 4);
  }
  return {{_mm256_and_si256(a, nibble), _mm256_and_si256(b, nibble)}};
}

inline __m256i broadcast_word(const std::uint8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return _mm256_set1_epi32(word);
}

#include "simd/lookup.inl.hpp"

// One slab of 32 rows per step. Entries are added as bytes for as long as they fit. Then `both`
// sums pairs of rows as 16-bit words, carries and all, and `odd` sums the upper rows of the pairs;
// what the lower ones sum to is both - (odd << 8), modulo 2^16.
template <int kBits>
struct DotTables {
  static constexpr int kQueries = 4, kAccs = 1, kColumns = 2, kParts = kSlabs;
  static constexpr bool kInterleaved = true;
  static constexpr std::size_t kTileDims = 32 / kBits;
  static constexpr std::size_t kFoldTiles = 64;  // of at most 4 × 255 each, in 16 bits
  static constexpr std::size_t kQueryBytes = kSlabs * kSlabTables;
  static constexpr auto pack = pack_tables<kBits>;
  struct Part {
    __m256i low, high;  // nibbles
  };
  struct Acc {
    __m256i both, odd, bytes;
  };
  static Acc zero() {
    return {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
  }
  static void pin(Acc& acc) { __asm__("" : "+x"(acc.both), "+x"(acc.odd), "+x"(acc.bytes)); }
  static Part load(const std::uint8_t* tiles, int slab) {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i codes = load_codes(tiles + static_cast<std::size_t>(slab) * kBlockRows);
    return {_mm256_and_si256(codes, nibble), _mm256_and_si256(_mm256_srli_epi16(codes, 4), nibble)};
  }
  static __m256i table(const std::uint8_t* p) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static void mac(Acc& acc, const Part& codes, const std::uint8_t* query, int slab) {
    const std::uint8_t* tables = query + static_cast<std::size_t>(slab) * kSlabTables;
    const __m256i sum =
        _mm256_add_epi8(_mm256_shuffle_epi8(table(tables), codes.low),
                        _mm256_shuffle_epi8(table(tables + kTableBytes), codes.high));
    constexpr int kSum = slabs_per_sum(kBits);
    acc.bytes = slab % kSum == 0 ? sum : _mm256_add_epi8(acc.bytes, sum);
    if (slab % kSum != kSum - 1) return;
    acc.both = _mm256_add_epi16(acc.both, acc.bytes);
    acc.odd = _mm256_add_epi16(acc.odd, _mm256_srli_epi16(acc.bytes, 8));
  }
  static void fold(const Acc& acc, Sums* sums) {
    const __m256i even = _mm256_sub_epi16(acc.both, _mm256_slli_epi16(acc.odd, 8));
    const auto widen = [](__m256i v) -> Sums {
      return {_mm256_cvtepu16_epi32(_mm256_castsi256_si128(v)),
              _mm256_cvtepu16_epi32(_mm256_extracti128_si256(v, 1))};
    };
    add(sums[0], widen(even));
    add(sums[1], widen(acc.odd));
  }
};
