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
  Array<float> units(const Array<std::int64_t>& ids, const std::vector<std::size_t>& lengths,
                     std::size_t prefix) const;

 private:
  Array<std::int8_t> codes_;
  Array<float> scales_;
  Array<std::int32_t> index_, pairs_;
  Array<float> offset_;
  TokenTable table_;
};

Array<float> new_rows(std::size_t count, std::size_t dim) {
  return Array<float>({static_cast<py::ssize_t>(count), static_cast<py::ssize_t>(dim)});
}

void check(std::span<const std::int64_t> ids, const std::vector<std::size_t>& lengths) {
  std::size_t left = ids.size();
  for (const std::size_t length : lengths) {
    if (length > left) throw IdError("texts have more ids than were given");
    left -= length;
  }
  if (left != 0) throw IdError(std::to_string(left) + " ids belong to no text");
}

// Without the GIL, unless a single text takes only microseconds: to get the GIL back may take long.
template <class Call>
void run(std::size_t texts, const Call& call) {
  if (texts == 1) return call();
  const WithoutGil without_gil;
  call();
}

Array<float> HeldTable::sums(const Array<std::int64_t>& ids,
                             const std::vector<std::size_t>& lengths) const {
  const auto all = view(ids);
  check(all, lengths);
  auto out = new_rows(lengths.size(), table_.dim());
  const auto values = mutable_view(out);
  run(lengths.size(), [&] { table_.sums(all, lengths, values); });
  return out;
}

Array<float> HeldTable::units(const Array<std::int64_t>& ids,
                              const std::vector<std::size_t>& lengths, std::size_t prefix) const {
  const auto all = view(ids);
  check(all, lengths);
  if (prefix == 0 || prefix > table_.dim())
    throw VectorError("a prefix must have 1 to " + std::to_string(table_.dim()) +
                      " dimensions, not " + std::to_string(prefix));
  auto out = new_rows(lengths.size(), prefix);
  const auto values = mutable_view(out);
  run(lengths.size(), [&] {
    std::vector<float> sums(lengths.size() * table_.dim());
    table_.sums(all, lengths, sums);
    embedding::unit_prefixes(sums, table_.dim(), prefix, values);
  });
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
      .def("sums", &HeldTable::sums, py::arg("ids").noconvert(), py::arg("lengths"))
      .def("units", &HeldTable::units, py::arg("ids").noconvert(), py::arg("lengths"),
           py::arg("prefix"));
}

}  // namespace nestling::bindings
