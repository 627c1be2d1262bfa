// Which rows a stage keeps: the best by score, ties broken by the lower id.
#pragma once

#include <algorithm>
#include <cstddef>
#include <limits>
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

// Orders candidates best first. With ids of their own, ties look them up.
class Better {
 public:
  explicit Better(const Snapshot& snapshot) : snapshot_(snapshot), has_ids_(snapshot.has_ids()) {}

  template <class Row>
  bool operator()(const Row& a, const Row& b) const {
    if (a.score != b.score) return a.score > b.score;
    return has_ids_ ? snapshot_.id(a.row) < snapshot_.id(b.row) : a.row < b.row;
  }

 private:
  const Snapshot& snapshot_;
  bool has_ids_;
};

// Cuts `rows` to the best `keep`, in no particular order.
template <class Row>
void keep_best(std::vector<Row>& rows, std::size_t keep, const Better& better) {
  if (rows.size() <= keep) return;
  const auto cut = rows.begin() + static_cast<std::ptrdiff_t>(keep);
  std::nth_element(rows.begin(), cut - 1, rows.end(), better);
  rows.erase(cut, rows.end());
}

// Collects the best `keep` of the rows that a scan appends. Each time the buffer is full it is cut back,
// and the threshold rises to the worst row kept; rows that tie with it still pass.
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

  // The best `keep` rows, or all that passed if they are fewer; the collector is left empty.
  std::vector<Candidate> take();

 private:
  void cut();

  std::size_t keep_;
  Better better_;
  std::vector<Candidate> buffer_;
};

}  // namespace nestling
