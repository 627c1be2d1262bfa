// A lock between processes, on a file. The operating system releases it when the process dies.
#pragma once

#include <mutex>
#include <string>

namespace nestling {

// Held by any number of holders of this process together, and by one process at a time.
class FileLock {
 public:
  explicit FileLock(std::string path);
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;
  ~FileLock();

  // Counts one holder more, without waiting; false while another process holds the lock. Creates
  // the file where it is missing. Throws StorageError.
  bool acquire();

  // Counts one holder less; the last one releases the lock.
  void release();

  int holders() const { return holders_; }

  // For a forked child: closes the file and leaves the lock to the parent.
  void abandon();

 private:
  std::string path_;
  std::mutex mutex_;
  int file_ = -1;
  int holders_ = 0;
};

}  // namespace nestling
