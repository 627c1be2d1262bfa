// Releases the GIL for a call of the core, which signals still end.
#pragma once

#include <pybind11/pybind11.h>

#include "base/interrupt.hpp"

namespace nestling::bindings {

// A signal's handler runs in the main thread, between two steps of the interpreter, so a call that
// takes seconds must look for signals itself. What a handler raises ends the call, and the core
// leaves everything as it was. A handler may run while the core holds the lock of an index's
// writers.
class WithoutGil {
 public:
  WithoutGil();
  ~WithoutGil() noexcept(false);
  WithoutGil(const WithoutGil&) = delete;
  WithoutGil& operator=(const WithoutGil&) = delete;

 private:
  PyThreadState* state_;
  Interruptible interruptible_;
};

}  // namespace nestling::bindings
