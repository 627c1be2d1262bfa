#include <pybind11/stl.h>

#include <chrono>
#include <string>
#include <vector>

#include "base/bandwidth.hpp"
#include "base/pool.hpp"
#include "bindings/bindings.hpp"
#include "bindings/buffer.hpp"
#include "bindings/numpy.hpp"
#include "io/hash.hpp"
#include "simd/cpu.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const simd::Kernels* table : simd::available()) names.emplace_back(table->name);
  return names;
}

// Multiply-adds per second of one core, on rows that stay in registers.
double multiply_add_peak(int bits, std::size_t rounds) {
  const auto multiply_add = simd::active().codes(bits).multiply_add;
  const auto start = std::chrono::steady_clock::now();
  const std::uint64_t done = multiply_add(rounds);
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return static_cast<double>(done) / elapsed.count();
}

}  // namespace

void bind_simd(py::module_& module) {
  module.def("isa", [] { return std::string(simd::active().name); });
  module.def("available_isas", &available_isas);
  module.def("default_threads", &default_threads);
  module.def("multiply_add_peak", &multiply_add_peak, py::kw_only(), py::arg("bits"),
             py::arg("rounds"), py::call_guard<py::gil_scoped_release>());
  module.def("read_bandwidth", &read_bandwidth, py::kw_only(), py::arg("bytes"), py::arg("rounds"),
             py::call_guard<py::gil_scoped_release>());
  module.def(
      "xxh64", [](const py::buffer& data) { return hash(BufferView(data).bytes()); },
      py::arg("data"));
}

}  // namespace nestling::bindings
