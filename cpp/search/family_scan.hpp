// Scans some families of blocks, those below one centroid each, for the queries that visit them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "search/scan.hpp"
#include "search/survivors.hpp"
#include "store/matrix.hpp"

namespace nestling {

// The blocks of all families: family f has those from starts[f] to starts[f + 1].
struct Families {
  CoarseLayout coarse;
  const std::uint8_t* codes;
  std::span<const std::uint32_t> starts;
  const std::uint32_t* allowed = nullptr;  // a word per block, as in simd::ScanBlocks
};

struct Visit {
  std::uint32_t query, family;
};

struct ScanCounts {
  std::uint64_t rows_seen = 0;
  std::uint64_t bytes_read = 0;
};

// Scores the slots of every visited family and appends those that pass to the query's collector.
// Visits of one query are made in their order; those of several queries are sorted by family, so
// that the blocks of a family are read once. `upcoming` is the family that a single query visits in
// the next call, if it is known: its codes are fetched already.
ScanCounts scan_families(const Families& families, std::vector<Visit>& visits,
                         const CodedQueries& queries, std::span<Collector> collectors,
                         std::optional<std::uint32_t> upcoming = std::nullopt);

}  // namespace nestling
