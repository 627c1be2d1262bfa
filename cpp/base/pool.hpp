// One pool of threads a process, shared by every index.
#pragma once

#include <cstddef>
#include <functional>

namespace nestling {

// Threads the process may use: the cores that the scheduler grants it.
std::size_t default_threads();

// Calls task(0) … task(count - 1), each once, on at most `threads` threads, the caller's among
// them, and returns when all are done. Safe from many threads at once and after a fork; rethrows
// the first exception of a task. With one thread, or one task, no other thread is touched.
void parallel_for(std::size_t count, std::size_t threads,
                  const std::function<void(std::size_t)>& task);

}  // namespace nestling
