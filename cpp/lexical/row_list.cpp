#include "lexical/row_list.hpp"

#include <algorithm>
#include <utility>

namespace nestling::lexical {

RowList::RowList(const Postings& postings, RowCounts counts)
    : counts_(std::move(counts)), bounds_((size() + kBlockPostings - 1) / kBlockPostings) {
  for (std::size_t i = 0; i < size(); ++i)
    bounds_[i / kBlockPostings].include(counts_.frequencies[i], postings.length(counts_.rows[i]));
  for (const Bound& bound : bounds_) bound_.include(bound);
}

std::uint32_t RowList::last_of(std::size_t block) const {
  return counts_.rows[std::min(size(), (block + 1) * kBlockPostings) - 1];
}

}  // namespace nestling::lexical
