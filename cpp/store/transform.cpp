#include "store/transform.hpp"

#include <algorithm>
#include <numeric>

#include "simd/cpu.hpp"

namespace nestling {

void rotate(const Transform& transform, std::span<const float> vector, std::span<float> out) {
  std::vector<std::uint32_t> rows(vector.size());
  std::iota(rows.begin(), rows.end(), 0U);
  simd::active().dot_f32({.data = reinterpret_cast<const std::uint8_t*>(transform.rotation.data()),
                          .stride = vector.size_bytes(),
                          .dims = vector.size(),
                          .rows = rows.data(),
                          .count = rows.size()},
                         vector.data(), out.data());
}

void rotate_back(const Transform& transform, std::span<const float> vector, std::span<float> out) {
  std::ranges::fill(out, 0.0F);
  for (std::size_t i = 0; i < vector.size(); ++i)
    for (std::size_t d = 0; d < out.size(); ++d)
      out[d] += transform.rotation[i * out.size() + d] * vector[i];
}

}  // namespace nestling
