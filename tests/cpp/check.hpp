// What the check programs share: they need no framework, so that they run under emulators and
// sanitizers.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <vector>

namespace check {

inline std::atomic<std::size_t> made = 0;

// Exits with the file and line of the first check that fails.
inline void that(bool holds, const char* what, const char* file, int line) {
  ++made;
  if (holds) return;
  std::fprintf(stderr, "%s:%d: failed: %s\n", file, line, what);
  std::exit(1);
}

#define CHECK(condition) check::that((condition), #condition, __FILE__, __LINE__)

// A vector whose memory ends with its `size` values, so that AddressSanitizer sees accesses past
// them.
template <class T>
std::vector<T> filled(std::size_t size, auto make) {
  std::vector<T> values(size);
  for (T& value : values) value = static_cast<T>(make());
  values.shrink_to_fit();
  return values;
}

inline int report(const char* name) {
  std::printf("%s: %zu checks passed\n", name, made.load());
  return 0;
}

}  // namespace check
