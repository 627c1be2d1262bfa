#include "search/select.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
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

constexpr std::size_t kChunk = 256;
using Bins = std::array<std::uint8_t, kChunk>;

// Divides a range into bins of one width. Monotonic: all values of a higher bin are larger than all
// of a lower one.
struct Binning {
  float low, scale;

  // The bins of at most kChunk values. The compiler makes vectors of this loop, not of one that
  // counts too.
  Bins operator()(std::span<const float> values) const {
    Bins bins;
    for (std::size_t i = 0; i < values.size(); ++i)
      bins[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>((values[i] - low) * scale));
    return bins;
  }
};

template <class Visit>
void for_each_chunk(std::span<float> values, Visit visit) {
  for (std::size_t first = 0; first < values.size(); first += kChunk)
    visit(values.subspan(first, std::min(kChunk, values.size() - first)));
}

// Whether one of eight bytes may be `byte`: always where one is.
bool has_byte(const std::uint8_t* bytes, std::uint8_t byte) {
  constexpr std::uint64_t kOnes = 0x0101010101010101, kHighest = kOnes << 7;
  std::uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  word ^= kOnes * byte;
  return ((word - kOnes) & ~word & kHighest) != 0;
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
    const Binning binning{low, scale};
    std::array<std::uint32_t, kBins> even{}, odd{};
    for_each_chunk(values, [&](std::span<const float> chunk) {
      const Bins bins = binning(chunk);
      for (std::size_t i = 0; i + 1 < chunk.size(); i += 2) {
        ++even[bins[i]];
        ++odd[bins[i + 1]];
      }
      if (chunk.size() % 2 != 0) ++even[bins[chunk.size() - 1]];
    });
    std::size_t target = kBins - 1;
    for (std::size_t above = 0;; --target) {
      above += even[target] + odd[target];
      if (above >= n) {
        n -= above - (even[target] + odd[target]);
        break;
      }
    }
    std::size_t kept = 0;
    for_each_chunk(values, [&](std::span<const float> chunk) {
      const Bins bins = binning(chunk);
      for (std::size_t first = 0; first < chunk.size(); first += sizeof(std::uint64_t)) {
        if (!has_byte(bins.data() + first, static_cast<std::uint8_t>(target))) continue;
        const std::size_t end = std::min(first + sizeof(std::uint64_t), chunk.size());
        for (std::size_t i = first; i < end; ++i) {
          const float value = chunk[i];
          values[kept] = value;  // never after chunk[i]
          kept += bins[i] == target;
        }
      }
    });
    if (kept == values.size()) break;  // no progress: one value is far from all others
    values = values.first(kept);
  }
  return nth_of_few(values, n);
}

}  // namespace nestling
