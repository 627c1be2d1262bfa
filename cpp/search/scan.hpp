// The coarse stage: scores rows for a group of queries and keeps the best of each.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "search/filter.hpp"
#include "search/survivors.hpp"
#include "store/codes.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// The prepared queries (store/norms.hpp) of one group: count × dim floats.
struct Queries {
  std::span<const float> values;
  std::size_t dim;

  std::size_t count() const { return values.size() / dim; }
  std::span<const float> row(std::size_t i) const { return values.subspan(i * dim, dim); }
};

// Queries in the form that the kernels of one coarse layout read.
class CodedQueries {
 public:
  CodedQueries(Metric metric, const CoarseLayout& coarse, std::span<const float> centre,
               const Queries& queries);

  std::size_t count() const { return prepared_.size(); }

  // Query i, whose rows go to `sink`.
  simd::ScanQuery bind(std::size_t i, simd::Sink& sink) const {
    simd::ScanQuery query = prepared_[i];
    query.sink = &sink;
    return query;
  }

  // What has to be added to the scores of query i: its product with the centre.
  float shift(std::size_t i) const { return shifts_[i]; }

 private:
  std::vector<std::uint8_t> packed_;
  std::vector<simd::ScanQuery> prepared_;
  std::vector<float> shifts_;
};

// Copies of the codes of some rows: slot i holds row rows[i].
struct GatheredCodes {
  std::vector<std::uint32_t> rows;
  Bytes blocks;

  GatheredCodes(const Layout& layout, const Snapshot& snapshot, const RowSet& selected);
};

// One scan of all rows. Call `seed` once, `scan` for ranges of blocks that cover all of them
// (possibly on several threads, each with its own collectors), then `finish` with what was
// collected.
class CoarseScan {
 public:
  // Only `allowed` rows are scored; all if it is null.
  CoarseScan(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
             std::size_t k, const Queries& queries, const RowSet* allowed);

  // Blocks of 32 rows, the last of which may be partial.
  std::size_t blocks() const;

  // Rows that are scored for each query, and bytes that this reads.
  std::size_t rows_seen() const { return scored_; }
  std::size_t bytes_read() const;

  // Collectors, one per query. `seed` sets their thresholds from a sample of the blocks: so high
  // that few rows pass, and so low that nearly always at least `keep` do.
  std::vector<Collector> collectors() const;
  void seed();

  void scan(std::size_t first_block, std::size_t end_block, std::span<Collector> collectors) const;

  // The survivors of query `i`: the best of `collected` or, if too few rows passed because the
  // sample was not representative, of a second scan.
  std::vector<Survivor> finish(std::size_t i, std::vector<Candidate> collected) const;

 private:
  std::size_t slots() const { return gathered_ ? gathered_->rows.size() : snapshot_.rows; }
  static std::optional<GatheredCodes> gather(const Layout& layout, const Snapshot& snapshot,
                                             const PlannedStage& stage, const Queries& queries,
                                             const RowSet* allowed);
  SlotRows slot_rows() const;
  KeepRule rule(std::size_t query) const;
  const std::uint8_t* block(std::size_t number) const;
  void scan_codes(std::size_t first_block, std::size_t end_block, std::size_t step,
                  std::span<const simd::ScanQuery> queries) const;
  void scan_rows(std::size_t first_block, std::size_t end_block, std::size_t first_query,
                 std::span<Collector> collectors) const;
  std::vector<simd::ScanQuery> bind(std::size_t first_query, std::span<Collector> collectors) const;
  bool is_complete(const KeepRule& rule, std::span<const Candidate> collected,
                   float threshold) const;

  const Layout& layout_;
  const Snapshot& snapshot_;
  const PlannedStage& stage_;
  const Queries& queries_;
  std::size_t k_;
  std::size_t scored_;  // rows
  const simd::Kernels& kernels_;
  std::optional<GatheredCodes> gathered_;
  const RowSet* allowed_;  // null where all scanned rows are allowed
  RankOrder order_;
  std::optional<CodedQueries> coded_;
  std::vector<float> thresholds_;
};

}  // namespace nestling
