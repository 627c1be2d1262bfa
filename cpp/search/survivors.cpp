#include "search/survivors.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>

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
  drop_others();
  const Kept kept = keep_front(std::span(candidates, count), rule_, order_);
  count = static_cast<std::uint32_t>(kept.count);
  tested_ = count;
  threshold = std::max(threshold, kept.threshold);
  // A cut takes time in proportion to the buffer, so it must free more than half of it.
  if (count > capacity / 2)
    resize(std::min<std::size_t>(std::size_t{2} * capacity,
                                 std::max<std::size_t>(capacity, 2 * rule_.keep + kSlack)));
}

void Collector::drop_others() {
  if (allowed_ == nullptr) return;
  // What is looked up lies anywhere in memory, so it is fetched for many rows at a time.
  constexpr std::size_t kTogether = 64;
  std::array<std::uint32_t, kTogether> rows;
  std::size_t kept = tested_;
  for (std::size_t first = tested_; first < count; first += kTogether) {
    const auto some =
        std::span(candidates, count).subspan(first).first(std::min(kTogether, count - first));
    for (const Candidate& candidate : some) order_.rows().prefetch(candidate.row);
    for (std::size_t i = 0; i < some.size(); ++i) {
      rows[i] = order_.rows()(some[i].row);
      allowed_->prefetch(rows[i]);
    }
    for (std::size_t i = 0; i < some.size(); ++i) {  // without a branch, which is hard to predict
      const Candidate candidate = some[i];
      candidates[kept] = candidate;
      kept += static_cast<std::size_t>(allowed_->has(rows[i]));
    }
  }
  tested_ = kept;
  count = static_cast<std::uint32_t>(kept);
}

float Collector::kth_best() {
  drop_others();
  if (count < rule_.k) return -std::numeric_limits<float>::infinity();
  return nth_best<Candidate>(std::span(candidates, count), rule_.k);
}

std::vector<Candidate> Collector::best(std::size_t n) {
  drop_others();
  std::vector<Candidate> rows(candidates, candidates + count);
  keep_best(rows, KeepRule{.keep = n, .k = n}, order_);
  return rows;
}

std::vector<Candidate> Collector::take() {
  drop_others();
  std::vector<Candidate> best(candidates, candidates + count);
  keep_best(best, rule_, order_);
  count = 0;
  tested_ = 0;
  return best;
}

}  // namespace nestling
