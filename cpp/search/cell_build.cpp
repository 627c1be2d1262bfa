#include "search/cell_build.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.hpp"
#include "base/pool.hpp"
#include "search/kmeans.hpp"
#include "simd/cpu.hpp"
#include "store/gather.hpp"
#include "store/norms.hpp"
#include "store/row_codec.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

constexpr std::size_t kSamplePerCell = 40;
constexpr std::size_t kMaxSampled = std::size_t{1} << 19;
constexpr std::size_t kTaskRows = 512;
// Nearest centroids, from which the second cell is chosen.
constexpr std::size_t kSpillCandidates = 8;

// The normalised prefixes of some rows: rows.size() × dims values.
std::vector<float> prefixes(const Layout& layout, const Snapshot& snapshot,
                            std::span<const std::uint32_t> rows, std::size_t dims) {
  std::vector<float> values(rows.size() * dims), whole(layout.dim);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    reconstruct(layout, snapshot, rows[i], whole);
    const float factor = inverse_norm(Metric::cosine, whole, dims);
    for (std::size_t d = 0; d < dims; ++d) values[i * dims + d] = whole[d] * factor;
  }
  return values;
}

std::vector<float> sample_prefixes(const Layout& layout, const Snapshot& snapshot,
                                   std::span<const std::uint32_t> live, const CellOptions& options,
                                   std::size_t threads) {
  const std::size_t size = std::min({live.size(), kSamplePerCell * options.count, kMaxSampled});
  std::vector<float> sample(size * options.dims);
  parallel_for((size + kTaskRows - 1) / kTaskRows, threads, [&](std::size_t task) {
    std::vector<std::uint32_t> rows;
    for (std::size_t i = task * kTaskRows; i < std::min((task + 1) * kTaskRows, size); ++i)
      rows.push_back(live[i * live.size() / size]);
    std::ranges::copy(
        prefixes(layout, snapshot, rows, options.dims),
        sample.begin() + static_cast<std::ptrdiff_t>(task * kTaskRows * options.dims));
  });
  return sample;
}

// The second cell of a vector: the near one whose centroid differs from the vector in the direction
// most nearly orthogonal to the error of the first. A query that ranks the first cell low is then
// likely to rank the second high (Sun et al. 2023, "SOAR: improved indexing for approximate nearest
// neighbor search", with λ = 1).
std::uint32_t second_cell(std::span<const float> vector, std::span<const Candidate> near,
                          std::span<const float> centroids) {
  const std::size_t dims = vector.size();
  const auto error = [&](std::uint32_t cell, std::vector<float>& out) {
    for (std::size_t d = 0; d < dims; ++d) out[d] = vector[d] - centroids[cell * dims + d];
  };
  const auto dot = simd::active().dot;
  std::vector<float> first(dims), other(dims);
  error(near[0].row, first);
  const float energy = dot(first.data(), first.data(), dims);
  std::uint32_t best = near[0].row;
  float least = std::numeric_limits<float>::infinity();
  for (const Candidate& candidate : near.subspan(1)) {
    error(candidate.row, other);
    const float along = dot(first.data(), other.data(), dims);
    const float loss =
        dot(other.data(), other.data(), dims) + (energy > 0.0F ? along * along / energy : 0.0F);
    if (loss < least) {
      least = loss;
      best = candidate.row;
    }
  }
  return best;
}

// The cells that a row is stored in; the same one twice if it is stored once.
struct CellPair {
  std::uint32_t first, second;
};

std::vector<CellPair> assign(const Layout& layout, const Snapshot& snapshot,
                             std::span<const std::uint32_t> live, const CellOptions& options,
                             const Centroids& coded, std::span<const float> centroids,
                             std::size_t threads) {
  std::vector<CellPair> cells(live.size());
  const std::size_t keep =
      options.spill ? std::min(kSpillCandidates, options.count) : std::size_t{1};
  parallel_for((live.size() + kTaskRows - 1) / kTaskRows, threads, [&](std::size_t task) {
    const std::size_t first = task * kTaskRows;
    const auto rows = live.subspan(first, std::min(kTaskRows, live.size() - first));
    const std::vector<float> vectors = prefixes(layout, snapshot, rows, options.dims);
    const auto near = coded.nearest(vectors, keep);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto vector = std::span(vectors).subspan(i * options.dims, options.dims);
      const std::uint32_t nearest = near[i].front().row;
      cells[first + i] = {nearest, keep > 1 ? second_cell(vector, near[i], centroids) : nearest};
    }
  });
  return cells;
}

}  // namespace

std::shared_ptr<const Cells> build_cells(const Layout& layout, const Snapshot& snapshot,
                                         const CellOptions& options, std::size_t threads) {
  const std::vector<std::uint32_t> live = live_rows(snapshot);
  if (options.count < 1 || options.count > live.size())
    throw FunnelError(std::to_string(options.count) + " cells for " + std::to_string(live.size()) +
                      " rows: there must be at least one row per cell");
  const std::vector<float> centroids =
      kmeans(sample_prefixes(layout, snapshot, live, options, threads), options.dims, options.count,
             threads);
  const Centroids coded(centroids, options.dims);
  const std::vector<CellPair> cells =
      assign(layout, snapshot, live, options, coded, centroids, threads);

  std::vector<std::uint32_t> sizes(options.count);
  const auto for_each_place = [&](auto visit) {
    for (std::size_t i = 0; i < live.size(); ++i) {
      visit(cells[i].first, live[i]);
      if (cells[i].second != cells[i].first) visit(cells[i].second, live[i]);
    }
  };
  for_each_place([&](std::uint32_t cell, std::uint32_t) { ++sizes[cell]; });

  std::size_t blocks = 0;
  for (const std::uint32_t size : sizes) blocks += block_count(size);
  if (blocks * kBlockRows > kMaxRows)
    throw FunnelError("cells of " + std::to_string(live.size()) + " rows take " +
                      std::to_string(blocks * kBlockRows) + " slots, more than " +
                      std::to_string(kMaxRows) + "; build them without spill");

  Cells::Parts parts;
  parts.centroids = coded.blocks();
  parts.starts = allocate((options.count + 1) * sizeof(std::uint32_t));
  auto* starts = reinterpret_cast<std::uint32_t*>(parts.starts.get());
  starts[0] = 0;
  constexpr auto kRows = static_cast<std::uint32_t>(kBlockRows);
  for (std::size_t cell = 0; cell < options.count; ++cell)
    starts[cell + 1] = starts[cell] + static_cast<std::uint32_t>(block_count(sizes[cell]));
  parts.rows = allocate(blocks * kBlockRows * sizeof(std::uint32_t));
  auto* slot_rows = reinterpret_cast<std::uint32_t*>(parts.rows.get());
  std::fill_n(slot_rows, blocks * kBlockRows, 0U);
  std::vector<std::uint32_t> next(starts, starts + options.count);
  for (std::uint32_t& slot : next) slot *= kRows;
  for_each_place([&](std::uint32_t cell, std::uint32_t row) { slot_rows[next[cell]++] = row; });

  const CoarseLayout& coarse = *layout.coarse;
  parts.codes = allocate(blocks * coarse.block_bytes());
  auto* codes = reinterpret_cast<std::uint8_t*>(parts.codes.get());
  parallel_for(options.count, threads, [&](std::size_t cell) {
    copy_codes(coarse, snapshot, {slot_rows + std::size_t{starts[cell]} * kRows, sizes[cell]},
               codes + starts[cell] * coarse.block_bytes());
  });
  return std::make_shared<const Cells>(options, snapshot.rows, std::move(parts));
}

}  // namespace nestling
