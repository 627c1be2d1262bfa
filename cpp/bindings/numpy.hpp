// Conversions between NumPy arrays and spans. Arguments must be C-contiguous and of the right
// dtype, as index/arguments.py makes them; they are never converted here.
#pragma once

#include <pybind11/numpy.h>

#include <cstddef>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace nestling::bindings {

template <class T>
using Array = pybind11::array_t<T, pybind11::array::c_style>;

template <class T>
std::span<const T> view(const Array<T>& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

template <class T>
std::span<T> mutable_view(Array<T>& array) {
  return {array.mutable_data(), static_cast<std::size_t>(array.size())};
}

// Hands a vector's memory to a NumPy array without a copy.
template <class T>
Array<T> to_array(std::vector<T> values) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  const std::span<T> elements = *owned;
  // If the capsule cannot be made, `owned` still deletes the vector; afterwards the capsule does.
  const pybind11::capsule owner(owned.get(),
                                [](void* p) { delete static_cast<std::vector<T>*>(p); });
  static_cast<void>(owned.release());
  return Array<T>(static_cast<pybind11::ssize_t>(elements.size()), elements.data(), owner);
}

}  // namespace nestling::bindings
