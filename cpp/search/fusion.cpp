#include "search/fusion.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>

#include "base/error.hpp"

namespace nestling {
namespace {

// The rows that were given so far, numbered in the order of their first place. A hash table with
// linear probing.
class RowNumbers {
 public:
  explicit RowNumbers(std::size_t most)
      : slots_(std::bit_ceil(2 * most + 2), kFree), shift_(std::countl_zero(slots_.size() - 1)) {
    rows_.reserve(most);
  }

  std::size_t of(std::int64_t row) {
    const std::size_t mask = slots_.size() - 1;
    auto at = static_cast<std::size_t>(static_cast<std::uint64_t>(row) * kMultiplier >> shift_);
    while (slots_[at] != kFree) {
      if (rows_[slots_[at]] == row) return slots_[at];
      at = (at + 1) & mask;
    }
    slots_[at] = static_cast<std::uint32_t>(rows_.size());
    rows_.push_back(row);
    return slots_[at];
  }

  const std::vector<std::int64_t>& rows() const { return rows_; }

 private:
  static constexpr std::uint32_t kFree = ~0U;
  static constexpr std::uint64_t kMultiplier = 0x9E3779B97F4A7C15;  // 2^64 / golden ratio

  std::vector<std::uint32_t> slots_;
  int shift_;
  std::vector<std::int64_t> rows_;
};

void scale(std::span<const double> scores, double weight, std::vector<double>& out) {
  out.clear();
  if (scores.empty()) return;
  // Halved so that no difference of two finite numbers overflows.
  const auto [least, most] = std::ranges::minmax_element(scores);
  const double low = *least / 2, spread = *most / 2 - low;
  for (const double score : scores)
    out.push_back(weight * (spread > 0 ? (score / 2 - low) / spread : 1.0));
}

void invert_ranks(const Ranking& ranking, std::vector<double>& out) {
  const auto before = [&](std::size_t a, std::size_t b) {
    if (ranking.scores[a] != ranking.scores[b]) return ranking.scores[a] > ranking.scores[b];
    return ranking.rows[a] < ranking.rows[b];
  };
  std::vector<std::size_t> order(ranking.rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (!std::ranges::is_sorted(order, before)) std::ranges::sort(order, before);
  out.resize(order.size());
  for (std::size_t rank = 0; rank < order.size(); ++rank)
    out[order[rank]] = ranking.weight / (kRankOffset + static_cast<double>(rank + 1));
}

}  // namespace

FusedRows fuse(std::span<const Ranking> rankings, FusionRule rule, std::size_t k) {
  std::size_t most = 0;
  for (const Ranking& ranking : rankings) most += ranking.rows.size();
  RowNumbers numbers(most);
  std::vector<double> sums(most), parts;
  std::vector<std::int32_t> places(most * rankings.size());
  for (std::size_t r = 0; r < rankings.size(); ++r) {
    const Ranking& ranking = rankings[r];
    for (const double score : ranking.scores)
      if (!std::isfinite(score)) throw FormatError("a score of a hit is not a finite number");
    if (rule == FusionRule::kReciprocalRanks)
      invert_ranks(ranking, parts);
    else
      scale(ranking.scores, ranking.weight, parts);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const std::size_t number = numbers.of(ranking.rows[i]);
      std::int32_t& place = places[number * rankings.size() + r];
      if (place != 0)
        throw FormatError("row " + std::to_string(ranking.rows[i]) + " was found twice");
      place = static_cast<std::int32_t>(i + 1);
      sums[number] += parts[i];
    }
  }
  struct Entry {
    double sum;
    std::int64_t row;
    std::size_t number;
  };
  std::vector<Entry> entries;
  entries.reserve(numbers.rows().size());
  for (std::size_t i = 0; i < numbers.rows().size(); ++i)
    entries.push_back({sums[i], numbers.rows()[i], i});
  const auto before = [](const Entry& a, const Entry& b) {
    return a.sum != b.sum ? a.sum > b.sum : a.row < b.row;
  };
  const std::size_t count = std::min(k, entries.size());
  const auto end = entries.begin() + static_cast<std::ptrdiff_t>(count);
  if (count < entries.size()) std::ranges::nth_element(entries, end, before);
  std::sort(entries.begin(), end, before);
  FusedRows fused;
  fused.rows.reserve(count);
  fused.scores.reserve(count);
  fused.places.reserve(count * rankings.size());
  for (auto entry = entries.begin(); entry != end; ++entry) {
    fused.rows.push_back(entry->row);
    fused.scores.push_back(entry->sum);
    const auto first =
        places.begin() + static_cast<std::ptrdiff_t>(entry->number * rankings.size());
    fused.places.insert(fused.places.end(), first,
                        first + static_cast<std::ptrdiff_t>(rankings.size()));
  }
  return fused;
}

}  // namespace nestling
