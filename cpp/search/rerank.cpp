#include "search/rerank.hpp"

#include <algorithm>
#include <array>

#include "base/interrupt.hpp"
#include "simd/cpu.hpp"
#include "store/norms.hpp"
#include "store/row_codec.hpp"

namespace nestling {
namespace {

constexpr std::size_t kGroup = 256;  // rows per kernel call

}  // namespace

void rerank(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
            std::span<const float> query, bool coded_before, float inverse_norm_before,
            std::span<Survivor> survivors) {
  const float inverse_query_norm = inverse_norm(layout.metric, query, stage.dims);
  std::array<std::uint32_t, kGroup> rows;
  std::array<float, kGroup> sums;
  for (const std::size_t s : stage.shells) {
    const ShellLayout& shell = layout.shells[s];
    const bool from_codes = coded_before && shell.first > 0 && s == stage.shells.front();
    const simd::DotKernel dot = simd::active().dot_rows(shell.bits);
    for (std::size_t i = 0; i < survivors.size();) {
      check_interrupt();
      const std::size_t chunk = survivors[i].row / kChunkRows;
      std::size_t n = 0;
      while (n < kGroup && i + n < survivors.size() && survivors[i + n].row / kChunkRows == chunk) {
        rows[n] = survivors[i + n].row % kChunkRows;
        ++n;
      }
      const std::uint8_t* data = snapshot.shell(chunk, s);
      dot({.data = data,
           .stride = shell.stride(),
           .dims = shell.dims(),
           .rows = rows.data(),
           .count = n},
          query.data() + shell.first, sums.data());
      for (std::size_t j = 0; j < n; ++j) {
        Survivor& survivor = survivors[i + j];
        const ShellTrailer trailer = read_trailer(shell, data + rows[j] * shell.stride());
        if (shell.first == 0) survivor.sum = 0.0F;
        if (from_codes) {
          // Undo both normalisations of the coarse score.
          const float query_norm = inverse_norm_before > 0.0F ? 1.0F / inverse_norm_before : 0.0F;
          survivor.sum = survivor.score * trailer.norm_before * query_norm;
        }
        survivor.sum += sums[j] * trailer.scale;
        survivor.score = comparable(survivor.sum * trailer.inverse_norm * inverse_query_norm);
      }
      i += n;
    }
  }
}

std::size_t bytes_per_row(const Layout& layout, const PlannedStage& stage) {
  std::size_t bytes = 0;
  for (const std::size_t s : stage.shells) bytes += layout.shells[s].stride();
  return bytes;
}

}  // namespace nestling
