// NEON with the dot-product extension (Armv8.2-A: Graviton 2, Apple M1, Neoverse N1 onwards).
// .ci/aarch64 cross-compiles these kernels and runs them under qemu.
#include <arm_neon.h>

#include "simd/kernels.hpp"

namespace nestling::simd {
namespace {

// ---- floating point: vectors of four floats

using F32 = float32x4_t;
constexpr std::size_t kWidth = 4;

struct Half;

inline F32 zero() {
  return vdupq_n_f32(0.0F);
}
inline F32 broadcast(float v) {
  return vdupq_n_f32(v);
}
inline F32 load(const float* p) {
  return vld1q_f32(p);
}
inline F32 load(const Half* p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(reinterpret_cast<const std::uint16_t*>(p))));
}
inline F32 load(const std::int8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  const int8x8_t bytes = vreinterpret_s8_s32(vdup_n_s32(word));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(bytes))));
}
inline uint32x4_t load_bytes(const std::uint8_t* p) {
  std::uint32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(word));
  return vmovl_u16(vget_low_u16(vmovl_u8(bytes)));
}
inline F32 load_low_nibbles(const std::uint8_t* p) {
  return vcvtq_f32_u32(vandq_u32(load_bytes(p), vdupq_n_u32(15)));
}
inline F32 load_high_nibbles(const std::uint8_t* p) {
  return vcvtq_f32_u32(vshrq_n_u32(load_bytes(p), 4));
}
inline F32 add(F32 a, F32 b) {
  return vaddq_f32(a, b);
}
inline F32 mul(F32 a, F32 b) {
  return vmulq_f32(a, b);
}
inline F32 fma(F32 a, F32 b, F32 c) {
  return vfmaq_f32(c, a, b);
}
inline F32 round(F32 v) {
  return vrndnq_f32(v);
}
inline F32 clamp(F32 v, float low, float high) {
  return vminq_f32(vmaxq_f32(v, vdupq_n_f32(low)), vdupq_n_f32(high));
}
inline F32 keep_first(F32 v, std::size_t at, std::size_t count) {
  const std::int32_t index[4] = {0, 1, 2, 3};
  const int32x4_t left =
      vdupq_n_s32(static_cast<std::int32_t>(count) - static_cast<std::int32_t>(at));
  const uint32x4_t keep = vcltq_s32(vld1q_s32(index), left);
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), keep));
}
inline float reduce(F32 v) {
  const float32x2_t two = vadd_f32(vget_low_f32(v), vget_high_f32(v));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline void store(float* p, F32 v) {
  vst1q_f32(p, v);
}
inline void store_half(std::uint16_t* p, F32 v) {
  vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v)));
}

inline std::uint32_t above(F32 a, F32 b) {
  const std::uint32_t bit_values[4] = {1, 2, 4, 8};
  return vaddvq_u32(vandq_u32(vcgtq_f32(a, b), vld1q_u32(bit_values)));
}

// For each mask of four elements, the bytes of these.
struct MaskOrders {
  std::uint8_t of[16][16];

  constexpr MaskOrders() : of{} {
    for (std::size_t mask = 0; mask < 16; ++mask) {
      std::size_t count = 0;
      for (std::size_t byte = 0; byte < 16; ++byte)
        if ((mask >> byte / 4 & 1) != 0) of[mask][count++] = static_cast<std::uint8_t>(byte);
    }
  }
};
alignas(64) constexpr MaskOrders kMaskOrders;

inline void store_some(float* p, F32 v, std::uint32_t mask) {
  vst1q_u8(reinterpret_cast<std::uint8_t*>(p),
           vqtbl1q_u8(vreinterpretq_u8_f32(v), vld1q_u8(kMaskOrders.of[mask])));
}

#include "simd/lanes.inl.hpp"
#include "simd/pack.inl.hpp"
#include "simd/select.inl.hpp"

// ---- integer sums of 16 rows: four vectors of four

struct Sums {
  int32x4_t v[4];
};

inline Sums all_sums(std::int32_t v) {
  const int32x4_t four = vdupq_n_s32(v);
  return {{four, four, four, four}};
}
inline void pin_sums(Sums& a) {
  __asm__("" : "+w"(a.v[0]), "+w"(a.v[1]), "+w"(a.v[2]), "+w"(a.v[3]));
}
inline void add(Sums& a, const Sums& b) {
  for (int i = 0; i < 4; ++i) a.v[i] = vaddq_s32(a.v[i], b.v[i]);
}

struct RowFloats {
  F32 v[4];
};

inline RowFloats no_offsets() {
  return {{zero(), zero(), zero(), zero()}};
}
template <int kStep>
inline RowFloats load_offsets(const std::uint16_t* p) {
  RowFloats offsets;
  for (int i = 0; i < 4; ++i) offsets.v[i] = load(reinterpret_cast<const Half*>(p) + 4 * i);
  return offsets;
}
template <int kStep>
inline RowFloats load_scales(const std::uint16_t* brain) {
  RowFloats scales;
  for (int i = 0; i < 4; ++i)
    scales.v[i] = vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(brain + 4 * i), 16));
  return scales;
}

inline unsigned passing(const Sums& sums, const ScanQuery& query, const RowFloats& scales,
                        const RowFloats& offsets, std::uint32_t may_pass, float* scores) {
  const std::uint32_t bit_values[4] = {1, 2, 4, 8};
  const uint32x4_t bits = vld1q_u32(bit_values);
  const F32 threshold = broadcast(query.sink->threshold);
  unsigned mask = 0;
  for (int i = 0; i < 4; ++i) {
    const F32 product =
        fma(vcvtq_f32_s32(sums.v[i]), broadcast(query.twice_scale), broadcast(query.rest));
    const F32 score = fma(product, scales.v[i], offsets.v[i]);
    store(scores + 4 * i, score);
    mask |= vaddvq_u32(vandq_u32(vcgeq_f32(score, threshold), bits)) << (4 * i);
  }
  return mask & may_pass;
}

void pack_bits(const std::uint8_t* bytes, std::size_t words, std::uint32_t* out) {
  const std::uint8_t bit_values[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t bits = vld1q_u8(bit_values);
  for (std::size_t w = 0; w < words; ++w) {
    out[w] = 0;
    for (std::uint32_t half = 0; half < 2; ++half) {
      const uint8x16_t row = vld1q_u8(bytes + w * kBlockRows + half * 16);
      const uint8x16_t set = vandq_u8(vtstq_u8(row, row), bits);
      const std::uint32_t low = vaddv_u8(vget_low_u8(set)), high = vaddv_u8(vget_high_u8(set));
      out[w] |= (low | high << 8) << (half * 16);
    }
  }
}

inline int8x16_t broadcast_word(const std::uint8_t* p) {
  std::int32_t word;
  __builtin_memcpy(&word, p, sizeof word);
  return vreinterpretq_s8_s32(vdupq_n_s32(word));
}

// sdot multiplies signed by signed; 4-bit codes are the same number either way.
struct Dot4 {
  static constexpr int kQueries = 4, kAccs = 1, kColumns = 1;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kTileDims = 8;
  static constexpr std::size_t kQueryBytes = 8;
  static constexpr std::size_t kFoldTiles = SIZE_MAX;
  static constexpr int kParts = 2;  // dims 0..3, then 4..7
  struct Part {
    int8x16_t v[4];  // four rows each
  };
  using Acc = Sums;
  static Part load(const std::uint8_t* tile, int part) {
    Part out;
    for (int i = 0; i < 4; ++i) {
      const uint8x16_t codes = vld1q_u8(tile + 16 * i);
      out.v[i] =
          vreinterpretq_s8_u8(part == 0 ? vandq_u8(codes, vdupq_n_u8(15)) : vshrq_n_u8(codes, 4));
    }
    return out;
  }
  static Acc zero() { return all_sums(0); }
  static void pin(Acc& acc) { pin_sums(acc); }
  static void mac(Acc& acc, const Part& codes, const std::uint8_t* query, int part) {
    const int8x16_t q = broadcast_word(query + 4 * part);
    for (int i = 0; i < 4; ++i) acc.v[i] = vdotq_s32(acc.v[i], codes.v[i], q);
  }
  static void fold(const Acc& acc, Sums* sums) { add(*sums, acc); }
  static constexpr auto pack = copy_codes<kQueryBytes>;
};

// 8-bit codes are unsigned: sdot sums (code - 128) * q, and twice a second sdot of 64 by the query
// adds 128 * sum(q) back, so that the sum is the same as on every other ISA.
struct Dot8 {
  static constexpr int kQueries = 4, kAccs = 1, kColumns = 1;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kTileDims = 4;
  static constexpr std::size_t kQueryBytes = 4;
  static constexpr std::size_t kFoldTiles = SIZE_MAX;
  static constexpr int kParts = 1;
  struct Part {
    int8x16_t v[4];
  };
  struct Acc {
    Sums sums;
    int32x4_t query_sum;
  };
  static Part load(const std::uint8_t* tile, int) {
    Part out;
    for (int i = 0; i < 4; ++i)
      out.v[i] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(tile + 16 * i), vdupq_n_u8(128)));
    return out;
  }
  static Acc zero() { return {all_sums(0), vdupq_n_s32(0)}; }
  static void pin(Acc& acc) { pin_sums(acc.sums); }
  static void mac(Acc& acc, const Part& codes, const std::uint8_t* query, int) {
    const int8x16_t q = broadcast_word(query);
    for (int i = 0; i < 4; ++i) acc.sums.v[i] = vdotq_s32(acc.sums.v[i], codes.v[i], q);
    acc.query_sum = vdotq_s32(acc.query_sum, vdupq_n_s8(64), q);
  }
  static void fold(const Acc& acc, Sums* sums) {
    const int32x4_t offset = vaddq_s32(acc.query_sum, acc.query_sum);
    add(*sums, acc.sums);
    add(*sums, {{offset, offset, offset, offset}});
  }
  static constexpr auto pack = copy_codes<kQueryBytes>;
};

#include "simd/lookup.inl.hpp"

template <int kBits>
struct DotTables {
  static constexpr int kQueries = 4, kAccs = 1, kColumns = 2, kParts = kSlabs;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kTileDims = 32 / kBits;
  static constexpr std::size_t kFoldTiles = 64;  // of at most 4 × 255 each, in 16 bits
  static constexpr std::size_t kQueryBytes = kSlabs * kSlabTables;
  static constexpr auto pack = pack_tables<kBits>;
  struct Part {
    uint8x16_t low[2], high[2];  // nibbles of rows 0..15 and 16..31
  };
  struct Acc {
    uint16x8_t v[4];      // eight rows each
    uint8x16_t bytes[2];  // entries are added here for as long as they fit
  };
  static Acc zero() {
    const uint16x8_t none = vdupq_n_u16(0);
    return {{none, none, none, none}, {vdupq_n_u8(0), vdupq_n_u8(0)}};
  }
  static void pin(Acc& acc) {
    __asm__(""
            : "+w"(acc.v[0]), "+w"(acc.v[1]), "+w"(acc.v[2]), "+w"(acc.v[3]), "+w"(acc.bytes[0]),
              "+w"(acc.bytes[1]));
  }
  static Part load(const std::uint8_t* tiles, int slab) {
    Part out;
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t codes = vld1q_u8(tiles + slab * static_cast<int>(kBlockRows) + 16 * i);
      out.low[i] = vandq_u8(codes, vdupq_n_u8(15));
      out.high[i] = vshrq_n_u8(codes, 4);
    }
    return out;
  }
  static void mac(Acc& acc, const Part& codes, const std::uint8_t* query, int slab) {
    const std::uint8_t* tables = query + static_cast<std::size_t>(slab) * kSlabTables;
    const uint8x16_t low = vld1q_u8(tables), high = vld1q_u8(tables + kTableBytes);
    for (int i = 0; i < 2; ++i) {
      const uint8x16_t sum =
          vaddq_u8(vqtbl1q_u8(low, codes.low[i]), vqtbl1q_u8(high, codes.high[i]));
      constexpr int kSum = slabs_per_sum(kBits);
      acc.bytes[i] = slab % kSum == 0 ? sum : vaddq_u8(acc.bytes[i], sum);
      if (slab % kSum != kSum - 1) continue;
      acc.v[2 * i] = vaddw_u8(acc.v[2 * i], vget_low_u8(acc.bytes[i]));
      acc.v[2 * i + 1] = vaddw_high_u8(acc.v[2 * i + 1], acc.bytes[i]);
    }
  }
  static void fold(const Acc& acc, Sums* sums) {
    for (int i = 0; i < 2; ++i) {
      const uint16x8_t a = acc.v[2 * i], b = acc.v[2 * i + 1];
      add(sums[i], {{vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(a))),
                     vreinterpretq_s32_u32(vmovl_high_u16(a)),
                     vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(b))),
                     vreinterpretq_s32_u32(vmovl_high_u16(b))}});
    }
  }
};

using Dot1 = DotTables<1>;
using Dot2 = DotTables<2>;

#include "simd/dot.inl.hpp"
#include "simd/probe.inl.hpp"
#include "simd/scan.inl.hpp"
#include "simd/table.inl.hpp"

}  // namespace

const Kernels kNeonDot = make_table("neon_dot");

}  // namespace nestling::simd
