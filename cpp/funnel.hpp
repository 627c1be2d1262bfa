// Runs the stages of a funnel over a snapshot and reports what each did.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "layout.hpp"
#include "rows.hpp"

namespace nestling {

// What one stage did, summed over the queries; nanoseconds summed over the threads too.
struct StageStats {
  std::uint64_t rows_seen = 0;
  std::uint64_t rows_kept = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t nanoseconds = 0;
};

// Answers count × dim queries: writes k ids and scores each, best first, padded with -1 and NaN.
// Throws VectorError where a query is not finite.
std::vector<StageStats> search(const Layout& layout, const Snapshot& snapshot,
                               std::span<const PlannedStage> stages, std::span<const float> queries,
                               std::size_t k, std::size_t threads, std::int64_t* ids,
                               float* scores);

}  // namespace nestling
