#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "bindings/bindings.hpp"
#include "bindings/numpy.hpp"
#include "bindings/without_gil.hpp"
#include "index.hpp"
#include "index_parts.hpp"
#include "io/format.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

using Stages = std::vector<Stage>;

Metric to_metric(bool cosine) {
  return cosine ? Metric::cosine : Metric::inner_product;
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
    const WithoutGil without_gil;
    added = index.add(rows, given, replace, threads);
  }
  return to_array(std::move(added));
}

// What a stage did: rows seen, rows kept, bytes read, nanoseconds. Plain numbers, since making
// objects of our own takes longer than counting did.
using StageCounts = std::tuple<std::uint64_t, std::uint64_t, std::uint64_t, std::uint64_t>;

std::vector<StageCounts> counts_of(const std::vector<StageStats>& stages) {
  std::vector<StageCounts> counts;
  counts.reserve(stages.size());
  for (const StageStats& stage : stages)
    counts.emplace_back(stage.rows_seen, stage.rows_kept, stage.bytes_read, stage.nanoseconds);
  return counts;
}

Filter to_filter(const std::optional<Array<std::uint8_t>>& mask,
                 const std::optional<Array<std::int64_t>>& only) {
  if (mask) return {.kind = Filter::Kind::mask, .mask = view(*mask), .ids = {}};
  if (only) return {.kind = Filter::Kind::ids, .mask = {}, .ids = view(*only)};
  return {};
}

// The fields of Probes, in their order.
using Probing = std::tuple<std::size_t, bool, float, float>;

Probes to_probes(const Probing& probing) {
  const auto [count, adaptive, typical, halving] = probing;
  return {.count = count, .adaptive = adaptive, .typical = typical, .halving = halving};
}

// Ids and scores have the shape of the queries, with k in place of the dimensions.
std::tuple<Array<std::int64_t>, Array<float>, std::vector<StageCounts>> search(
    const Index& index, const Array<float>& queries, std::size_t k, const Stages& stages,
    std::size_t threads, const Probing& probing, bool clip,
    const std::optional<Array<std::uint8_t>>& mask,
    const std::optional<Array<std::int64_t>>& only) {
  const std::vector<PlannedStage> planned = plan(index.layout(), stages, k);
  const auto values = view(queries);
  std::vector<py::ssize_t> shape(queries.shape(), queries.shape() + queries.ndim());
  shape.back() = static_cast<py::ssize_t>(k);
  Array<std::int64_t> ids(shape);
  Array<float> scores(std::move(shape));
  const auto out_ids = mutable_view(ids);
  const auto out_scores = mutable_view(scores);
  const Filter filter = to_filter(mask, only);
  const SearchOptions options{
      .k = k, .threads = threads, .probes = to_probes(probing), .clip = clip};
  std::vector<StageStats> stats;
  {
    const WithoutGil without_gil;
    stats = index.search(planned, values, options, filter, out_ids, out_scores);
  }
  return {std::move(ids), std::move(scores), counts_of(stats)};
}

// An index, what is added to its ids, its probes, a mask, ids.
using Part = std::tuple<const Index*, std::int64_t, Probing, std::optional<Array<std::uint8_t>>,
                        std::optional<Array<std::int64_t>>>;

std::tuple<Array<std::int64_t>, Array<float>, std::vector<StageCounts>> search_parts(
    const std::vector<Part>& parts, const Array<float>& queries, std::size_t k,
    const Stages& stages, std::size_t threads, bool clip) {
  std::vector<SearchedPart> searched;
  searched.reserve(parts.size());
  for (const auto& [index, shift, probing, mask, only] : parts)
    searched.push_back({.index = index,
                        .stages = plan(index->layout(), stages, k),
                        .probes = to_probes(probing),
                        .filter = to_filter(mask, only),
                        .shift = shift});
  const auto values = view(queries);
  const py::ssize_t count = queries.shape(0);
  Array<std::int64_t> ids({count, static_cast<py::ssize_t>(k)});
  Array<float> scores({count, static_cast<py::ssize_t>(k)});
  const auto out_ids = mutable_view(ids);
  const auto out_scores = mutable_view(scores);
  const SearchOptions options{.k = k, .threads = threads, .clip = clip};
  std::vector<StageStats> stats;
  {
    const WithoutGil without_gil;
    stats = nestling::search(searched, values, options, out_ids, out_scores);
  }
  return {std::move(ids), std::move(scores), counts_of(stats)};
}

Array<float> reconstruct(const Index& index, const Array<std::int64_t>& ids) {
  const auto given = view(ids);
  Array<float> out({ids.size(), static_cast<py::ssize_t>(index.layout().dim)});
  const auto values = mutable_view(out);
  const WithoutGil without_gil;
  index.reconstruct(given, values);
  return out;
}

void remove(Index& index, const Array<std::int64_t>& ids) {
  const auto given = view(ids);
  const WithoutGil without_gil;
  index.remove(given);
}

std::unique_ptr<Index> make(std::size_t dim, bool cosine, Stages stages) {
  return std::make_unique<Index>(Layout(dim, to_metric(cosine), std::move(stages)));
}

std::unique_ptr<Index> open_index(const File& file, std::size_t dim, bool cosine, Stages stages,
                                  const FileMetadata& metadata) {
  return std::make_unique<Index>(dim, to_metric(cosine), std::move(stages), file, metadata);
}

std::unique_ptr<Index> rebuilt(const Index& index, Stages stages, const Array<float>& rotation,
                               const Array<float>& centre, const CellOptions& cells,
                               std::size_t threads) {
  const Layout& old = index.layout();
  Layout layout(old.dim, old.metric, std::move(stages), {to_vector(rotation), to_vector(centre)});
  const WithoutGil without_gil;
  return index.rebuilt(std::move(layout), cells, threads);
}

std::unique_ptr<Index> merged(const std::vector<const Index*>& indexes,
                              const std::vector<std::int64_t>& shifts, std::size_t threads) {
  const WithoutGil without_gil;
  return Index::merged(indexes, shifts, threads);
}

// `metadata` is called with the GIL held; everything else runs without it.
using Metadata = py::typing::Callable<py::str(const FileMetadata&)>;

void save(const Index& index, const py::bytes& path, const Metadata& metadata) {
  const std::string name = path;
  const WithoutGil without_gil;
  index.save(name, [&](const FileMetadata& saved) {
    const py::gil_scoped_acquire acquire;
    return metadata(saved).cast<std::string>();
  });
}

// Paths are bytes, as os.fsencode makes them: a name need not be UTF-8.
std::unique_ptr<File> open_file(const py::bytes& path, bool verify, bool resident) {
  const std::string name = path;
  const WithoutGil without_gil;
  return std::make_unique<File>(name, verify, resident);
}

void bind_values(py::module_& module) {
  py::class_<Stage>(module, "StageSpec")
      .def(py::init([](std::size_t dims, int bits, std::size_t keep, float margin) {
             return Stage{.dims = dims, .bits = bits, .keep = keep, .margin = margin};
           }),
           py::kw_only(), py::arg("dims"), py::arg("bits"), py::arg("keep"), py::arg("margin"));

  py::class_<CellOptions>(module, "CellSpec")
      .def(py::init([](std::size_t count, std::size_t dims, bool spill, std::size_t links) {
             return CellOptions{.count = count, .dims = dims, .spill = spill, .links = links};
           }),
           py::kw_only(), py::arg("count"), py::arg("dims"), py::arg("spill"), py::arg("links"))
      .def_readonly("count", &CellOptions::count)
      .def_readonly("dims", &CellOptions::dims)
      .def_readonly("spill", &CellOptions::spill)
      .def_readonly("links", &CellOptions::links);

  py::class_<FileMetadata>(module, "FileMetadata")
      .def(py::init([](std::size_t rows, std::size_t cell_rows, const CellOptions& cells,
                       std::vector<std::size_t> centroid_blocks) {
             return FileMetadata{.rows = rows,
                                 .cell_rows = cell_rows,
                                 .cells = cells,
                                 .centroid_blocks = std::move(centroid_blocks)};
           }),
           py::kw_only(), py::arg("rows"), py::arg("cell_rows"), py::arg("cells"),
           py::arg("centroid_blocks"))
      .def_readonly("centroid_blocks", &FileMetadata::centroid_blocks)
      .def_readonly("rows", &FileMetadata::rows)
      .def_readonly("cell_rows", &FileMetadata::cell_rows)
      .def_readonly("cells", &FileMetadata::cells);
}

}  // namespace

void bind_index(py::module_& module) {
  module.attr("MAX_ROWS") = kMaxRows;
  module.attr("FORMAT_VERSION") = kFormatVersion;
  bind_values(module);

  py::class_<File>(module, "File")
      .def(py::init(&open_file), py::arg("path"), py::kw_only(), py::arg("verify"),
           py::arg("resident") = false)
      .def_property_readonly("metadata",
                             [](const File& file) { return py::bytes(file.metadata()); });

  py::class_<Index>(module, "Index")
      .def(py::init(&make), py::kw_only(), py::arg("dim"), py::arg("cosine"), py::arg("stages"))
      .def_static("open", &open_index, py::arg("file"), py::kw_only(), py::arg("dim"),
                  py::arg("cosine"), py::arg("stages"), py::arg("metadata"))
      .def("__len__", &Index::size)
      .def("memory", &Index::memory)
      .def_property_readonly("cells", &Index::cells)
      .def_property_readonly(
          "rotated", [](const Index& index) { return !index.layout().transform.rotation.empty(); })
      .def_property_readonly(
          "centred", [](const Index& index) { return !index.layout().transform.centre.empty(); })
      .def("ids", [](const Index& index) { return to_array(index.ids()); })
      .def("add", &add, py::arg("vectors").noconvert(), py::arg("ids").noconvert(), py::kw_only(),
           py::arg("replace"), py::arg("threads"))
      .def("remove", &remove, py::arg("ids").noconvert())
      .def("compact", &Index::compact, py::kw_only(), py::arg("threads"),
           py::call_guard<WithoutGil>())
      .def("rebuilt", &rebuilt, py::kw_only(), py::arg("stages"), py::arg("rotation").noconvert(),
           py::arg("centre").noconvert(), py::arg("cells"), py::arg("threads"))
      .def("partitioned", &Index::partitioned, py::kw_only(), py::arg("cells"), py::arg("threads"),
           py::call_guard<WithoutGil>())
      .def("partitioned_like", &Index::partitioned_like, py::arg("other"), py::kw_only(),
           py::arg("threads"), py::call_guard<WithoutGil>())
      .def("copy", &Index::copy, py::call_guard<WithoutGil>())
      .def("empty", &Index::empty, py::kw_only(), py::arg("cells"), py::arg("threads"),
           py::call_guard<WithoutGil>())
      .def_static("merged", &merged, py::arg("indexes"), py::kw_only(), py::arg("shifts"),
                  py::arg("threads"))
      // Not py::kw_only(): a name of an argument takes longer than the argument.
      .def("search", &search, py::arg("queries").noconvert(), py::arg("k"), py::arg("stages"),
           py::arg("threads"), py::arg("probing"), py::arg("clip"), py::arg("mask").noconvert(),
           py::arg("only").noconvert())
      .def("reconstruct", &reconstruct, py::arg("ids").noconvert())
      .def("save", &save, py::arg("path"), py::kw_only(), py::arg("metadata"));

  module.def("search_parts", &search_parts, py::arg("parts"), py::arg("queries").noconvert(),
             py::kw_only(), py::arg("k"), py::arg("stages"), py::arg("threads"), py::arg("clip"));
}

}  // namespace nestling::bindings
