#include "index.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "error.hpp"
#include "pool.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

constexpr const char* kCoarseSection = "coarse";
constexpr const char* kIdSection = "ids";
constexpr const char* kAliveSection = "alive";
constexpr const char* kRotationSection = "rotation";
constexpr const char* kCentreSection = "centre";
constexpr const char* kCentroidSection = "cell centroids";
constexpr const char* kStartSection = "cell starts";
constexpr const char* kCellSection = "cell codes";
constexpr const char* kSlotSection = "cell rows";
constexpr std::size_t kMaxRows = std::numeric_limits<std::uint32_t>::max() - kChunkRows;

// Of a chunk that no row was removed from.
const std::vector<std::uint32_t> kAllAlive(kChunkBlocks, ~0U);

std::size_t chunk_count(std::size_t rows) {
  return (rows + kChunkRows - 1) / kChunkRows;
}

// Rows of chunk `c` in an index of `rows` rows.
std::size_t rows_in(std::size_t rows, std::size_t c) {
  return std::min(rows - c * kChunkRows, kChunkRows);
}

std::span<const std::byte> bytes(const Bytes& data, std::size_t size) {
  return {data.get(), size};
}

Bytes part(const Bytes& section, std::size_t offset) {
  return {section, section.get() + offset};
}

Layout stored_layout(std::size_t dim, Metric metric, std::vector<Stage> stages, const File& file) {
  Transform transform;
  const auto read = [&](const char* name, std::size_t count) {
    const Bytes section = file.section(name, count * sizeof(float));
    std::vector<float> values(count);
    std::memcpy(values.data(), section.get(), count * sizeof(float));
    return values;
  };
  if (dim <= kMaxDim && file.has(kRotationSection))
    transform.rotation = read(kRotationSection, dim * dim);
  if (!stages.empty() && file.has(kCentreSection))
    transform.centre = read(kCentreSection, stages[0].dims);
  return {dim, metric, std::move(stages), std::move(transform)};
}

std::shared_ptr<const Cells> stored_cells(const CoarseLayout& coarse, const File& file,
                                          const Saved& saved) {
  if (saved.cell_rows > saved.rows || saved.cells.count > saved.cell_rows)
    throw FormatError("cells of more rows than there are");
  const auto [count, dims, spill] = saved.cells;
  Cells::Parts parts;
  const std::size_t centroid_blocks = (count + kBlockRows - 1) / kBlockRows;
  parts.centroids =
      file.section(kCentroidSection, centroid_blocks * CoarseLayout{dims, 8}.block_bytes());
  parts.starts = file.section(kStartSection, (count + 1) * sizeof(std::uint32_t));
  const std::size_t blocks = reinterpret_cast<const std::uint32_t*>(parts.starts.get())[count];
  parts.codes = file.section(kCellSection, blocks * coarse.block_bytes());
  parts.rows = file.section(kSlotSection, blocks * kBlockRows * sizeof(std::uint32_t));
  auto cells = std::make_shared<const Cells>(saved.cells, saved.cell_rows, std::move(parts));
  cells->check();
  return cells;
}

}  // namespace

Index::Index(std::size_t dim, Metric metric, std::vector<Stage> stages, const File& file,
             const Saved& saved)
    : layout_(stored_layout(dim, metric, std::move(stages), file)) {
  const std::size_t rows = saved.rows;
  if (rows > kMaxRows)
    throw FormatError(std::to_string(rows) + " rows, more than an index can hold");
  auto mapped = std::make_shared<Snapshot>();
  mapped->rows = rows;
  mapped->chunks.resize(chunk_count(rows));
  for (Chunk& chunk : mapped->chunks) chunk.shells.resize(layout_.shells.size());
  if (layout_.coarse && rows > 0) {
    const std::size_t block = layout_.coarse->block_bytes();
    const std::size_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    const Bytes coarse = file.section(kCoarseSection, blocks * block);
    for (std::size_t c = 0; c < mapped->chunks.size(); ++c)
      mapped->chunks[c].coarse = part(coarse, c * kChunkBlocks * block);
    if (rows % kBlockRows != 0) mapped->tail = part(coarse, (blocks - 1) * block);
  }
  for (std::size_t s = 0; s < layout_.shells.size() && rows > 0; ++s) {
    const std::size_t stride = layout_.shells[s].stride();
    const Bytes shell = file.section(section_name(s), rows * stride);
    for (std::size_t c = 0; c < mapped->chunks.size(); ++c)
      mapped->chunks[c].shells[s] = part(shell, c * kChunkRows * stride);
  }
  if (file.has(kIdSection)) {
    const Bytes ids = file.section(kIdSection, rows * sizeof(std::int64_t));
    for (std::size_t c = 0; c < mapped->chunks.size(); ++c)
      mapped->chunks[c].ids = part(ids, c * kChunkRows * sizeof(std::int64_t));
  }
  if (file.has(kAliveSection)) {
    const std::size_t blocks = (rows + kBlockRows - 1) / kBlockRows;
    const Bytes stored = file.section(kAliveSection, blocks * sizeof(std::uint32_t));
    const auto* words = reinterpret_cast<const std::uint32_t*>(stored.get());
    std::vector<std::size_t> removed;
    for (std::size_t row = 0; row < rows; ++row)
      if ((words[row / kBlockRows] >> row % kBlockRows & 1) == 0) removed.push_back(row);
    *mapped = nestling::remove(*mapped, removed);
  }
  if (saved.cells.count > 0) {
    if (!layout_.coarse) throw FormatError("cells of rows that have no codes");
    if (saved.cells.dims < 1 || saved.cells.dims > dim)
      throw FormatError("cells of " + std::to_string(saved.cells.dims) + " dimensions");
    mapped->cells = stored_cells(*layout_.coarse, file, saved);
  }
  snapshot_ = std::move(mapped);
}

std::shared_ptr<const Snapshot> Index::snapshot() const {
  const std::lock_guard lock(publishing_);
  return snapshot_;
}

void Index::publish(Snapshot snapshot) {
  auto after = std::make_shared<const Snapshot>(std::move(snapshot));
  const std::lock_guard lock(publishing_);
  snapshot_.swap(after);  // what nobody sees any more is freed after the lock
}

CellOptions Index::cells() const {
  const std::shared_ptr<const Snapshot> rows = snapshot();
  return rows->cells ? rows->cells->options() : CellOptions{};
}

Saved Index::describe(const Snapshot& snapshot) {
  if (!snapshot.cells) return {snapshot.rows};
  return {snapshot.rows, snapshot.cells->rows(), snapshot.cells->options()};
}

std::vector<std::int64_t> Index::new_ids(const Snapshot& before, std::size_t count) {
  if (!largest_id_) {
    largest_id_ = static_cast<std::int64_t>(before.rows) - 1;
    if (before.has_ids())
      for (std::size_t row = 0; row < before.rows; ++row)
        largest_id_ = std::max(*largest_id_, before.id(row));
  }
  if (*largest_id_ > std::numeric_limits<std::int64_t>::max() - static_cast<std::int64_t>(count))
    throw IdError("id " + std::to_string(*largest_id_) +
                  " leaves no room for the next ones: give ids");
  std::vector<std::int64_t> ids(count);
  std::iota(ids.begin(), ids.end(), *largest_id_ + 1);
  return ids;
}

// The living row with this id. To be called with `finding_` held.
std::optional<std::size_t> Index::find(const Snapshot& snapshot, std::int64_t id) const {
  if (snapshot.has_ids()) {
    id_table_.extend(snapshot);
    return id_table_.find(snapshot, id);
  }
  const auto row = static_cast<std::size_t>(id);
  if (id < 0 || row >= snapshot.rows || !snapshot.is_alive(row)) return std::nullopt;
  return row;
}

// Returns the rows that the new ones replace.
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
  const std::lock_guard lock(finding_);
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
  const std::lock_guard lock(writing_);
  const std::shared_ptr<const Snapshot> before = snapshot();
  const std::size_t count = vectors.size() / layout_.dim;
  if (count > kMaxRows - before->rows) throw VectorError("an index holds at most 2^32 rows");
  std::vector<std::int64_t> added =
      ids.empty() ? new_ids(*before, count) : std::vector<std::int64_t>(ids.begin(), ids.end());
  const std::vector<std::size_t> replaced =
      ids.empty() ? std::vector<std::size_t>{} : check_new(*before, added, replace);

  // Ids that are the row numbers need not be stored.
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
  const std::lock_guard lock(writing_);
  const std::shared_ptr<const Snapshot> before = snapshot();
  std::vector<std::size_t> rows;
  {
    const std::lock_guard looking(finding_);
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
  publish(nestling::remove(*before, rows));
}

void Index::compact(std::size_t threads) {
  const std::lock_guard lock(writing_);
  const std::shared_ptr<const Snapshot> before = snapshot();
  const bool whole = before->cells == nullptr || before->cells->rows() == before->rows;
  if (before->removed == 0 && whole) return;
  Snapshot after = before->removed > 0 ? nestling::compact(layout_, *before, threads) : *before;
  after.cells = nullptr;
  if (before->cells) {
    CellOptions options = before->cells->options();
    options.count = std::min(options.count, after.rows);
    if (options.count > 0) after.cells = Cells::build(layout_, after, options, threads);
  }
  // Nobody may look up ids in a table of other row numbers than the snapshot's.
  const std::lock_guard looking(finding_);
  id_table_ = IdTable{};
  largest_id_.reset();
  publish(std::move(after));
}

std::unique_ptr<Index> Index::rebuilt(Layout layout, const CellOptions& cells,
                                      std::size_t threads) const {
  const std::shared_ptr<const Snapshot> before = snapshot();
  auto index = std::make_unique<Index>(std::move(layout));
  const Layout& target = index->layout_;
  if (cells.count > 0) {
    if (!target.coarse) throw FunnelError("cells need a first stage of 1, 2, 4 or 8 bits");
    if (cells.dims < 1 || cells.dims > target.dim)
      throw FunnelError("cells of " + std::to_string(cells.dims) + " dimensions do not fit " +
                        std::to_string(target.dim));
  }
  std::vector<std::size_t> living;
  living.reserve(before->living());
  for (std::size_t row = 0; row < before->rows; ++row)
    if (before->is_alive(row)) living.push_back(row);

  constexpr std::size_t kPart = 65'536, kTask = 256;  // rows
  Snapshot after;
  std::vector<float> values;
  std::vector<std::int64_t> ids;
  for (std::size_t first = 0; first < living.size(); first += kPart) {
    const std::size_t count = std::min(kPart, living.size() - first);
    values.resize(count * target.dim);
    parallel_for((count + kTask - 1) / kTask, threads, [&](std::size_t task) {
      std::vector<float> stored(target.dim), plain(target.dim);
      for (std::size_t i = task * kTask; i < std::min((task + 1) * kTask, count); ++i) {
        const std::span<float> out(values.data() + i * target.dim, target.dim);
        nestling::reconstruct(layout_, *before, living[first + i], stored.data());
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
      ids.push_back(before->id(living[first + i]));
      numbered = numbered && ids.back() == static_cast<std::int64_t>(first + i);
    }
    if (numbered) ids.clear();
    after = append(target, after, values, ids, threads, Vectors::prepared);
  }
  if (cells.count > 0) after.cells = Cells::build(target, after, cells, threads);
  index->publish(std::move(after));
  return index;
}

// The rows that a filter lets pass, in the snapshot that a search is to see: it is taken while the
// table of ids is that snapshot's.
RowSet Index::allowed(const Filter& filter, std::shared_ptr<const Snapshot>& rows) const {
  if (filter.kind == Filter::Kind::mask) {
    rows = snapshot();
    return RowSet::masked(*rows, filter.mask);
  }
  const std::lock_guard lock(finding_);
  rows = snapshot();
  RowSet set = RowSet::none(*rows);
  for (const std::int64_t id : filter.ids)
    if (const auto row = find(*rows, id)) set.insert(*row);
  return set;
}

std::vector<StageStats> Index::search(std::span<const PlannedStage> stages,
                                      std::span<const float> queries, SearchOptions options,
                                      const Filter& filter, std::int64_t* ids,
                                      float* scores) const {
  std::shared_ptr<const Snapshot> rows;
  std::optional<RowSet> set;
  if (filter.kind == Filter::Kind::none)
    rows = snapshot();
  else
    options.allowed = &set.emplace(allowed(filter, rows));
  return nestling::search(layout_, *rows, stages, queries, options, ids, scores);
}

void Index::reconstruct(std::span<const std::int64_t> ids, float* out) const {
  std::shared_ptr<const Snapshot> rows;
  std::vector<std::size_t> found;
  {
    const std::lock_guard lock(finding_);
    rows = snapshot();
    for (const std::int64_t id : ids) {
      const std::optional<std::size_t> row = find(*rows, id);
      if (!row) throw IdError("id " + std::to_string(id) + " is not in the index");
      found.push_back(*row);
    }
  }
  const bool rotated = !layout_.transform.rotation.empty();
  std::vector<float> stored(layout_.dim);
  for (const std::size_t row : found) {
    nestling::reconstruct(layout_, *rows, row, rotated ? stored.data() : out);
    if (rotated) rotate_back(layout_.transform, stored, {out, layout_.dim});
    out += layout_.dim;
  }
}

std::vector<std::int64_t> Index::ids() const {
  const std::shared_ptr<const Snapshot> rows = snapshot();
  std::vector<std::int64_t> ids;
  ids.reserve(rows->living());
  for (std::size_t row = 0; row < rows->rows; ++row)
    if (rows->is_alive(row)) ids.push_back(rows->id(row));
  return ids;
}

std::string Index::section_name(std::size_t shell) const {
  return "shell " + std::to_string(layout_.shells[shell].last) + "@" +
         std::to_string(layout_.shells[shell].bits);
}

std::vector<std::pair<std::string, std::size_t>> Index::memory() const {
  const std::shared_ptr<const Snapshot> rows = snapshot();
  std::vector<std::pair<std::string, std::size_t>> parts;
  for (const Section& section : sections(*rows)) {
    std::size_t size = 0;
    for (const auto bytes : section.parts) size += bytes.size();
    parts.emplace_back(section.name, size);
  }
  const std::lock_guard lock(finding_);
  if (id_table_.bytes() > 0) parts.emplace_back("id table", id_table_.bytes());
  return parts;
}

std::uint32_t Index::version(const Snapshot& snapshot) const {
  const bool margins =
      std::ranges::any_of(layout_.stages, [](const Stage& stage) { return stage.margin != 0.0F; });
  return margins || snapshot.removed > 0 || snapshot.cells || !layout_.transform.empty() ? 2 : 1;
}

std::vector<Section> Index::sections(const Snapshot& snapshot) const {
  std::vector<Section> out;
  const std::size_t rows = snapshot.rows;
  if (layout_.coarse) {
    Section& coarse = out.emplace_back(Section{kCoarseSection, {}});
    const std::size_t block = layout_.coarse->block_bytes();
    for (std::size_t c = 0; c < snapshot.chunks.size(); ++c)
      coarse.parts.push_back(
          bytes(snapshot.chunks[c].coarse, rows_in(rows, c) / kBlockRows * block));
    if (rows % kBlockRows != 0) coarse.parts.push_back(bytes(snapshot.tail, block));
  }
  for (std::size_t s = 0; s < layout_.shells.size(); ++s) {
    Section& shell = out.emplace_back(Section{section_name(s), {}});
    for (std::size_t c = 0; c < snapshot.chunks.size(); ++c)
      shell.parts.push_back(
          bytes(snapshot.chunks[c].shells[s], rows_in(rows, c) * layout_.shells[s].stride()));
  }
  if (snapshot.has_ids()) {
    Section& ids = out.emplace_back(Section{kIdSection, {}});
    for (std::size_t c = 0; c < snapshot.chunks.size(); ++c)
      ids.parts.push_back(bytes(snapshot.chunks[c].ids, rows_in(rows, c) * sizeof(std::int64_t)));
  }
  if (snapshot.removed > 0) {
    Section& alive = out.emplace_back(Section{kAliveSection, {}});
    for (std::size_t c = 0; c < snapshot.chunks.size(); ++c) {
      const std::size_t blocks = (rows_in(rows, c) + kBlockRows - 1) / kBlockRows;
      const Bytes& bits = snapshot.chunks[c].alive;
      alive.parts.push_back(bits ? bytes(bits, blocks * sizeof(std::uint32_t))
                                 : std::as_bytes(std::span(kAllAlive).first(blocks)));
    }
  }
  const auto floats = [&](const char* name, const std::vector<float>& values) {
    if (!values.empty()) out.push_back({name, {std::as_bytes(std::span(values))}});
  };
  floats(kRotationSection, layout_.transform.rotation);
  floats(kCentreSection, layout_.transform.centre);
  if (const Cells* cells = snapshot.cells.get()) {
    const auto add = [&](const char* name, const Bytes& data, std::size_t size) {
      out.push_back({name, {bytes(data, size)}});
    };
    const Cells::Parts& parts = cells->parts();
    add(kCentroidSection, parts.centroids,
        cells->centroid_blocks() * cells->centroid_layout().block_bytes());
    add(kStartSection, parts.starts, cells->starts().size_bytes());
    add(kCellSection, parts.codes, cells->blocks() * layout_.coarse->block_bytes());
    add(kSlotSection, parts.rows, cells->blocks() * kBlockRows * sizeof(std::uint32_t));
  }
  return out;
}

}  // namespace nestling
