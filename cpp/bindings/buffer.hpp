// Views of Python objects that lend their bytes.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <span>

namespace nestling::bindings {

// The bytes of an object with a contiguous buffer, such as a mapped file.
class BufferView {
 public:
  explicit BufferView(const pybind11::buffer& object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) != 0)
      throw pybind11::error_already_set();
  }
  ~BufferView() { PyBuffer_Release(&view_); }
  BufferView(const BufferView&) = delete;
  BufferView& operator=(const BufferView&) = delete;

  std::span<const std::byte> bytes() const {
    return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_{};
};

}  // namespace nestling::bindings
