// The parts of the extension module, in the order that module.cpp lists them.
#pragma once

#include <pybind11/pybind11.h>

namespace nestling::bindings {

void bind_document_ids(pybind11::module_& module);
void bind_embedding(pybind11::module_& module);
void bind_errors(pybind11::module_& module);
void bind_fusion(pybind11::module_& module);
void bind_simd(pybind11::module_& module);
void bind_index(pybind11::module_& module);
void bind_lease(pybind11::module_& module);
void bind_lexical(pybind11::module_& module);

}  // namespace nestling::bindings
