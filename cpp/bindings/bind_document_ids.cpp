#include <pybind11/typing.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "bindings/bindings.hpp"
#include "bindings/buffer.hpp"
#include "bindings/numpy.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

constexpr std::size_t kAhead = 16;  // rows whose document is fetched from memory before it is read

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

// Fetches what is read for `row` if no document before it has several passages.
void prefetch(std::span<const std::int64_t> firsts, std::span<const std::int64_t> ends,
              std::span<const std::int64_t> starts, std::int64_t row) {
  const auto guess = static_cast<std::size_t>(row);
  if (row < 0 || guess >= firsts.size()) return;
  __builtin_prefetch(&firsts[guess]);
  __builtin_prefetch(&ends[guess + 1]);
  __builtin_prefetch(&starts[guess + 1]);
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
  const auto numbers = view(rows);
  // Of a large collection, each array and each id is in another place of memory: what is read for
  // one row is fetched while others are looked up.
  std::vector<std::span<const std::byte>> found;
  found.reserve(numbers.size());
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i + kAhead < numbers.size()) prefetch(firsts, ends, starts, numbers[i + kAhead] - first);
    const std::int64_t row = numbers[i] - first;
    const std::size_t after = document_after(firsts, row);
    if (after == 0 || row >= ends[after]) {
      throw FormatError("row " + std::to_string(numbers[i]) +
                        " has no document: its ids, or the database, are corrupted");
    }
    const auto start = static_cast<std::size_t>(starts[after - 1]);
    const auto end = static_cast<std::size_t>(starts[after]);
    if (start > end || end > bytes.size()) {
      throw FormatError("the ids of a segment are corrupted: one ends before it begins");
    }
    found.push_back(bytes.subspan(start, end - start));
    __builtin_prefetch(found.back().data());
  }
  py::typing::List<py::str> ids(found.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    PyList_SET_ITEM(ids.ptr(), static_cast<py::ssize_t>(i), decoded(found[i]).release().ptr());
  return ids;
}

}  // namespace

void bind_document_ids(py::module_& module) {
  module.def("ids_of_rows", &ids_of_rows, py::arg("rows").noconvert(), py::arg("first"),
             py::arg("first_rows").noconvert(), py::arg("end_rows").noconvert(),
             py::arg("bounds").noconvert(), py::arg("text"));
}

}  // namespace nestling::bindings
