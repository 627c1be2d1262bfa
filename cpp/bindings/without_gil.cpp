#include "bindings/without_gil.hpp"

#include <unistd.h>

#if defined(__APPLE__)
#include <pthread.h>
#else
#include <sys/syscall.h>
#endif

namespace nestling::bindings {
namespace {

bool is_main_thread() {
#if defined(__APPLE__)
  return pthread_main_np() != 0;
#else
  return ::syscall(SYS_gettid) == ::getpid();
#endif
}

bool interpreter_exits() {
#if PY_VERSION_HEX >= 0x030d0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

void run_signal_handlers() {
  if (!is_main_thread()) return;  // others never run handlers
  const pybind11::gil_scoped_acquire acquire;
  if (PyErr_CheckSignals() != 0) throw pybind11::error_already_set();
}

}  // namespace

WithoutGil::WithoutGil() : state_(PyEval_SaveThread()), interruptible_(run_signal_handlers) {}

WithoutGil::~WithoutGil() {
  while (interpreter_exits()) ::pause();
  outliving_exit([this] { PyEval_RestoreThread(state_); });
}

}  // namespace nestling::bindings
