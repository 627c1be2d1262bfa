// Pages of mapped files that are not in memory, because there is less memory than there are files.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

namespace nestling {

// Whether reading a mapped file has waited for a disk lately. Threads share it.
class Paging {
 public:
  bool waits() const { return waits_.load(std::memory_order_relaxed); }
  void note(bool waited) {
    if (waited != waits()) waits_.store(waited, std::memory_order_relaxed);
  }

 private:
  std::atomic<bool> waits_{false};
};

// Notes, at its end, whether the thread that made it has read from a disk since then.
class PagingWatch {
 public:
  // `paging` may be null: nothing is noted.
  explicit PagingWatch(Paging* paging);
  ~PagingWatch();
  PagingWatch(const PagingWatch&) = delete;
  PagingWatch& operator=(const PagingWatch&) = delete;

 private:
  Paging* paging_;
  std::uint64_t before_ = 0;
};

// Has the system read the pages of some bytes into memory, without waiting for them. Bytes that are
// touched one after the other wait for a disk each time; a disk serves many requests at once.
// Only advice: a system that does not follow it reads each page when it is touched.
void fetch_pages(std::span<const std::byte> bytes);

}  // namespace nestling
