// The sections of an index file (io/format.hpp), written from a snapshot and read back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/file.hpp"
#include "store/cells.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// What the metadata of a file must say about its sections.
struct FileMetadata {
  std::size_t rows;
  std::size_t cell_rows = 0;                   // the first rows, which are in cells
  CellOptions cells{};                         // count 0: none
  std::vector<std::size_t> centroid_blocks{};  // of each level of their tree
};

FileMetadata metadata_of(const Snapshot& snapshot);

// Views of everything that a snapshot holds, for write_file.
std::vector<Section> sections(const Layout& layout, const Snapshot& snapshot);

// The layout, with the transform that is stored in the file.
Layout read_layout(std::size_t dim, Metric metric, std::vector<Stage> stages, const File& file);

// The rows of a mapped file, in place. Throws FormatError where a section is missing or does not
// have the size that follows from the layout and the metadata.
Snapshot read_snapshot(const Layout& layout, const File& file, const FileMetadata& metadata);

}  // namespace nestling
