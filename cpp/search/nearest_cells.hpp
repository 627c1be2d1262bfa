// Finds the cells whose centroids are nearest to a vector, by a descent of the tree of centroids.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <vector>

#include "search/family_scan.hpp"
#include "search/scan.hpp"
#include "search/survivors.hpp"
#include "store/cells.hpp"

namespace nestling {

// Vectors in the form in which the centroids of one tree are scored.
class CellQueries {
 public:
  // n × tree.dims values of unit length.
  CellQueries(const CentroidTree& tree, std::vector<float> vectors);

  const CentroidTree& tree() const { return tree_; }
  const CodedQueries& coded() const { return coded_; }
  std::size_t count() const { return coded_.count(); }

  // The `keep` nearest cells of each vector, best first.
  std::vector<std::vector<Candidate>> nearest(std::size_t keep) const;

  // Scores cells by the 8-bit values of their centroids.
  void score(std::size_t query, std::span<Candidate> cells) const;

 private:
  const CentroidTree& tree_;
  std::vector<float> vectors_;
  CodedQueries coded_;
};

// Erases the cells that are in one of these lists.
void erase_listed(std::vector<Candidate>& cells,
                  std::initializer_list<std::span<const Candidate>> lists);

// Lists the cells nearest to some vectors, and more of them when a vector needs more. On every
// level of the tree but the last, the centroids whose children are scored are a beam of the best
// ones; it is so wide that few of the nearest cells are missed. No centroid is scored twice.
class CellRanking {
 public:
  // Of which at most `most` cells are asked for. Keeps the reference.
  CellRanking(const CellQueries& queries, std::size_t most);

  // Appends the next nearest cells to the list of each of some vectors, by their numbers, so that
  // it has keeps[i], or all that are found. Lists must be as the last call left them. Those of
  // different calls are not in order among themselves.
  void extend(std::span<const std::uint32_t> some, std::span<const std::size_t> keeps,
              std::vector<std::vector<Candidate>>& lists);

 private:
  void extend_together(std::span<const std::uint32_t> some, std::span<const std::size_t> keeps,
                       std::vector<std::vector<Candidate>>& lists);
  void scan_level(std::size_t level, std::vector<Visit>& visits);
  void append_nearest(std::uint32_t query, std::size_t keep, std::vector<Candidate>& list);

  const CellQueries& queries_;
  std::vector<std::vector<Collector>> levels_;  // the centroids that were scored, per query
  // Per level and query, the centroids whose children were scored.
  std::vector<std::vector<std::vector<std::uint32_t>>> opened_;
  std::vector<std::vector<Candidate>> unlisted_;  // scored cells that are in no list yet
  std::vector<bool> started_;
};

}  // namespace nestling
