// The transform that is applied to embeddings before they are coded. It is learned from an index's
// own rows and stored with it.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace nestling {

struct Transform {
  // dim × dim, row after row, orthogonal: rows and queries are multiplied by it, so that their
  // first dimensions carry most of their energy. Empty for none.
  std::vector<float> rotation;

  // The mean of the rows' normalised coarse prefixes μ: codes are of row - μ, queries of query - μ,
  // since query · row = query · μ + (query - μ) · (row - μ) + μ · (row - μ), where the first term
  // depends only on the query and the last only on the row, whose offset it is. The embeddings of a
  // transformer crowd about their mean, and without centring few bits hardly distinguish them.
  // Empty for none.
  std::vector<float> centre;

  bool empty() const { return rotation.empty() && centre.empty(); }
};

// out = rotation * vector. Both have dim values, and must not overlap.
void rotate(const Transform& transform, std::span<const float> vector, std::span<float> out);

// The inverse of `rotate`, up to rounding.
void rotate_back(const Transform& transform, std::span<const float> vector, std::span<float> out);

}  // namespace nestling
