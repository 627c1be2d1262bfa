#include "search/survivors.hpp"

#include <algorithm>

namespace nestling {
namespace {

constexpr std::size_t kSlack = 8 * simd::kBlockRows;
constexpr std::size_t kFirstSize = 1024;

}  // namespace

Collector::Collector(const KeepRule& rule, const RankOrder& order, float threshold_)
    : rule_(rule), order_(order) {
  threshold = threshold_;
  count = 0;
  candidates = nullptr;
  full = [](simd::Sink& sink) { static_cast<Collector&>(sink).cut(); };
  resize(std::min(2 * rule_.keep + kSlack, kFirstSize));
}

void Collector::resize(std::size_t size) {
  auto larger = std::make_unique_for_overwrite<Candidate[]>(size);
  std::copy_n(candidates, count, larger.get());
  buffer_ = std::move(larger);
  capacity = static_cast<std::uint32_t>(size);
  candidates = buffer_.get();
}

void Collector::tighten() {
  const std::size_t worth = rule_.margin > 0.0F ? rule_.k : rule_.keep;
  if (count > worth + worth / 2) cut();
}

void Collector::cut() {
  const Kept kept = keep_front(std::span(candidates, count), rule_, order_);
  count = static_cast<std::uint32_t>(kept.count);
  threshold = std::max(threshold, kept.threshold);
  // A cut takes time in proportion to the buffer, so it must free more than half of it.
  if (count > capacity / 2)
    resize(std::min<std::size_t>(std::size_t{2} * capacity,
                                 std::max<std::size_t>(capacity, 2 * rule_.keep + kSlack)));
}

float Collector::kth_best() {
  if (count < rule_.k) return -std::numeric_limits<float>::infinity();
  return nth_best<Candidate>(std::span(candidates, count), rule_.k);
}

std::vector<Candidate> Collector::best(std::size_t n) const {
  std::vector<Candidate> rows(candidates, candidates + count);
  keep_best(rows, KeepRule{.keep = n, .k = n}, order_);
  return rows;
}

std::vector<Candidate> Collector::take() {
  std::vector<Candidate> best(candidates, candidates + count);
  keep_best(best, rule_, order_);
  count = 0;
  return best;
}

}  // namespace nestling
