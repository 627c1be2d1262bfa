#include "search/select.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <limits>

#include "simd/cpu.hpp"

namespace nestling {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// A few values, padded with minus infinity, and how many are above each of them.
class Few {
 public:
  static constexpr std::size_t kSize = 16;

  // Those at even distances of `values`; all of them where there are no more.
  explicit Few(std::span<const float> values) {
    const std::size_t count = std::min(values.size(), kSize);
    for (std::size_t i = 0; i < count; ++i) values_[i] = values[i * values.size() / count];
    std::fill(values_.begin() + static_cast<std::ptrdiff_t>(count), values_.end(), -kInfinity);
    above_.fill(0);
    for (const float value : values_)  // the compiler makes vectors of the inner loop
      for (std::size_t i = 0; i < kSize; ++i) above_[i] += value > values_[i] ? 1 : 0;
  }

  // The n-th largest, 1 <= n <= kSize: the least that fewer than n are above.
  float nth(std::size_t n) const {
    const auto fewer = static_cast<std::int32_t>(n);
    float least = kInfinity;
    for (std::size_t i = 0; i < kSize; ++i)
      least = std::min(least, above_[i] < fewer ? values_[i] : kInfinity);
    return least;
  }

 private:
  std::array<float, kSize> values_;
  std::array<std::int32_t, kSize> above_;
};

}  // namespace

float nth_largest(std::span<float> values, std::size_t n) {
  const simd::Kernels& kernels = simd::active();
  while (values.size() > Few::kSize) {
    // The n-th largest is likely to lie between two values of the sample that are so many ranks
    // apart.
    constexpr std::size_t kBefore = 1, kAfter = 3;
    const Few sample(values);
    const std::size_t rank = n * Few::kSize / values.size();  // values of the sample above it
    const float high = sample.nth(rank > kBefore ? rank - kBefore : 1);
    const float low = sample.nth(std::min(rank + kAfter, Few::kSize));
    const std::size_t above_high = kernels.count_above(values.data(), values.size(), high);
    const std::size_t above_low = kernels.count_above(values.data(), values.size(), low);
    const auto keep = [&](float from, float to) {
      return kernels.keep_between(values.data(), values.size(), from, to);
    };
    std::size_t kept;
    if (n <= above_high) {
      kept = keep(high, kInfinity);
    } else if (n <= above_low) {
      kept = keep(low, high);
      n -= above_high;
    } else {
      kept = keep(-kInfinity, low);
      n -= above_low;
      if (n > kept) return -kInfinity;  // which is above nothing
    }
    if (kept == values.size()) {  // no progress: most values are the same
      const auto nth = values.begin() + static_cast<std::ptrdiff_t>(n) - 1;
      std::nth_element(values.begin(), nth, values.end(), std::greater<>());
      return *nth;
    }
    values = values.first(kept);
  }
  return Few(values).nth(n);
}

}  // namespace nestling
