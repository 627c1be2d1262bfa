// Builds the tree of centroids of cells from a sample of the rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "store/cells.hpp"

namespace nestling {

struct BuiltTree {
  CentroidTree tree;             // without the starts of the last level, whose children are rows
  std::vector<float> centroids;  // of each number: dims values
  std::vector<std::uint32_t> numbers;  // of the centroid in each slot of the last level
};

// Splits the sample (n × dims values of unit length, n >= count >= 1) into `count` cells by
// k-means. Where there are many, the vectors are assigned to their centroids by a descent of a tree
// of these, so that the time grows little faster than that of a scan of the sample. The result does
// not depend on `threads`.
BuiltTree build_centroid_tree(std::span<const float> sample, std::size_t dims, std::size_t count,
                              std::size_t threads);

// A tree that was built before, to put other rows into its cells. The centroids are read back from
// their 8-bit values, and their numbers are those of their slots.
BuiltTree stored_tree(const CentroidTree& tree);

}  // namespace nestling
