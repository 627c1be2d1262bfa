// Leases: what a block of Python holds, released whatever interrupts the block.
#include <optional>
#include <utility>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/without_gil.hpp"
#include "io/file_lock.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

py::object called(const py::object& function, const py::tuple& arguments) {
  PyObject* result =
      outliving_exit([&] { return PyObject_Call(function.ptr(), arguments.ptr(), nullptr); });
  if (result == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(result);
}

// A context manager whose entry and exit no interrupt can tear apart. A signal handler or an
// exception of another thread runs between two instructions of Python's evaluation loop, never in
// here. So there is no moment at which a thing is acquired, but not yet registered; none between
// the return of `__enter__` and the block; none in the middle of a release. Conditions: what is
// registered is acquired and released by functions written in C, and the lease itself is held by
// nothing but the `with` statement: then the death of the frame's stack ends it even where the
// statement is left without `__exit__`, and a traceback that keeps the frame does not keep it.
class Lease {
 public:
  Lease(py::object acquire, py::object translate)
      : acquire_(std::move(acquire)), translate_(std::move(translate)) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;

  // Dies without exit only where the block was left in a way that is not Python's own.
  ~Lease() {
    try {
      release(py::reinterpret_borrow<py::object>(PyExc_GeneratorExit)());
    } catch (py::error_already_set& error) {
      error.discard_as_unraisable("a lease");
    }
  }

  static py::object enter(const py::object& self) {
    auto& lease = self.cast<Lease&>();
    const py::object acquire = std::exchange(lease.acquire_, py::none());
    try {
      return called(acquire, py::make_tuple(self));
    } catch (py::error_already_set& error) {
      lease.release(error.value());
      lease.raise_translated(error.value());
      throw;
    }
  }

  void exit(const py::object&, const py::object& error, const py::object&) {
    release(error);
    if (!error.is_none()) raise_translated(error);
  }

  py::object push(const py::object& manager) {
    py::object exit = manager.attr("__exit__");
    steps_.reserve(steps_.size() + 1);
    py::object value = called(manager.attr("__enter__"), py::tuple());
    steps_.emplace_back(Kind::kExit, std::move(exit), py::tuple());
    return value;
  }

  bool acquire(const py::object& lock, const py::object& arguments) {
    py::object release = lock.attr("release");
    steps_.reserve(steps_.size() + 1);
    if (!called(lock.attr("acquire"), arguments).cast<bool>()) return false;
    steps_.emplace_back(Kind::kCall, std::move(release), py::tuple());
    return true;
  }

  void defer(py::object call, const py::object& arguments) {
    steps_.emplace_back(Kind::kCall, std::move(call), py::tuple(arguments));
  }

  void lend(const py::object& thing, const py::object& pool) {
    steps_.emplace_back(Kind::kLend, pool.attr("append"), py::make_tuple(thing),
                        thing.attr("close"));
  }

  void release_all() { release(py::none()); }

 private:
  enum class Kind { kCall, kExit, kLend };

  struct Step {
    Kind kind;
    py::object call;
    py::tuple arguments;
    py::object on_error;

    Step(Kind k, py::object c, py::tuple a, py::object e = {})
        : kind(k), call(std::move(c)), arguments(std::move(a)), on_error(std::move(e)) {}

    void run(const py::object& error) const {
      if (kind == Kind::kExit) {
        if (error.is_none()) {
          called(call, py::make_tuple(py::none(), py::none(), py::none()));
        } else {
          called(call, py::make_tuple(py::type::of(error), error, error.attr("__traceback__")));
        }
      } else if (kind == Kind::kLend && !error.is_none()) {
        called(on_error, py::tuple());
      } else {
        called(call, arguments);
      }
    }
  };

  // Runs every step, the last one first, whatever the others raise; then raises the last error.
  void release(py::object error) {
    std::optional<py::error_already_set> raised;
    while (!steps_.empty()) {
      const Step step(std::move(steps_.back()));
      steps_.pop_back();
      try {
        step.run(error);
      } catch (py::error_already_set& failed) {
        error = failed.value();
        raised.emplace(failed);
      }
    }
    if (raised) {
      raise_translated(error);
      throw *raised;
    }
  }

  void raise_translated(const py::object& error) const {
    if (translate_.is_none()) return;
    const py::object other = called(translate_, py::make_tuple(error));
    if (other.is_none()) return;
    PyException_SetCause(other.ptr(), error.inc_ref().ptr());  // takes the reference
    PyErr_SetObject(py::type::of(other).ptr(), other.ptr());
    throw py::error_already_set();
  }

  py::object acquire_, translate_;
  std::vector<Step> steps_;
};

}  // namespace

void bind_lease(py::module_& module) {
  py::class_<FileLock>(module, "FileLock")
      .def(py::init([](const py::bytes& path) { return std::make_unique<FileLock>(path); }),
           py::arg("path"))
      .def("acquire", &FileLock::acquire)
      .def("release", &FileLock::release)
      .def("abandon", &FileLock::abandon)
      .def_property_readonly("holders", &FileLock::holders);

  py::class_<Lease>(module, "Lease")
      .def(py::init<py::object, py::object>(), py::arg("acquire"),
           py::arg("translate") = py::none())
      .def("__enter__", [](const py::object& self) { return Lease::enter(self); })
      .def("__exit__", &Lease::exit)
      .def("enter", &Lease::push, py::arg("manager"))
      .def("acquire", &Lease::acquire, py::arg("lock"), py::arg("arguments") = py::tuple())
      .def("defer", &Lease::defer, py::arg("call"), py::arg("arguments") = py::tuple())
      .def("lend", &Lease::lend, py::arg("thing"), py::arg("pool"))
      .def("release", &Lease::release_all);
}

}  // namespace nestling::bindings
