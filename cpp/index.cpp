#include "index.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/pool.hpp"
#include "search/cell_build.hpp"
#include "store/append.hpp"
#include "store/gather.hpp"
#include "store/row_codec.hpp"

namespace nestling {

namespace {

constexpr std::size_t kRowsPerCheck = 64;  // for an interrupt

void check_row_count(std::size_t rows) {
  if (rows > kMaxRows)
    throw VectorError("an index cannot hold more than " + std::to_string(kMaxRows) + " rows");
}

// The same rows in the same memory, to which only the index that has them now may append.
Snapshot shared(Snapshot rows) {
  for (Chunk& chunk : rows.chunks) chunk.capacity = 0;
  return rows;
}

// Throws FunnelError unless rows of the layout can be put into such cells.
void check_cells(const Layout& layout, const CellOptions& cells) {
  if (!layout.coarse) throw FunnelError("cells need a first stage of 1, 2, 4 or 8 bits");
  if (cells.dims < 1 || cells.dims > layout.dim)
    throw FunnelError("cells of " + std::to_string(cells.dims) + " dimensions do not fit " +
                      std::to_string(layout.dim));
}

}  // namespace

Index::Index(std::size_t dim, Metric metric, std::vector<Stage> stages, const File& file,
             const FileMetadata& metadata)
    : layout_(read_layout(dim, metric, std::move(stages), file)),
      snapshot_(std::make_shared<const Snapshot>(read_snapshot(layout_, file, metadata))) {}

std::shared_ptr<const Snapshot> Index::snapshot() const {
  const std::lock_guard lock(snapshot_mutex_);
  return snapshot_;
}

void Index::publish(Snapshot snapshot) {
  auto after = std::make_shared<const Snapshot>(std::move(snapshot));
  const std::lock_guard lock(snapshot_mutex_);
  snapshot_.swap(after);  // the old snapshot is freed outside the lock
}

CellOptions Index::cells() const {
  const std::shared_ptr<const Snapshot> rows = snapshot();
  return rows->cells ? rows->cells->options() : CellOptions{};
}

std::vector<std::int64_t> Index::new_ids(const Snapshot& before, std::size_t count) {
  if (!largest_id_) {
    largest_id_ = -1;
    for (std::size_t row = before.rows; row-- > 0;) {
      if (!before.is_alive(row)) continue;
      largest_id_ = std::max(*largest_id_, before.id(row));
      if (!before.has_ids()) break;  // earlier rows have smaller ids
    }
  }
  if (*largest_id_ > std::numeric_limits<std::int64_t>::max() - static_cast<std::int64_t>(count))
    throw IdError("id " + std::to_string(*largest_id_) +
                  " is so large that the next ids would overflow; pass ids");
  std::vector<std::int64_t> ids(count);
  std::iota(ids.begin(), ids.end(), *largest_id_ + 1);
  return ids;
}

// The live row with this id. Call with `lookup_mutex_` held.
std::optional<std::size_t> Index::find(const Snapshot& snapshot, std::int64_t id) const {
  if (snapshot.has_ids()) {
    id_table_.extend(snapshot);
    return id_table_.find(snapshot, id);
  }
  const auto row = static_cast<std::size_t>(id);
  if (id < 0 || row >= snapshot.rows || !snapshot.is_alive(row)) return std::nullopt;
  return row;
}

// Checks the ids of new rows and returns the rows that they replace.
std::vector<std::size_t> Index::check_new(const Snapshot& before, std::span<const std::int64_t> ids,
                                          bool replace) const {
  std::vector<std::int64_t> sorted(ids.begin(), ids.end());
  std::ranges::sort(sorted);
  if (!sorted.empty() && sorted.front() < 0)
    throw IdError("id " + std::to_string(sorted.front()) + " is negative; ids are 0 or more");
  const auto repeated = std::ranges::adjacent_find(sorted);
  if (repeated != sorted.end())
    throw IdError("id " + std::to_string(*repeated) + " is given twice");
  std::vector<std::size_t> present;
  const std::lock_guard lock(lookup_mutex_);
  for (const std::int64_t id : ids) {
    const std::optional<std::size_t> row = find(before, id);
    if (!row) continue;
    if (!replace) throw IdError("id " + std::to_string(id) + " is already in the index");
    present.push_back(*row);
  }
  return present;
}

std::vector<std::int64_t> Index::add(std::span<const float> vectors,
                                     std::span<const std::int64_t> ids, bool replace,
                                     std::size_t threads) {
  const std::lock_guard lock(write_mutex_);
  const std::shared_ptr<const Snapshot> before = snapshot();
  const std::size_t count = vectors.size() / layout_.dim;
  check_row_count(numbers_taken(*before) + count);
  std::vector<std::int64_t> added =
      ids.empty() ? new_ids(*before, count) : std::vector<std::int64_t>(ids.begin(), ids.end());
  const std::vector<std::size_t> replaced =
      ids.empty() ? std::vector<std::size_t>{} : check_new(*before, added, replace);

  // Ids that equal the row numbers are not stored.
  bool numbered = !before->has_ids();
  for (std::size_t i = 0; i < count && numbered; ++i)
    numbered = added[i] == static_cast<std::int64_t>(before->rows + i);
  const std::span<const std::int64_t> stored = numbered ? std::span<const std::int64_t>{} : added;
  Snapshot after = append(layout_, *before, vectors, stored, threads);
  if (!replaced.empty()) after = nestling::remove(after, replaced);
  if (largest_id_)
    for (const std::int64_t id : added) largest_id_ = std::max(*largest_id_, id);
  publish(std::move(after));
  return added;
}

void Index::remove(std::span<const std::int64_t> ids) {
  const std::lock_guard lock(write_mutex_);
  const std::shared_ptr<const Snapshot> before = snapshot();
  std::vector<std::size_t> rows;
  {
    const std::lock_guard lock(lookup_mutex_);
    for (const std::int64_t id : ids) {
      const std::optional<std::size_t> row = find(*before, id);
      if (!row) throw IdError("id " + std::to_string(id) + " is not in the index");
      rows.push_back(*row);
    }
  }
  std::ranges::sort(rows);
  const auto repeated = std::ranges::adjacent_find(rows);
  if (repeated != rows.end())
    throw IdError("id " + std::to_string(before->id(*repeated)) + " is given twice");
  largest_id_.reset();
  publish(nestling::remove(*before, rows));
}

void Index::compact(std::size_t threads) {
  const std::lock_guard lock(write_mutex_);
  const std::shared_ptr<const Snapshot> before = snapshot();
  const bool whole = before->cells == nullptr || before->cells->rows() == before->rows;
  if (before->removed == 0 && whole) return;
  Snapshot after =
      before->removed > 0 ? gather(layout_, std::array{Part{before}}, threads) : *before;
  after.cells = nullptr;
  if (before->cells) {
    CellOptions options = before->cells->options();
    options.count = std::min(options.count, after.rows);
    if (options.count > 0) after.cells = build_cells(layout_, after, options, threads);
  }
  // No look-up may see the new rows with the old table of ids, or the other way round.
  const std::lock_guard lookup_lock(lookup_mutex_);
  id_table_ = IdTable{};
  publish(std::move(after));
}

std::unique_ptr<Index> Index::rebuilt(Layout layout, const CellOptions& cells,
                                      std::size_t threads) const {
  const std::shared_ptr<const Snapshot> before = snapshot();
  auto index = std::make_unique<Index>(std::move(layout));
  const Layout& target = index->layout_;
  if (cells.count > 0) check_cells(target, cells);
  const std::vector<std::uint32_t> live = live_rows(*before);

  constexpr std::size_t kPart = 65'536, kTask = 256;  // rows
  Snapshot after;
  std::vector<float> values;
  std::vector<std::int64_t> ids;
  for (std::size_t first = 0; first < live.size(); first += kPart) {
    const std::size_t count = std::min(kPart, live.size() - first);
    values.resize(count * target.dim);
    parallel_for((count + kTask - 1) / kTask, threads, [&](std::size_t task) {
      std::vector<float> stored(target.dim), plain(target.dim);
      for (std::size_t i = task * kTask; i < std::min((task + 1) * kTask, count); ++i) {
        const std::span<float> out(values.data() + i * target.dim, target.dim);
        nestling::reconstruct(layout_, *before, live[first + i], stored);
        if (!layout_.transform.rotation.empty()) {
          rotate_back(layout_.transform, stored, plain);
          std::swap(stored, plain);
        }
        if (target.transform.rotation.empty())
          std::ranges::copy(stored, out.begin());
        else
          rotate(target.transform, stored, out);
      }
    });
    ids.clear();
    bool numbered = !after.has_ids();
    for (std::size_t i = 0; i < count; ++i) {
      ids.push_back(before->id(live[first + i]));
      numbered = numbered && ids.back() == static_cast<std::int64_t>(first + i);
    }
    if (numbered) ids.clear();
    after = append(target, after, values, ids, threads, Vectors::prepared);
  }
  if (cells.count > 0) after.cells = build_cells(target, after, cells, threads);
  index->publish(std::move(after));
  return index;
}

std::unique_ptr<Index> Index::living_rows(const MakeCells& cells, std::size_t threads) const {
  auto index = std::make_unique<Index>(layout_);
  const std::shared_ptr<const Snapshot> own = snapshot();
  // Where none was removed, both indexes hold the rows in the same memory.
  Snapshot rows = own->removed == 0 && own->paging == nullptr
                      ? shared(*own)
                      : gather(layout_, std::array{Part{own}}, threads);
  rows.cells = cells(rows);
  index->publish(std::move(rows));
  return index;
}

std::unique_ptr<Index> Index::partitioned(CellOptions cells, std::size_t threads) const {
  check_cells(layout_, cells);
  const auto learned = [&](const Snapshot& rows) -> std::shared_ptr<const Cells> {
    cells.count = std::min(cells.count, rows.rows);
    return cells.count > 0 ? build_cells(layout_, rows, cells, threads) : nullptr;
  };
  return living_rows(learned, threads);
}

std::unique_ptr<Index> Index::partitioned_like(const Index& other, std::size_t threads) const {
  if (!stores_the_same(layout_, other.layout_))
    throw FunnelError(
        "the index whose cells are to be taken stores its rows in another way; rebuild one like "
        "the other");
  const std::shared_ptr<const Snapshot> model = other.snapshot();
  const auto same = [&](const Snapshot& rows) {
    return model->cells ? cells_like(layout_, rows, *model->cells, threads) : nullptr;
  };
  return living_rows(same, threads);
}

std::unique_ptr<Index> Index::empty(CellOptions cells, std::size_t threads) const {
  auto index = std::make_unique<Index>(layout_);
  if (cells.count == 0) return index;
  check_cells(layout_, cells);
  const std::shared_ptr<const Snapshot> rows = snapshot();
  cells.count = std::min(cells.count, rows->live_count());
  Snapshot none;
  if (cells.count > 0) none.cells = empty_cells(layout_, *rows, cells, threads);
  index->publish(std::move(none));
  return index;
}

std::unique_ptr<Index> Index::copy() const {
  auto copied = std::make_unique<Index>(layout_);
  // Held so that the table of ids has no rows that the snapshot lacks.
  const std::lock_guard lock(lookup_mutex_);
  copied->id_table_ = id_table_;
  copied->publish(shared(*snapshot()));
  return copied;
}

std::unique_ptr<Index> Index::merged(std::span<const Index* const> indexes,
                                     std::span<const std::int64_t> shifts, std::size_t threads) {
  if (indexes.empty() || indexes.size() != shifts.size())
    throw IdError("merge at least one index, with one shift for each");
  std::vector<Part> parts;
  std::size_t rows = 0;
  std::vector<std::int64_t> ids;
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    const Index& index = *indexes[i];
    if (!stores_the_same(index.layout_, indexes[0]->layout_))
      throw FunnelError(
          "index " + std::to_string(i) +
          " stores its rows in another way than the first; rebuild one like the other");
    parts.push_back({index.snapshot(), shifts[i]});
    rows += parts.back().rows->live_count();
    for (const std::uint32_t row : live_rows(*parts.back().rows)) {
      const std::int64_t id = parts.back().rows->id(row);
      std::int64_t shifted;
      // A corrupted file may have negative ids.
      if (id < 0 || __builtin_add_overflow(id, shifts[i], &shifted) || shifted < 0)
        throw IdError("id " + std::to_string(id) + " shifted by " + std::to_string(shifts[i]) +
                      " is out of range; ids are 0 to 2^63 - 1");
      ids.push_back(shifted);
    }
  }
  check_row_count(rows);
  if (!std::ranges::is_sorted(ids)) std::ranges::sort(ids);
  const auto repeated = std::ranges::adjacent_find(ids);
  if (repeated != ids.end())
    throw IdError("id " + std::to_string(*repeated) + " is in several of the indexes");
  auto index = std::make_unique<Index>(indexes[0]->layout_);
  index->publish(gather(index->layout_, parts, threads));
  return index;
}

// The rows that a filter allows. Sets `rows` to the snapshot that the search must then read: ids
// are looked up in the table that belongs to it.
AllowedRows Index::allowed(const Filter& filter, std::shared_ptr<const Snapshot>& rows) const {
  if (filter.kind == Filter::Kind::mask) {
    rows = snapshot();
    return AllowedRows::masked(*rows, filter.mask);
  }
  const std::lock_guard lock(lookup_mutex_);
  rows = snapshot();
  RowSet set = RowSet::none(*rows);
  for (const std::int64_t id : filter.ids)
    if (const auto row = find(*rows, id)) set.insert(*row);
  return AllowedRows::listed(*rows, std::move(set));
}

std::vector<StageStats> Index::search(std::span<const PlannedStage> stages,
                                      std::span<const float> queries, SearchOptions options,
                                      const Filter& filter, std::span<std::int64_t> ids,
                                      std::span<float> scores) const {
  std::shared_ptr<const Snapshot> rows;
  std::optional<AllowedRows> hits;
  if (filter.kind == Filter::Kind::none)
    rows = snapshot();
  else
    hits = allowed(filter, rows);
  return nestling::search(layout_, *rows, stages, queries, options, std::move(hits), ids, scores);
}

void Index::reconstruct(std::span<const std::int64_t> ids, std::span<float> out) const {
  std::shared_ptr<const Snapshot> rows;
  std::vector<std::size_t> found;
  {
    const std::lock_guard lock(lookup_mutex_);
    rows = snapshot();
    for (const std::int64_t id : ids) {
      const std::optional<std::size_t> row = find(*rows, id);
      if (!row) throw IdError("id " + std::to_string(id) + " is not in the index");
      found.push_back(*row);
    }
  }
  const bool rotated = !layout_.transform.rotation.empty();
  std::vector<float> stored(layout_.dim);
  for (std::size_t i = 0; i < found.size(); ++i) {
    if (i % kRowsPerCheck == 0) check_interrupt();
    const std::span<float> values = out.subspan(i * layout_.dim, layout_.dim);
    nestling::reconstruct(layout_, *rows, found[i], rotated ? std::span(stored) : values);
    if (rotated) rotate_back(layout_.transform, stored, values);
  }
}

std::vector<std::int64_t> Index::ids() const {
  const std::shared_ptr<const Snapshot> rows = snapshot();
  std::vector<std::int64_t> ids;
  ids.reserve(rows->live_count());
  for (const std::uint32_t row : live_rows(*rows)) ids.push_back(rows->id(row));
  return ids;
}

std::vector<std::pair<std::string, std::size_t>> Index::memory() const {
  const std::shared_ptr<const Snapshot> rows = snapshot();
  std::vector<std::pair<std::string, std::size_t>> parts;
  for (const Section& section : sections(layout_, *rows)) {
    std::size_t size = 0;
    for (const auto bytes : section.parts) size += bytes.size();
    parts.emplace_back(section.name, size);
  }
  const std::lock_guard lock(lookup_mutex_);
  if (id_table_.bytes() > 0) parts.emplace_back("id table", id_table_.bytes());
  return parts;
}

}  // namespace nestling
