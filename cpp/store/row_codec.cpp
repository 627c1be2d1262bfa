#include "store/row_codec.hpp"

#include <cmath>
#include <cstring>

#include "simd/cpu.hpp"
#include "store/codes.hpp"
#include "store/norms.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// The scale that makes the largest value 127 at 8 bits. At 16 bits, a power of two that makes it at
// most 1, and so rounds nothing.
float scale_of(std::span<const float> values, int bits) {
  const float magnitude = largest(values);
  if (magnitude < kSmallestNorm) return 0.0F;
  if (bits == 8) return magnitude / 127.0F;
  int exponent;
  std::frexp(magnitude, &exponent);
  return std::ldexp(1.0F, exponent);
}

}  // namespace

RowEncoder::RowEncoder(const Layout& layout)
    : layout_(layout), kernels_(simd::active()), prefix_(layout.dim), codes_(layout.dim) {}

void RowEncoder::to_block(std::span<const float> row, std::size_t lane, std::uint8_t* block) {
  const CoarseLayout& coarse = *layout_.coarse;
  const std::span<float> prefix(prefix_.data(), coarse.dims);
  const float norm = prefix_norm(row, coarse.dims);
  const float factor = norm < kSmallestNorm               ? 0.0F
                       : layout_.metric == Metric::cosine ? 1.0F / norm
                                                          : 1.0F;
  for (std::size_t d = 0; d < coarse.dims; ++d) prefix[d] = row[d] * factor;
  RowTerms terms{};
  if (coarse.has_offsets) {
    const std::vector<float>& centre = layout_.transform.centre;
    for (std::size_t d = 0; d < coarse.dims; ++d) prefix[d] -= centre[d];
    const float offset = kernels_.dot(prefix.data(), centre.data(), coarse.dims);
    kernels_.to_f16(&offset, 1, 1.0F, &terms.offset);
  }
  const std::span<std::uint8_t> codes = std::span(codes_).first(coarse.dims);
  terms.scale = encode_row(kernels_, prefix, coarse.bits, codes);
  write_row(coarse, block, lane, codes, terms);
}

void RowEncoder::to_shell(std::span<const float> row, const ShellLayout& shell,
                          std::byte* out) const {
  const std::span<const float> values = row.subspan(shell.first, shell.dims());
  float trailer[3];
  std::size_t floats = 0;
  float inverse = 1.0F;
  if (shell.has_scale) {
    const float scale = scale_of(values, shell.bits);
    inverse = scale == 0.0F ? 0.0F : 1.0F / scale;
    trailer[floats++] = scale;
  }
  if (shell.has_norm_before) trailer[floats++] = prefix_norm(row, shell.first);
  if (shell.has_inverse_norm) trailer[floats++] = inverse_norm(Metric::cosine, row, shell.last);
  if (shell.bits == 8)
    kernels_.to_i8(values.data(), values.size(), inverse, reinterpret_cast<std::int8_t*>(out));
  else if (shell.bits == 16)
    kernels_.to_f16(values.data(), values.size(), inverse, reinterpret_cast<std::uint16_t*>(out));
  else
    std::memcpy(out, values.data(), values.size_bytes());
  const std::size_t used = values.size() * static_cast<std::size_t>(shell.bits) / 8;
  std::memset(out + used, 0, shell.values_bytes() - used);
  std::memcpy(out + shell.values_bytes(), trailer, floats * sizeof(float));
}

void reconstruct(const Layout& layout, const Snapshot& snapshot, std::size_t row,
                 std::span<float> out) {
  std::size_t missing = layout.dim;  // dimensions below this one have yet to be read
  float norm_before = 1.0F;
  const simd::Kernels& kernels = simd::active();
  for (std::size_t s = layout.shells.size(); missing > 0 && s-- > 0;) {
    const ShellLayout& shell = layout.shells[s];
    const std::uint8_t* at =
        snapshot.shell(row / kChunkRows, s) + row % kChunkRows * shell.stride();
    const ShellTrailer trailer = read_trailer(shell, at);
    if (shell.has_norm_before) norm_before = trailer.norm_before;
    float* values = out.data() + shell.first;
    if (shell.bits == 8)
      kernels.widen_i8(reinterpret_cast<const std::int8_t*>(at), shell.dims(), values);
    else if (shell.bits == 16)
      kernels.widen_f16(reinterpret_cast<const std::uint16_t*>(at), shell.dims(), values);
    else
      std::memcpy(values, at, shell.dims() * sizeof(float));
    for (std::size_t d = shell.first; d < shell.last; ++d) out[d] *= trailer.scale;
    missing = shell.first;
  }
  if (missing == 0) return;
  read_row(*layout.coarse, snapshot.block(*layout.coarse, row), row % kBlockRows,
           out.first(missing));
  for (std::size_t d = 0; d < missing; ++d) {
    if (layout.coarse->has_offsets) out[d] += layout.transform.centre[d];
    out[d] *= norm_before;
  }
}

}  // namespace nestling
