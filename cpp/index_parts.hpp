// Several indexes searched as one: each by itself, with the same funnel, and their hits merged.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "index.hpp"
#include "search/filter.hpp"
#include "search/funnel.hpp"
#include "store/layout.hpp"

namespace nestling {

// One of the indexes. `filter` names its own ids; `shift` is added to those of its hits.
struct SearchedPart {
  const Index* index;
  std::vector<PlannedStage> stages;
  Probes probes;
  Filter filter;
  std::int64_t shift;
};

// Answers count × dim queries. Writes ids and scores, count × k each, best first and padded with -1
// and NaN; equal scores in the order of the parts. Returns what each stage did in all of them.
// `options` name no rows and no probes: these are those of the parts, of which there is at least
// one. Throws VectorError where a query is not finite.
std::vector<StageStats> search(std::span<const SearchedPart> parts, std::span<const float> queries,
                               const SearchOptions& options, std::span<std::int64_t> ids,
                               std::span<float> scores);

}  // namespace nestling
