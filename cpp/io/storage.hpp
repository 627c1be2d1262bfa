// How an index lies in a file: which sections it has, and what they hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "io/file.hpp"
#include "store/cells.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// What a saved file's metadata must tell.
struct FileMetadata {
  std::size_t rows;
  std::size_t cell_rows = 0;  // rows that the cells hold
  CellOptions cells{};        // count 0: none
};

FileMetadata metadata_of(const Snapshot& snapshot);

// Views of all that a snapshot holds, for write_file.
std::vector<Section> sections(const Layout& layout, const Snapshot& snapshot);

// The layout, with the transform that the file holds.
Layout read_layout(std::size_t dim, Metric metric, std::vector<Stage> stages, const File& file);

// The rows of a mapped file, where they lie. Throws FormatError where a section is missing or has
// another size than the layout and `metadata` ask for.
Snapshot read_snapshot(const Layout& layout, const File& file, const FileMetadata& metadata);

}  // namespace nestling
