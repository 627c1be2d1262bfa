#include "index_parts.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <queue>
#include <utility>

#include "base/pool.hpp"

namespace nestling {
namespace {

// What one part found, count × k.
struct Found {
  std::vector<std::int64_t> ids;
  std::vector<float> scores;
  std::vector<StageStats> stages;
};

// Whether the parts are searched side by side, a thread for each. Many queries share out a part's
// work among the threads better than that, and so does one query of a part that has most rows.
bool side_by_side(std::span<const SearchedPart> parts, std::size_t queries, std::size_t threads) {
  if (parts.size() == 1 || queries >= threads) return false;
  std::size_t rows = 0, most = 0;
  for (const SearchedPart& part : parts) {
    rows += part.index->size();
    most = std::max(most, part.index->size());
  }
  return most * threads <= rows;
}

// The next hit of a part, for the merge of one query.
struct Head {
  float score;
  std::size_t part;
  std::size_t place;
};

// Whether `b` comes before `a`, as std::priority_queue asks.
struct After {
  bool operator()(const Head& a, const Head& b) const {
    return a.score != b.score ? a.score < b.score : a.part > b.part;
  }
};

Found search_part(const SearchedPart& part, std::span<const float> queries, SearchOptions options) {
  const std::size_t places = queries.size() / part.index->layout().dim * options.k;
  Found found{.ids = std::vector<std::int64_t>(places), .scores = std::vector<float>(places)};
  options.probes = part.probes;
  found.stages =
      part.index->search(part.stages, queries, options, part.filter, found.ids, found.scores);
  for (std::int64_t& id : found.ids)
    if (id >= 0) id += part.shift;
  return found;
}

void merge(std::span<const Found> found, std::size_t query, std::size_t k, bool clip,
           std::span<std::int64_t> ids, std::span<float> scores) {
  std::priority_queue<Head, std::vector<Head>, After> heads;
  const auto push = [&](std::size_t part, std::size_t place) {
    if (place == k) return;
    const float score = found[part].scores[query * k + place];
    if (!std::isnan(score)) heads.push({.score = score, .part = part, .place = place});
  };
  for (std::size_t part = 0; part < found.size(); ++part) push(part, 0);
  for (std::size_t i = 0; i < k; ++i) {
    if (heads.empty()) {
      ids[i] = -1;
      scores[i] = std::numeric_limits<float>::quiet_NaN();
      continue;
    }
    const Head best = heads.top();
    heads.pop();
    ids[i] = found[best.part].ids[query * k + best.place];
    scores[i] = clip ? std::clamp(best.score, -1.0F, 1.0F) : best.score;
    push(best.part, best.place + 1);
  }
}

void add(std::vector<StageStats>& total, const std::vector<StageStats>& stages) {
  total.resize(stages.size());
  for (std::size_t i = 0; i < stages.size(); ++i) {
    total[i].rows_seen += stages[i].rows_seen;
    total[i].rows_kept += stages[i].rows_kept;
    total[i].bytes_read += stages[i].bytes_read;
    total[i].nanoseconds += stages[i].nanoseconds;
  }
}

}  // namespace

std::vector<StageStats> search(std::span<const SearchedPart> parts, std::span<const float> queries,
                               const SearchOptions& options, std::span<std::int64_t> ids,
                               std::span<float> scores) {
  const Layout& layout = parts.front().index->layout();
  const std::size_t count = queries.size() / layout.dim;
  SearchOptions each = options;
  each.clip = false;  // what is clipped cannot be merged
  std::size_t threads = 1;
  if (side_by_side(parts, count, options.threads)) std::swap(threads, each.threads);
  std::vector<Found> found(parts.size());
  parallel_for(parts.size(), threads,
               [&](std::size_t i) { found[i] = search_part(parts[i], queries, each); });

  const bool clip = options.clip && layout.metric == Metric::cosine;
  for (std::size_t query = 0; query < count; ++query)
    merge(found, query, options.k, clip, ids.subspan(query * options.k, options.k),
          scores.subspan(query * options.k, options.k));
  std::vector<StageStats> total;
  for (const Found& one : found) add(total, one.stages);
  return total;
}

}  // namespace nestling
