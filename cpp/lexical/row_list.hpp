// Rows in memory, with what a search skips them by.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "lexical/postings.hpp"

namespace nestling::lexical {

// Rows, which rise, and how often each has what it was found by.
struct RowCounts {
  std::vector<std::uint32_t> rows;
  std::vector<std::uint32_t> frequencies;
};

// The rows of a phrase, of all terms with a prefix, or of a term under a filter; immutable. As the
// list of a term, it has blocks of 128 rows, each with what bounds its scores.
class RowList {
 public:
  RowList(const Postings& postings, RowCounts counts);

  const RowCounts& counts() const { return counts_; }
  std::size_t size() const { return counts_.rows.size(); }
  std::size_t blocks() const { return bounds_.size(); }
  const Bound& bound() const { return bound_; }
  const Bound& bound_of(std::size_t block) const { return bounds_[block]; }
  std::uint32_t last_of(std::size_t block) const;

 private:
  RowCounts counts_;
  std::vector<Bound> bounds_;  // per block
  Bound bound_;                // of them all
};

}  // namespace nestling::lexical
