// AVX2 with the dot product of AVX-VNNI (Alder Lake, Sierra Forest and Zen 5 onwards).
#include <immintrin.h>

#include "simd/kernels.hpp"

namespace nestling::simd {
namespace {

#include "simd/avx2.inl.hpp"

// vpdpbusd: four unsigned codes by four signed query bytes, summed into 32 bits without saturation.
struct DotVnni {
  static constexpr int kQueries = 4, kAccs = 1, kColumns = 1;
  static constexpr bool kInterleaved = false;
  static constexpr std::size_t kFoldTiles = SIZE_MAX;
  using Part = Nibbles;  // rows 0..7 and 8..15
  using Acc = Sums;
  static Acc zero() { return all_sums(0); }
  static void pin(Acc& acc) { __asm__("" : "+x"(acc.low), "+x"(acc.high)); }
  static void mac(Acc& acc, const Part& codes, const std::uint8_t* query, int part) {
    const __m256i q = broadcast_word(query + 4 * part);
    acc.low = _mm256_dpbusd_avx_epi32(acc.low, codes.v[0], q);
    acc.high = _mm256_dpbusd_avx_epi32(acc.high, codes.v[1], q);
  }
  static void fold(const Acc& acc, Sums* sums) { add(*sums, acc); }
};

struct Dot4 : DotVnni {
  static constexpr std::size_t kTileDims = 8;
  static constexpr std::size_t kQueryBytes = 8;
  static constexpr int kParts = 2;  // dims 0..3, then 4..7
  static Part load(const std::uint8_t* tile, int part) { return load_nibbles(tile, part); }
  static constexpr auto pack = copy_codes<kQueryBytes>;
};

struct Dot8 : DotVnni {
  static constexpr std::size_t kTileDims = 4;
  static constexpr std::size_t kQueryBytes = 4;
  static constexpr int kParts = 1;
  static Part load(const std::uint8_t* tile, int) {
    return {{load_codes(tile), load_codes(tile + 32)}};
  }
  static constexpr auto pack = copy_codes<kQueryBytes>;
};

using Dot1 = DotTables<1>;
using Dot2 = DotTables<2>;

#include "simd/dot.inl.hpp"
#include "simd/probe.inl.hpp"
#include "simd/scan.inl.hpp"
#include "simd/table.inl.hpp"

}  // namespace

const Kernels kAvx2Vnni = make_table("avx2_vnni");

}  // namespace nestling::simd
