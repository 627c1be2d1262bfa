// Reads and writes files of the format that io/format.hpp documents, whatever their sections hold.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory.hpp"

namespace nestling {

// A section to write. Its bytes come in any number of parts.
struct Section {
  std::string name;  // at most 15 bytes
  std::vector<std::span<const std::byte>> parts;
};

// Writes a file beside `path`, syncs it to the disk and renames it to `path`: after a crash `path`
// is the complete old file or the complete new one. Throws StorageError.
void write_file(const std::string& path, std::string_view metadata,
                std::span<const Section> sections);

// The bytes of a file, 64-byte aligned.
struct FileBytes {
  Bytes data;
  std::size_t size;
  bool mapped = false;
};

// How a section is read: from its beginning to its end, or a few bytes here and there.
enum class Access { in_order, scattered };

// A mapped file. Its bytes stay mapped for as long as this or any section of it is held, even if
// the file is replaced or removed.
class File {
 public:
  // Checks magic, version, byte order, sizes, and the checksums of header, table and metadata; with
  // `verify` also those of the sections, which reads the whole file. With `resident`, the file is
  // read into memory instead of mapped. Throws StorageError, or FormatError, whose message does not
  // name the path: the caller adds it.
  File(const std::string& path, bool verify, bool resident = false);

  // The same for a file that is in memory already.
  File(FileBytes bytes, bool verify);

  const std::string& metadata() const { return metadata_; }
  bool verified() const { return verified_; }
  bool mapped() const { return bytes_.mapped; }
  bool has(std::string_view name) const;

  // Throws FormatError where the section is missing or has another size. Of a mapped section whose
  // access is scattered, the system reads no more into memory than is touched.
  Bytes section(std::string_view name, std::size_t size, Access access = Access::in_order) const;

 private:
  struct Entry {
    std::string name;
    std::uint64_t offset, size;
  };

  bool verified_;
  std::string metadata_;
  std::vector<Entry> entries_;
  FileBytes bytes_;
};

}  // namespace nestling
