#include "io/storage.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

constexpr const char* kCoarseSection = "coarse";
constexpr const char* kIdSection = "ids";
constexpr const char* kAliveSection = "alive";
constexpr const char* kRotationSection = "rotation";
constexpr const char* kCentreSection = "centre";
constexpr const char* kCellCentreSection = "cell centre";
constexpr const char* kCentroidSection = "centroids ";  // and the level
constexpr const char* kChildSection = "children ";
constexpr const char* kCentroidShell = "centroid shell";
constexpr const char* kCellSection = "cell codes";
constexpr const char* kSlotSection = "cell rows";
constexpr const char* kLinkSection = "links";

// The bits of a chunk that no row was removed from.
const std::vector<std::uint32_t> kAllAlive(kChunkBlocks, ~0U);

std::span<const std::byte> bytes(const Bytes& data, std::size_t size) {
  return {data.get(), size};
}

Bytes part(const Bytes& section, std::size_t offset) {
  return {section, section.get() + offset};
}

std::string section_name(const Layout& layout, std::size_t shell) {
  return "shell " + std::to_string(layout.shells[shell].last) + "@" +
         std::to_string(layout.shells[shell].stage_bits());
}

std::shared_ptr<const Cells> stored_cells(const CoarseLayout& coarse, const File& file,
                                          const FileMetadata& metadata) {
  if (metadata.cell_rows > metadata.rows)
    throw FormatError("there are more rows in cells than rows");
  constexpr std::size_t kMostLevels = 8;
  const std::size_t levels = metadata.centroid_blocks.size();
  if (levels < 1 || levels > kMostLevels)
    throw FormatError(std::to_string(levels) + " levels of centroids; expected 1 to " +
                      std::to_string(kMostLevels));
  Cells::Parts parts;
  CentroidTree& tree = parts.tree;
  tree.dims = metadata.cells.dims;
  tree.centre = file.section(kCellCentreSection, tree.dims * sizeof(float));
  for (std::size_t l = 0; l < levels; ++l) {
    CentroidLevel level{.blocks = metadata.centroid_blocks[l]};
    if (level.blocks < 1 || level.blocks > kMaxRows / kBlockRows)
      throw FormatError("a level of centroids with " + std::to_string(level.blocks) + " blocks");
    const std::string number = std::to_string(l);
    level.codes =
        file.section(kCentroidSection + number, level.blocks * tree.layout().block_bytes());
    level.starts =
        file.section(kChildSection + number, (level.slots() + 1) * sizeof(std::uint32_t));
    tree.levels.push_back(std::move(level));
  }
  tree.values = file.section(kCentroidShell, tree.last().slots() * tree.shell().stride());
  const std::size_t blocks = tree.last().child_blocks();
  parts.codes = file.section(kCellSection, blocks * coarse.block_bytes());
  parts.rows =
      file.section(kSlotSection, blocks * kBlockRows * sizeof(std::uint32_t), Access::scattered);
  constexpr std::size_t kMostLinks = 256;
  if (metadata.cells.links > kMostLinks)
    throw FormatError(std::to_string(metadata.cells.links) + " links of a row; expected at most " +
                      std::to_string(kMostLinks));
  if ((metadata.cells.links > 0) != file.has(kLinkSection))
    throw FormatError("rows are linked, or not, other than the metadata says: section 'links'");
  if (metadata.cells.links > 0)
    parts.links = file.section(kLinkSection,
                               metadata.cell_rows * metadata.cells.links * sizeof(std::uint32_t),
                               Access::scattered);
  auto cells = std::make_shared<const Cells>(metadata.cells, metadata.cell_rows, std::move(parts));
  cells->check_tree();
  if (file.verified()) cells->check_rows();
  return cells;
}

// The axes of a rotation have norm 1, and a centre, the mean of vectors of norm 1, at most that; so
// nothing overflows when they are applied. Learning rounds them less than this.
constexpr double kRounding = 0.01;

double norm(std::span<const float> vector) {
  double squares = 0.0;
  for (const float v : vector) squares += static_cast<double>(v) * static_cast<double>(v);
  return std::sqrt(squares);
}

}  // namespace

Layout read_layout(std::size_t dim, Metric metric, std::vector<Stage> stages, const File& file) {
  Transform transform;
  const auto read = [&](const char* name, std::size_t count) {
    const Bytes section = file.section(name, count * sizeof(float));
    const auto* first = reinterpret_cast<const float*>(section.get());
    std::vector<float> values(first, first + count);
    if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); }))
      throw FormatError("section '" + std::string(name) + "' has a value that is not finite");
    return values;
  };
  // Larger ones are refused by the layout; here their sizes in bytes could overflow.
  if (dim <= kMaxDim && file.has(kRotationSection)) {
    transform.rotation = read(kRotationSection, dim * dim);
    for (std::size_t axis = 0; axis < dim; ++axis)
      if (std::abs(norm(std::span(transform.rotation).subspan(axis * dim, dim)) - 1.0) > kRounding)
        throw FormatError("section '" + std::string(kRotationSection) + "' is not a rotation");
  }
  if (!stages.empty() && stages[0].dims <= kMaxDim && file.has(kCentreSection)) {
    transform.centre = read(kCentreSection, stages[0].dims);
    if (norm(transform.centre) > 1.0 + kRounding)
      throw FormatError("section '" + std::string(kCentreSection) +
                        "' is not a mean of unit vectors");
  }
  return {dim, metric, std::move(stages), std::move(transform)};
}

Snapshot read_snapshot(const Layout& layout, const File& file, const FileMetadata& metadata) {
  const std::size_t rows = metadata.rows;
  if (rows > kMaxRows)
    throw FormatError(std::to_string(rows) + " rows, more than the " + std::to_string(kMaxRows) +
                      " that an index can hold");
  Snapshot mapped;
  mapped.rows = rows;
  if (file.mapped()) mapped.paging = std::make_shared<Paging>();
  mapped.chunks.resize(chunk_count(rows));
  for (Chunk& chunk : mapped.chunks) chunk.shells.resize(layout.shells.size());
  if (layout.coarse && rows > 0) {
    const std::size_t block = layout.coarse->block_bytes();
    const std::size_t blocks = block_count(rows);
    const Bytes coarse = file.section(kCoarseSection, blocks * block);
    for (std::size_t c = 0; c < mapped.chunks.size(); ++c)
      mapped.chunks[c].coarse = part(coarse, c * kChunkBlocks * block);
    if (rows % kBlockRows != 0) {
      mapped.tail = part(coarse, (blocks - 1) * block);
      // A search scores every row of a block that is not absent.
      for (std::size_t lane = rows % kBlockRows; lane < kBlockRows; ++lane)
        if (!std::isnan(row_scale(*layout.coarse, mapped.tail.get(), lane)))
          throw FormatError("there are codes of more rows than the index has");
    }
  }
  for (std::size_t s = 0; s < layout.shells.size() && rows > 0; ++s) {
    const std::size_t stride = layout.shells[s].stride();
    // All rows are read where the first stage has no codes.
    const Access access = layout.coarse || s > 0 ? Access::scattered : Access::in_order;
    const Bytes shell = file.section(section_name(layout, s), rows * stride, access);
    for (std::size_t c = 0; c < mapped.chunks.size(); ++c)
      mapped.chunks[c].shells[s] = part(shell, c * kChunkRows * stride);
  }
  if (file.has(kIdSection)) {
    const Bytes ids = file.section(kIdSection, rows * sizeof(std::int64_t), Access::scattered);
    for (std::size_t c = 0; c < mapped.chunks.size(); ++c)
      mapped.chunks[c].ids = part(ids, c * kChunkRows * sizeof(std::int64_t));
  }
  if (file.has(kAliveSection)) {
    const std::size_t blocks = block_count(rows);
    const Bytes stored = file.section(kAliveSection, blocks * sizeof(std::uint32_t));
    const auto* words = reinterpret_cast<const std::uint32_t*>(stored.get());
    std::vector<std::size_t> removed;
    for (std::size_t row = 0; row < rows; ++row)
      if ((words[row / kBlockRows] >> row % kBlockRows & 1) == 0) removed.push_back(row);
    mapped = remove(mapped, removed);
  }
  if (metadata.cells.count > 0) {
    if (!layout.coarse) throw FormatError("there are cells, but rows have no codes");
    if (metadata.cells.dims < 1 || metadata.cells.dims > layout.dim)
      throw FormatError("cells of " + std::to_string(metadata.cells.dims) +
                        " dimensions, in an index of " + std::to_string(layout.dim));
    mapped.cells = stored_cells(*layout.coarse, file, metadata);
    if (numbers_taken(mapped) > kMaxRows)
      throw FormatError("cells have more slots than an index can number");
  }
  return mapped;
}

FileMetadata metadata_of(const Snapshot& snapshot) {
  if (!snapshot.cells) return {snapshot.rows};
  FileMetadata metadata{snapshot.rows, snapshot.cells->rows(), snapshot.cells->options()};
  for (const CentroidLevel& level : snapshot.cells->tree().levels)
    metadata.centroid_blocks.push_back(level.blocks);
  return metadata;
}

std::vector<Section> sections(const Layout& layout, const Snapshot& snapshot) {
  std::vector<Section> out;
  const std::size_t rows = snapshot.rows;
  if (layout.coarse) {
    Section& coarse = out.emplace_back(Section{kCoarseSection, {}});
    const std::size_t block = layout.coarse->block_bytes();
    for (std::size_t c = 0; c < snapshot.chunks.size(); ++c)
      coarse.parts.push_back(
          bytes(snapshot.chunks[c].coarse, rows_in_chunk(rows, c) / kBlockRows * block));
    if (rows % kBlockRows != 0) coarse.parts.push_back(bytes(snapshot.tail, block));
  }
  for (std::size_t s = 0; s < layout.shells.size(); ++s) {
    Section& shell = out.emplace_back(Section{section_name(layout, s), {}});
    for (std::size_t c = 0; c < snapshot.chunks.size(); ++c)
      shell.parts.push_back(
          bytes(snapshot.chunks[c].shells[s], rows_in_chunk(rows, c) * layout.shells[s].stride()));
  }
  if (snapshot.has_ids()) {
    Section& ids = out.emplace_back(Section{kIdSection, {}});
    for (std::size_t c = 0; c < snapshot.chunks.size(); ++c)
      ids.parts.push_back(
          bytes(snapshot.chunks[c].ids, rows_in_chunk(rows, c) * sizeof(std::int64_t)));
  }
  if (snapshot.removed > 0) {
    Section& alive = out.emplace_back(Section{kAliveSection, {}});
    for (std::size_t c = 0; c < snapshot.chunks.size(); ++c) {
      const std::size_t blocks = block_count(rows_in_chunk(rows, c));
      const Bytes& bits = snapshot.chunks[c].alive;
      alive.parts.push_back(bits ? bytes(bits, blocks * sizeof(std::uint32_t))
                                 : std::as_bytes(std::span(kAllAlive).first(blocks)));
    }
  }
  const auto floats = [&](const char* name, const std::vector<float>& values) {
    if (!values.empty()) out.push_back({name, {std::as_bytes(std::span(values))}});
  };
  floats(kRotationSection, layout.transform.rotation);
  floats(kCentreSection, layout.transform.centre);
  if (const Cells* cells = snapshot.cells.get()) {
    const auto add = [&](const std::string& name, const Bytes& data, std::size_t size) {
      out.push_back({name, {bytes(data, size)}});
    };
    const Cells::Parts& parts = cells->parts();
    const CentroidTree& tree = parts.tree;
    add(kCellCentreSection, tree.centre, tree.centre_values().size_bytes());
    for (std::size_t l = 0; l < tree.levels.size(); ++l) {
      const CentroidLevel& level = tree.levels[l];
      const std::string number = std::to_string(l);
      add(kCentroidSection + number, level.codes, level.blocks * tree.layout().block_bytes());
      add(kChildSection + number, level.starts, level.child_starts().size_bytes());
    }
    add(kCentroidShell, tree.values, tree.last().slots() * tree.shell().stride());
    add(kCellSection, parts.codes, cells->blocks() * layout.coarse->block_bytes());
    add(kSlotSection, parts.rows, cells->blocks() * kBlockRows * sizeof(std::uint32_t));
    if (parts.links)
      add(kLinkSection, parts.links,
          cells->rows() * cells->options().links * sizeof(std::uint32_t));
  }
  return out;
}

}  // namespace nestling
