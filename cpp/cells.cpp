#include "cells.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "error.hpp"
#include "kmeans.hpp"
#include "pool.hpp"
#include "simd/cpu.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

constexpr std::size_t kSamplePerCell = 40;
constexpr std::size_t kMostSampled = std::size_t{1} << 19;
constexpr std::size_t kTaskRows = 512;
constexpr std::size_t kSpillCandidates = 8;  // nearest centroids among which the second is chosen

// The normalised prefixes of some rows: rows.size() × dims values.
std::vector<float> prefixes(const Layout& layout, const Snapshot& snapshot,
                            std::span<const std::uint32_t> rows, std::size_t dims) {
  std::vector<float> values(rows.size() * dims), whole(layout.dim);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    reconstruct(layout, snapshot, rows[i], whole.data());
    const float norm = std::sqrt(simd::active().dot(whole.data(), whole.data(), dims));
    const float factor = norm < kSmallestNorm ? 0.0F : 1.0F / norm;
    for (std::size_t d = 0; d < dims; ++d) values[i * dims + d] = whole[d] * factor;
  }
  return values;
}

std::vector<float> sample_prefixes(const Layout& layout, const Snapshot& snapshot,
                                   std::span<const std::uint32_t> living,
                                   const CellOptions& options, std::size_t threads) {
  const std::size_t size = std::min({living.size(), kSamplePerCell * options.count, kMostSampled});
  std::vector<float> sample(size * options.dims);
  parallel_for((size + kTaskRows - 1) / kTaskRows, threads, [&](std::size_t task) {
    std::vector<std::uint32_t> rows;
    for (std::size_t i = task * kTaskRows; i < std::min((task + 1) * kTaskRows, size); ++i)
      rows.push_back(living[i * living.size() / size]);
    std::ranges::copy(
        prefixes(layout, snapshot, rows, options.dims),
        sample.begin() + static_cast<std::ptrdiff_t>(task * kTaskRows * options.dims));
  });
  return sample;
}

// The second cell of a vector: of the near ones, the one whose centroid errs most nearly at right
// angles to the error of the first, so that a query to which the first looks far away sees the
// second near (Sun et al. 2023, "SOAR: improved indexing for approximate nearest neighbor search",
// with λ = 1).
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

// Which cells a row has a place in; the same one twice for a single place.
struct Places {
  std::uint32_t first, second;
};

std::vector<Places> assign(const Layout& layout, const Snapshot& snapshot,
                           std::span<const std::uint32_t> living, const CellOptions& options,
                           const Centroids& coded, std::span<const float> centroids,
                           std::size_t threads) {
  std::vector<Places> places(living.size());
  const std::size_t keep =
      options.spill ? std::min(kSpillCandidates, options.count) : std::size_t{1};
  parallel_for((living.size() + kTaskRows - 1) / kTaskRows, threads, [&](std::size_t task) {
    const std::size_t first = task * kTaskRows;
    const auto rows = living.subspan(first, std::min(kTaskRows, living.size() - first));
    const std::vector<float> vectors = prefixes(layout, snapshot, rows, options.dims);
    const auto near = coded.nearest(vectors, keep);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto vector = std::span(vectors).subspan(i * options.dims, options.dims);
      const std::uint32_t nearest = near[i].front().row;
      places[first + i] = {nearest, keep > 1 ? second_cell(vector, near[i], centroids) : nearest};
    }
  });
  return places;
}

}  // namespace

Cells::Cells(const CellOptions& options, std::size_t rows, Parts parts)
    : options_(options), rows_(rows), parts_(std::move(parts)) {}

std::shared_ptr<const Cells> Cells::build(const Layout& layout, const Snapshot& snapshot,
                                          const CellOptions& options, std::size_t threads) {
  std::vector<std::uint32_t> living;
  living.reserve(snapshot.living());
  for (std::size_t row = 0; row < snapshot.rows; ++row)
    if (snapshot.is_alive(row)) living.push_back(static_cast<std::uint32_t>(row));
  if (options.count < 1 || options.count > living.size())
    throw FunnelError(std::to_string(options.count) + " cells for " +
                      std::to_string(living.size()) + " rows: there must be a row for each");
  const std::vector<float> centroids =
      kmeans(sample_prefixes(layout, snapshot, living, options, threads), options.dims,
             options.count, threads);
  const Centroids coded(centroids, options.dims);
  const std::vector<Places> places =
      assign(layout, snapshot, living, options, coded, centroids, threads);

  std::vector<std::uint32_t> sizes(options.count);
  const auto for_each_place = [&](auto visit) {
    for (std::size_t i = 0; i < living.size(); ++i) {
      visit(places[i].first, living[i]);
      if (places[i].second != places[i].first) visit(places[i].second, living[i]);
    }
  };
  for_each_place([&](std::uint32_t cell, std::uint32_t) { ++sizes[cell]; });

  Parts parts;
  parts.centroids = coded.blocks();
  parts.starts = allocate((options.count + 1) * sizeof(std::uint32_t));
  auto* starts = reinterpret_cast<std::uint32_t*>(parts.starts.get());
  starts[0] = 0;
  constexpr auto kRows = static_cast<std::uint32_t>(kBlockRows);
  for (std::size_t cell = 0; cell < options.count; ++cell)
    starts[cell + 1] = starts[cell] + (sizes[cell] + kRows - 1) / kRows;
  const std::size_t blocks = starts[options.count];
  parts.rows = allocate(blocks * kBlockRows * sizeof(std::uint32_t));
  auto* slot_rows = reinterpret_cast<std::uint32_t*>(parts.rows.get());
  std::fill_n(slot_rows, blocks * kBlockRows, 0U);
  std::vector<std::uint32_t> next(starts, starts + options.count);
  for (std::uint32_t& slot : next) slot *= kRows;
  for_each_place([&](std::uint32_t cell, std::uint32_t row) { slot_rows[next[cell]++] = row; });

  const CoarseLayout& coarse = *layout.coarse;
  parts.codes = allocate(blocks * coarse.block_bytes());
  parallel_for(options.count, threads, [&](std::size_t cell) {
    for (std::size_t i = 0, first = starts[cell] * kBlockRows; i < sizes[cell]; ++i) {
      auto* block = reinterpret_cast<std::uint8_t*>(parts.codes.get()) +
                    (first + i) / kBlockRows * coarse.block_bytes();
      if (i % kBlockRows == 0) clear_block(coarse, block);
      const std::uint32_t row = slot_rows[first + i];
      copy_row(coarse, snapshot.block(coarse, row), row % kBlockRows, block, i % kBlockRows);
    }
  });
  return std::make_shared<const Cells>(options, snapshot.rows, std::move(parts));
}

void Cells::check() const {
  const auto starts = this->starts();
  if (!std::ranges::is_sorted(starts) || starts[0] != 0)
    throw FormatError("cells that do not follow one another");
  for (std::size_t slot = 0; slot < blocks() * kBlockRows; ++slot)
    if (slot_rows()[slot] >= rows_) throw FormatError("a cell with a row that is not there");
  // Absent rows fill the last block of centroids; nothing else may be absent, nor anything there.
  const CoarseLayout layout = centroid_layout();
  for (std::size_t cell = 0; cell < centroid_blocks() * kBlockRows; ++cell) {
    const auto* block = parts_.centroids.get() + cell / kBlockRows * layout.block_bytes();
    BFloat16 scale;
    std::memcpy(&scale, block + layout.scales_offset() + cell % kBlockRows * sizeof scale,
                sizeof scale);
    const float value = from_bfloat16(scale);
    if (cell < options_.count ? !std::isfinite(value) : !std::isnan(value))
      throw FormatError("a centroid of no cell, or a cell without a centroid");
  }
}

namespace {

// One call of scan_cells.
class CellScan {
 public:
  CellScan(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage, std::size_t k,
           const Queries& queries, const RowSet* allowed)
      : layout_(layout),
        snapshot_(snapshot),
        cells_(*snapshot.cells),
        queries_(queries),
        coded_(layout.metric, *layout.coarse, layout.transform.centre, queries),
        slots_{cells_.slot_rows(), static_cast<std::uint32_t>(cells_.blocks() * kBlockRows),
               static_cast<std::uint32_t>(cells_.rows() / kBlockRows * kBlockRows)},
        ranked_(queries.count()),
        probed_(queries.count()) {
    // A row may come twice, so that the best n rows are among the best 2 n slots.
    const std::size_t twice = cells_.options().spill ? 2 : 1;
    keeping_ = {stage.keep, k, stage.margin};
    const Better better(snapshot, slots_);
    collectors_.reserve(queries.count());
    for (std::size_t i = 0; i < queries.count(); ++i)
      collectors_.emplace_back(
          Keeping{twice * stage.keep, twice * k, stage.margin, coded_.shift(i)}, better,
          -std::numeric_limits<float>::infinity(), allowed);
  }

  CellHits run(const Probes& probes) {
    scan_behind();
    std::vector<std::size_t> all(queries_.count());
    std::iota(all.begin(), all.end(), std::size_t{0});
    const std::size_t wanted = std::min(probes.count, cells_.options().count);
    rank_cells(all, probes.adaptive ? kMostRounds * wanted : wanted);
    // The first cells go before the others, since thresholds rise with them.
    for (std::size_t end = 1; end < wanted; end *= kStep) scan_to(all, end);
    scan_to(all, wanted);
    if (probes.adaptive) scan_while_it_pays(all);
    find_enough(all);
    return finish();
  }

 private:
  static constexpr std::size_t kMostRounds = 16, kStep = 8;

  // Of each asking query, the best `most` cells, best first.
  void rank_cells(std::span<const std::size_t> asking, std::size_t most) {
    const std::size_t dims = cells_.options().dims;
    std::vector<float> prefixes;
    prefixes.reserve(asking.size() * dims);
    for (const std::size_t i : asking) {
      const auto query = queries_.row(i).first(dims);
      prefixes.insert(prefixes.end(), query.begin(), query.end());
    }
    auto ranked = nearest_centroids(cells_.centroid_layout(), cells_.parts().centroids,
                                    cells_.options().count, Queries{prefixes, dims},
                                    std::min(most, cells_.options().count));
    for (std::size_t i = 0; i < asking.size(); ++i) ranked_[asking[i]] = std::move(ranked[i]);
  }

  bool has_more(std::size_t query) const { return probed_[query] < ranked_[query].size(); }

  // As many cells again as were probed, for as long as that brings a row into the best k.
  void scan_while_it_pays(std::vector<std::size_t> asking) {
    for (;;) {
      std::erase_if(asking, [&](std::size_t i) { return !has_more(i); });
      if (asking.empty()) return;
      const std::vector<float> before = kth_best(asking);
      scan_to(asking, 2 * probed_[asking.front()]);  // all have probed as many
      const std::vector<float> after = kth_best(asking);
      std::size_t kept = 0;
      for (std::size_t i = 0; i < asking.size(); ++i)
        if (after[i] != before[i]) asking[kept++] = asking[i];
      asking.resize(kept);
    }
  }

  // Queries that have fewer than k rows, because few lie or are allowed where they probed, go on
  // until they have, or there are no more cells.
  void find_enough(std::vector<std::size_t> asking) {
    const auto has_enough = [&](std::size_t i) {
      return collectors_[i].kth_best() > -std::numeric_limits<float>::infinity();
    };
    std::erase_if(asking, has_enough);
    if (asking.empty()) return;
    rank_cells(asking, cells_.options().count);
    for (const std::size_t i : asking) {
      const std::vector<std::size_t> alone{i};
      while (has_more(i) && !has_enough(i)) scan_to(alone, 2 * probed_[i]);
    }
  }

  // Scores the cells up to rank `end` that were not yet, for the queries that ask, cell by cell.
  void scan_to(std::span<const std::size_t> asking, std::size_t end) {
    const auto for_each_probe = [&](auto visit) {
      for (const std::size_t i : asking)
        for (std::size_t rank = probed_[i]; rank < std::min(end, ranked_[i].size()); ++rank)
          visit(i, ranked_[i][rank].row);
    };
    std::vector<std::uint32_t> starts(cells_.options().count + 1);
    std::vector<std::uint32_t> order;  // a lone query's best cell first
    for_each_probe([&](std::size_t, std::uint32_t cell) {
      if (starts[cell + 1]++ == 0) order.push_back(cell);
    });
    if (asking.size() > 1) std::ranges::sort(order);
    std::partial_sum(starts.begin(), starts.end(), starts.begin());
    std::vector<simd::ScanQuery> bound(starts.back());
    std::vector<std::uint32_t> next(starts.begin(), starts.end() - 1);
    for_each_probe([&](std::size_t i, std::uint32_t cell) {
      bound[next[cell]++] = coded_.bind(i, collectors_[i]);
    });
    for (std::size_t i = 0; i < order.size(); ++i) {
      const std::uint32_t cell = order[i];
      const std::uint8_t* after = i + 1 < order.size() ? codes(order[i + 1]) : nullptr;
      const auto blocks = cells_.starts().subspan(cell, 2);
      scan_blocks(codes(cell), blocks[1] - blocks[0], blocks[0] * kBlockRows, nullptr, after,
                  std::span(bound).subspan(starts[cell], starts[cell + 1] - starts[cell]));
    }
    for (const std::size_t i : asking) {
      probed_[i] = std::min(end, ranked_[i].size());
      collectors_[i].tighten();
    }
  }

  const std::uint8_t* codes(std::uint32_t cell) const {
    return reinterpret_cast<const std::uint8_t*>(cells_.parts().codes.get()) +
           cells_.starts()[cell] * layout_.coarse->block_bytes();
  }

  // Rows added after the cells were built.
  void scan_behind() {
    const std::size_t first = cells_.rows() / kBlockRows;
    const std::size_t end = (snapshot_.rows + kBlockRows - 1) / kBlockRows;
    if (cells_.rows() == snapshot_.rows) return;
    std::vector<simd::ScanQuery> all;
    for (std::size_t i = 0; i < collectors_.size(); ++i)
      all.push_back(coded_.bind(i, collectors_[i]));
    const auto slot_of = [&](std::size_t block) {
      return slots_.slots + (block - first) * kBlockRows;
    };
    const std::uint32_t later = ~0U << cells_.rows() % kBlockRows;
    scan_blocks(snapshot_.block(*layout_.coarse, first * kBlockRows), 1, slot_of(first), &later,
                nullptr, all);
    const std::size_t whole = snapshot_.whole_blocks();
    for (std::size_t b = first + 1; b < whole;) {
      const std::size_t chunk_end = std::min(whole, (b / kChunkBlocks + 1) * kChunkBlocks);
      scan_blocks(snapshot_.block(*layout_.coarse, b * kBlockRows), chunk_end - b, slot_of(b),
                  nullptr, nullptr, all);
      b = chunk_end;
    }
    if (end > std::max(whole, first + 1))
      scan_blocks(snapshot_.block(*layout_.coarse, whole * kBlockRows), 1, slot_of(whole), nullptr,
                  nullptr, all);
  }

  void scan_blocks(const std::uint8_t* data, std::size_t count, std::size_t first_slot,
                   const std::uint32_t* allowed, const std::uint8_t* next,
                   std::span<const simd::ScanQuery> queries) {
    const CoarseLayout& coarse = *layout_.coarse;
    simd::active()
        .codes(coarse.bits)
        .scan({data, count, coarse.block_bytes(), coarse.tiles(), coarse.has_offsets,
               static_cast<std::uint32_t>(first_slot), allowed, false, next},
              queries.data(), queries.size());
    hits_.rows_seen += count * kBlockRows * queries.size();
    hits_.bytes_read += count * coarse.block_bytes() * queries.size();
  }

  std::vector<float> kth_best(std::span<const std::size_t> asking) {
    std::vector<float> kth;
    for (const std::size_t i : asking) kth.push_back(collectors_[i].kth_best());
    return kth;
  }

  CellHits finish() {
    const Better better(snapshot_);
    for (std::size_t i = 0; i < collectors_.size(); ++i) {
      const float shift = coded_.shift(i);
      std::vector<Candidate> rows = collectors_[i].take();
      for (Candidate& row : rows) row.row = slots_(row.row);
      std::ranges::sort(rows, {}, &Candidate::row);
      const auto repeated = std::ranges::unique(rows, {}, &Candidate::row);
      rows.erase(repeated.begin(), repeated.end());
      Keeping keeping = keeping_;
      keeping.shift = shift;
      keep_best(rows, keeping, better);
      std::vector<Survivor>& survivors = hits_.survivors.emplace_back();
      survivors.reserve(rows.size());
      for (const auto& [score, row] : rows) survivors.push_back(Survivor::of(score + shift, row));
    }
    return std::move(hits_);
  }

  const Layout& layout_;
  const Snapshot& snapshot_;
  const Cells& cells_;
  const Queries& queries_;
  CodedQueries coded_;
  SlotRows slots_;
  Keeping keeping_{};
  std::vector<Collector> collectors_;
  std::vector<std::vector<Candidate>> ranked_;  // a query's cells, best first
  std::vector<std::size_t> probed_;             // how many of them it has scored
  CellHits hits_;
};

}  // namespace

CellHits scan_cells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                    std::size_t k, const Probes& probes, const Queries& queries,
                    const RowSet* allowed) {
  return CellScan(layout, snapshot, stage, k, queries, allowed).run(probes);
}

}  // namespace nestling
