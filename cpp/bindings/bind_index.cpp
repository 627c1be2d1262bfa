#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/numpy.hpp"
#include "index.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

using StageTuple = std::tuple<std::size_t, int, std::size_t, float>;  // dims, bits, keep, margin
using CellTuple = std::tuple<std::size_t, std::size_t, bool>;         // count, dims, spill
using SavedTuple = std::tuple<std::size_t, std::size_t, CellTuple>;   // rows, cell rows, cells
using StatsTuple = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>;

std::vector<Stage> to_stages(const std::vector<StageTuple>& tuples) {
  std::vector<Stage> stages;
  for (const auto& [dims, bits, keep, margin] : tuples)
    stages.push_back({dims, bits, keep, margin});
  return stages;
}

Metric to_metric(bool cosine) {
  return cosine ? Metric::cosine : Metric::inner_product;
}

CellOptions to_cells(const CellTuple& tuple) {
  const auto& [count, dims, spill] = tuple;
  return {count, dims, spill};
}

CellTuple from_cells(const CellOptions& cells) {
  return {cells.count, cells.dims, cells.spill};
}

std::vector<float> to_vector(const Array<float>& array) {
  const auto values = view(array);
  return {values.begin(), values.end()};
}

Array<std::int64_t> add(Index& index, const Array<float>& vectors, const Array<std::int64_t>& ids,
                        bool replace, std::size_t threads) {
  const auto rows = view(vectors);
  const auto given = view(ids);
  std::vector<std::int64_t> added;
  {
    const py::gil_scoped_release release;
    added = index.add(rows, given, replace, threads);
  }
  return to_array(std::move(added));
}

std::tuple<Array<std::int64_t>, Array<float>, std::vector<StatsTuple>> search(
    const Index& index, const Array<float>& queries, std::size_t k,
    const std::vector<StageTuple>& funnel, std::size_t threads, std::size_t probes, bool adaptive,
    const std::optional<Array<std::uint8_t>>& mask,
    const std::optional<Array<std::int64_t>>& only) {
  const std::vector<PlannedStage> stages = plan(index.layout(), to_stages(funnel), k);
  const auto values = view(queries);
  const py::ssize_t count = queries.shape(0);
  Array<std::int64_t> ids({count, static_cast<py::ssize_t>(k)});
  Array<float> scores({count, static_cast<py::ssize_t>(k)});
  const auto out_ids = mutable_view(ids);
  const auto out_scores = mutable_view(scores);
  std::vector<StatsTuple> stats;
  Filter filter;
  if (mask) filter = {Filter::Kind::mask, view(*mask), {}};
  if (only) filter = {Filter::Kind::ids, {}, view(*only)};
  const SearchOptions options{k, threads, nullptr, {probes, adaptive}};
  {
    const py::gil_scoped_release release;
    for (const StageStats& stage :
         index.search(stages, values, options, filter, out_ids, out_scores))
      stats.emplace_back(stage.rows_seen, stage.rows_kept, stage.bytes_read, stage.nanoseconds);
  }
  return {std::move(ids), std::move(scores), std::move(stats)};
}

Array<float> reconstruct(const Index& index, const Array<std::int64_t>& ids) {
  const auto wanted = view(ids);
  Array<float> out({ids.size(), static_cast<py::ssize_t>(index.layout().dim)});
  const auto values = mutable_view(out);
  const py::gil_scoped_release release;
  index.reconstruct(wanted, values);
  return out;
}

void remove(Index& index, const Array<std::int64_t>& ids) {
  const auto given = view(ids);
  const py::gil_scoped_release release;
  index.remove(given);
}

std::unique_ptr<Index> rebuilt(const Index& index, const std::vector<StageTuple>& stages,
                               const Array<float>& rotation, const Array<float>& centre,
                               const CellTuple& cells, std::size_t threads) {
  const Layout& old = index.layout();
  Layout layout(old.dim, old.metric, to_stages(stages), {to_vector(rotation), to_vector(centre)});
  const py::gil_scoped_release release;
  return index.rebuilt(std::move(layout), to_cells(cells), threads);
}

std::unique_ptr<Index> merged(const std::vector<const Index*>& indexes,
                              const std::vector<std::int64_t>& shifts, std::size_t threads) {
  if (indexes.empty() || indexes.size() != shifts.size())
    throw py::value_error("merged takes one shift an index, and at least one index");
  const py::gil_scoped_release release;
  return Index::merged(indexes, shifts, threads);
}

// `metadata(rows, cell_rows, cells)` is called with the GIL; everything else runs without it.
using Metadata = py::typing::Callable<py::str(std::size_t, std::size_t, CellTuple)>;

void save(const Index& index, const py::bytes& path, const Metadata& metadata) {
  const std::string name = path;
  const py::gil_scoped_release release;
  index.save(name, [&](const Saved& saved) {
    const py::gil_scoped_acquire acquire;
    return metadata(saved.rows, saved.cell_rows, from_cells(saved.cells)).cast<std::string>();
  });
}

// Paths are bytes, as os.fsencode makes them: a name need not be UTF-8.
std::unique_ptr<File> open(const py::bytes& path, bool verify) {
  const std::string name = path;
  const py::gil_scoped_release release;
  return std::make_unique<File>(name, verify);
}

}  // namespace

void bind_index(py::module_& module) {
  py::class_<File>(module, "File")
      .def(py::init(&open), py::arg("path"), py::kw_only(), py::arg("verify"))
      .def_property_readonly("metadata",
                             [](const File& file) { return py::bytes(file.metadata()); });

  py::class_<Index>(module, "Index")
      .def(py::init([](std::size_t dim, bool cosine, const std::vector<StageTuple>& stages) {
             return std::make_unique<Index>(Layout(dim, to_metric(cosine), to_stages(stages)));
           }),
           py::arg("dim"), py::arg("cosine"), py::arg("stages"))
      .def(py::init([](std::size_t dim, bool cosine, const std::vector<StageTuple>& stages,
                       const File& file, const SavedTuple& saved) {
             const auto& [rows, cell_rows, cells] = saved;
             return std::make_unique<Index>(dim, to_metric(cosine), to_stages(stages), file,
                                            Saved{rows, cell_rows, to_cells(cells)});
           }),
           py::arg("dim"), py::arg("cosine"), py::arg("stages"), py::arg("file"), py::arg("saved"))
      .def("__len__", &Index::size)
      .def("memory", &Index::memory)
      .def_property_readonly("cells", [](const Index& index) { return from_cells(index.cells()); })
      .def_property_readonly(
          "rotated", [](const Index& index) { return !index.layout().transform.rotation.empty(); })
      .def_property_readonly(
          "centred", [](const Index& index) { return !index.layout().transform.centre.empty(); })
      .def("ids", [](const Index& index) { return to_array(index.ids()); })
      .def("add", &add, py::arg("vectors").noconvert(), py::arg("ids").noconvert(),
           py::arg("replace"), py::arg("threads"))
      .def("remove", &remove, py::arg("ids").noconvert())
      .def("compact", &Index::compact, py::arg("threads"), py::call_guard<py::gil_scoped_release>())
      .def("rebuilt", &rebuilt, py::arg("stages"), py::arg("rotation").noconvert(),
           py::arg("centre").noconvert(), py::arg("cells"), py::arg("threads"))
      .def("copy", &Index::copy, py::call_guard<py::gil_scoped_release>())
      .def("empty", &Index::empty)
      .def_static("merged", &merged, py::arg("indexes"), py::arg("shifts"), py::arg("threads"))
      .def("search", &search, py::arg("queries").noconvert(), py::arg("k"), py::arg("funnel"),
           py::arg("threads"), py::arg("probes"), py::arg("adaptive"), py::arg("mask").noconvert(),
           py::arg("only").noconvert())
      .def("reconstruct", &reconstruct, py::arg("ids").noconvert())
      .def("save", &save, py::arg("path"), py::arg("metadata"));
}

}  // namespace nestling::bindings
