// Which kernels this CPU can run, and which are in use.
#pragma once

#include <span>

#include "simd/kernels.hpp"

namespace nestling::simd {

// The tables that this CPU and operating system can run, slowest first; never empty.
std::span<const Kernels* const> available();

// The table in use: the last of available(), or the one that NESTLING_ISA names. Chosen once, at
// the first call. Throws SettingError where NESTLING_ISA names a table that is not available.
const Kernels& active();

}  // namespace nestling::simd
