#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/numpy.hpp"
#include "index.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

using StageTuple = std::tuple<std::size_t, int, std::size_t>;
using StatsTuple = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>;

std::vector<Stage> to_stages(const std::vector<StageTuple>& tuples) {
  std::vector<Stage> stages;
  for (const auto& [dims, bits, keep] : tuples) stages.push_back({dims, bits, keep});
  return stages;
}

Layout to_layout(std::size_t dim, bool cosine, const std::vector<StageTuple>& stages) {
  return {dim, cosine ? Metric::cosine : Metric::inner_product, to_stages(stages)};
}

Array<std::int64_t> add(Index& index, const Array<float>& vectors, const Array<std::int64_t>& ids,
                        std::size_t threads) {
  const auto rows = view(vectors);
  const auto given = view(ids);
  std::vector<std::int64_t> added;
  {
    const py::gil_scoped_release release;
    added = index.add(rows, given, threads);
  }
  return to_array(std::move(added));
}

std::tuple<Array<std::int64_t>, Array<float>, std::vector<StatsTuple>> search(
    const Index& index, const Array<float>& queries, std::size_t k,
    const std::vector<StageTuple>& funnel, std::size_t threads) {
  const std::vector<PlannedStage> stages = plan(index.layout(), to_stages(funnel), k);
  const auto values = view(queries);
  const py::ssize_t count = queries.shape(0);
  Array<std::int64_t> ids({count, static_cast<py::ssize_t>(k)});
  Array<float> scores({count, static_cast<py::ssize_t>(k)});
  std::int64_t* out_ids = ids.mutable_data();
  float* out_scores = scores.mutable_data();
  std::vector<StatsTuple> stats;
  {
    const py::gil_scoped_release release;
    for (const StageStats& stage : index.search(stages, values, k, threads, out_ids, out_scores))
      stats.emplace_back(stage.rows_seen, stage.rows_kept, stage.bytes_read, stage.nanoseconds);
  }
  return {std::move(ids), std::move(scores), std::move(stats)};
}

Array<float> reconstruct(const Index& index, const Array<std::int64_t>& ids) {
  const auto wanted = view(ids);
  Array<float> out({ids.size(), static_cast<py::ssize_t>(index.layout().dim)});
  float* values = out.mutable_data();
  const py::gil_scoped_release release;
  index.reconstruct(wanted, values);
  return out;
}

// `metadata(rows)` is called with the GIL; everything else runs without it.
using Metadata = py::typing::Callable<py::str(std::size_t)>;

void save(const Index& index, const py::bytes& path, const Metadata& metadata) {
  const std::string name = path;
  const py::gil_scoped_release release;
  index.save(name, [&](std::size_t rows) {
    const py::gil_scoped_acquire acquire;
    return metadata(rows).cast<std::string>();
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
             return std::make_unique<Index>(to_layout(dim, cosine, stages));
           }),
           py::arg("dim"), py::arg("cosine"), py::arg("stages"))
      .def(py::init([](std::size_t dim, bool cosine, const std::vector<StageTuple>& stages,
                       const File& file, std::size_t rows) {
             return std::make_unique<Index>(to_layout(dim, cosine, stages), file, rows);
           }),
           py::arg("dim"), py::arg("cosine"), py::arg("stages"), py::arg("file"), py::arg("rows"))
      .def("__len__", &Index::size)
      .def("memory", &Index::memory)
      .def("add", &add, py::arg("vectors").noconvert(), py::arg("ids").noconvert(),
           py::arg("threads"))
      .def("search", &search, py::arg("queries").noconvert(), py::arg("k"), py::arg("funnel"),
           py::arg("threads"))
      .def("reconstruct", &reconstruct, py::arg("ids").noconvert())
      .def("save", &save, py::arg("path"), py::arg("metadata"));
}

}  // namespace nestling::bindings
