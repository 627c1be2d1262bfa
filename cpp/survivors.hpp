// Which rows a stage keeps: the best by score, ties broken by the lower id.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "rows.hpp"

namespace nestling {

using simd::Candidate;

// A candidate on its way through the re-ranks. `sum` is its inner product with the query so far.
struct Survivor {
  float score;
  float sum;
  std::uint32_t row;
};

// What the last row kept has: rows above its score pass, and rows that tie with it up to its id.
struct Cut {
  float score;
  std::int64_t id;
};

// Orders rows best first.
class Better {
 public:
  explicit Better(const Snapshot& snapshot) : snapshot_(snapshot), has_ids_(snapshot.has_ids()) {}

  template <class Row>
  std::int64_t id(const Row& row) const {
    return has_ids_ ? snapshot_.id(row.row) : static_cast<std::int64_t>(row.row);
  }
  template <class Row>
  bool operator()(const Row& a, const Row& b) const {
    return a.score != b.score ? a.score > b.score : id(a) < id(b);
  }
  template <class Row>
  bool passes(const Row& row, const Cut& cut) const {
    return row.score > cut.score || (row.score == cut.score && id(row) <= cut.id);
  }

 private:
  const Snapshot& snapshot_;
  bool has_ids_;
};

// The cut that leaves the best `keep` of more rows than that.
template <class Row>
Cut find_cut(std::span<const Row> rows, std::size_t keep, const Better& better) {
  std::vector<float> scores(rows.size());
  std::ranges::transform(rows, scores.begin(), &Row::score);
  const auto last = scores.begin() + static_cast<std::ptrdiff_t>(keep) - 1;
  std::nth_element(scores.begin(), last, scores.end(), std::greater<>());
  Cut cut{*last, std::numeric_limits<std::int64_t>::max()};

  std::vector<std::int64_t> ties;
  std::size_t above = 0;
  for (const Row& row : rows) {
    above += row.score > cut.score;
    if (row.score == cut.score) ties.push_back(better.id(row));
  }
  if (above + ties.size() > keep) {
    const auto worst = ties.begin() + static_cast<std::ptrdiff_t>(keep - above) - 1;
    std::nth_element(ties.begin(), worst, ties.end());
    cut.id = *worst;
  }
  return cut;
}

// Cuts `rows` to the best `keep` and leaves them in their order, which is that of the row numbers:
// so a re-rank walks through memory without a sort.
template <class Row>
void keep_best(std::vector<Row>& rows, std::size_t keep, const Better& better) {
  if (rows.size() <= keep) return;
  const Cut cut = find_cut<Row>(rows, keep, better);
  std::erase_if(rows, [&](const Row& row) { return !better.passes(row, cut); });
}

// Collects the best `keep` of the rows that a scan appends. Each time the buffer is full it is cut
// back, and the threshold rises to the worst row kept; rows that tie with it still pass.
class Collector : public simd::Sink {
 public:
  Collector(std::size_t keep, const Better& better,
            float threshold = -std::numeric_limits<float>::infinity());
  Collector(Collector&&) = default;

  void push(float score, std::uint32_t row) {
    if (!(score >= this->threshold)) return;
    candidates[count++] = {score, row};
    if (capacity - count < simd::kTileRows) cut();
  }

  // The best `keep` rows in the order they came, or all that passed if they are fewer; the
  // collector is left empty.
  std::vector<Candidate> take();

 private:
  void cut();

  std::size_t keep_;
  Better better_;
  std::vector<Candidate> buffer_;
};

}  // namespace nestling
