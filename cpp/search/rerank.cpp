#include "search/rerank.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "base/interrupt.hpp"
#include "base/paging.hpp"
#include "simd/cpu.hpp"
#include "store/norms.hpp"
#include "store/row_codec.hpp"

namespace nestling {
namespace {

constexpr std::size_t kGroup = 256;  // rows per kernel call

float sum_of(std::span<const float> values) {
  constexpr std::size_t kLanes = 16;  // that the compiler keeps in vector registers
  std::array<float, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) lanes[j] += values[i + j];
  for (; i < values.size(); ++i) lanes[0] += values[i];
  return std::accumulate(lanes.begin(), lanes.end(), 0.0F);
}

const std::uint8_t* shell_of(const ShellLayout& shell, const Snapshot& snapshot, std::size_t number,
                             std::uint32_t row) {
  return snapshot.shell(row / kChunkRows, number) + row % kChunkRows * shell.stride();
}

}  // namespace

void rerank(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
            std::span<const float> query, bool coded_before, float inverse_norm_before,
            std::span<Survivor> survivors) {
  const float inverse_query_norm = inverse_norm(layout.metric, query, stage.dims);
  std::array<const std::uint8_t*, kGroup> rows;
  std::array<float, kGroup> sums;
  for (const std::size_t s : stage.shells) {
    const ShellLayout& shell = layout.shells[s];
    const bool from_codes = coded_before && shell.first > 0 && s == stage.shells.front();
    const simd::DotKernel dot = simd::active().dot_rows(shell.bits);
    // Values of 4 bits are the levels 2 * code - 15.
    const float factor = shell.bits == 4 ? 2.0F : 1.0F;
    const float shift =
        shell.bits == 4 ? -15.0F * sum_of(query.subspan(shell.first, shell.dims())) : 0.0F;
    for (std::size_t i = 0; i < survivors.size(); i += kGroup) {
      check_interrupt();
      const std::size_t n = std::min(kGroup, survivors.size() - i);
      for (std::size_t j = 0; j < n; ++j) {
        rows[j] = shell_of(shell, snapshot, s, survivors[i + j].row);
      }
      dot({.rows = rows.data(), .count = n, .dims = shell.dims(), .stride = shell.stride()},
          query.data() + shell.first, sums.data());
      for (std::size_t j = 0; j < n; ++j) {
        Survivor& survivor = survivors[i + j];
        const ShellTrailer trailer = read_trailer(shell, rows[j]);
        if (!shell.continues()) survivor.sum = 0.0F;
        if (from_codes) {
          // Undo both normalisations of the coarse score.
          const float query_norm = inverse_norm_before > 0.0F ? 1.0F / inverse_norm_before : 0.0F;
          survivor.sum = survivor.score * trailer.norm_before * query_norm;
        }
        survivor.sum += (sums[j] * factor + shift) * trailer.scale;
        survivor.score = comparable(survivor.sum * trailer.inverse_norm * inverse_query_norm);
      }
    }
  }
}

void fetch_shells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                  std::span<const Survivor> survivors) {
  for (const std::size_t s : stage.shells) {
    const ShellLayout& shell = layout.shells[s];
    for (const Survivor& survivor : survivors)
      fetch_pages(
          std::as_bytes(std::span(shell_of(shell, snapshot, s, survivor.row), shell.stride())));
  }
}

void prefetch_shells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                     std::uint32_t row) {
  constexpr std::size_t kLine = 64;
  for (const std::size_t s : stage.shells) {
    const ShellLayout& shell = layout.shells[s];
    const std::uint8_t* values = shell_of(shell, snapshot, s, row);
    for (std::size_t byte = 0; byte < shell.stride(); byte += kLine)
      __builtin_prefetch(values + byte);
  }
}

std::size_t bytes_per_row(const Layout& layout, const PlannedStage& stage) {
  std::size_t bytes = 0;
  for (const std::size_t s : stage.shells) bytes += layout.shells[s].stride();
  return bytes;
}

}  // namespace nestling
