// Norms of rows, of queries and of their prefixes, and what is done to a vector before it is coded.
#pragma once

#include <cstddef>
#include <span>

#include "store/layout.hpp"

namespace nestling {

// A vector with a larger norm could overflow an inner product, and is refused. A vector or prefix
// with a smaller one counts as zero and scores 0.
inline constexpr double kLargestNorm = 1e18;
inline constexpr float kSmallestNorm = 1e-18F;

// The norm of the first `dims` dimensions.
float prefix_norm(std::span<const float> vector, std::size_t dims);

// 1 / norm of a prefix, 0 for a prefix that counts as zero; 1 where scores are not cosines.
float inverse_norm(Metric metric, std::span<const float> vector, std::size_t dims);

// Writes `vector`, divided by its norm for Metric::cosine, and rotated. Throws VectorError where a
// value is not finite or the norm is too large; the message calls the vector `what` `number`.
void prepare(const Layout& layout, std::span<const float> vector, std::span<float> out,
             const char* what, std::size_t number);

}  // namespace nestling
