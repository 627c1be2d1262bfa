#include "store/norms.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <vector>

#include "base/error.hpp"
#include "simd/cpu.hpp"

namespace nestling {
namespace {

void normalise(Metric metric, std::span<const float> vector, std::span<float> out, const char* what,
               std::size_t number) {
  double partial[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= vector.size(); i += 8)
    for (std::size_t j = 0; j < 8; ++j)
      partial[j] += static_cast<double>(vector[i + j]) * static_cast<double>(vector[i + j]);
  for (; i < vector.size(); ++i) partial[0] += static_cast<double>(vector[i]) * vector[i];
  double squares = 0.0;
  for (const double p : partial) squares += p;

  if (!std::isfinite(squares)) {  // squares of finite floats always are
    const auto bad = std::ranges::find_if(vector, [](float v) { return !std::isfinite(v); });
    std::ostringstream message;
    message << what << " " << number << " has " << *bad << " at dimension " << bad - vector.begin()
            << "; every value must be finite";
    throw VectorError(message.str());
  }
  const double norm = std::sqrt(squares);
  if (metric == Metric::inner_product) {
    if (norm > kLargestNorm) {
      std::ostringstream message;
      message << what << " " << number << " has norm " << norm
              << "; inner products need norms of at most " << kLargestNorm;
      throw VectorError(message.str());
    }
    std::ranges::copy(vector, out.begin());
    return;
  }
  const double factor = norm > 0.0 ? 1.0 / norm : 0.0;
  for (std::size_t d = 0; d < vector.size(); ++d)
    out[d] = static_cast<float>(static_cast<double>(vector[d]) * factor);
}

}  // namespace

float prefix_norm(std::span<const float> vector, std::size_t dims) {
  return std::sqrt(simd::active().dot(vector.data(), vector.data(), dims));
}

float inverse_norm(Metric metric, std::span<const float> vector, std::size_t dims) {
  if (metric == Metric::inner_product) return 1.0F;
  const float norm = prefix_norm(vector, dims);
  return norm < kSmallestNorm ? 0.0F : 1.0F / norm;
}

void prepare(const Layout& layout, std::span<const float> vector, std::span<float> out,
             const char* what, std::size_t number) {
  normalise(layout.metric, vector, out, what, number);
  if (layout.transform.rotation.empty()) return;
  const std::vector<float> unrotated(out.begin(), out.end());
  rotate(layout.transform, unrotated, out);
}

}  // namespace nestling
