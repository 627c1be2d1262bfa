// Spherical k-means: centroids of unit length, to which every unit vector is assigned by its inner
// product (Dhillon and Modha 2001, "Concept decompositions").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "search/scan.hpp"

namespace nestling {

// Centroids, coded so that assigning vectors to them is a coarse scan.
class Centroids {
 public:
  // count × dims values of unit length.
  Centroids(std::span<const float> values, std::size_t dims);

  // The `keep` centroids nearest to each of the vectors (n × dims, of unit length), best first.
  // May be called from many threads at once.
  std::vector<std::vector<Candidate>> nearest(std::span<const float> vectors,
                                              std::size_t keep) const;

  std::size_t count() const { return count_; }
  const Bytes& blocks() const { return blocks_; }

 private:
  CoarseLayout layout_;
  std::size_t count_;
  Bytes blocks_;
};

// The `keep` best of the `count` centroids in `blocks` for each query, best first.
std::vector<std::vector<Candidate>> nearest_centroids(const CoarseLayout& layout,
                                                      const Bytes& blocks, std::size_t count,
                                                      const Queries& queries, std::size_t keep);

// `count` centroids of the sample (n × dims values of unit length, n >= count), count × dims.
// The result does not depend on `threads`.
std::vector<float> kmeans(std::span<const float> sample, std::size_t dims, std::size_t count,
                          std::size_t threads);

}  // namespace nestling
