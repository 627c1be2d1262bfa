#include "search/cell_scan.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>

#include "base/interrupt.hpp"
#include "search/family_scan.hpp"
#include "search/nearest_cells.hpp"
#include "search/seen_rows.hpp"
#include "simd/cpu.hpp"
#include "store/norms.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// The prefixes of this length of the queries, side by side.
std::vector<float> prefixes(const Queries& queries, std::size_t dims) {
  std::vector<float> values;
  values.reserve(queries.count() * dims);
  for (std::size_t i = 0; i < queries.count(); ++i) {
    const auto query = queries.row(i).first(dims);
    values.insert(values.end(), query.begin(), query.end());
  }
  return values;
}

// The state of one call of scan_cells.
class CellScan {
 public:
  CellScan(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage, std::size_t k,
           const Probes& probes, const Queries& queries, const AllowedRows* allowed)
      : layout_(layout),
        snapshot_(snapshot),
        cells_(*snapshot.cells),
        allowed_(allowed),
        probes_(probes),
        queries_(queries),
        coded_(layout.metric, *layout.coarse, layout.transform.centre, queries),
        slots_{cells_.slot_rows(), static_cast<std::uint32_t>(cells_.slots()),
               static_cast<std::uint32_t>(cells_.rows() / kBlockRows * kBlockRows),
               static_cast<std::uint32_t>(cells_.rows())},
        ranked_(queries.count()),
        probed_(queries.count()) {
    // A row may be found twice, so the best n rows are among the best 2 n slots.
    const std::size_t twice = cells_.options().spill ? 2 : 1;
    // Once most cells are probed, it is faster to test every slot before than candidates after.
    if (allowed != nullptr && allowed->collected() &&
        queries.count() * probes.count >= cells_.options().count)
      words_ = allowed_slots();
    rule_ = {.keep = stage.keep, .k = k, .margin = stage.margin};
    const RankOrder order(snapshot, slots_);
    collectors_.reserve(queries.count());
    for (std::size_t i = 0; i < queries.count(); ++i)
      collectors_.emplace_back(KeepRule{.keep = twice * stage.keep,
                                        .k = twice * k,
                                        .margin = stage.margin,
                                        .shift = coded_.shift(i)},
                               order, words_.empty() ? allowed : nullptr);
  }

  CellHits run() {
    scan_unassigned_rows();
    std::vector<std::uint32_t> all(collectors_.size());
    std::iota(all.begin(), all.end(), 0U);
    const std::size_t count = std::min(probes_.count, cells_.options().count);
    if (probes_.known.empty() && probes_.by_score()) {
      probe_by_score(all, count);
    } else {
      rank(count);
      // The best cells are scanned first, because they raise the thresholds most.
      for (std::size_t end = 1; end < count; end *= kStep) scan_to(all, end);
      scan_to(all, count);
      if (probes_.adaptive) probe_adaptively(all);
    }
    probe_until_k(all);
    return finish();
  }

 private:
  static constexpr std::size_t kMostTimes = 16, kStep = 8;
  // By score: how many cells are probed first, at least and as a share of the typical number.
  static constexpr std::size_t kLeastFirst = 4, kFirstShare = 8;

  // The queries as the centroids are scored, from the first time that they are.
  const CellQueries& cell_queries() {
    if (!cell_queries_)
      cell_queries_.emplace(cells_.tree(), prefixes(queries_, cells_.tree().dims));
    return *cell_queries_;
  }

  // Ranks the nearest `count` cells of each query (more for adaptive probes), or lists those known.
  void rank(std::size_t count) {
    if (probes_.known.empty()) {
      const std::size_t times = probes_.adaptive ? kMostTimes : 1;
      ranked_ = cell_queries().nearest(std::min(times * count, cells_.options().count));
      return;
    }
    for (std::size_t i = 0; i < ranked_.size(); ++i)
      for (const std::uint32_t cell : probes_.known.subspan(i * probes_.count, probes_.count))
        if (cell != kNoCell) ranked_[i].push_back({0.0F, cell});
  }

  bool has_more(std::uint32_t query) const { return probed_[query] < ranked_[query].size(); }

  // Doubles the probed cells for as long as that brings a new row into the best k.
  void probe_adaptively(std::vector<std::uint32_t> active) {
    for (;;) {
      std::erase_if(active, [&](std::uint32_t i) { return !has_more(i); });
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

  // Probes the first cells, and then as many as the scores in these ask for.
  void probe_by_score(const std::vector<std::uint32_t>& all, std::size_t count) {
    const std::size_t first = std::min(std::max(kLeastFirst, count / kFirstShare), count);
    const std::size_t most = std::min(probes_.most_by_score(), cells_.options().count);
    CellRanking ranking(cell_queries(), most);
    ranking.extend(all, std::vector<std::size_t>(all.size(), count), ranked_);
    scan_to(all, first);
    std::vector<std::size_t> ends(all.size()), more_ends;
    std::vector<std::uint32_t> more;  // that probe more cells than are ranked yet
    for (const std::uint32_t i : all) {
      ends[i] = std::clamp(probes_for(probes_, kth_score(i)), first, most);
      if (ends[i] <= ranked_[i].size()) continue;
      more.push_back(i);
      more_ends.push_back(ends[i]);
    }
    if (!more.empty()) ranking.extend(more, more_ends, ranked_);
    for (std::size_t end = kStep * first;; end *= kStep) {
      std::vector<std::uint32_t> active;
      for (const std::uint32_t i : all)
        if (probed_[i] < std::min(ends[i], ranked_[i].size())) active.push_back(i);
      if (active.empty()) return;
      // Not in two parts where the second is the smaller one.
      scan_to(active, [&](std::uint32_t i) { return ends[i] < 2 * end ? ends[i] : end; });
    }
  }

  // The k-th best score so far, of a query of length 1; minus infinity if there are fewer.
  float kth_score(std::uint32_t query) {
    const float kth = collectors_[query].kth_best();
    if (kth == -std::numeric_limits<float>::infinity()) return kth;
    const float score = kth + coded_.shift(query);
    if (layout_.metric == Metric::cosine) return score;
    const float length = prefix_norm(queries_.row(query), layout_.dim);
    return length > kSmallestNorm ? score / length : 0.0F;
  }

  static std::size_t probes_for(const Probes& probes, float score) {
    constexpr float kMost = 16.0F;
    const float steps = (probes.typical - score) / probes.halving;
    const float exponent = std::clamp(comparable(steps), -kMost, kMost);
    // A power of two, between whole exponents by a straight line: the same on every platform.
    const float whole = std::floor(exponent);
    const float power = std::ldexp(1.0F + (exponent - whole), static_cast<int>(whole));
    return static_cast<std::size_t>(power * static_cast<float>(probes.count));
  }

  // Queries with fewer than k rows, because the cells that they probed hold or allow too few, probe
  // further until they have k or there are no more cells.
  void probe_until_k(std::vector<std::uint32_t> active) {
    const auto has_k = [&](std::uint32_t i) {
      return collectors_[i].kth_best() > -std::numeric_limits<float>::infinity();
    };
    std::erase_if(active, has_k);
    if (active.empty()) return;
    const std::size_t slots = cells_.tree().last().slots();
    std::vector<std::vector<Candidate>> others(collectors_.size());
    CellRanking(cell_queries(), slots)
        .extend(active, std::vector<std::size_t>(active.size(), slots), others);
    for (const std::uint32_t i : active) {
      erase_listed(others[i], {ranked_[i]});
      ranked_[i].insert(ranked_[i].end(), others[i].begin(), others[i].end());
      const std::vector<std::uint32_t> one{i};
      while (has_more(i) && !has_k(i)) scan_to(one, 2 * probed_[i]);
    }
  }

  // Scores the cells up to rank `end` that were not scored yet for the active queries.
  void scan_to(std::span<const std::uint32_t> active, std::size_t end) {
    scan_to(active, [&](std::uint32_t) { return end; });
  }
  template <class End>
  void scan_to(std::span<const std::uint32_t> active, End end) {
    visits_.clear();
    for (const std::uint32_t i : active) {
      const std::size_t last = std::min(end(i), ranked_[i].size());
      for (std::size_t rank = probed_[i]; rank < last; ++rank)
        visits_.push_back({i, ranked_[i][rank].row});
      probed_[i] = std::max(probed_[i], last);
    }
    std::optional<std::uint32_t> upcoming;
    if (const std::uint32_t i = active.front(); has_more(i)) upcoming = ranked_[i][probed_[i]].row;
    const ScanCounts counts = scan_families({.coarse = *layout_.coarse,
                                             .codes = cells_.codes(),
                                             .starts = cells_.tree().last().child_starts(),
                                             .allowed = words_.empty() ? nullptr : words_.data()},
                                            visits_, coded_, collectors_, upcoming);
    hits_.rows_seen += counts.rows_seen;
    hits_.bytes_read += counts.bytes_read;
    for (const std::uint32_t i : active) collectors_[i].tighten();
  }

  // A word for each block of the cells with a bit per slot, set where its row is allowed.
  std::vector<std::uint32_t> allowed_slots() const {
    std::vector<std::uint32_t> words(cells_.slots() / kBlockRows);
    for (std::size_t slot = 0; slot < cells_.slots(); ++slot)
      words[slot / kBlockRows] |=
          static_cast<std::uint32_t>(allowed_->has(slots_(static_cast<std::uint32_t>(slot))))
          << slot % kBlockRows;
    return words;
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
    const auto words = [&](std::size_t block) {
      return words_.empty() ? nullptr : allowed_->set().words().data() + block;
    };
    std::uint32_t later = ~0U << cells_.rows() % kBlockRows;
    if (!words_.empty()) later &= *words(first);
    scan_rows(first, 1, &later, all);
    const std::size_t whole = snapshot_.whole_blocks();
    for (std::size_t b = first + 1; b < whole;) {
      check_interrupt();
      const std::size_t chunk_end = std::min(whole, (b / kChunkBlocks + 1) * kChunkBlocks);
      scan_rows(b, chunk_end - b, words(b), all);
      b = chunk_end;
    }
    if (end > std::max(whole, first + 1)) scan_rows(whole, 1, words(whole), all);
  }

  // Scores blocks of the coarse matrix.
  void scan_rows(std::size_t first, std::size_t count, const std::uint32_t* allowed,
                 std::span<const simd::ScanQuery> queries) {
    const CoarseLayout& coarse = *layout_.coarse;
    const std::size_t before = cells_.rows() / kBlockRows;
    simd::active()
        .codes(coarse.bits)
        .scan(
            {.data = snapshot_.block(coarse, first * kBlockRows),
             .count = count,
             .block_bytes = coarse.block_bytes(),
             .tiles = coarse.tiles(),
             .has_offsets = coarse.has_offsets,
             .first_row = static_cast<std::uint32_t>(slots_.slots + (first - before) * kBlockRows),
             .allowed = allowed},
            queries.data(), queries.size());
    hits_.rows_seen += count * kBlockRows * queries.size();
    hits_.bytes_read += count * coarse.block_bytes() * queries.size();
  }

  std::vector<float> kth_best(std::span<const std::uint32_t> active) {
    std::vector<float> kth;
    for (const std::uint32_t i : active) kth.push_back(collectors_[i].kth_best());
    return kth;
  }

  // Replaces slots by their rows, each of which stays once.
  void slots_to_rows(std::vector<Candidate>& found) {
    constexpr std::size_t kAhead = 16;
    seen_.reset(found.size());
    std::size_t kept = 0;
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (i + kAhead < found.size()) slots_.prefetch(found[i + kAhead].row);
      const std::uint32_t row = slots_(found[i].row);
      if (seen_.insert(row)) found[kept++] = {found[i].score, row};
    }
    found.resize(kept);
  }

  CellHits finish() {
    const RankOrder order(snapshot_);
    for (std::size_t i = 0; i < collectors_.size(); ++i) {
      const float shift = coded_.shift(i);
      std::vector<Candidate> rows = collectors_[i].take();
      slots_to_rows(rows);
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
  const AllowedRows* allowed_;
  Probes probes_;
  std::vector<std::uint32_t> words_;  // of the slots; empty where candidates are tested
  Queries queries_;
  CodedQueries coded_;
  std::optional<CellQueries> cell_queries_;
  SlotRows slots_;
  KeepRule rule_{};
  std::vector<Collector> collectors_;
  std::vector<std::vector<Candidate>> ranked_;  // a query's cells, best first
  std::vector<std::size_t> probed_;             // how many of them were scored
  std::vector<Visit> visits_;
  SeenRows seen_;
  CellHits hits_;
};

}  // namespace

CellHits scan_cells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                    std::size_t k, const Probes& probes, const Queries& queries,
                    const AllowedRows* allowed) {
  return CellScan(layout, snapshot, stage, k, probes, queries, allowed).run();
}

}  // namespace nestling
