#include <pybind11/stl.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "bindings/bindings.hpp"
#include "bindings/numpy.hpp"
#include "bindings/without_gil.hpp"
#include "embedding/token_table.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

using embedding::TokenArrays;
using embedding::TokenTable;

// A table, and the arrays that it reads.
class HeldTable {
 public:
  HeldTable(const Array<std::int8_t>& codes, const Array<float>& scales,
            const Array<std::int32_t>& index, const Array<std::int32_t>& pairs,
            const Array<float>& offset)
      : codes_(codes),
        scales_(scales),
        index_(index),
        pairs_(pairs),
        offset_(offset),
        table_(
            TokenArrays{view(codes_), view(scales_), view(index_), view(pairs_), view(offset_)}) {}

  Array<float> sums(const Array<std::int64_t>& ids, const std::vector<std::size_t>& lengths) const;

 private:
  Array<std::int8_t> codes_;
  Array<float> scales_;
  Array<std::int32_t> index_, pairs_;
  Array<float> offset_;
  TokenTable table_;
};

void add_up(const TokenTable& table, std::span<const std::int64_t> ids,
            std::span<const std::size_t> lengths, std::span<float> out) {
  for (const std::size_t length : lengths) {
    table.sum(ids.first(length), out.first(table.dim()));
    ids = ids.subspan(length);
    out = out.subspan(table.dim());
  }
}

Array<float> HeldTable::sums(const Array<std::int64_t>& ids,
                             const std::vector<std::size_t>& lengths) const {
  const auto all = view(ids);
  std::size_t left = all.size();
  for (const std::size_t length : lengths) {
    if (length > left) throw IdError("texts have more ids than were given");
    left -= length;
  }
  if (left != 0) throw IdError(std::to_string(left) + " ids belong to no text");
  Array<float> out(
      {static_cast<py::ssize_t>(lengths.size()), static_cast<py::ssize_t>(table_.dim())});
  const auto values = mutable_view(out);
  if (lengths.size() == 1) {  // a few microseconds, which another thread may as well wait for
    add_up(table_, all, lengths, values);
    return out;
  }
  const WithoutGil without_gil;
  add_up(table_, all, lengths, values);
  return out;
}

}  // namespace

void bind_embedding(py::module_& module) {
  py::class_<HeldTable>(module, "TokenTable")
      .def(py::init<const Array<std::int8_t>&, const Array<float>&, const Array<std::int32_t>&,
                    const Array<std::int32_t>&, const Array<float>&>(),
           py::arg("codes").noconvert(), py::arg("scales").noconvert(),
           py::arg("index").noconvert(), py::arg("pairs").noconvert(),
           py::arg("offset").noconvert())
      .def("sums", &HeldTable::sums, py::arg("ids").noconvert(), py::arg("lengths"));
}

}  // namespace nestling::bindings
