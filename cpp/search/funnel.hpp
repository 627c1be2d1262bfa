// Runs the stages of a funnel over a snapshot and reports what each did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "search/cell_scan.hpp"
#include "search/filter.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// What one stage did, summed over the queries. Nanoseconds are summed over the threads too.
struct StageStats {
  std::uint64_t rows_seen = 0;
  std::uint64_t rows_kept = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t nanoseconds = 0;
};

// `probes` apply where rows are in cells. `clip` brings cosines that rounding or codes put beyond 1
// or -1 back to these; the order of the hits is that of the scores before.
struct SearchOptions {
  std::size_t k;
  std::size_t threads;
  Probes probes{};
  bool clip = false;
};

// Answers count × dim queries. `allowed` are the rows that may be hits: all that were not removed
// where none are given. Writes ids and scores, count × k each, best first and padded with -1 and
// NaN. Throws VectorError where a query is not finite.
std::vector<StageStats> search(const Layout& layout, const Snapshot& snapshot,
                               std::span<const PlannedStage> stages, std::span<const float> queries,
                               const SearchOptions& options, std::optional<AllowedRows> allowed,
                               std::span<std::int64_t> ids, std::span<float> scores);

}  // namespace nestling
