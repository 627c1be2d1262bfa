#include "io/file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "io/format.hpp"
#include "io/hash.hpp"

namespace nestling {
namespace {

std::span<const std::byte> header_bytes(const FileHeader& header) {
  return std::as_bytes(std::span(&header, 1)).first(offsetof(FileHeader, checksum));
}

std::uint64_t aligned(std::uint64_t offset) {
  return (offset + kSectionAlignment - 1) / kSectionAlignment * kSectionAlignment;
}

// Gigabytes take seconds, so this can be interrupted.
void update(Hash& checksum, std::span<const std::byte> bytes) {
  constexpr std::size_t kPart = std::size_t{16} << 20;
  for (; !bytes.empty(); bytes = bytes.subspan(std::min(kPart, bytes.size()))) {
    check_interrupt();
    checksum.update(bytes.first(std::min(kPart, bytes.size())));
  }
}

std::uint64_t checksum_of(std::span<const std::byte> bytes) {
  Hash checksum;
  update(checksum, bytes);
  return checksum.digest();
}

[[noreturn]] void fail(const std::string& path, const std::string& action) {
  throw StorageError(errno, path, action);
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool close() { return ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

// A file that is written under a temporary name, and is removed unless it is committed.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& path)
      : path_(path), name_(unused_name(path)), file_(create(path, name_)) {
    if (file_.get() < 0) fail(path, "cannot create a file beside it");
  }
  ~TemporaryFile() {
    if (!committed_) ::unlink(name_.c_str());
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      check_interrupt();
      const ssize_t written = ::write(file_.get(), bytes.data(), std::min(bytes.size(), kWrite));
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail(path_, "cannot write");
      bytes = bytes.subspan(static_cast<std::size_t>(written));
      size_ += static_cast<std::uint64_t>(written);
    }
  }

  void pad() {
    static constexpr std::array<std::byte, kSectionAlignment> zeros{};
    write(std::span(zeros).first(aligned(size_) - size_));
  }

  void commit() {
    if (::fsync(file_.get()) != 0) fail(path_, "cannot sync");
    if (!file_.close()) fail(path_, "cannot close");
    if (::rename(name_.c_str(), path_.c_str()) != 0) fail(path_, "cannot replace");
    committed_ = true;
    sync_folder();
  }

 private:
  static constexpr std::size_t kWrite = std::size_t{16} << 20;  // between checks for an interrupt

  // Unique among the saves of a process and among processes.
  static std::string unused_name(const std::string& path) {
    static std::atomic<unsigned> saves{0};
    return path + "." + std::to_string(::getpid()) + "-" + std::to_string(saves++) + ".tmp";
  }

  // Creates the file, with the owner and the mode of the one that it will replace.
  static int create(const std::string& path, const std::string& name) {
    struct stat old{};
    const bool replaces = ::stat(path.c_str(), &old) == 0 && S_ISREG(old.st_mode);
    const int file = ::open(name.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC,
                            replaces ? S_IRUSR | S_IWUSR : 0666);
    if (file >= 0 && replaces) {
      mode_t mode = old.st_mode & 07777U;
      struct stat made{};
      // Only root may give a file to another owner; a group that cannot be kept must not gain.
      if (::fchown(file, old.st_uid, old.st_gid) != 0 &&
          ::fchown(file, static_cast<uid_t>(-1), old.st_gid) != 0 &&
          (::fstat(file, &made) != 0 || made.st_gid != old.st_gid))
        mode &= ~static_cast<mode_t>(S_IRWXG);
      ::fchmod(file, mode);  // not every file system has modes
    }
    return file;
  }

  // The rename must reach the disk too. Some file systems cannot sync a folder; the error is
  // ignored.
  void sync_folder() const {
    const std::size_t slash = path_.rfind('/');
    const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
    const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_CLOEXEC));
    if (opened.get() >= 0) ::fsync(opened.get());
  }

  std::string path_, name_;
  Descriptor file_;
  bool committed_ = false;
  std::uint64_t size_ = 0;
};

// Tells the system not to read ahead in the pages that lie wholly within a part of a mapped file:
// by default it reads up to megabytes around each byte that is touched and not in memory, which is
// wasted on scattered reads, and drops other pages where memory is short.
void expect_scattered_reads(std::span<std::byte> part) {
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  const std::size_t skipped = (page - reinterpret_cast<std::uintptr_t>(part.data()) % page) % page;
  if (part.size() < skipped + page) return;
  // Only advice: a system that does not follow it reads more than it must.
  ::madvise(part.data() + skipped, (part.size() - skipped) / page * page, MADV_RANDOM);
}

void check_size(std::size_t size) {
  if (size < sizeof(FileHeader))
    throw FormatError("not a nestling file: " + std::to_string(size) +
                      " bytes, less than a header");
}

// Reads a whole file into memory, which may have larger pages than a mapped file.
FileBytes read(const std::string& path, int descriptor, std::size_t size) {
  Bytes data = allocate(size);
  for (std::size_t at = 0; at < size;) {
    check_interrupt();
    const std::size_t part = std::min(size - at, std::size_t{16} << 20);
    const ::ssize_t count = ::read(descriptor, data.get() + at, part);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(path, "cannot read");
    if (count == 0) throw FormatError("truncated: the file ended while it was read");
    at += static_cast<std::size_t>(count);
  }
  return {std::move(data), size};
}

FileBytes open_bytes(const std::string& path, bool resident) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.get() < 0) fail(path, "cannot open");
  struct stat status{};
  if (::fstat(file.get(), &status) != 0) fail(path, "cannot inspect");
  if (!S_ISREG(status.st_mode)) throw FormatError("not a regular file");
  const auto size = static_cast<std::size_t>(status.st_size);
  check_size(size);
  if (resident) return read(path, file.get(), size);
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (address == MAP_FAILED) fail(path, "cannot map");
  return {{static_cast<std::byte*>(address), [size](std::byte* p) { ::munmap(p, size); }},
          size,
          /*mapped=*/true};
}

}  // namespace

void write_file(const std::string& path, std::string_view metadata,
                std::span<const Section> sections) {
  FileHeader header;
  header.metadata_size = metadata.size();
  header.sections = sections.size();
  std::vector<SectionEntry> table;
  std::uint64_t end = sizeof header + sections.size() * sizeof(SectionEntry) + metadata.size();
  for (const Section& section : sections) {
    SectionEntry entry;
    std::copy_n(section.name.begin(), std::min(section.name.size(), entry.name.size() - 1),
                entry.name.begin());
    entry.offset = aligned(end);
    Hash checksum;
    for (const auto part : section.parts) {
      update(checksum, part);
      entry.size += part.size();
    }
    entry.checksum = checksum.digest();
    end = entry.offset + entry.size;
    table.push_back(entry);
  }
  header.file_size = aligned(end);
  const auto table_bytes = std::as_bytes(std::span(table));
  const auto metadata_bytes = std::as_bytes(std::span(metadata));
  Hash index;
  index.update(table_bytes);
  index.update(metadata_bytes);
  header.index_checksum = index.digest();
  header.checksum = hash(header_bytes(header));

  TemporaryFile file(path);
  file.write(std::as_bytes(std::span(&header, 1)));
  file.write(table_bytes);
  file.write(metadata_bytes);
  file.pad();
  for (const Section& section : sections) {
    for (const auto part : section.parts) file.write(part);
    file.pad();
  }
  file.commit();
}

File::File(const std::string& path, bool verify, bool resident)
    : File(open_bytes(path, resident), verify) {}

File::File(FileBytes bytes, bool verify) : verified_(verify), bytes_(std::move(bytes)) {
  const std::size_t size = bytes_.size;
  check_size(size);
  FileHeader header;
  std::memcpy(&header, bytes_.data.get(), sizeof header);
  if (header.magic != kMagic) throw FormatError("not a nestling file");
  if (header.byte_order != kByteOrder)
    throw FormatError("written in another byte order, or the header is corrupted");
  if (header.version != kFormatVersion)
    throw FormatError("format version " + std::to_string(header.version) +
                      "; this nestling reads version " + std::to_string(kFormatVersion));
  if (header.checksum != hash(header_bytes(header)))
    throw FormatError("corrupted header: its checksum does not match");
  if (header.file_size != size)
    throw FormatError("truncated or extended: " + std::to_string(size) + " bytes of " +
                      std::to_string(header.file_size));
  const std::uint64_t room = size - sizeof header;
  if (header.sections > room / sizeof(SectionEntry) ||
      header.metadata_size > room - header.sections * sizeof(SectionEntry))
    throw FormatError("the section table does not fit the file");

  const std::size_t table_size = header.sections * sizeof(SectionEntry);
  const std::span<const std::byte> all(bytes_.data.get(), size);
  const auto index = all.subspan(sizeof header, table_size + header.metadata_size);
  if (hash(index) != header.index_checksum)
    throw FormatError("corrupted section table or metadata: the checksum does not match");
  const auto metadata = index.subspan(table_size);
  metadata_.assign(reinterpret_cast<const char*>(metadata.data()), metadata.size());

  std::uint64_t end = sizeof header + index.size();
  const auto check_gap = [&](std::uint64_t from, std::uint64_t to) {
    const auto gap = all.subspan(from, to - from);
    if (std::ranges::any_of(gap, [](std::byte b) { return b != std::byte{0}; }))
      throw FormatError("padding that is not zero, after offset " + std::to_string(from));
  };
  for (std::size_t i = 0; i < header.sections; ++i) {
    SectionEntry entry;
    std::memcpy(&entry, index.data() + i * sizeof entry, sizeof entry);
    entry.name.back() = '\0';
    if (entry.offset != aligned(end) || entry.offset > size || entry.size > size - entry.offset)
      throw FormatError("section '" + std::string(entry.name.data()) +
                        "' is not where it must start");
    check_gap(end, entry.offset);
    end = entry.offset + entry.size;
    if (verify && checksum_of(all.subspan(entry.offset, entry.size)) != entry.checksum)
      throw FormatError(std::string("corrupted data in section '") + entry.name.data() +
                        "': its checksum does not match");
    entries_.push_back({entry.name.data(), entry.offset, entry.size});
  }
  if (aligned(end) != size) throw FormatError("the sections do not fill the file");
  check_gap(end, size);
}

bool File::has(std::string_view name) const {
  return std::ranges::any_of(entries_, [&](const Entry& entry) { return entry.name == name; });
}

Bytes File::section(std::string_view name, std::size_t size, Access access) const {
  const auto found = std::ranges::find(entries_, name, &Entry::name);
  if (found == entries_.end()) throw FormatError("no section '" + std::string(name) + "'");
  if (found->size != size)
    throw FormatError(std::to_string(found->size) + " bytes in section '" + std::string(name) +
                      "' instead of " + std::to_string(size));
  std::byte* data = bytes_.data.get() + found->offset;
  if (bytes_.mapped && access == Access::scattered) expect_scattered_reads({data, size});
  return {bytes_.data, data};
}

}  // namespace nestling
