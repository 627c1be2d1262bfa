// Releases the GIL for a call of the core, which signals still end.
#pragma once

#include <cxxabi.h>
#include <pybind11/pybind11.h>
#include <unistd.h>

#include "base/interrupt.hpp"

namespace nestling::bindings {

// Calls something that asks for the GIL. An interpreter that exits ends every other thread that
// does, and up to Python 3.13 it unwinds the thread's stack, which must not happen to frames that
// own Python objects. Such a thread sleeps instead until the process has ended, as from Python 3.14
// on.
template <typename Call>
auto outliving_exit(const Call& call) {
#ifdef __GLIBC__
  try {
    return call();
  } catch (abi::__forced_unwind&) {
    while (true) ::pause();
  }
#else
  return call();
#endif
}

// A signal's handler runs in the main thread, between two steps of the interpreter, so a call that
// takes seconds must look for signals itself. What a handler raises ends the call, and the core
// leaves everything as it was. A handler may run while the core holds the lock of an index's
// writers.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil();
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
  Interruptible interruptible_;
};

}  // namespace nestling::bindings
