#include "base/bandwidth.hpp"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstring>

#include "base/memory.hpp"

namespace nestling {
namespace {

constexpr std::size_t kLine = 64;

// Independent sums, so that only loads limit the speed. The compiler lowers its own vector types to
// what the target's baseline has.
using Words = std::uint64_t __attribute__((vector_size(16)));

Words load(const std::byte* p) {
  Words words;
  std::memcpy(&words, p, sizeof words);
  return words;
}

Words sum_lines(const std::byte* data, std::size_t lines) {
  Words a{}, b{}, c{}, d{};
  for (const std::byte* line = data; line != data + lines * kLine; line += kLine) {
    a += load(line);
    b += load(line + 16);
    c += load(line + 32);
    d += load(line + 48);
  }
  return a + b + c + d;
}

}  // namespace

double read_bandwidth(std::size_t bytes, std::size_t rounds) {
  const std::size_t lines = std::max<std::size_t>(bytes / kLine, 1);
  const Bytes buffer = allocate(lines * kLine);
  // Pages that were never written would all map to one page of zeros.
  std::memset(buffer.get(), 1, lines * kLine);

  Words sum = sum_lines(buffer.get(), lines);
  const auto start = std::chrono::steady_clock::now();
  for (std::size_t r = 0; r < rounds; ++r) {
    sum += sum_lines(buffer.get(), lines);
    __asm__ volatile("" : : "m"(sum) : "memory");  // reads may not be hoisted out of the loop
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return static_cast<double>(lines * kLine) * static_cast<double>(rounds) / elapsed.count();
}

}  // namespace nestling
