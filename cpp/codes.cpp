#include "codes.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>

namespace nestling {

BFloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<BFloat16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_bfloat16(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

namespace {

float largest(std::span<const float> x) {
  float most = 0.0F;
  for (const float v : x) most = std::max(most, std::abs(v));
  return most;
}

// vpmaddubsw of 4-bit codes sums 15 * |q| in 16 bits over a span of 128 dimensions (16 tiles), in two
// classes of lanes: dimensions 0, 1, 4, 5 of every eight in one, 2, 3, 6, 7 in the other.
constexpr std::size_t kSpan = 128;
constexpr int kClassLimit = 32767 / 15;

int largest_class_sum(std::span<const std::int8_t> codes) {
  int most = 0;
  for (std::size_t first = 0; first < codes.size(); first += kSpan) {
    int sums[2] = {0, 0};
    for (std::size_t i = first; i < std::min(first + kSpan, codes.size()); ++i)
      sums[i / 2 % 2] += std::abs(codes[i]);
    most = std::max({most, sums[0], sums[1]});
  }
  return most;
}

}  // namespace

BFloat16 encode_row(const simd::Kernels& kernels, std::span<const float> row, int bits,
                    std::uint8_t* codes) {
  const float most = largest(row);
  const int max_code = (1 << bits) - 1;
  if (most == 0.0F) {
    std::fill_n(codes, row.size(), std::uint8_t{0});
    return 0;
  }
  const float energy = kernels.dot(row.data(), row.data(), row.size());
  const float inverse_step = static_cast<float>(max_code) / (2.0F * most);
  const float product = kernels.encode(row.data(), row.size(), inverse_step, max_code, codes);
  return to_bfloat16(energy / product);
}

QueryCode encode_query(std::span<const float> query, int bits) {
  QueryCode out{std::vector<std::int8_t>(query.size()), largest(query) / 127.0F, 0};
  if (out.scale == 0.0F) return out;
  for (;;) {
    for (std::size_t i = 0; i < query.size(); ++i)
      out.codes[i] = static_cast<std::int8_t>(std::rint(query[i] / out.scale));
    const int most = bits == 4 ? largest_class_sum(out.codes) : 0;
    if (most <= kClassLimit) break;
    out.scale *= 1.01F * static_cast<float>(most) / static_cast<float>(kClassLimit);
  }
  for (const std::int8_t code : out.codes) out.sum += code;
  return out;
}

}  // namespace nestling
