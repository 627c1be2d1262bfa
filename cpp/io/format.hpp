// The file format of an index: version 1.
//
// A file is a header, a table of sections, the metadata and the sections, in this order. All
// numbers are little-endian. The table follows the header directly, and the metadata the table.
// Every section starts at a multiple of 64 bytes, so that a mapped file can be searched in place.
// The bytes between are zero, and so are those that extend the file to a multiple of 64.
//
// The metadata is UTF-8 JSON (python/nestling/index/header.py writes and reads it): the kind
// "index", the dimension, the metric, the funnel, the number of rows, the version of nestling that
// wrote the file, and, where rows are in cells, how.
//
// The sections of an index of `rows` rows and `dim` dimensions:
//
//   name             holds
//   coarse           the coarse matrix (store/matrix.hpp): block_count(rows) blocks. Absent where
//                    the first stage has 16 or 32 bits
//   shell L@B        a shell (ShellLayout in store/layout.hpp) that ends at dimension L and brings
//                    it to B bits a value: rows × stride() bytes. One per stage that is not coarse
//   ids              int64 per row. Absent where every id is its row number
//   alive            uint32 per block of 32 rows: bit i is 0 if row i of the block was removed.
//                    Bits behind the last row mean nothing. Absent where no row was removed
//   rotation         dim × dim float32, row after row (Transform in store/transform.hpp). Absent
//                    where rows are not rotated
//   centre           float32 per dimension of the first stage. Absent where codes are not centred
//   cell centre      float32 per dimension of the cells: the mean of the centroids. This section
//                    and the next ones down to links are absent where rows are not in cells
//   centroids L      2-bit codes of the centroids of level L of their tree, less the centre, in
//                    blocks with offsets. The metadata says how many blocks; level 0 is the root
//   children L       uint32 per slot of these blocks and one more: the number of the first block of
//                    its children, in the next level or, of the last level, in the cells
//   centroid shell   a shell of 8 bits (ShellLayout) of the centroids of the last level, per slot
//   cell codes       the coarse blocks of the cells; a cell starts with a new block
//   cell rows        uint32 per slot of these blocks: the row that it holds, 0 for an empty slot
//   links            uint32 per link of each row in cells: a near neighbour, or the row itself.
//                    Absent where rows are not linked
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace nestling {

inline constexpr std::uint32_t kFormatVersion = 1;  // of what is written, and all that is read

inline constexpr std::size_t kSectionAlignment = 64;
inline constexpr std::array<char, 8> kMagic = {'n', 'e', 's', 't', 'l', 'i', 'n', 'g'};
inline constexpr std::uint32_t kByteOrder = 0x01020304;  // another value when read the other way

struct FileHeader {
  std::array<char, 8> magic = kMagic;
  std::uint32_t version = kFormatVersion;
  std::uint32_t byte_order = kByteOrder;
  std::uint64_t file_size = 0;       // bytes, of the whole file
  std::uint64_t metadata_size = 0;   // bytes
  std::uint64_t sections = 0;        // entries of the table
  std::uint64_t index_checksum = 0;  // XXH64 of the table and the metadata
  std::uint64_t reserved = 0;        // zero
  std::uint64_t checksum = 0;        // XXH64 of the bytes before it
};
static_assert(sizeof(FileHeader) == 64 && std::is_trivially_copyable_v<FileHeader>);
static_assert(offsetof(FileHeader, magic) == 0);
static_assert(offsetof(FileHeader, version) == 8);
static_assert(offsetof(FileHeader, byte_order) == 12);
static_assert(offsetof(FileHeader, file_size) == 16);
static_assert(offsetof(FileHeader, metadata_size) == 24);
static_assert(offsetof(FileHeader, sections) == 32);
static_assert(offsetof(FileHeader, index_checksum) == 40);
static_assert(offsetof(FileHeader, reserved) == 48);
static_assert(offsetof(FileHeader, checksum) == 56);

struct SectionEntry {
  std::array<char, 16> name{};  // padded with zeros, of which there is at least one
  std::uint64_t offset = 0;     // from the start of the file
  std::uint64_t size = 0;       // bytes, without the padding behind
  std::uint64_t checksum = 0;   // XXH64 of the section
  std::uint64_t reserved = 0;   // zero
};
static_assert(sizeof(SectionEntry) == 48 && std::is_trivially_copyable_v<SectionEntry>);
static_assert(offsetof(SectionEntry, name) == 0);
static_assert(offsetof(SectionEntry, offset) == 16);
static_assert(offsetof(SectionEntry, size) == 24);
static_assert(offsetof(SectionEntry, checksum) == 32);
static_assert(offsetof(SectionEntry, reserved) == 40);

}  // namespace nestling
