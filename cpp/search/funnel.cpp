#include "search/funnel.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <mutex>
#include <optional>

#include "base/paging.hpp"
#include "base/pool.hpp"
#include "search/links.hpp"
#include "search/rerank.hpp"
#include "search/scan.hpp"
#include "search/seen_rows.hpp"
#include "store/norms.hpp"

namespace nestling {
namespace {

// The largest number of queries that share one pass over the coarse matrix. There are fewer where
// they keep so many rows that collecting them would take more than kGroupBytes.
constexpr std::size_t kGroupQueries = 64;
constexpr std::size_t kProbingQueries = 1024;  // larger, since few of them probe the same cell
constexpr std::size_t kGroupBytes = std::size_t{64} << 20;

// Links are followed from the rows that the first re-rank by shells alone keeps, at least so many
// for each hit and at most so many, and from the rows found while they are among these, in at most
// so many rounds.
constexpr std::size_t kLeastFollowed = 2, kMostFollowed = 10;
constexpr std::size_t kFollowRounds = 4;

std::size_t group_size(std::size_t keep, std::size_t limit) {
  return std::clamp<std::size_t>(kGroupBytes / (2 * sizeof(Candidate) * keep), 1, limit);
}

// The smallest range of a scan that is split over threads: it takes longer to read than a thread
// takes to wake.
constexpr std::uint64_t kRangeBytes = std::uint64_t{1} << 20;

class Stopwatch {
 public:
  std::uint64_t nanoseconds() const {
    const auto elapsed = std::chrono::steady_clock::now() - start_;
    return static_cast<std::uint64_t>(
        std::chrono::duration_cast<std::chrono::nanoseconds>(elapsed).count());
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

// The cells to probe where one row in `rarity` may be a hit, from the number where all may be. The
// nearest allowed rows lie in as many times more cells where half of the rows are allowed, and in
// fewer where fewer are: in proportion to the power of 3/4, and with links that are followed to the
// root. Square roots, unlike other powers, are the same on every platform.
std::size_t filtered_probes(std::size_t probes, double rarity, bool links) {
  const double root = std::sqrt(rarity);
  const double times = links ? root : std::min(rarity, root * std::sqrt(std::sqrt(2.0 * rarity)));
  return static_cast<std::size_t>(std::ceil(static_cast<double>(probes) * times));
}

// The state of one call of search(), which every task reads, and the statistics that they add to.
class Search {
 public:
  Search(const Layout& layout, const Snapshot& snapshot, std::span<const PlannedStage> stages,
         std::span<const float> queries, const SearchOptions& options,
         std::optional<AllowedRows> allowed, std::span<std::int64_t> ids, std::span<float> scores)
      : layout_(layout),
        snapshot_(snapshot),
        order_(snapshot),
        stages_(stages.begin(), stages.end()),
        queries_(queries),
        options_(options),
        allowed_(std::move(allowed)),
        waits_(snapshot.paging != nullptr && snapshot.paging->waits()),
        ids_(ids),
        scores_(scores),
        stats_(stages.size()) {
    const bool links =
        snapshot.cells != nullptr && snapshot.cells->options().links > 0 && stages_.size() > 1;
    probes_ = probes(links);
    for (PlannedStage& stage : stages_) stage.keep = std::min(stage.keep, snapshot.rows);
    if (probes_cells() && links)
      for (linked_stage_ = 1; linked_stage_ < stages_.size(); ++linked_stage_)
        if (linked_ = whole_stage(layout, stages_[linked_stage_]); linked_) break;
    skips_scan_ = allowed_ && stages_.size() > 1 && allowed_->size() <= stages_[0].keep &&
                  stages_[0].margin == 0.0F &&
                  !layout.shells[stages_[1].shells.front()].continues();
    // A set is smaller than a mask, which many queries read.
    constexpr std::size_t kManyQueries = 8;
    if (allowed_ && (skips_scan_ || !probes_cells() || queries.size() >= kManyQueries * layout.dim))
      allowed_->collect();
    if (linked_)
      followed_ = std::clamp(stages_[linked_stage_].keep, kLeastFollowed * options.k,
                             kMostFollowed * options.k);
  }

  // Whether cells are probed: not where so few rows are allowed that it would take too many.
  bool probes_cells() const { return probes_.count > 0; }

  // The cells to probe; none where all allowed rows are to be scored. The fewer rows are allowed,
  // the farther away are the nearest of them, and so the more cells are to be probed.
  Probes probes(bool links) const {
    constexpr std::size_t kLargestShare = 4;  // of the cells, at most: one in so many
    constexpr std::size_t kSeenRows = 8;      // for each allowed one, at most
    if (snapshot_.cells == nullptr || !stages_[0].shells.empty()) return {};
    Probes probes = options_.probes;
    if (!allowed_ || probes.count == 0) return probes;
    const std::size_t cells = snapshot_.cells->options().count;
    const std::size_t allowed = allowed_->size(), live = snapshot_.live_count();
    if (allowed >= live) return probes;
    if (allowed == 0) return {};
    probes.known = {};
    const double rarity = static_cast<double>(live) / static_cast<double>(allowed);
    probes.count = filtered_probes(std::min(probes.count, cells), rarity, links);
    const std::size_t most = probes.by_score() ? probes.most_by_score() : probes.count;
    const std::size_t seen = most * snapshot_.cells->slots() / cells;
    return most > cells / kLargestShare || seen > kSeenRows * allowed ? Probes{} : probes;
  }

  // Whether the coarse stage would keep every allowed row, and the next stage does not need its
  // scores.
  bool skips_scan() const { return skips_scan_; }

  // Runs all stages of a group of queries on the calling thread.
  void run_group(std::size_t first, std::size_t count) {
    const PagingWatch paging(snapshot_.paging.get());
    const Queries group = queries(first, count);
    const Stopwatch watch;
    std::vector<std::vector<Survivor>> survivors;
    if (skips_scan_) {
      survivors.assign(count, all_allowed());
      report_scan(survivors, 0, 0, 0);
    } else if (probes_cells()) {
      CellHits hits = scan_cells(layout_, snapshot_, stages_[0], options_.k, probes(first, count),
                                 group, allowed_ ? &*allowed_ : nullptr);
      survivors = std::move(hits.survivors);
      report_scan(survivors, hits.rows_seen, hits.bytes_read, watch.nanoseconds());
    } else {
      CoarseScan scan(layout_, snapshot_, stages_[0], options_.k, group, allowed_set());
      scan.seed();
      std::vector<Collector> collectors = scan.collectors();
      scan.scan(0, scan.blocks(), collectors);
      for (std::size_t i = 0; i < count; ++i)
        survivors.push_back(scan.finish(i, collectors[i].take()));
      report_scan(survivors, scan.rows_seen() * count, scan.bytes_read() * count,
                  watch.nanoseconds());
    }
    for (std::size_t i = 0; i < count; ++i) rerank_query(first + i, survivors[i]);
  }

  // Runs a group of queries on several threads: the scan is split by rows, the re-rank by queries.
  void run_split(std::size_t first, std::size_t count, std::size_t threads) {
    const Queries group = queries(first, count);
    const Stopwatch watch;
    CoarseScan scan(layout_, snapshot_, stages_[0], options_.k, group, allowed_set());
    scan.seed();
    const std::size_t ranges = std::clamp<std::size_t>(scan.bytes_read() / kRangeBytes, 1, threads);
    std::vector<std::vector<Collector>> collected(ranges);
    parallel_for(ranges, threads, [&](std::size_t r) {
      collected[r] = scan.collectors();
      scan.scan(scan.blocks() * r / ranges, scan.blocks() * (r + 1) / ranges, collected[r]);
    });
    std::vector<std::vector<Survivor>> survivors(count);
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<Candidate> all;
      for (std::vector<Collector>& range : collected) {  // in the order of the rows
        const std::vector<Candidate> part = range[i].take();
        all.insert(all.end(), part.begin(), part.end());
      }
      survivors[i] = scan.finish(i, std::move(all));
    }
    report_scan(survivors, scan.rows_seen() * count, scan.bytes_read() * count,
                watch.nanoseconds());
    parallel_for(count, threads, [&](std::size_t i) {
      const PagingWatch paging(snapshot_.paging.get());
      rerank_query(first + i, survivors[i]);
    });
  }

  std::vector<StageStats> stats() && { return std::move(stats_); }

 private:
  // Those of some of the queries.
  Probes probes(std::size_t first, std::size_t count) const {
    Probes some = probes_;
    if (!some.known.empty())
      some.known = some.known.subspan(first * some.count, count * some.count);
    return some;
  }

  Queries queries(std::size_t first, std::size_t count) const {
    return {queries_.subspan(first * layout_.dim, count * layout_.dim), layout_.dim};
  }

  const RowSet* allowed_set() const { return allowed_ ? &allowed_->set() : nullptr; }

  std::vector<Survivor> all_allowed() const {
    std::vector<Survivor> all;
    all.reserve(allowed_->size());
    allowed_->set().for_each(0, snapshot_.rows, [&](std::size_t row) {
      all.push_back({0.0F, 0.0F, static_cast<std::uint32_t>(row)});
    });
    return all;
  }

  // Runs the stages after the coarse one.
  void rerank_query(std::size_t query, std::vector<Survivor>& survivors) {
    const std::span<const float> values = queries_.subspan(query * layout_.dim, layout_.dim);
    const bool coded = stages_[0].shells.empty();
    const float inverse = inverse_norm(layout_.metric, values, stages_[0].dims);

    for (std::size_t s = 1; s < stages_.size(); ++s) {
      const Stopwatch watch;
      // A scan of uncoded rows keeps scores only; the survivors' running sums are recomputed.
      if (s == 1 && !coded) {
        rescore(stages_[0], values, false, 0.0F, survivors);
        report(0, {.bytes_read = survivors.size() * bytes_per_row(layout_, stages_[0])});
      }
      rescore(stages_[s], values, coded && s == 1, inverse, survivors);
      const std::size_t seen = survivors.size();
      const std::size_t linked =
          linked_ && s == linked_stage_ ? follow_links(values, survivors) : 0;
      keep_best(survivors,
                KeepRule{.keep = stages_[s].keep, .k = options_.k, .margin = stages_[s].margin},
                order_);
      report(s, {.rows_seen = seen + linked,
                 .rows_kept = survivors.size(),
                 .bytes_read = seen * bytes_per_row(layout_, stages_[s]) +
                               (linked > 0 ? linked * bytes_per_row(layout_, *linked_) : 0),
                 .nanoseconds = watch.nanoseconds()});
    }
    const std::size_t hits = std::min(survivors.size(), options_.k);
    std::ranges::partial_sort(survivors, survivors.begin() + static_cast<std::ptrdiff_t>(hits),
                              order_);
    survivors.resize(hits);
    if (waits_)
      for (const Survivor& survivor : survivors) fetch_pages(snapshot_.id_bytes(survivor.row));
    const bool clip = options_.clip && layout_.metric == Metric::cosine;
    for (std::size_t i = 0; i < survivors.size(); ++i) {
      const float score = survivors[i].score;
      ids_[query * options_.k + i] = snapshot_.id(survivors[i].row);
      scores_[query * options_.k + i] = clip ? std::clamp(score, -1.0F, 1.0F) : score;
    }
  }

  // `rerank`, for which a disk is asked at once for everything that is not in memory.
  void rescore(const PlannedStage& stage, std::span<const float> query, bool coded_before,
               float inverse_norm_before, std::span<Survivor> survivors) const {
    if (waits_) fetch_shells(layout_, snapshot_, stage, survivors);
    rerank(layout_, snapshot_, stage, query, coded_before, inverse_norm_before, survivors);
  }

  void fetch_links(std::span<const std::uint32_t> links) const {
    if (waits_)
      fetch_pages(std::as_bytes(links));
    else
      __builtin_prefetch(links.data());
  }

  // Adds the rows that the best of the survivors are linked to, and those that the best of these
  // are linked to in turn, with their scores. Returns how many rows it scored.
  std::size_t follow_links(std::span<const float> query, std::vector<Survivor>& survivors) {
    const Cells& cells = *snapshot_.cells;
    const KeepRule best{.keep = followed_, .k = options_.k};
    SeenRows seen, followed;
    seen.reset(survivors.size() + kFollowRounds * followed_ * cells.options().links);
    for (const Survivor& survivor : survivors) seen.insert(survivor.row);
    followed.reset(kFollowRounds * followed_);
    std::vector<Survivor> beam = survivors, linked;
    linked.reserve(followed_ * cells.options().links);
    survivors.reserve(survivors.size() + 2 * linked.capacity());
    std::size_t scored = 0;
    for (std::size_t round = 0; round < kFollowRounds; ++round) {
      keep_best(beam, best, order_);
      for (const Survivor& survivor : beam)
        if (survivor.row < cells.rows()) fetch_links(cells.links(survivor.row));
      linked.clear();
      for (const Survivor& survivor : beam) {
        if (survivor.row >= cells.rows()) continue;  // added after the cells were built
        if (!followed.insert(survivor.row)) continue;
        for (const std::uint32_t row : cells.links(survivor.row)) {
          if (!seen.insert(existing_row(row, cells.rows()))) continue;
          if (allowed_ && !allowed_->has(row)) continue;
          linked.push_back({0.0F, 0.0F, row});
          if (!waits_) prefetch_shells(layout_, snapshot_, *linked_, row);
        }
      }
      if (linked.empty()) break;
      rescore(*linked_, query, false, 0.0F, linked);
      // As the beam is full mostly, few of these become a part of it.
      const float least = beam.size() < followed_
                              ? -std::numeric_limits<float>::infinity()
                              : std::ranges::min(beam, {}, &Survivor::score).score;
      for (const Survivor& survivor : linked)
        if (survivor.score >= least) beam.push_back(survivor);
      survivors.insert(survivors.end(), linked.begin(), linked.end());
      scored += linked.size();
    }
    return scored;
  }

  void report_scan(const std::vector<std::vector<Survivor>>& survivors, std::uint64_t seen,
                   std::uint64_t bytes, std::uint64_t nanoseconds) {
    StageStats done{.rows_seen = seen, .bytes_read = bytes, .nanoseconds = nanoseconds};
    for (const auto& rows : survivors) done.rows_kept += rows.size();
    report(0, done);
  }

  void report(std::size_t stage, const StageStats& done) {
    const std::lock_guard lock(mutex_);
    StageStats& all = stats_[stage];
    all.rows_seen += done.rows_seen;
    all.rows_kept += done.rows_kept;
    all.bytes_read += done.bytes_read;
    all.nanoseconds += done.nanoseconds;
  }

  const Layout& layout_;
  const Snapshot& snapshot_;
  RankOrder order_;
  std::vector<PlannedStage> stages_;
  std::span<const float> queries_;  // prepared
  SearchOptions options_;
  std::optional<AllowedRows> allowed_;  // nullopt: all rows
  Probes probes_;
  bool skips_scan_;  // decided before rows are counted for a batch, which must not change answers
  bool waits_;       // whether rows are read from a disk
  std::optional<PlannedStage> linked_;  // scores the rows that links lead to; nullopt without links
  std::size_t linked_stage_ = 0;        // at which links are followed
  std::size_t followed_ = 0;            // rows whose links are followed
  std::span<std::int64_t> ids_;
  std::span<float> scores_;
  std::mutex mutex_;
  std::vector<StageStats> stats_;
};

}  // namespace

std::vector<StageStats> search(const Layout& layout, const Snapshot& snapshot,
                               std::span<const PlannedStage> stages, std::span<const float> queries,
                               const SearchOptions& options, std::optional<AllowedRows> allowed,
                               std::span<std::int64_t> ids, std::span<float> scores) {
  const std::size_t count = queries.size() / layout.dim;
  const std::size_t threads = options.threads;
  std::vector<float> prepared(queries.size());
  // Rotating queries takes so long that threads share the work.
  constexpr std::size_t kTaskQueries = 32;
  const std::size_t helpers = layout.transform.rotation.empty() ? 1 : threads;
  parallel_for((count + kTaskQueries - 1) / kTaskQueries, helpers, [&](std::size_t task) {
    for (std::size_t i = task * kTaskQueries; i < std::min((task + 1) * kTaskQueries, count); ++i)
      prepare(layout, queries.subspan(i * layout.dim, layout.dim),
              std::span(prepared).subspan(i * layout.dim, layout.dim), "query", i);
  });
  std::ranges::fill(ids, std::int64_t{-1});
  std::ranges::fill(scores, std::numeric_limits<float>::quiet_NaN());

  if (!allowed && snapshot.removed > 0) allowed = AllowedRows::live(snapshot);
  Search run(layout, snapshot, stages, prepared, options, std::move(allowed), ids, scores);
  if (snapshot.rows > 0) {
    const bool cells = run.probes_cells(), together = cells || run.skips_scan();
    std::size_t limit = group_size(std::min(stages[0].keep, snapshot.rows),
                                   cells ? kProbingQueries : kGroupQueries);
    std::size_t groups = (count + limit - 1) / limit;
    const auto size = [&](std::size_t group) { return std::min(limit, count - group * limit); };
    // Where there is no scan to split over threads, the queries are split.
    if (groups >= threads || together) {
      // Groups of one size, as many for each thread.
      const std::size_t rounds = (groups + threads - 1) / threads;
      limit = (count + rounds * threads - 1) / (rounds * threads);
      groups = (count + limit - 1) / limit;
      parallel_for(groups, threads, [&](std::size_t g) { run.run_group(g * limit, size(g)); });
    } else {
      for (std::size_t g = 0; g < groups; ++g) run.run_split(g * limit, size(g), threads);
    }
  }
  return std::move(run).stats();
}

}  // namespace nestling
