#include "io/file_lock.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "base/error.hpp"

namespace nestling {
namespace {

constexpr mode_t kMode = 0644;

// Whether `path` still names the open file: somebody may have removed it meanwhile, and a lock on a
// file without a name keeps nobody out.
bool is_named(int file, const std::string& path) {
  struct stat opened{}, named{};
  return ::fstat(file, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

int lock_without_waiting(int file) {
  int failed = 0;
  do {
    failed = ::flock(file, LOCK_EX | LOCK_NB);
  } while (failed != 0 && errno == EINTR);
  return failed == 0 ? 0 : errno;
}

}  // namespace

FileLock::FileLock(std::string path) : path_(std::move(path)) {}

FileLock::~FileLock() {
  abandon();
}

bool FileLock::acquire() {
  const std::scoped_lock guard(mutex_);
  while (holders_ == 0) {
    const int file = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kMode);
    if (file < 0) throw StorageError(errno, path_, "cannot open the lock's file");
    const int error = lock_without_waiting(file);
    if (error == 0 && is_named(file, path_)) {
      file_ = file;
      break;
    }
    ::close(file);
    if (error == EWOULDBLOCK) return false;
    if (error != 0) throw StorageError(error, path_, "cannot lock");
  }
  ++holders_;
  return true;
}

void FileLock::release() {
  const std::scoped_lock guard(mutex_);
  if (holders_ == 0 || --holders_ > 0) return;
  ::flock(file_, LOCK_UN);  // a child that inherited the file would keep it locked
  ::close(std::exchange(file_, -1));
}

void FileLock::abandon() {
  if (file_ >= 0) ::close(std::exchange(file_, -1));
  holders_ = 0;
}

}  // namespace nestling
