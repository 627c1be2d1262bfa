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

// Keeps the best of some cells by the 8-bit values of their centroids, best first.
void CellQueries::rerank(std::size_t query, std::vector<Candidate>& cells, std::size_t keep) const {
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
  const std::size_t kept = std::min(keep, cells.size());
  std::ranges::partial_sort(cells, cells.begin() + static_cast<std::ptrdiff_t>(kept),
                            [](const Candidate& a, const Candidate& b) {
                              return a.score != b.score ? a.score > b.score : a.row < b.row;
                            });
  cells.resize(kept);
}

std::vector<std::vector<Candidate>> CellQueries::nearest(std::size_t keep) const {
  std::vector<std::uint32_t> all(coded_.count());
  std::iota(all.begin(), all.end(), 0U);
  return nearest(keep, all);
}

std::vector<std::vector<Candidate>> CellQueries::nearest(
    std::size_t keep, std::span<const std::uint32_t> some) const {
  static const Snapshot nothing;
  const RankOrder order(nothing);
  const std::size_t count = coded_.count();
  std::vector<std::size_t> widths(tree_.levels.size(), coded_width(keep));
  for (std::size_t l = widths.size() - 1; l-- > 0;) widths[l] = beam_width(widths[l + 1]);

  std::vector<std::vector<Candidate>> best(count);
  const std::uint32_t all_blocks[] = {0, static_cast<std::uint32_t>(tree_.levels[0].blocks)};
  std::vector<Visit> visits;
  for (const std::uint32_t i : some) visits.push_back({i, 0});
  for (std::size_t l = 0; l < tree_.levels.size(); ++l) {
    std::vector<Collector> collectors;
    collectors.reserve(count);
    for (std::size_t i = 0; i < count; ++i)
      collectors.emplace_back(KeepRule{.keep = widths[l], .k = widths[l]}, order);
    const CentroidLevel& level = tree_.levels[l];
    scan_families({.coarse = tree_.layout(),
                   .codes = reinterpret_cast<const std::uint8_t*>(level.codes.get()),
                   .starts = l == 0 ? std::span<const std::uint32_t>(all_blocks)
                                    : tree_.levels[l - 1].child_starts()},
                  visits, coded_, collectors);
    visits.clear();
    for (const std::uint32_t i : some) {
      best[i] = collectors[i].take();
      if (l + 1 == tree_.levels.size()) {
        rerank(i, best[i], keep);
        if (best[i].empty()) best[i].push_back({0.0F, first_cell(tree_)});
        continue;
      }
      for (const Candidate& centroid : best[i]) visits.push_back({i, centroid.row});
    }
  }
  return best;
}

}  // namespace nestling
