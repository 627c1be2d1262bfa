// Finds the cells whose centroids are nearest to a vector, by a descent of the tree of centroids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "search/scan.hpp"
#include "search/survivors.hpp"
#include "store/cells.hpp"

namespace nestling {

// Vectors in the form in which the centroids of one tree are scored.
class CellQueries {
 public:
  // n × tree.dims values of unit length.
  CellQueries(const CentroidTree& tree, std::vector<float> vectors);

  // The `keep` nearest cells of each vector, best first. On every level but the last, the centroids
  // whose children are scored are a beam of the best ones; it is so wide that few of the nearest
  // cells are missed.
  std::vector<std::vector<Candidate>> nearest(std::size_t keep) const;

  // The same of some of the vectors, by their numbers, among which others have none.
  std::vector<std::vector<Candidate>> nearest(std::size_t keep,
                                              std::span<const std::uint32_t> some) const;

 private:
  void rerank(std::size_t query, std::vector<Candidate>& cells, std::size_t keep) const;

  const CentroidTree& tree_;
  std::vector<float> vectors_;
  CodedQueries coded_;
};

}  // namespace nestling
