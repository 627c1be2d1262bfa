#include "search/cell_scan.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "base/interrupt.hpp"
#include "search/kmeans.hpp"
#include "simd/cpu.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// The state of one call of scan_cells.
class CellScan {
 public:
  CellScan(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage, std::size_t k,
           const Queries& queries, const RowSet* allowed)
      : layout_(layout),
        snapshot_(snapshot),
        cells_(*snapshot.cells),
        queries_(queries),
        coded_(layout.metric, *layout.coarse, layout.transform.centre, queries),
        slots_{cells_.slot_rows(), static_cast<std::uint32_t>(cells_.blocks() * kBlockRows),
               static_cast<std::uint32_t>(cells_.rows() / kBlockRows * kBlockRows)},
        ranked_(queries.count()),
        probed_(queries.count()) {
    // A row may be found twice, so the best n rows are among the best 2 n slots.
    const std::size_t twice = cells_.options().spill ? 2 : 1;
    rule_ = {.keep = stage.keep, .k = k, .margin = stage.margin};
    const RankOrder order(snapshot, slots_);
    collectors_.reserve(queries.count());
    for (std::size_t i = 0; i < queries.count(); ++i)
      collectors_.emplace_back(KeepRule{.keep = twice * stage.keep,
                                        .k = twice * k,
                                        .margin = stage.margin,
                                        .shift = coded_.shift(i)},
                               order, -std::numeric_limits<float>::infinity(), allowed);
  }

  CellHits run(const Probes& probes) {
    scan_unassigned_rows();
    std::vector<std::size_t> all(queries_.count());
    std::iota(all.begin(), all.end(), std::size_t{0});
    const std::size_t count = std::min(probes.count, cells_.options().count);
    rank_cells(all, probes.adaptive ? kMaxRounds * count : count);
    // The best cells are scanned first, because they raise the thresholds most.
    for (std::size_t end = 1; end < count; end *= kStep) scan_to(all, end);
    scan_to(all, count);
    if (probes.adaptive) probe_adaptively(all);
    probe_until_k(all);
    return finish();
  }

 private:
  static constexpr std::size_t kMaxRounds = 16, kStep = 8;
  static constexpr std::size_t kCellsPerCheck = 64;  // for an interrupt

  // Ranks the best `limit` cells of each active query, best first.
  void rank_cells(std::span<const std::size_t> active, std::size_t limit) {
    const std::size_t dims = cells_.options().dims;
    std::vector<float> prefixes;
    prefixes.reserve(active.size() * dims);
    for (const std::size_t i : active) {
      const auto query = queries_.row(i).first(dims);
      prefixes.insert(prefixes.end(), query.begin(), query.end());
    }
    auto ranked = nearest_centroids(cells_.centroid_layout(), cells_.parts().centroids,
                                    cells_.options().count, Queries{prefixes, dims},
                                    std::min(limit, cells_.options().count));
    for (std::size_t i = 0; i < active.size(); ++i) ranked_[active[i]] = std::move(ranked[i]);
  }

  bool has_more(std::size_t query) const { return probed_[query] < ranked_[query].size(); }

  // Doubles the probed cells for as long as that brings a new row into the best k.
  void probe_adaptively(std::vector<std::size_t> active) {
    for (;;) {
      std::erase_if(active, [&](std::size_t i) { return !has_more(i); });
      if (active.empty()) return;
      const std::vector<float> before = kth_best(active);
      scan_to(active, 2 * probed_[active.front()]);  // the same number for all
      const std::vector<float> after = kth_best(active);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < active.size(); ++i)
        if (after[i] != before[i]) active[kept++] = active[i];
      active.resize(kept);
    }
  }

  // Queries with fewer than k rows, because the cells that they probed hold or allow too few, probe
  // further until they have k or there are no more cells.
  void probe_until_k(std::vector<std::size_t> active) {
    const auto has_k = [&](std::size_t i) {
      return collectors_[i].kth_best() > -std::numeric_limits<float>::infinity();
    };
    std::erase_if(active, has_k);
    if (active.empty()) return;
    rank_cells(active, cells_.options().count);
    for (const std::size_t i : active) {
      const std::vector<std::size_t> one{i};
      while (has_more(i) && !has_k(i)) scan_to(one, 2 * probed_[i]);
    }
  }

  // Scores the cells up to rank `end` that were not scored yet for the active queries.
  void scan_to(std::span<const std::size_t> active, std::size_t end) {
    const auto for_each_probe = [&](auto visit) {
      for (const std::size_t i : active)
        for (std::size_t rank = probed_[i]; rank < std::min(end, ranked_[i].size()); ++rank)
          visit(i, ranked_[i][rank].row);
    };
    std::vector<std::uint32_t> starts(cells_.options().count + 1);
    std::vector<std::uint32_t> order;  // for a single query its best cell first
    for_each_probe([&](std::size_t, std::uint32_t cell) {
      if (starts[cell + 1]++ == 0) order.push_back(cell);
    });
    if (active.size() > 1) std::ranges::sort(order);
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    std::vector<simd::ScanQuery> bound(starts.back());
    std::vector<std::uint32_t> next(starts.begin(), starts.end() - 1);
    for_each_probe([&](std::size_t i, std::uint32_t cell) {
      bound[next[cell]++] = coded_.bind(i, collectors_[i]);
    });
    for (std::size_t i = 0; i < order.size(); ++i) {
      if (i % kCellsPerCheck == 0) check_interrupt();
      const std::uint32_t cell = order[i];
      const std::uint8_t* after = i + 1 < order.size() ? codes(order[i + 1]) : nullptr;
      const auto blocks = cells_.starts().subspan(cell, 2);
      scan_blocks(codes(cell), blocks[1] - blocks[0], blocks[0] * kBlockRows, nullptr, after,
                  std::span(bound).subspan(starts[cell], starts[cell + 1] - starts[cell]));
    }
    for (const std::size_t i : active) {
      probed_[i] = std::min(end, ranked_[i].size());
      collectors_[i].tighten();
    }
  }

  const std::uint8_t* codes(std::uint32_t cell) const {
    return reinterpret_cast<const std::uint8_t*>(cells_.parts().codes.get()) +
           cells_.starts()[cell] * layout_.coarse->block_bytes();
  }

  // Rows added after the cells were built.
  void scan_unassigned_rows() {
    const std::size_t first = cells_.rows() / kBlockRows;
    const std::size_t end = block_count(snapshot_.rows);
    if (cells_.rows() == snapshot_.rows) return;
    std::vector<simd::ScanQuery> all;
    all.reserve(collectors_.size());
    for (std::size_t i = 0; i < collectors_.size(); ++i)
      all.push_back(coded_.bind(i, collectors_[i]));
    const auto slot_of = [&](std::size_t block) {
      return slots_.slots + (block - first) * kBlockRows;
    };
    const std::uint32_t later = ~0U << cells_.rows() % kBlockRows;
    scan_blocks(snapshot_.block(*layout_.coarse, first * kBlockRows), 1, slot_of(first), &later,
                nullptr, all);
    const std::size_t whole = snapshot_.whole_blocks();
    for (std::size_t b = first + 1; b < whole;) {
      check_interrupt();
      const std::size_t chunk_end = std::min(whole, (b / kChunkBlocks + 1) * kChunkBlocks);
      scan_blocks(snapshot_.block(*layout_.coarse, b * kBlockRows), chunk_end - b, slot_of(b),
                  nullptr, nullptr, all);
      b = chunk_end;
    }
    if (end > std::max(whole, first + 1))
      scan_blocks(snapshot_.block(*layout_.coarse, whole * kBlockRows), 1, slot_of(whole), nullptr,
                  nullptr, all);
  }

  void scan_blocks(const std::uint8_t* data, std::size_t count, std::size_t first_slot,
                   const std::uint32_t* allowed, const std::uint8_t* next,
                   std::span<const simd::ScanQuery> queries) {
    const CoarseLayout& coarse = *layout_.coarse;
    simd::active()
        .codes(coarse.bits)
        .scan({.data = data,
               .count = count,
               .block_bytes = coarse.block_bytes(),
               .tiles = coarse.tiles(),
               .has_offsets = coarse.has_offsets,
               .first_row = static_cast<std::uint32_t>(first_slot),
               .allowed = allowed,
               .next = next},
              queries.data(), queries.size());
    hits_.rows_seen += count * kBlockRows * queries.size();
    hits_.bytes_read += count * coarse.block_bytes() * queries.size();
  }

  std::vector<float> kth_best(std::span<const std::size_t> active) {
    std::vector<float> kth;
    for (const std::size_t i : active) kth.push_back(collectors_[i].kth_best());
    return kth;
  }

  CellHits finish() {
    const RankOrder order(snapshot_);
    for (std::size_t i = 0; i < collectors_.size(); ++i) {
      const float shift = coded_.shift(i);
      std::vector<Candidate> rows = collectors_[i].take();
      for (Candidate& row : rows) row.row = slots_(row.row);
      std::ranges::sort(rows, {}, &Candidate::row);
      const auto repeated = std::ranges::unique(rows, {}, &Candidate::row);
      rows.erase(repeated.begin(), repeated.end());
      KeepRule rule = rule_;
      rule.shift = shift;
      keep_best(rows, rule, order);
      std::vector<Survivor>& survivors = hits_.survivors.emplace_back();
      survivors.reserve(rows.size());
      for (const auto& [score, row] : rows) survivors.push_back(Survivor::of(score + shift, row));
    }
    return std::move(hits_);
  }

  const Layout& layout_;
  const Snapshot& snapshot_;
  const Cells& cells_;
  const Queries& queries_;
  CodedQueries coded_;
  SlotRows slots_;
  KeepRule rule_{};
  std::vector<Collector> collectors_;
  std::vector<std::vector<Candidate>> ranked_;  // a query's cells, best first
  std::vector<std::size_t> probed_;             // how many of them were scored
  CellHits hits_;
};

}  // namespace

CellHits scan_cells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                    std::size_t k, const Probes& probes, const Queries& queries,
                    const RowSet* allowed) {
  return CellScan(layout, snapshot, stage, k, queries, allowed).run(probes);
}

}  // namespace nestling
