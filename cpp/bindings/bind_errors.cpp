// Each exception of the core becomes the class of the same name in nestling.errors.
#include <cstring>

#include "base/error.hpp"
#include "bindings/bindings.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

py::object error_class(const char* name) {
  return py::module_::import("nestling.errors").attr(name);
}

void raise(const char* name, const std::exception& error) {
  py::set_error(error_class(name), error.what());
}

// With errno, its meaning and the file, as the interpreter raises an OSError.
void raise(const StorageError& error) {
  const std::string reason = std::string(error.what()) + ": " + std::strerror(error.code);
  const py::object type = error_class("StorageError");
  const auto path =
      py::reinterpret_steal<py::object>(PyUnicode_DecodeFSDefault(error.path.c_str()));
  py::set_error(type, type(error.code, reason, path));
}

}  // namespace

void bind_errors(py::module_&) {
  py::register_exception_translator([](std::exception_ptr thrown) {
    try {
      std::rethrow_exception(thrown);
    } catch (const VectorError& error) {
      raise("VectorError", error);
    } catch (const IdError& error) {
      raise("IdError", error);
    } catch (const FunnelError& error) {
      raise("FunnelError", error);
    } catch (const SettingError& error) {
      raise("SettingError", error);
    } catch (const FormatError& error) {
      raise("FormatError", error);
    } catch (const StorageError& error) {
      raise(error);
    }
  });
}

}  // namespace nestling::bindings
