#include "search/nearest_cells.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "search/family_scan.hpp"
#include "simd/cpu.hpp"
#include "store/row_codec.hpp"

namespace nestling {
namespace {

// Centroids whose children are scored, to find the `keep` nearest ones among these.
std::size_t beam_width(std::size_t keep) {
  constexpr std::size_t kLeast = 12, kShare = 3;
  return kLeast + keep / kShare;
}

// Cells that are nearest by their codes, to find the `keep` nearest ones among these.
std::size_t coded_width(std::size_t keep) {
  constexpr std::size_t kLeast = 16, kShare = 4;
  return keep + keep / kShare + kLeast;
}

// How many of the best centroids of a level, so many above the last one, lead to `keep` cells.
std::size_t level_width(std::size_t above_last, std::size_t keep) {
  std::size_t width = coded_width(keep);
  for (; above_last > 0; --above_last) width = beam_width(width);
  return width;
}

// The first cell, which takes vectors that no centroid is near to: those with a NaN, which only a
// corrupted file has.
std::uint32_t first_cell(const CentroidTree& tree) {
  const CoarseLayout layout = tree.layout();
  const CentroidLevel& level = tree.last();
  for (std::uint32_t slot = 0; slot < level.slots(); ++slot) {
    const std::byte* block = level.codes.get() + slot / simd::kBlockRows * layout.block_bytes();
    if (!std::isnan(row_scale(layout, block, slot % simd::kBlockRows))) return slot;
  }
  return 0;
}

}  // namespace

CellQueries::CellQueries(const CentroidTree& tree, std::vector<float> vectors)
    : tree_(tree),
      vectors_(std::move(vectors)),
      coded_(Metric::cosine, tree.layout(), tree.centre_values(), Queries{vectors_, tree.dims}) {}

void CellQueries::score(std::size_t query, std::span<Candidate> cells) const {
  const ShellLayout shell = tree_.shell();
  const auto* values = reinterpret_cast<const std::uint8_t*>(tree_.values.get());
  std::vector<const std::uint8_t*> rows;
  rows.reserve(cells.size());
  for (const Candidate& cell : cells) rows.push_back(values + cell.row * shell.stride());
  std::vector<float> sums(cells.size());
  simd::active().dot_i8(
      {.rows = rows.data(), .count = rows.size(), .dims = tree_.dims, .stride = shell.stride()},
      vectors_.data() + query * tree_.dims, sums.data());
  for (std::size_t i = 0; i < cells.size(); ++i)
    cells[i].score = comparable(sums[i] * read_trailer(shell, rows[i]).scale);
}

std::vector<std::vector<Candidate>> CellQueries::nearest(std::size_t keep) const {
  std::vector<std::uint32_t> all(count());
  std::iota(all.begin(), all.end(), 0U);
  std::vector<std::vector<Candidate>> lists(count());
  CellRanking(*this, keep).extend(all, std::vector<std::size_t>(count(), keep), lists);
  return lists;
}

void erase_listed(std::vector<Candidate>& cells,
                  std::initializer_list<std::span<const Candidate>> lists) {
  std::vector<std::uint32_t> listed;
  for (const std::span<const Candidate> list : lists)
    for (const Candidate& cell : list) listed.push_back(cell.row);
  if (listed.empty()) return;
  std::ranges::sort(listed);
  std::erase_if(
      cells, [&](const Candidate& cell) { return std::ranges::binary_search(listed, cell.row); });
}

CellRanking::CellRanking(const CellQueries& queries, std::size_t most)
    : queries_(queries),
      levels_(queries.tree().levels.size()),
      opened_(levels_.size() - 1, std::vector<std::vector<std::uint32_t>>(queries.count())),
      unlisted_(queries.count()),
      started_(queries.count()) {
  static const Snapshot nothing;
  const RankOrder order(nothing);
  for (std::size_t l = 0; l < levels_.size(); ++l) {
    const std::size_t width = level_width(levels_.size() - 1 - l, most);
    levels_[l].reserve(queries.count());
    for (std::size_t i = 0; i < queries.count(); ++i)
      levels_[l].emplace_back(KeepRule{.keep = width, .k = width}, order);
  }
}

void CellRanking::extend(std::span<const std::uint32_t> some, std::span<const std::size_t> keeps,
                         std::vector<std::vector<Candidate>>& lists) {
  // So few that what they collect on a level stays in the cache.
  constexpr std::size_t kTogether = 128;
  for (std::size_t first = 0; first < some.size(); first += kTogether) {
    const std::size_t count = std::min(kTogether, some.size() - first);
    extend_together(some.subspan(first, count), keeps.subspan(first, count), lists);
  }
}

void CellRanking::extend_together(std::span<const std::uint32_t> some,
                                  std::span<const std::size_t> keeps,
                                  std::vector<std::vector<Candidate>>& lists) {
  std::vector<Visit> visits;
  for (const std::uint32_t i : some) {
    if (!started_[i]) visits.push_back({i, 0});
    started_[i] = true;
  }
  const std::size_t last = levels_.size() - 1;
  for (std::size_t l = 0;; ++l) {
    scan_level(l, visits);
    if (l == last) break;
    visits.clear();
    for (std::size_t n = 0; n < some.size(); ++n) {
      const std::uint32_t i = some[n];
      std::vector<std::uint32_t>& opened = opened_[l][i];
      const auto before = static_cast<std::ptrdiff_t>(opened.size());
      std::ranges::sort(opened);
      const auto beam = levels_[l][i].best(level_width(levels_.size() - 1 - l, keeps[n]));
      opened.reserve(opened.size() + beam.size());
      visits.reserve(visits.size() + beam.size());
      for (const Candidate& centroid : beam) {
        if (std::binary_search(opened.begin(), opened.begin() + before, centroid.row)) continue;
        opened.push_back(centroid.row);
        visits.push_back({i, centroid.row});
      }
    }
  }
  for (std::size_t n = 0; n < some.size(); ++n) append_nearest(some[n], keeps[n], lists[some[n]]);
}

void CellRanking::scan_level(std::size_t level, std::vector<Visit>& visits) {
  const CentroidTree& tree = queries_.tree();
  const std::uint32_t all_blocks[] = {0, static_cast<std::uint32_t>(tree.levels[0].blocks)};
  scan_families({.coarse = tree.layout(),
                 .codes = reinterpret_cast<const std::uint8_t*>(tree.levels[level].codes.get()),
                 .starts = level == 0 ? std::span<const std::uint32_t>(all_blocks)
                                      : tree.levels[level - 1].child_starts()},
                visits, queries_.coded(), levels_[level]);
}

void CellRanking::append_nearest(std::uint32_t query, std::size_t keep,
                                 std::vector<Candidate>& list) {
  std::vector<Candidate> coded = levels_.back()[query].best(coded_width(keep));
  std::vector<Candidate>& unlisted = unlisted_[query];
  erase_listed(coded, {list, unlisted});
  queries_.score(query, coded);
  unlisted.insert(unlisted.end(), coded.begin(), coded.end());
  // The best come first and the others stay; only the best are put in order.
  const std::size_t missing = std::min(keep - std::min(keep, list.size()), unlisted.size());
  if (missing > 0) {
    const float least = nth_best<Candidate>(unlisted, missing);
    const auto first = static_cast<std::ptrdiff_t>(list.size());
    list.reserve(list.size() + missing);
    std::size_t kept = 0;
    for (const Candidate& cell : unlisted) {
      if (cell.score >= least)
        list.push_back(cell);
      else
        unlisted[kept++] = cell;
    }
    unlisted.resize(kept);
    std::sort(list.begin() + first, list.end(), [](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : a.row < b.row;
    });
  }
  if (list.empty()) list.push_back({0.0F, first_cell(queries_.tree())});
}

}  // namespace nestling
