#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <tuple>
#include <utility>

#include "base/error.hpp"
#include "bindings/bindings.hpp"
#include "bindings/numpy.hpp"
#include "bindings/without_gil.hpp"
#include "search/fusion.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

Ranking to_ranking(const Array<std::int64_t>& rows, const Array<double>& scores, double weight) {
  if (rows.size() != scores.size())
    throw IdError(std::to_string(rows.size()) + " rows with " + std::to_string(scores.size()) +
                  " scores");
  return {view(rows), view(scores), weight};
}

// Rows, scores, and (n, 2) places in the two rankings.
std::tuple<Array<std::int64_t>, Array<double>, Array<std::int32_t>> fuse_two(
    const Array<std::int64_t>& first_rows, const Array<double>& first_scores,
    const Array<std::int64_t>& second_rows, const Array<double>& second_scores, double weight,
    bool by_ranks, std::size_t k) {
  const std::array rankings{to_ranking(first_rows, first_scores, weight),
                            to_ranking(second_rows, second_scores, 1 - weight)};
  FusedRows fused;
  {
    const WithoutGil without_gil;
    fused =
        fuse(rankings, by_ranks ? FusionRule::kReciprocalRanks : FusionRule::kWeightedScores, k);
  }
  Array<std::int32_t> places({static_cast<py::ssize_t>(fused.rows.size()), py::ssize_t{2}});
  std::ranges::copy(fused.places, mutable_view(places).begin());
  return {to_array(std::move(fused.rows)), to_array(std::move(fused.scores)), std::move(places)};
}

}  // namespace

void bind_fusion(py::module_& module) {
  module.def("fuse", &fuse_two, py::arg("first_rows").noconvert(),
             py::arg("first_scores").noconvert(), py::arg("second_rows").noconvert(),
             py::arg("second_scores").noconvert(), py::kw_only(), py::arg("weight"),
             py::arg("by_ranks"), py::arg("k"));
}

}  // namespace nestling::bindings
