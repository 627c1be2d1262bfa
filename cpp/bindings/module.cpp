#include <pybind11/pybind11.h>

#include "bindings/bindings.hpp"

PYBIND11_MODULE(_core, module, pybind11::mod_gil_not_used()) {
  module.doc() = "The C++ core of nestling. Private: use the classes of the package.";
  module.attr("__version__") = NESTLING_VERSION;
  nestling::bindings::bind_document_ids(module);
  nestling::bindings::bind_embedding(module);
  nestling::bindings::bind_errors(module);
  nestling::bindings::bind_fusion(module);
  nestling::bindings::bind_simd(module);
  nestling::bindings::bind_index(module);
  nestling::bindings::bind_lease(module);
  nestling::bindings::bind_lexical(module);
}
