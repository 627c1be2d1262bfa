#include "search/cell_build.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.hpp"
#include "base/pool.hpp"
#include "search/cell_scan.hpp"
#include "search/centroid_tree.hpp"
#include "search/links.hpp"
#include "search/nearest_cells.hpp"
#include "simd/cpu.hpp"
#include "store/gather.hpp"
#include "store/norms.hpp"
#include "store/row_codec.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// Rows of the sample, per cell. An index's own centroids fit the sample better than other rows, but
// the sample is a large part of the rows; those that many indexes share need more, and are learned
// once.
constexpr std::size_t kSamplePerCell = 24, kSharedSamplePerCell = 48;
constexpr std::size_t kMaxSampled = std::size_t{1} << 21;
constexpr std::size_t kTaskRows = 512;
constexpr std::size_t kNearCells = 8;  // from which the second cell of a row is chosen

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
                                   std::size_t per_cell, std::size_t threads) {
  const std::size_t wanted =
      std::max(options.count, std::min(per_cell * options.count, kMaxSampled));
  const std::size_t size = std::min(live.size(), wanted);
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

// The cells that a row is stored in; the same one twice if it is stored once.
struct CellPair {
  std::uint32_t first, second;
};

// Chooses the cells of one vector among those near it, by the exact centroids. The second cell is
// the one whose centroid differs from the vector in the direction most nearly orthogonal to the
// error of the first. A query that ranks the first cell low is then likely to rank the second high
// (Sun et al. 2023, "SOAR: improved indexing for approximate nearest neighbor search", with λ = 1).
class CellChoice {
 public:
  CellChoice(const BuiltTree& built, std::size_t dims) : built_(built), dims_(dims) {}

  CellPair choose(std::span<const float> vector, std::span<const Candidate> near,
                  bool spill) const {
    const std::uint32_t nearest = near[0].row;
    CellPair pair{nearest, nearest};
    if (!spill) return pair;
    const float* own = centroid(nearest);
    const float length = dot(vector.data(), vector.data()), by_own = dot(vector.data(), own);
    const float energy = length - 2.0F * by_own + dot(own, own);
    float least = std::numeric_limits<float>::infinity();
    for (const Candidate& cell : near) {
      if (cell.row == nearest) continue;
      const float* other = centroid(cell.row);
      const float by_other = dot(vector.data(), other);
      // The product of both errors, and the energy of that of the other cell.
      const float along = length - by_own - by_other + dot(own, other);
      const float loss = length - 2.0F * by_other + dot(other, other) +
                         (energy > 0.0F ? along * along / energy : 0.0F);
      if (loss < least) {
        least = loss;
        pair.second = cell.row;
      }
    }
    return pair;
  }

 private:
  float dot(const float* a, const float* b) const { return simd::active().dot(a, b, dims_); }
  const float* centroid(std::uint32_t cell) const {
    return built_.centroids.data() + built_.numbers[cell] * dims_;
  }

  const BuiltTree& built_;
  std::size_t dims_;
};

// Where the rows go: the cells that each is stored in, and those that are nearest to it.
struct Assignment {
  std::vector<CellPair> cells;      // of the live rows
  std::vector<std::uint32_t> near;  // `kept` of every row, best first, padded with kNoCell
};

// Assigns the live rows, and keeps `kept` of the cells nearest to each.
Assignment assign(const Layout& layout, const Snapshot& snapshot,
                  std::span<const std::uint32_t> live, const CellOptions& options,
                  const BuiltTree& built, std::size_t kept, std::size_t threads) {
  Assignment out{std::vector<CellPair>(live.size()),
                 std::vector<std::uint32_t>(snapshot.rows * kept, kNoCell)};
  parallel_for((live.size() + kTaskRows - 1) / kTaskRows, threads, [&](std::size_t task) {
    const std::size_t first = task * kTaskRows;
    const auto rows = live.subspan(first, std::min(kTaskRows, live.size() - first));
    const std::vector<float> vectors = prefixes(layout, snapshot, rows, options.dims);
    const auto near = CellQueries(built.tree, vectors).nearest(std::max(kNearCells, kept));
    const CellChoice choice(built, options.dims);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const std::span<const Candidate> ranked(near[i]);
      out.cells[first + i] =
          choice.choose(std::span(vectors).subspan(i * options.dims, options.dims),
                        ranked.first(std::min(kNearCells, ranked.size())), options.spill);
      std::ranges::transform(ranked.first(std::min(kept, ranked.size())),
                             out.near.begin() + static_cast<std::ptrdiff_t>(rows[i] * kept),
                             &Candidate::row);
    }
  });
  return out;
}

BuiltTree learn_tree(const Layout& layout, const Snapshot& snapshot, const CellOptions& options,
                     std::size_t per_cell, std::size_t threads) {
  const std::vector<std::uint32_t> live = live_rows(snapshot);
  if (options.count < 1 || options.count > live.size())
    throw FunnelError(std::to_string(options.count) + " cells for " + std::to_string(live.size()) +
                      " rows: there must be at least one row per cell");
  return build_centroid_tree(sample_prefixes(layout, snapshot, live, options, per_cell, threads),
                             options.dims, options.count, threads);
}

// Puts the live rows into the cells of a tree, some of which may stay empty.
std::shared_ptr<const Cells> fill_cells(const Layout& layout, const Snapshot& snapshot,
                                        const CellOptions& options, BuiltTree built,
                                        std::size_t threads) {
  const std::vector<std::uint32_t> live = live_rows(snapshot);
  const bool linked = options.links > 0 && !layout.shells.empty();
  const std::size_t places = options.spill ? 2 : 1;
  const auto [cells, near] =
      assign(layout, snapshot, live, options, built,
             linked ? linked_probes(options.count, places * live.size()) : 0, threads);

  CentroidLevel& last = built.tree.levels.back();
  std::vector<std::uint32_t> sizes(last.slots());
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

  last.starts = allocate((sizes.size() + 1) * sizeof(std::uint32_t));
  auto* starts = reinterpret_cast<std::uint32_t*>(last.starts.get());
  starts[0] = 0;
  constexpr auto kRows = static_cast<std::uint32_t>(kBlockRows);
  for (std::size_t cell = 0; cell < sizes.size(); ++cell)
    starts[cell + 1] = starts[cell] + static_cast<std::uint32_t>(block_count(sizes[cell]));
  Cells::Parts parts;
  parts.rows = allocate(blocks * kBlockRows * sizeof(std::uint32_t));
  auto* slot_rows = reinterpret_cast<std::uint32_t*>(parts.rows.get());
  std::fill_n(slot_rows, blocks * kBlockRows, 0U);
  std::vector<std::uint32_t> next(starts, starts + sizes.size());
  for (std::uint32_t& slot : next) slot *= kRows;
  for_each_place([&](std::uint32_t cell, std::uint32_t row) { slot_rows[next[cell]++] = row; });

  const CoarseLayout& coarse = *layout.coarse;
  parts.codes = allocate(blocks * coarse.block_bytes());
  auto* codes = reinterpret_cast<std::uint8_t*>(parts.codes.get());
  parallel_for(sizes.size(), threads, [&](std::size_t cell) {
    copy_codes(coarse, snapshot, {slot_rows + std::size_t{starts[cell]} * kRows, sizes[cell]},
               codes + starts[cell] * coarse.block_bytes());
  });
  parts.tree = std::move(built.tree);
  CellOptions stored = options;
  stored.links = 0;
  auto partition = std::make_shared<const Cells>(stored, snapshot.rows, parts);
  if (!linked) return partition;
  Snapshot in_cells = snapshot;
  in_cells.cells = partition;
  parts.links = build_links(layout, in_cells, options.links, near, threads);
  stored.links = options.links;
  return std::make_shared<const Cells>(stored, snapshot.rows, std::move(parts));
}

}  // namespace

std::shared_ptr<const Cells> build_cells(const Layout& layout, const Snapshot& snapshot,
                                         const CellOptions& options, std::size_t threads) {
  return fill_cells(layout, snapshot, options,
                    learn_tree(layout, snapshot, options, kSamplePerCell, threads), threads);
}

std::shared_ptr<const Cells> empty_cells(const Layout& layout, const Snapshot& snapshot,
                                         const CellOptions& options, std::size_t threads) {
  return fill_cells(layout, Snapshot{}, options,
                    learn_tree(layout, snapshot, options, kSharedSamplePerCell, threads), threads);
}

std::shared_ptr<const Cells> cells_like(const Layout& layout, const Snapshot& snapshot,
                                        const Cells& like, std::size_t threads) {
  return fill_cells(layout, snapshot, like.options(), stored_tree(like.tree()), threads);
}

}  // namespace nestling
