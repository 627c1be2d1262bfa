#include "base/paging.hpp"

#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

namespace nestling {
namespace {

// What the calling thread has waited for or has had read. Where the system counts for a whole
// process alone, other threads may make a file appear to be on a disk; that costs only advice.
std::uint64_t disk_reads() {
#if defined(RUSAGE_THREAD)
  constexpr auto kWho = RUSAGE_THREAD;
#else
  constexpr auto kWho = RUSAGE_SELF;
#endif
  struct rusage usage{};
  if (::getrusage(kWho, &usage) != 0) return 0;
  // Pages that were fetched count as blocks, not as faults; not every system counts blocks.
  return static_cast<std::uint64_t>(usage.ru_majflt) + static_cast<std::uint64_t>(usage.ru_inblock);
}

}  // namespace

PagingWatch::PagingWatch(Paging* paging) : paging_(paging) {
  if (paging_ != nullptr) before_ = disk_reads();
}

PagingWatch::~PagingWatch() {
  if (paging_ != nullptr) paging_->note(disk_reads() != before_);
}

void fetch_pages(std::span<const std::byte> bytes) {
  static const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  if (bytes.empty()) return;
  const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
  const std::uintptr_t start = address / page * page;
  ::posix_madvise(reinterpret_cast<void*>(start), address + bytes.size() - start,
                  POSIX_MADV_WILLNEED);
}

}  // namespace nestling
