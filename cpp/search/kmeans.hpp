// Spherical k-means: centroids of unit length, to which every unit vector is assigned by its inner
// product (Dhillon and Modha 2001, "Concept decompositions").
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nestling {

// The centroids, count × dims values of unit length, of `count` clusters of the vectors (n × dims
// values of unit length, n >= count >= 1). The result does not depend on `threads`.
std::vector<float> kmeans(std::span<const float> vectors, std::size_t dims, std::size_t count,
                          std::size_t threads);

// `count` of the vectors (n × dims, n >= count), at even distances: count × dims values.
std::vector<float> evenly_chosen(std::span<const float> vectors, std::size_t dims,
                                 std::size_t count);

// Moves each centroid (count × dims) to the mean direction of the vectors of its cluster, and that
// of an empty cluster to a vector of one of the largest, so that every centroid is used.
void move_centroids(std::span<const float> vectors, std::span<const std::uint32_t> clusters,
                    std::size_t dims, std::span<float> centroids, std::size_t threads);

}  // namespace nestling
