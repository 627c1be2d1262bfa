// How fast one core reads, for benchmarks: the bound of a coarse scan for one query.
#pragma once

#include <cstddef>

namespace nestling {

// Bytes a second at which the calling thread reads a buffer of `bytes`, at least one line of 64,
// from end to end, `rounds` times. It is read once before the clock starts, so a buffer that fits a
// cache is read from there. Large buffers lie in huge pages, as the rows of an index do.
double read_bandwidth(std::size_t bytes, std::size_t rounds);

}  // namespace nestling
