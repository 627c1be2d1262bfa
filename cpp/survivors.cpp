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
  const auto nth = buffer_.begin() + static_cast<std::ptrdiff_t>(keep_) - 1;
  std::nth_element(buffer_.begin(), nth, buffer_.begin() + count, better_);
  count = static_cast<std::uint32_t>(keep_);
  threshold = nth->score;
}

std::vector<Candidate> Collector::take() {
  std::vector<Candidate> best(buffer_.begin(), buffer_.begin() + count);
  keep_best(best, keep_, better_);
  count = 0;
  return best;
}

}  // namespace nestling
