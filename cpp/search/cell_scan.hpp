// The coarse stage of an index with cells.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "search/filter.hpp"
#include "search/scan.hpp"
#include "search/survivors.hpp"
#include "store/cells.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

inline constexpr std::uint32_t kNoCell = ~0U;

// How many cells a query probes: `count`. If `adaptive`, their number is doubled until a round
// brings no row into the best k.
//
// With a `halving` > 0, the worse the hits of a query are, the more cells it probes, since far hits
// lie in more cells: `count` where the k-th best score in its first cells is `typical`, half as
// many for each `halving` above it, and twice as many for each below; an eighth of `count` (or 4)
// at least, and 4 times `count` at most. Inner products are divided by the length of the query.
struct Probes {
  std::size_t count = 0;  // 0: score all rows
  bool adaptive = false;
  float typical = 0.0F;
  float halving = 0.0F;
  // For each query `count` cells to probe, the nearest first, if they are known already; kNoCell
  // behind those of a query that has fewer.
  std::span<const std::uint32_t> known = {};

  bool by_score() const { return halving > 0.0F; }
  // The most cells that a query probes by score.
  std::size_t most_by_score() const { return 4 * count; }
};

// The result of a scan of cells.
struct CellHits {
  std::vector<std::vector<Survivor>> survivors;  // per query
  std::uint64_t rows_seen = 0;
  std::uint64_t bytes_read = 0;
};

// Runs the coarse stage on the snapshot's cells, for a group of queries. The codes of a cell are
// read once for all queries that probe it. Rows added since the cells were built are all scored.
CellHits scan_cells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                    std::size_t k, const Probes& probes, const Queries& queries,
                    const AllowedRows* allowed);

}  // namespace nestling
