// The coarse stage by way of cells.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "search/filter.hpp"
#include "search/scan.hpp"
#include "search/survivors.hpp"
#include "store/cells.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// How many cells a query probes: `count`, or, where `adaptive`, as many again and again until a
// round brings no row into the best k.
struct Probes {
  std::size_t count = 0;  // 0: cells are not used
  bool adaptive = false;
};

// What a scan of cells found and did.
struct CellHits {
  std::vector<std::vector<Survivor>> survivors;  // a query's, in the order of rows
  std::uint64_t rows_seen = 0;
  std::uint64_t bytes_read = 0;
};

// The coarse stage by way of the snapshot's cells, for a group of queries: a cell's codes are read
// once for all the queries that probe it. Rows added since the cells were built are all scored.
CellHits scan_cells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                    std::size_t k, const Probes& probes, const Queries& queries,
                    const RowSet* allowed);

}  // namespace nestling
