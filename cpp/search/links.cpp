#include "search/links.hpp"

#include <algorithm>
#include <vector>

#include "base/pool.hpp"
#include "search/funnel.hpp"
#include "search/groups.hpp"
#include "search/rerank.hpp"
#include "search/survivors.hpp"
#include "simd/cpu.hpp"
#include "store/row_codec.hpp"

namespace nestling {

using simd::Candidate;

namespace {

constexpr std::size_t kCandidatesPerLink = 2;  // near neighbours, of which some are linked
constexpr std::size_t kKeptPerCandidate = 2;
constexpr std::size_t kTaskRows = 1024;
constexpr std::size_t kMostBackLinks = 3;  // for each link, that are chosen from
constexpr std::uint32_t kNone = ~0U;

// The live rows of the cells, those of one cell side by side, so that one pass over the codes of a
// cell serves many of them.
std::vector<std::uint32_t> rows_by_cell(const Snapshot& snapshot) {
  const Cells& cells = *snapshot.cells;
  std::vector<bool> taken(cells.rows());
  std::vector<std::uint32_t> rows;
  rows.reserve(cells.rows());
  for (std::size_t slot = 0; slot < cells.slots(); ++slot) {
    const std::uint32_t row = cells.slot_rows()[slot];  // 0 in an empty slot
    if (taken[row] || !snapshot.is_alive(row)) continue;
    taken[row] = true;
    rows.push_back(row);
  }
  return rows;
}

// The near neighbours of every row, `count` each, best first and padded with kNone: those that a
// search of a few cells finds.
std::vector<std::uint32_t> near_neighbours(const Layout& layout, const Snapshot& snapshot,
                                           std::span<const std::uint32_t> rows, std::size_t count,
                                           std::span<const std::uint32_t> near,
                                           std::size_t threads) {
  const Cells& cells = *snapshot.cells;
  const std::size_t k = count + 1;  // a row finds itself too
  std::vector<std::uint32_t> neighbours(cells.rows() * count, kNone);
  Snapshot numbered = snapshot;  // whose ids are the numbers of the rows
  for (Chunk& chunk : numbered.chunks) chunk.ids = nullptr;
  Layout plain = layout;  // stored rows are rotated already
  plain.transform.rotation.clear();
  Stage coarse = layout.stages.front();
  coarse.keep = kKeptPerCandidate * k;
  coarse.margin = 0.0F;
  const std::vector<PlannedStage> stages = plan(plain, {coarse, layout.stages.back()}, k);
  const std::size_t probes = near.size() / cells.rows();

  parallel_for((rows.size() + kTaskRows - 1) / kTaskRows, threads, [&](std::size_t task) {
    const std::size_t first = task * kTaskRows;
    const auto some = rows.subspan(first, std::min(kTaskRows, rows.size() - first));
    std::vector<float> vectors(some.size() * layout.dim), scores(some.size() * k);
    std::vector<std::int64_t> found(some.size() * k);
    std::vector<std::uint32_t> known;
    known.reserve(some.size() * probes);
    for (const std::uint32_t row : some) {
      const auto own = near.subspan(row * probes, probes);
      known.insert(known.end(), own.begin(), own.end());
    }
    for (std::size_t i = 0; i < some.size(); ++i)
      reconstruct(layout, snapshot, some[i],
                  std::span(vectors).subspan(i * layout.dim, layout.dim));
    search(plain, numbered, stages, vectors,
           {.k = k, .threads = 1, .probes = {.count = probes, .known = known}}, std::nullopt, found,
           scores);
    for (std::size_t i = 0; i < some.size(); ++i) {
      std::size_t kept = 0;
      for (const std::int64_t row : std::span(found).subspan(i * k, k))
        if (row >= 0 && row != some[i] && kept < count)
          neighbours[some[i] * count + kept++] = static_cast<std::uint32_t>(row);
    }
  });
  return neighbours;
}

// Chooses links among neighbours. One thread's.
class LinkChoice {
 public:
  LinkChoice(const Layout& layout, const Snapshot& snapshot)
      : layout_(layout),
        snapshot_(snapshot),
        whole_(plan(layout, {layout.stages.front(), layout.stages.back()}, 1).back()),
        own_(layout.dim) {}

  // Fetches what a later choice among these rows will read.
  void prefetch(std::span<const std::uint32_t> rows) const {
    for (const std::uint32_t row : rows) prefetch_shells(layout_, snapshot_, whole_, row);
  }

  // Writes up to out.size() of the candidates: from the nearest on, each that is nearer to the row
  // than to all that were chosen before it, so that they lie in different directions; then the
  // nearest of the others. The rest of `out` is the row itself. (The rule of relative
  // neighbourhoods: Toussaint 1980; for search graphs, Malkov and Yashunin 2018.)
  void choose(std::uint32_t row, std::span<const std::uint32_t> candidates,
              std::span<std::uint32_t> out) {
    const auto dot = simd::active().dot;
    const std::size_t dim = layout_.dim;
    reconstruct(layout_, snapshot_, row, own_);
    vectors_.resize(candidates.size() * dim);
    near_.clear();
    for (std::uint32_t i = 0; i < candidates.size(); ++i) {
      reconstruct(layout_, snapshot_, candidates[i], vector(i));
      near_.push_back({comparable(dot(own_.data(), vector(i).data(), dim)), i});
    }
    std::ranges::sort(near_, [&](const Candidate& a, const Candidate& b) {
      return a.score != b.score ? a.score > b.score : candidates[a.row] < candidates[b.row];
    });
    chosen_.clear();
    others_.clear();
    for (const Candidate& candidate : near_) {
      const auto is_nearer_than_row = [&](std::uint32_t before) {
        return dot(vector(candidate.row).data(), vector(before).data(), dim) > candidate.score;
      };
      const bool is_chosen =
          chosen_.size() < out.size() && std::ranges::none_of(chosen_, is_nearer_than_row);
      (is_chosen ? chosen_ : others_).push_back(candidate.row);
    }
    for (std::size_t i = 0; i < others_.size() && chosen_.size() < out.size(); ++i)
      chosen_.push_back(others_[i]);
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = i < chosen_.size() ? candidates[chosen_[i]] : row;
  }

 private:
  std::span<float> vector(std::uint32_t i) {
    return std::span(vectors_).subspan(i * layout_.dim, layout_.dim);
  }

  const Layout& layout_;
  const Snapshot& snapshot_;
  PlannedStage whole_;  // reads what `reconstruct` does
  std::vector<float> own_, vectors_;
  std::vector<Candidate> near_;
  std::vector<std::uint32_t> chosen_, others_;
};

}  // namespace

std::size_t linked_probes(std::size_t cells, std::size_t slots) {
  constexpr std::size_t kLeast = 4, kScannedSlots = 2048;
  return std::max(kLeast, kScannedSlots * cells / std::max<std::size_t>(slots, 1));
}

Bytes build_links(const Layout& layout, const Snapshot& snapshot, std::size_t count,
                  std::span<const std::uint32_t> near, std::size_t threads) {
  const std::vector<std::uint32_t> rows = rows_by_cell(snapshot);
  const std::size_t candidates = kCandidatesPerLink * count;
  const std::size_t all = snapshot.cells->rows();
  if (all == 0) return allocate(0);
  // visit(choice, row, the row that is visited next)
  const auto for_each_row = [&](auto visit) {
    parallel_for((rows.size() + kTaskRows - 1) / kTaskRows, threads, [&](std::size_t task) {
      LinkChoice choice(layout, snapshot);
      const std::size_t end = std::min((task + 1) * kTaskRows, rows.size());
      for (std::size_t i = task * kTaskRows; i < end; ++i)
        visit(choice, rows[i], rows[std::min(i + 1, end - 1)]);
    });
  };
  std::vector<std::uint32_t> chosen(all * count);
  for (std::size_t i = 0; i < chosen.size(); ++i) chosen[i] = static_cast<std::uint32_t>(i / count);
  {
    const std::vector<std::uint32_t> neighbours =
        near_neighbours(layout, snapshot, rows, candidates, near, threads);
    const auto found = [&](std::uint32_t row) {
      const auto of_row = std::span(neighbours).subspan(row * candidates, candidates);
      return std::span(of_row.begin(), std::ranges::find(of_row, kNone));
    };
    for_each_row([&](LinkChoice& choice, std::uint32_t row, std::uint32_t next) {
      choice.prefetch(found(next));
      choice.choose(row, found(row), std::span(chosen).subspan(row * count, count));
    });
  }
  // Links go both ways as far as there is room: else some rows would be linked to by none.
  const Groups back(chosen, all, count);  // rows, by those that they are linked to
  Bytes stored = allocate(chosen.size() * sizeof(std::uint32_t));
  auto* links = reinterpret_cast<std::uint32_t*>(stored.get());
  std::ranges::copy(chosen, links);
  // A row that is near to very many is not compared with all of them.
  const auto linked_from = [&](std::uint32_t row) {
    return back.of(row).first(std::min(back.of(row).size(), kMostBackLinks * count));
  };
  for_each_row([&](LinkChoice& choice, std::uint32_t row, std::uint32_t next) {
    choice.prefetch(linked_from(next));
    const auto own = std::span(chosen).subspan(row * count, count);
    const auto others = linked_from(row);
    std::vector<std::uint32_t> linked(own.begin(), own.end());
    linked.insert(linked.end(), others.begin(), others.end());
    std::ranges::sort(linked);
    const auto repeated = std::ranges::unique(linked);
    linked.erase(repeated.begin(), repeated.end());
    std::erase(linked, row);
    choice.choose(row, linked, {links + row * count, count});
  });
  return stored;
}

std::optional<PlannedStage> whole_stage(const Layout& layout, const PlannedStage& stage) {
  PlannedStage whole = stage;
  if (whole.shells.empty()) return std::nullopt;
  for (std::size_t shell = whole.shells.front(); layout.shells[shell].continues();) {
    if (shell == 0) return std::nullopt;
    whole.shells.insert(whole.shells.begin(), --shell);
  }
  return whole;
}

}  // namespace nestling
