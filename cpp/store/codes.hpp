// Row codes: a vector as small integers and a scale.
//
// A code of b bits represents the odd level 2 * code - (2^b - 1), so that the 2^b levels are
// symmetric about zero. The value is level * scale.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "simd/kernels.hpp"

namespace nestling {

// The upper half of a float32: its whole range at 8 bits of precision.
using BFloat16 = std::uint16_t;
using Float16 = std::uint16_t;                  // IEEE 754 binary16
inline constexpr BFloat16 kAbsentRow = 0x7fc0;  // NaN: such a row passes no threshold

BFloat16 to_bfloat16(float value);
float from_bfloat16(BFloat16 value);

// The largest magnitude of a vector.
float largest(std::span<const float> x);

// Writes the codes of one row, one per byte, and returns its scale. A row of zeros, or of
// values that count as zero (store/norms.hpp), has scale 0.
BFloat16 encode_row(const simd::Kernels& kernels, std::span<const float> row, int bits,
                    std::span<std::uint8_t> codes);

// A query as signed bytes: value = code * scale.
struct QueryCode {
  std::vector<std::int8_t> codes;
  float scale;
  std::int32_t sum;  // of the codes
};

// Codes are within ±127, and so small that narrow sums in the kernels cannot overflow.
QueryCode encode_query(const simd::Kernels& kernels, std::span<const float> query, int bits);

}  // namespace nestling
