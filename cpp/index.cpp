#include "index.hpp"

#include <algorithm>
#include <limits>
#include <numeric>

#include "error.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

constexpr const char* kCoarseSection = "coarse";
constexpr const char* kIdSection = "ids";
constexpr std::size_t kMaxRows = std::numeric_limits<std::uint32_t>::max() - kChunkRows;

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

}  // namespace

Index::Index(Layout layout, const File& file, std::size_t rows) : layout_(std::move(layout)) {
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
  snapshot_ = std::move(mapped);
}

std::shared_ptr<const Snapshot> Index::snapshot() const {
  const std::lock_guard lock(publishing_);
  return snapshot_;
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

void Index::check_new(const Snapshot& before, std::span<const std::int64_t> ids) const {
  std::vector<std::int64_t> sorted(ids.begin(), ids.end());
  std::ranges::sort(sorted);
  if (!sorted.empty() && sorted.front() < 0)
    throw IdError("id " + std::to_string(sorted.front()) + " is negative; ids are 0 or more");
  const auto repeated = std::ranges::adjacent_find(sorted);
  if (repeated != sorted.end())
    throw IdError("id " + std::to_string(*repeated) + " is given twice");
  for (const std::int64_t id : ids) {
    const bool present = before.has_ids() ? id_table_.find(before, id).has_value()
                                          : id < static_cast<std::int64_t>(before.rows);
    if (present) throw IdError("id " + std::to_string(id) + " is already in the index");
  }
}

std::vector<std::int64_t> Index::add(std::span<const float> vectors,
                                     std::span<const std::int64_t> ids, std::size_t threads) {
  const std::lock_guard lock(adding_);
  const std::shared_ptr<const Snapshot> before = snapshot();
  const std::size_t count = vectors.size() / layout_.dim;
  if (count > kMaxRows - before->rows) throw VectorError("an index holds at most 2^32 rows");
  if (before->has_ids()) id_table_.extend(*before);
  std::vector<std::int64_t> added =
      ids.empty() ? new_ids(*before, count) : std::vector<std::int64_t>(ids.begin(), ids.end());
  if (!ids.empty()) check_new(*before, added);

  // Ids that are the row numbers need not be stored.
  bool numbered = !before->has_ids();
  for (std::size_t i = 0; i < count && numbered; ++i)
    numbered = added[i] == static_cast<std::int64_t>(before->rows + i);
  const std::span<const std::int64_t> stored = numbered ? std::span<const std::int64_t>{} : added;
  auto after = std::make_shared<const Snapshot>(append(layout_, *before, vectors, stored, threads));
  if (after->has_ids()) id_table_.extend(*after);
  if (largest_id_)
    for (const std::int64_t id : added) largest_id_ = std::max(*largest_id_, id);

  const std::lock_guard publish(publishing_);
  snapshot_ = std::move(after);
  return added;
}

std::vector<StageStats> Index::search(std::span<const PlannedStage> stages,
                                      std::span<const float> queries, std::size_t k,
                                      std::size_t threads, std::int64_t* ids, float* scores) const {
  const std::shared_ptr<const Snapshot> rows = snapshot();
  return nestling::search(layout_, *rows, stages, queries, k, threads, ids, scores);
}

void Index::reconstruct(std::span<const std::int64_t> ids, float* out) const {
  std::shared_ptr<const Snapshot> rows;
  std::vector<std::size_t> found;
  {
    const std::lock_guard lock(adding_);
    rows = snapshot();
    const bool has_ids = rows->has_ids();
    if (has_ids) id_table_.extend(*rows);
    for (const std::int64_t id : ids) {
      if (has_ids) {
        const auto row = id_table_.find(*rows, id);
        if (!row) throw IdError("id " + std::to_string(id) + " is not in the index");
        found.push_back(*row);
      } else {
        if (id < 0 || id >= static_cast<std::int64_t>(rows->rows))
          throw IdError("id " + std::to_string(id) + " is not in the index");
        found.push_back(static_cast<std::size_t>(id));
      }
    }
  }
  for (const std::size_t row : found) {
    nestling::reconstruct(layout_, *rows, row, out);
    out += layout_.dim;
  }
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
  const std::lock_guard lock(adding_);
  if (id_table_.bytes() > 0) parts.emplace_back("id table", id_table_.bytes());
  return parts;
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
  return out;
}

}  // namespace nestling
