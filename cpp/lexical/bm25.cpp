#include "lexical/bm25.hpp"

#include <algorithm>
#include <cmath>

namespace nestling::lexical {

double term_weight(std::uint64_t documents, std::uint64_t count) {
  const auto all = static_cast<double>(documents), some = static_cast<double>(count);
  const double idf = std::log((all - some + 0.5) / (some + 0.5));
  // Where a term is in more than half of the rows, the logarithm is negative.
  return (idf > 0 ? idf : 1e-6) * (kSaturation + 1);
}

Bm25::Bm25(double total_weight, double mean_length)
    : base_(kSaturation * (1 - kLengthShare)),
      slope_(mean_length > 0 ? kSaturation * kLengthShare / mean_length : 0) {
  const double most = std::ldexp(1.0, std::ilogb(total_weight) + 1);  // more than all add together
  rounder_ = 3 * most;
  step_ = std::ldexp(most, -51);
}

double Bm25::bound(double weight, const Bound& bound) const {
  double best = 0;
  for (std::size_t g = 0; g < kFrequencyGroups; ++g) {
    if (bound.shortest[g] == kNoLength) continue;
    if (g == kFrequencyGroups - 1 && bound.most == kManyTimes) return rounded(weight) + 2 * step_;
    const std::uint32_t limit = g < 2 ? static_cast<std::uint32_t>(g) + 1 : g == 2 ? 4 : kManyTimes;
    const std::uint32_t frequency = std::min<std::uint32_t>(limit, bound.most);
    best = std::max(best, score(weight, frequency, length_of(bound.shortest[g])));
  }
  return best + 2 * step_;
}

}  // namespace nestling::lexical
