#include <pybind11/typing.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>

#include "base/error.hpp"
#include "bindings/bindings.hpp"
#include "bindings/buffer.hpp"
#include "bindings/numpy.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

py::str decoded(std::span<const std::byte> bytes) {
  PyObject* text = PyUnicode_DecodeUTF8(reinterpret_cast<const char*>(bytes.data()),
                                        static_cast<Py_ssize_t>(bytes.size()), nullptr);
  if (text == nullptr) {
    PyErr_Clear();
    throw FormatError("the ids of a segment are corrupted: one is not UTF-8");
  }
  return py::reinterpret_steal<py::str>(text);
}

// The number of documents whose first row is `row` or one before it.
std::size_t document_after(std::span<const std::int64_t> firsts, std::int64_t row) {
  if (row < 0) return 0;
  // First rows rise. Where no document before `row` has several passages, it is its own number.
  const auto guess = static_cast<std::size_t>(row);
  if (guess < firsts.size() && firsts[guess] == row) return guess + 1;
  return static_cast<std::size_t>(std::ranges::upper_bound(firsts, row) - firsts.begin());
}

// The ids of the documents that rows belong to, from the arrays of
// collection/storage/document_ids.py, which count rows from `first`. The arrays may be those of a
// file that was not verified.
py::typing::List<py::str> ids_of_rows(const Array<std::int64_t>& rows, std::int64_t first,
                                      const Array<std::int64_t>& first_rows,
                                      const Array<std::int64_t>& end_rows,
                                      const Array<std::int64_t>& bounds, const py::buffer& text) {
  const auto firsts = view(first_rows);
  const auto ends = view(end_rows);
  const auto starts = view(bounds);
  if (ends.size() != firsts.size() + 1 || starts.size() != ends.size()) {
    throw FormatError("the ids of a segment are corrupted: their arrays differ in length");
  }
  const BufferView buffer(text);
  const auto bytes = buffer.bytes();
  py::typing::List<py::str> ids(view(rows).size());
  py::ssize_t position = 0;
  for (const std::int64_t number : view(rows)) {
    const std::int64_t row = number - first;
    const std::size_t after = document_after(firsts, row);
    if (after == 0 || row >= ends[after]) {
      throw FormatError("row " + std::to_string(number) +
                        " has no document: its ids, or the database, are corrupted");
    }
    const auto start = static_cast<std::size_t>(starts[after - 1]);
    const auto end = static_cast<std::size_t>(starts[after]);
    if (start > end || end > bytes.size()) {
      throw FormatError("the ids of a segment are corrupted: one ends before it begins");
    }
    PyList_SET_ITEM(ids.ptr(), position++,
                    decoded(bytes.subspan(start, end - start)).release().ptr());
  }
  return ids;
}

}  // namespace

void bind_document_ids(py::module_& module) {
  module.def("ids_of_rows", &ids_of_rows, py::arg("rows").noconvert(), py::arg("first"),
             py::arg("first_rows").noconvert(), py::arg("end_rows").noconvert(),
             py::arg("bounds").noconvert(), py::arg("text"));
}

}  // namespace nestling::bindings
