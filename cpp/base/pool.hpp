// One pool of threads per process, shared by all indexes.
#pragma once

#include <cstddef>
#include <functional>

namespace nestling {

// Threads that the process may use: the cores that the scheduler grants it.
std::size_t default_threads();

// Calls task(0) … task(count - 1) once each, on at most `threads` threads including the caller's,
// and returns when all are done. May be called from many threads at once and after a fork. Rethrows
// the first exception of a task. A caller that is interruptible (base/interrupt.hpp) can end it
// between tasks. With one thread or one task everything runs on the thread of the caller.
void parallel_for(std::size_t count, std::size_t threads,
                  const std::function<void(std::size_t)>& task);

}  // namespace nestling
