// Plain C++: runs everywhere, and is the reference that every other table must match bit for bit.
#include "simd/kernels.hpp"

namespace nestling::simd {
namespace {

// ---- floating point: vectors of one float

using F32 = float;
constexpr std::size_t kWidth = 1;

struct Half;

inline F32 zero() {
  return 0.0F;
}
inline F32 broadcast(float v) {
  return v;
}
inline F32 load(const float* p) {
  return *p;
}
inline F32 load(const std::int8_t* p) {
  return *p;
}
inline F32 load(const Half* p);
inline F32 load_low_nibbles(const std::uint8_t* p) {
  return static_cast<float>(*p & 15);
}
inline F32 load_high_nibbles(const std::uint8_t* p) {
  return static_cast<float>(*p >> 4);
}
inline F32 add(F32 a, F32 b) {
  return a + b;
}
inline F32 mul(F32 a, F32 b) {
  return a * b;
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return __builtin_fmaf(a, b, c);
}
inline F32 round(F32 v) {
  return __builtin_rintf(v);
}
inline F32 clamp(F32 v, float low, float high) {
  return v < low ? low : v > high ? high : v;
}
inline F32 keep_first(F32 v, std::size_t at, std::size_t count) {
  return at < count ? v : 0.0F;
}
inline float reduce(F32 v) {
  return v;
}
inline void store(float* p, F32 v) {
  *p = v;
}

inline std::uint32_t above(F32 a, F32 b) {
  return static_cast<std::uint32_t>(a > b);
}
inline void store_some(float* p, F32 v, std::uint32_t) {
  *p = v;
}

inline std::uint32_t bits_of(float v) {
  return __builtin_bit_cast(std::uint32_t, v);
}
inline float float_of(std::uint32_t v) {
  return __builtin_bit_cast(float, v);
}

// IEEE 754 binary32 to binary16, to nearest, ties to even.
inline void store_half(std::uint16_t* p, F32 v) {
  const std::uint32_t sign = (bits_of(v) >> 16) & 0x8000;
  const std::uint32_t magnitude = bits_of(v) & 0x7fffffff;
  std::uint32_t half;
  if (magnitude >= 0x7f800000) {
    half = magnitude == 0x7f800000 ? 0x7c00 : 0x7e00;
  } else if (magnitude >= 0x477ff000) {  // rounds past the largest half, 65504
    half = 0x7c00;
  } else if (magnitude >= 0x38800000) {  // a normal half
    const std::uint32_t odd = (magnitude >> 13) & 1;
    half = (magnitude - 0x38000000 + 0xfff + odd) >> 13;
  } else {  // a subnormal half: adding 0.5 leaves its bits, rounded, at the end of the sum
    half = bits_of(float_of(magnitude) + 0.5F) - bits_of(0.5F);
  }
  *p = static_cast<std::uint16_t>(sign | half);
}

inline float half_value(std::uint16_t half) {
  const std::uint32_t sign = (half & 0x8000U) << 16;
  const std::uint32_t magnitude = half & 0x7fffU;
  if (magnitude >= 0x7c00) return float_of(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude >= 0x400) return float_of(sign | ((magnitude << 13) + 0x38000000));
  const float value = static_cast<float>(magnitude) * 0x1p-24F;
  return sign != 0 ? -value : value;
}

#include "simd/lanes.inl.hpp"
#include "simd/pack.inl.hpp"

inline F32 load(const Half* p) {
  return half_value(p->bits);
}

#include "simd/select.inl.hpp"

// ---- integer sums of 16 rows

struct Sums {
  std::int32_t v[kTileRows];
};

inline Sums all_sums(std::int32_t v) {
  Sums sums;
  for (std::int32_t& sum : sums.v) sum = v;
  return sums;
}
inline void add(Sums& a, const Sums& b) {
  for (std::size_t i = 0; i < kTileRows; ++i) a.v[i] += b.v[i];
}

struct RowFloats {
  float v[kTileRows];
};

inline RowFloats no_offsets() {
  return {};
}
template <int kStep>
inline RowFloats load_offsets(const std::uint16_t* p) {
  RowFloats offsets;
  for (std::size_t i = 0; i < kTileRows; ++i) offsets.v[i] = half_value(p[i * kStep]);
  return offsets;
}
template <int kStep>
inline RowFloats load_scales(const std::uint16_t* brain) {
  RowFloats scales;
  for (std::size_t i = 0; i < kTileRows; ++i)
    scales.v[i] = float_of(static_cast<std::uint32_t>(brain[i * kStep]) << 16);
  return scales;
}

inline unsigned passing(const Sums& sums, const ScanQuery& query, const RowFloats& scales,
                        const RowFloats& offsets, std::uint32_t may_pass, float* scores) {
  unsigned mask = 0;
  for (std::size_t i = 0; i < kTileRows; ++i) {
    const float product = fma(static_cast<float>(sums.v[i]), query.twice_scale, query.rest);
    scores[i] = fma(product, scales.v[i], offsets.v[i]);
    mask |= static_cast<unsigned>(scores[i] >= query.sink->threshold) << i;
  }
  return mask & may_pass;
}

void pack_bits(const std::uint8_t* bytes, std::size_t words, std::uint32_t* out) {
  for (std::size_t w = 0; w < words; ++w) {
    out[w] = 0;
    for (std::size_t i = 0; i < kBlockRows; ++i)
      out[w] |= static_cast<std::uint32_t>(bytes[w * kBlockRows + i] != 0) << i;
  }
}

struct DotCodes {
  using Part = const std::uint8_t*;
  static constexpr int kParts = 1;
  using Acc = Sums;
  static constexpr int kQueries = 1, kAccs = 1, kColumns = 1;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kFoldTiles = SIZE_MAX;
  static Part load(const std::uint8_t* tile, int) { return tile; }
  static Acc zero() { return {}; }
  static void pin(Acc&) {}
  static void fold(const Acc& acc, Sums* sums) { add(*sums, acc); }
};

inline std::int32_t signed_code(std::uint8_t byte) {
  return static_cast<std::int8_t>(byte);
}

struct Dot4 : DotCodes {
  static constexpr std::size_t kTileDims = 8;
  static constexpr std::size_t kQueryBytes = 8;
  static constexpr auto pack = copy_codes<kQueryBytes>;
  static void mac(Acc& acc, Part tile, const std::uint8_t* query, int) {
    for (std::size_t i = 0; i < kTileRows; ++i)
      for (std::size_t j = 0; j < 4; ++j) {
        const std::uint8_t codes = tile[i * 4 + j];
        acc.v[i] += (codes & 15) * signed_code(query[j]) + (codes >> 4) * signed_code(query[4 + j]);
      }
  }
};

struct Dot8 : DotCodes {
  static constexpr std::size_t kTileDims = 4;
  static constexpr std::size_t kQueryBytes = 4;
  static constexpr auto pack = copy_codes<kQueryBytes>;
  static void mac(Acc& acc, Part tile, const std::uint8_t* query, int) {
    for (std::size_t i = 0; i < kTileRows; ++i)
      for (std::size_t j = 0; j < 4; ++j) acc.v[i] += tile[i * 4 + j] * signed_code(query[j]);
  }
};

#include "simd/lookup.inl.hpp"

template <int kBits>
struct DotTables {
  using Part = const std::uint8_t*;
  struct Acc {
    Sums v[kColumnsPerBlock];
  };
  static constexpr int kQueries = 1, kAccs = 1, kColumns = kColumnsPerBlock, kParts = kSlabs;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kFoldTiles = SIZE_MAX, kTileDims = 32 / kBits;
  static constexpr std::size_t kQueryBytes = kSlabs * kSlabTables;
  static constexpr auto pack = pack_tables<kBits>;
  static Acc zero() { return {}; }
  static void pin(Acc&) {}
  static Part load(const std::uint8_t* tiles, int slab) {
    return tiles + static_cast<std::size_t>(slab) * kBlockRows;
  }
  static void mac(Acc& acc, Part codes, const std::uint8_t* query, int slab) {
    const std::uint8_t* tables = query + static_cast<std::size_t>(slab) * kSlabTables;
    for (std::size_t i = 0; i < kBlockRows; ++i)
      acc.v[i / kTileRows].v[i % kTileRows] +=
          tables[codes[i] & 15] + tables[kTableBytes + (codes[i] >> 4)];
  }
  static void fold(const Acc& acc, Sums* sums) {
    for (std::size_t c = 0; c < kColumnsPerBlock; ++c) add(sums[c], acc.v[c]);
  }
};

using Dot1 = DotTables<1>;
using Dot2 = DotTables<2>;

#include "simd/dot.inl.hpp"
#include "simd/probe.inl.hpp"
#include "simd/scan.inl.hpp"
#include "simd/table.inl.hpp"

}  // namespace

const Kernels kScalar = make_table("scalar");

}  // namespace nestling::simd
