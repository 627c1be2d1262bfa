#include "survivors.hpp"

#include <algorithm>

namespace nestling {

Collector::Collector(std::size_t keep, const Better& better, float threshold_)
    : keep_(keep), better_(better), buffer_(2 * keep + 8 * simd::kBlockRows) {
  threshold = threshold_;
  count = 0;
  capacity = static_cast<std::uint32_t>(buffer_.size());
  candidates = buffer_.data();
  full = [](simd::Sink& sink) { static_cast<Collector&>(sink).cut(); };
}

void Collector::cut() {
  const std::span<Candidate> rows(buffer_.data(), count);
  const Cut cut = find_cut<Candidate>(rows, keep_, better_);
  const auto end =
      std::ranges::remove_if(rows, [&](const Candidate& row) { return !better_.passes(row, cut); });
  count = static_cast<std::uint32_t>(end.begin() - rows.begin());
  threshold = cut.score;
}

std::vector<Candidate> Collector::take() {
  std::vector<Candidate> best(buffer_.begin(), buffer_.begin() + count);
  keep_best(best, keep_, better_);
  count = 0;
  return best;
}

}  // namespace nestling
