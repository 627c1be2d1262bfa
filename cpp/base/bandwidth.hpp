// The read bandwidth of one core, for benchmarks: the bound of a coarse scan for one query.
#pragma once

#include <cstddef>

namespace nestling {

// Bytes per second at which the calling thread reads a buffer of `bytes` (at least one line of 64)
// `rounds` times from end to end. The buffer is read once before the clock starts, so one that fits
// a cache is read from there. Large buffers lie in huge pages, as the rows of an index do.
double read_bandwidth(std::size_t bytes, std::size_t rounds);

}  // namespace nestling
