#include "store/codes.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdlib>

#include "store/norms.hpp"

namespace nestling {

BFloat16 to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return static_cast<BFloat16>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_bfloat16(BFloat16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value) << 16);
}

float largest(std::span<const float> x) {
  constexpr std::size_t kLanes = 16;  // that the compiler keeps in vector registers
  std::array<float, kLanes> lanes{};
  const auto raise = [](float& lane, float v) {
    const float magnitude = std::abs(v);
    lane = magnitude > lane ? magnitude : lane;
  };
  std::size_t i = 0;
  for (; i + kLanes <= x.size(); i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) raise(lanes[j], x[i + j]);
  for (; i < x.size(); ++i) raise(lanes[0], x[i]);
  return *std::ranges::max_element(lanes);
}

namespace {

// Factors of the step that are tried. Few values of a Gaussian lie near the largest, so at 2 bits a
// smaller step represents a row better; the one with the least angle between row and code is taken.
// At 1 bit the step makes no difference, and at 4 and 8 bits the search was not worth its time (the
// share of the true top 10 changed by less than 0.002 on 966,000 rows).
constexpr float kWhole[] = {1.0F};
constexpr float kClips[] = {1.0F, 0.9F, 0.8F, 0.7F, 0.6F, 0.5F, 0.4F};

std::span<const float> clips(int bits) {
  return bits == 2 ? std::span<const float>(kClips) : kWhole;
}

// The largest sum of magnitudes of kDims codes that follow one another.
template <std::size_t kDims>
int largest_of_groups(std::span<const std::int8_t> codes) {
  const auto sum = [&](std::size_t first, std::size_t count) {
    int magnitudes = 0;
    for (std::size_t i = first; i < first + count; ++i) magnitudes += std::abs(codes[i]);
    return magnitudes;
  };
  const std::size_t whole = codes.size() / kDims * kDims;
  int largest = sum(whole, codes.size() - whole);
  for (std::size_t i = 0; i < whole; i += kDims) largest = std::max(largest, sum(i, kDims));
  return largest;
}

// By what factor a query's codes exceed what the kernels' narrow sums hold: at most 1 if they fit.
//  * 1 and 2 bits: a table entry, the sum over a nibble's dimensions, is at most largest_entry.
//  * 4 bits: vpmaddubsw sums 15 * |q| in 16 bits over a span of 128 dimensions (16 tiles) in two
//    classes of lanes: dimensions 0, 1, 4, 5 of every eight in one, 2, 3, 6, 7 in the other.
//  * 8 bits: 32-bit sums cannot overflow.
float excess(std::span<const std::int8_t> codes, int bits) {
  const auto dims = codes.size();
  int largest_sum = 0;
  if (bits == 8) return 0.0F;
  if (bits == 4) {
    constexpr std::size_t kSpan = 128;
    for (std::size_t first = 0; first < dims; first += kSpan) {
      int sums[2] = {0, 0};
      for (std::size_t i = first; i < std::min(first + kSpan, dims); ++i)
        sums[i / 2 % 2] += std::abs(codes[i]);
      largest_sum = std::max({largest_sum, sums[0], sums[1]});
    }
    return static_cast<float>(largest_sum) * 15.0F / 32767.0F;
  }
  largest_sum = bits == 1 ? largest_of_groups<4>(codes) : largest_of_groups<2>(codes);
  return static_cast<float>(largest_sum * ((1 << bits) - 1)) /
         static_cast<float>(simd::largest_entry(bits));
}

}  // namespace

BFloat16 encode_row(const simd::Kernels& kernels, std::span<const float> row, int bits,
                    std::span<std::uint8_t> codes) {
  const float magnitude = largest(row);
  if (magnitude < kSmallestNorm) {
    std::ranges::fill(codes, std::uint8_t{0});
    return 0;
  }
  const int max_code = (1 << bits) - 1;
  const auto encode = [&](float clip) {
    const float inverse_step = static_cast<float>(max_code) / (2.0F * magnitude * clip);
    return kernels.encode(row.data(), row.size(), inverse_step, max_code, codes.data());
  };
  simd::CodeFit best{};
  float best_clip = 0.0F, last_clip = 0.0F;
  for (const float clip : clips(bits)) {
    const simd::CodeFit fit = encode(last_clip = clip);
    // cos² of the angle, up to a constant: product² / energy, compared without division
    if (best_clip == 0.0F ||
        fit.product * fit.product * best.energy > best.product * best.product * fit.energy) {
      best = fit;
      best_clip = clip;
    }
  }
  if (best_clip != last_clip) encode(best_clip);
  // The scale |row|² / product makes the row's product with its own code exact, which raises recall
  // at 1 bit. It is 1 / cos² times the scale of least error, which grows without bound for a row
  // that its code represents badly (mostly zeros, for example), so the factor is limited.
  constexpr float kLargestFactor = 2.0F;
  const float exact = kernels.dot(row.data(), row.data(), row.size()) / best.product;
  const float least_error = best.product / best.energy;
  return to_bfloat16(std::min(exact, kLargestFactor * least_error));
}

QueryCode encode_query(const simd::Kernels& kernels, std::span<const float> query, int bits) {
  const float magnitude = largest(query);
  QueryCode out{.codes = std::vector<std::int8_t>(query.size()), .scale = 0.0F, .sum = 0};
  if (magnitude < kSmallestNorm) return out;
  out.scale = magnitude / 127.0F;
  for (;;) {
    kernels.to_i8(query.data(), query.size(), 1.0F / out.scale, out.codes.data());
    const float factor = excess(out.codes, bits);
    if (factor <= 1.0F) break;
    out.scale *= 1.01F * factor;
  }
  // The scale with which the codes represent the query with the least error.
  float product = 0.0F;
  const auto* codes = reinterpret_cast<const std::uint8_t*>(out.codes.data());
  kernels.dot_i8({.rows = &codes, .count = 1, .dims = query.size(), .stride = query.size()},
                 query.data(), &product);
  std::int32_t energy = 0, sum = 0;  // of at most 32,768 dimensions
  for (const std::int8_t code : out.codes) {
    energy += code * code;
    sum += code;
  }
  out.scale = product / static_cast<float>(energy);
  out.sum = sum;
  return out;
}

}  // namespace nestling
