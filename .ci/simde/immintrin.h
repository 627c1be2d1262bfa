// Replaces <immintrin.h> where AVX-512 is emulated: SIMDe's portable intrinsics, and those that
// SIMDe 0.7 lacks or implements differently. SIMDe rounds a fused multiply-add twice, AVX-512 once,
// so it is replaced too.
#pragma once

#define SIMDE_ENABLE_NATIVE_ALIASES
#define SIMDE_NO_NATIVE
#include <simde/x86/avx512.h>

#ifndef _MM_FROUND_TO_NEAREST_INT
#define _MM_FROUND_TO_NEAREST_INT SIMDE_MM_FROUND_TO_NEAREST_INT
#endif
#ifndef _MM_FROUND_NO_EXC
#define _MM_FROUND_NO_EXC SIMDE_MM_FROUND_NO_EXC
#endif
#ifndef _CMP_GE_OQ
#define _CMP_GE_OQ SIMDE_CMP_GE_OQ
#endif

using __mmask16 = simde__mmask16;

namespace emulated {

// Calls lane(i) for each of 16 lanes and returns the results as a vector.
template <class Vector, class Value, class Lane>
inline Vector sixteen(Lane lane) {
  Value values[16];
  for (int i = 0; i < 16; ++i) values[i] = lane(i);
  Vector out;
  static_assert(sizeof out == sizeof values);
  __builtin_memcpy(&out, values, sizeof out);
  return out;
}

// The i-th value of a vector.
template <class Value, class Vector>
inline Value at(const Vector& vector, int i) {
  Value value;
  __builtin_memcpy(&value, reinterpret_cast<const char*>(&vector) + i * sizeof value, sizeof value);
  return value;
}

inline simde__m512 fmadd(simde__m512 a, simde__m512 b, simde__m512 c) {
  return sixteen<simde__m512, float>(
      [&](int i) { return __builtin_fmaf(at<float>(a, i), at<float>(b, i), at<float>(c, i)); });
}
inline simde__m512 from_i32(simde__m512i a) {
  return sixteen<simde__m512, float>([&](int i) { return static_cast<float>(at<int>(a, i)); });
}
inline simde__m512i from_i8(simde__m128i a) {
  return sixteen<simde__m512i, int>([&](int i) { return int{at<signed char>(a, i)}; });
}
inline simde__m512i from_u16(simde__m256i a) {
  return sixteen<simde__m512i, int>([&](int i) { return int{at<unsigned short>(a, i)}; });
}
inline simde__m256i to_i16(simde__m512i a) {
  short values[16];
  for (int i = 0; i < 16; ++i) values[i] = static_cast<short>(at<int>(a, i));
  simde__m256i out;
  static_assert(sizeof out == sizeof values);
  __builtin_memcpy(&out, values, sizeof out);
  return out;
}
inline simde__m512 from_half(simde__m256i a) {
  return sixteen<simde__m512, float>([&](int i) { return static_cast<float>(at<_Float16>(a, i)); });
}
inline simde__m256i to_half(simde__m512 a) {
  _Float16 values[16];
  for (int i = 0; i < 16; ++i) values[i] = static_cast<_Float16>(at<float>(a, i));
  simde__m256i out;
  static_assert(sizeof out == sizeof values);
  __builtin_memcpy(&out, values, sizeof out);
  return out;
}

}  // namespace emulated

#undef _mm512_fmadd_ps
#define _mm512_fmadd_ps(a, b, c) emulated::fmadd(a, b, c)
#undef _mm512_cvtepi32_ps
#define _mm512_cvtepi32_ps(a) emulated::from_i32(a)
#undef _mm512_cvtepi8_epi32
#define _mm512_cvtepi8_epi32(a) emulated::from_i8(a)
#undef _mm512_cvtepu16_epi32
#define _mm512_cvtepu16_epi32(a) emulated::from_u16(a)
#undef _mm512_cvtepi32_epi16
#define _mm512_cvtepi32_epi16(a) emulated::to_i16(a)
#undef _mm512_cvtph_ps
#define _mm512_cvtph_ps(a) emulated::from_half(a)
#undef _mm512_cvtps_ph
#define _mm512_cvtps_ph(a, rounding) emulated::to_half(a)  // to the nearest, the only mode in use
