#include "search/select.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <limits>

namespace nestling {
namespace {

constexpr std::size_t kFew = 64;  // values that std::nth_element selects from
constexpr std::size_t kBins = 256;

struct Range {
  float low, high;
};

Range range_of(std::span<const float> values) {
  constexpr std::size_t kLanes = 16;  // that the compiler keeps in vector registers
  std::array<float, kLanes> low, high;
  low.fill(std::numeric_limits<float>::infinity());
  high.fill(-std::numeric_limits<float>::infinity());
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) {
      const float v = values[i + j];
      low[j] = v < low[j] ? v : low[j];
      high[j] = v > high[j] ? v : high[j];
    }
  for (; i < values.size(); ++i) {
    low[0] = std::min(low[0], values[i]);
    high[0] = std::max(high[0], values[i]);
  }
  return {*std::ranges::min_element(low), *std::ranges::max_element(high)};
}

float nth_of_few(std::span<float> values, std::size_t n) {
  const auto nth = values.begin() + static_cast<std::ptrdiff_t>(n) - 1;
  std::nth_element(values.begin(), nth, values.end(), std::greater<>());
  return *nth;
}

}  // namespace

float nth_largest(std::span<float> values, std::size_t n) {
  while (values.size() > kFew) {
    const auto [low, high] = range_of(values);
    if (low == high) return low;
    const float scale = static_cast<float>(kBins - 1) / (high - low);
    if (!(scale > 0.0F && scale < std::numeric_limits<float>::infinity())) break;
    // Monotonic: all values of a higher bin are larger than all of a lower one.
    const auto bin = [=](float v) { return static_cast<std::int32_t>((v - low) * scale); };
    std::array<std::uint32_t, kBins> even{}, odd{};
    for (std::size_t i = 0; i + 1 < values.size(); i += 2) {
      ++even[static_cast<std::size_t>(bin(values[i]))];
      ++odd[static_cast<std::size_t>(bin(values[i + 1]))];
    }
    if (values.size() % 2 != 0) ++even[static_cast<std::size_t>(bin(values.back()))];
    std::int32_t target = kBins - 1;
    for (std::size_t above = 0;; --target) {
      const auto b = static_cast<std::size_t>(target);
      above += even[b] + odd[b];
      if (above >= n) {
        n -= above - (even[b] + odd[b]);
        break;
      }
    }
    std::size_t kept = 0;
    for (const float v : values) {
      values[kept] = v;
      kept += bin(v) == target;
    }
    if (kept == values.size()) break;  // no progress: one value is far from all others
    values = values.first(kept);
  }
  return nth_of_few(values, n);
}

}  // namespace nestling
