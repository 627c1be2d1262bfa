// The coarse stage: scores every row of a snapshot for a group of queries and keeps the best of
// each.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "codes.hpp"
#include "layout.hpp"
#include "rows.hpp"
#include "survivors.hpp"

namespace nestling {

// The queries of one group, prepared (normalised for cosine): count × dim floats.
struct Queries {
  std::span<const float> values;
  std::size_t dim;

  std::size_t count() const { return values.size() / dim; }
  std::span<const float> row(std::size_t i) const { return values.subspan(i * dim, dim); }
};

// One scan: construct, `seed` once, `scan` any partition of the blocks (from several threads, each
// with collectors of its own), and `finish` with what was collected.
class CoarseScan {
 public:
  CoarseScan(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
             const Queries& queries);

  // Blocks of 32 rows, the last of which may be partial.
  std::size_t blocks() const;

  // Collectors with each query's threshold, from a sample of the blocks: so high that few rows
  // pass, and low enough that, nearly always, at least `keep` do.
  std::vector<Collector> collectors() const;
  void seed();

  void scan(std::size_t first_block, std::size_t end_block, std::span<Collector> collectors) const;

  // The survivors of query `i`: the best of `collected`, or of a scan without a threshold if the
  // sample misled and too few passed.
  std::vector<Candidate> finish(std::size_t i, std::vector<Candidate> collected) const;

 private:
  void scan_codes(std::size_t first_block, std::size_t end_block, std::size_t step,
                  std::span<const simd::ScanQuery> queries) const;
  void scan_rows(std::size_t first_block, std::size_t end_block, std::size_t first_query,
                 std::span<Collector> collectors) const;
  std::vector<simd::ScanQuery> bind(std::size_t first_query, std::span<Collector> collectors) const;

  const Layout& layout_;
  const Snapshot& snapshot_;
  const PlannedStage& stage_;
  const Queries& queries_;
  const simd::Kernels& kernels_;
  Better better_;
  std::size_t packed_stride_ = 0;
  std::vector<std::uint8_t> packed_;
  std::vector<simd::ScanQuery> prepared_;  // without sinks
  std::vector<float> thresholds_;
};

}  // namespace nestling
