// Which rows a stage keeps: the best by score, ties broken by the lower id.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "base/error.hpp"
#include "search/filter.hpp"
#include "simd/cpu.hpp"
#include "store/snapshot.hpp"

namespace nestling {

using simd::Candidate;

// A score that can be ordered: a NaN, which a corrupted file may cause, becomes the lowest score.
inline float comparable(float score) {
  return score == score ? score : -std::numeric_limits<float>::infinity();
}

// A candidate between stages. `sum` is its inner product with the query so far.
struct Survivor {
  float score;
  float sum;
  std::uint32_t row;

  static Survivor of(float score, std::uint32_t row) {
    return {comparable(score), comparable(score), row};
  }
};

// Which rows a stage keeps: the best `keep`. With a margin f, of these only the best k and those
// with 1 - s <= f * (1 - s_k), where s is score + shift and s_k that of the k-th best.
struct KeepRule {
  std::size_t keep;
  std::size_t k;
  float margin = 0.0F;
  float shift = 0.0F;

  // The lowest score that is kept if the k-th best is `kth`: at most `kth`, since codes can score
  // more than 1. Monotonic in `kth`.
  float lowest(float kth) const {
    return std::min(kth, (1.0F - margin * (1.0F - (kth + shift))) - shift);
  }
};

// A row that a file names; throws FormatError where it is not one of the first `rows`.
inline std::uint32_t existing_row(std::uint32_t row, std::size_t rows) {
  if (row >= rows) [[unlikely]]
    throw FormatError("corrupted cells: they name a row that does not exist");
  return row;
}

// Which rows the slots of a scanned matrix hold. The first slots are looked up in a table; those
// after it hold consecutive rows.
struct SlotRows {
  const std::uint32_t* table = nullptr;
  std::uint32_t slots = 0;
  std::uint32_t first_row_behind = 0;
  std::uint32_t rows = 0;  // of the table; a file that was not verified may name others

  std::uint32_t operator()(std::uint32_t slot) const {
    return slot < slots ? existing_row(table[slot], rows) : slot - slots + first_row_behind;
  }
  void prefetch(std::uint32_t slot) const {
    if (slot < slots) __builtin_prefetch(table + slot);
  }
};

// Orders rows by descending score, then by ascending id. `row` of a candidate is a slot.
class RankOrder {
 public:
  explicit RankOrder(const Snapshot& snapshot, SlotRows rows = {})
      : snapshot_(snapshot), has_ids_(snapshot.has_ids()), rows_(rows) {}

  template <class Row>
  std::int64_t id(const Row& row) const {
    const std::uint32_t number = rows_(row.row);
    return has_ids_ ? snapshot_.id(number) : static_cast<std::int64_t>(number);
  }
  template <class Row>
  bool operator()(const Row& a, const Row& b) const {
    return a.score != b.score ? a.score > b.score : id(a) < id(b);
  }
  const SlotRows& rows() const { return rows_; }

 private:
  const Snapshot& snapshot_;
  bool has_ids_;
  SlotRows rows_;
};

// The score of the n-th best row, n >= 1.
template <class Row>
float nth_best(std::span<const Row> rows, std::size_t n) {
  constexpr std::size_t kFew = 1024;  // that need no memory but the stack's
  const auto nth = [&](std::span<float> scores) {
    std::ranges::transform(rows, scores.begin(), &Row::score);
    return simd::active().nth_largest(scores.data(), scores.size(), n);
  };
  if (rows.size() <= kFew) {
    std::array<float, kFew> scores;
    return nth(std::span(scores).first(rows.size()));
  }
  std::vector<float> scores(rows.size());
  return nth(scores);
}

// Moves the rows of at least this score to the front, in their order, and returns their number.
inline std::size_t keep_from(std::span<Candidate> rows, float score) {
  return simd::active().keep_from(rows.data(), rows.size(), score);
}
inline std::size_t keep_from(std::span<Survivor> rows, float score) {
  std::size_t kept = 0;
  for (const Survivor row : rows) {  // without a branch, which would be hard to predict
    rows[kept] = row;
    kept += static_cast<std::size_t>(row.score >= score);
  }
  return kept;
}

// Given more than `keep` rows, all with scores of at least `lowest`, drops those with exactly this
// score that have the highest ids. Returns how many stay: `keep`, or more where ids repeat.
template <class Row>
std::size_t drop_ties(std::span<Row> rows, float lowest, std::size_t keep, const RankOrder& order) {
  std::vector<std::int64_t> ties;
  for (const Row& row : rows)
    if (row.score == lowest) ties.push_back(order.id(row));
  const std::size_t above = rows.size() - ties.size();
  const auto worst = ties.begin() + static_cast<std::ptrdiff_t>(keep - above) - 1;
  std::nth_element(ties.begin(), worst, ties.end());
  const auto end = std::remove_if(rows.begin(), rows.end(), [&](const Row& row) {
    return row.score == lowest && order.id(row) > *worst;
  });
  return static_cast<std::size_t>(end - rows.begin());
}

// How many rows were kept, and the score below which none was.
struct Kept {
  std::size_t count;
  float threshold;
};
// Moves the rows that the rule keeps to the front, in their order.
template <class Row>
Kept keep_front(std::span<Row> rows, const KeepRule& rule, const RankOrder& order) {
  Kept kept{rows.size(), -std::numeric_limits<float>::infinity()};
  if (rule.margin > 0.0F && kept.count > rule.k) {
    kept.threshold = rule.lowest(nth_best<Row>(rows, rule.k));
    kept.count = keep_from(rows, kept.threshold);
  }
  if (kept.count > rule.keep) {
    kept.threshold = nth_best<Row>(rows.first(kept.count), rule.keep);
    kept.count = keep_from(rows.first(kept.count), kept.threshold);
    if (kept.count > rule.keep)
      kept.count = drop_ties(rows.first(kept.count), kept.threshold, rule.keep, order);
  }
  return kept;
}

// Keeps rows in their order, so that a re-rank of all rows reads memory in order without a sort.
template <class Row>
void keep_best(std::vector<Row>& rows, const KeepRule& rule, const RankOrder& order) {
  rows.resize(keep_front<Row>(rows, rule, order).count);
}

// Collects the best of the rows that a scan appends. Whether a row is allowed is looked up where it
// passes the threshold, as few do. When the buffer is full, it is cut back and the threshold rises
// to the score of the worst row kept; rows with that score still pass.
class Collector : public simd::Sink {
 public:
  Collector(const KeepRule& rule, const RankOrder& order,
            float threshold = -std::numeric_limits<float>::infinity());
  // Collects allowed rows only; all if this is null.
  Collector(const KeepRule& rule, const RankOrder& order, const AllowedRows* allowed)
      : Collector(rule, order) {
    allowed_ = allowed;
  }
  Collector(Collector&&) = default;
  Collector(const Collector&) = delete;
  Collector& operator=(Collector&&) = delete;
  Collector& operator=(const Collector&) = delete;
  ~Collector() = default;

  void push(float score, std::uint32_t row) {
    if (!(score >= this->threshold)) return;
    candidates[count++] = {score, row};
    if (capacity - count < simd::kTileRows) cut();
  }

  // Cuts back now if that would drop enough rows, so that the threshold rises.
  void tighten();

  // The score of the k-th best row so far; minus infinity if there are fewer.
  float kth_best();

  // The n best rows so far, in the order in which they were appended.
  std::vector<Candidate> best(std::size_t n);

  // Returns the best rows in the order in which they were appended, and leaves the collector empty.
  std::vector<Candidate> take();

 private:
  void cut();
  void drop_others();
  void resize(std::size_t size);

  KeepRule rule_;
  RankOrder order_;
  const AllowedRows* allowed_ = nullptr;
  std::size_t tested_ = 0;  // how many of the first candidates are known to be allowed
  std::unique_ptr<Candidate[]> buffer_;
};

}  // namespace nestling
