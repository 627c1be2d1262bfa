// Compares nth_largest of every ISA with std::nth_element, on values that are random, tied, extreme
// or infinite.
#include <algorithm>
#include <bit>
#include <cstdint>
#include <functional>
#include <limits>

#include "check.hpp"
#include "simd/cpu.hpp"

namespace {

std::mt19937 random_bits(20261124);

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kLargest = std::numeric_limits<float>::max();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

float uniform() {
  return std::uniform_real_distribution<float>(-1.0F, 1.0F)(random_bits);
}
float normal() {
  return std::normal_distribution<float>()(random_bits);
}
float one_of(std::initializer_list<float> values) {
  return values.begin()[random_bits() % values.size()];
}

// Any float but NaN.
float any_bits() {
  const auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random_bits()));
  return value == value ? value : 0.0F;
}

void check_nth(const std::vector<float>& values, std::size_t n) {
  std::vector<float> expected = values;
  const auto nth = expected.begin() + static_cast<std::ptrdiff_t>(n) - 1;
  std::nth_element(expected.begin(), nth, expected.end(), std::greater<>());
  for (const nestling::simd::Kernels* kernels : nestling::simd::available()) {
    std::vector<float> overwritten = values;
    CHECK(kernels->nth_largest(overwritten.data(), overwritten.size(), n) == *nth);
  }
}

// Checks every n for few values; for many the ends, the middle and some others.
void check_values(std::size_t size, auto make) {
  const auto values = check::filled<float>(size, make);
  if (size <= 200) {
    for (std::size_t n = 1; n <= size; ++n) check_nth(values, n);
    return;
  }
  for (const std::size_t n : {std::size_t{1}, std::size_t{2}, size / 2, size - 1, size})
    check_nth(values, n);
  for (int i = 0; i < 20; ++i) check_nth(values, 1 + random_bits() % size);
}

}  // namespace

int main() {
  for (const std::size_t size : {1, 2, 15, 16, 17, 63, 64, 65, 66, 80, 127, 200, 1000, 4097, 30000})
    for (int round = 0; round < 3; ++round) {
      check_values(size, uniform);
      check_values(size, normal);
      check_values(size, any_bits);
      check_values(size, [] { return 0.25F; });
      check_values(size, [] { return one_of({0.0F, -0.0F}); });
      check_values(size, [] { return one_of({1.0F, 2.0F, 3.0F}); });
      check_values(size, [] { return one_of({-kInfinity, kInfinity}); });
      check_values(size, [] { return one_of({-kInfinity, kInfinity, 0.0F, uniform()}); });
      check_values(size, [] { return one_of({kInfinity, uniform()}); });
      check_values(size, [] { return one_of({-kInfinity, normal()}); });
      check_values(size, [] { return one_of({-kLargest, kLargest, uniform()}); });
      check_values(size, [] { return one_of({kLargest, uniform() * kLargest}); });
      check_values(size, [] { return one_of({kDenormal, -kDenormal, 0.0F}); });
      check_values(size, [] { return uniform() * 1e3F * kDenormal; });
      check_values(size, [] { return uniform() * 1e-38F; });
      // Neighbours of 1, which a round of counting cannot distinguish better than floats do.
      check_values(size, [] {
        return 1.0F + static_cast<float>(random_bits() % 5) * std::numeric_limits<float>::epsilon();
      });
      // Scores as in a search: most in a narrow range, one far away in either direction.
      bool first = true;
      const auto with_outlier = [&](float outlier) {
        first = true;
        check_values(size, [&] {
          const float value = first ? outlier : 0.5F + 1e-3F * uniform();
          first = false;
          return value;
        });
      };
      for (const float outlier : {1e6F, -1e6F, 1e30F, -1e30F, kLargest, -kInfinity, kInfinity})
        with_outlier(outlier);
      // Each round's range is a small part of the previous one's.
      float scale = 1.0F;
      check_values(size, [&] {
        scale = scale < 1e-37F ? 1.0F : scale * 0.5F;
        return scale;
      });
      int step = 0;
      check_values(size, [&] { return static_cast<float>(step++); });
      check_values(size, [&] { return static_cast<float>(step--); });
    }
  return check::report("check_select");
}
