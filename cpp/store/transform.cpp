#include "store/transform.hpp"

#include <algorithm>
#include <vector>

#include "simd/cpu.hpp"

namespace nestling {

void rotate(const Transform& transform, std::span<const float> vector, std::span<float> out) {
  std::vector<const std::uint8_t*> axes;
  axes.reserve(vector.size());
  for (std::size_t i = 0; i < vector.size(); ++i)
    axes.push_back(
        reinterpret_cast<const std::uint8_t*>(transform.rotation.data() + i * vector.size()));
  simd::active().dot_f32({.rows = axes.data(),
                          .count = axes.size(),
                          .dims = vector.size(),
                          .stride = vector.size_bytes()},
                         vector.data(), out.data());
}

void rotate_back(const Transform& transform, std::span<const float> vector, std::span<float> out) {
  std::ranges::fill(out, 0.0F);
  for (std::size_t i = 0; i < vector.size(); ++i)
    for (std::size_t d = 0; d < out.size(); ++d)
      out[d] += transform.rotation[i * out.size() + d] * vector[i];
}

}  // namespace nestling
