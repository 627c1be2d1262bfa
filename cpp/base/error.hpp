// The exceptions of the core. The bindings turn each into the class of the same name in
// nestling.errors.
#pragma once

#include <stdexcept>
#include <string>

namespace nestling {

struct VectorError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct IdError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct FunnelError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct SettingError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

struct FormatError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct StorageError : std::runtime_error {
  StorageError(int error_number, std::string file, const std::string& action)
      : std::runtime_error(action), code(error_number), path(std::move(file)) {}
  int code;  // errno
  std::string path;
};

}  // namespace nestling
