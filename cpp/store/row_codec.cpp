#include "store/row_codec.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "simd/cpu.hpp"
#include "store/codes.hpp"
#include "store/norms.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// Packs 4-bit codes as simd::Kernels::decode_i4 reads them.
void pack_nibbles(std::span<const std::uint8_t> codes, std::byte* out) {
  constexpr std::size_t kGroup = 32, kHalf = kGroup / 2;
  for (std::size_t first = 0; first < codes.size(); first += kGroup, out += kHalf) {
    std::array<std::uint8_t, kGroup> group{};
    std::ranges::copy(codes.subspan(first, std::min(kGroup, codes.size() - first)), group.begin());
    for (std::size_t i = 0; i < kHalf; ++i)
      out[i] = static_cast<std::byte>(group[i] | group[kHalf + i] << 4);
  }
}

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

void RowEncoder::to_shell(std::span<const float> row, std::size_t number, std::byte* out) {
  const ShellLayout& shell = layout_.shells[number];
  std::span<const float> values = row.subspan(shell.first, shell.dims());
  const bool is_refined = number + 1 < layout_.shells.size() && layout_.shells[number + 1].refines;
  if (shell.refines) {
    to_nibbles(values, false, coded_);
    for (std::size_t d = 0; d < values.size(); ++d) prefix_[d] = values[d] - coded_.value(d);
    values = std::span(prefix_).first(values.size());
  }
  float trailer[3];
  std::size_t floats = 0;
  float inverse = 1.0F;
  if (shell.bits == 4) {
    to_nibbles(values, !shell.refines && !is_refined, coded_);
    trailer[floats++] = coded_.scale;
  } else if (shell.has_scale) {
    const float scale = scale_of(values, shell.bits);
    inverse = scale == 0.0F ? 0.0F : 1.0F / scale;
    trailer[floats++] = scale;
  }
  if (shell.has_norm_before) trailer[floats++] = prefix_norm(row, shell.first);
  if (shell.has_inverse_norm) trailer[floats++] = inverse_norm(Metric::cosine, row, shell.last);
  std::memset(out, 0, shell.values_bytes());
  if (shell.bits == 4)
    pack_nibbles(coded_.codes, out);
  else if (shell.bits == 8)
    kernels_.to_i8(values.data(), values.size(), inverse, reinterpret_cast<std::int8_t*>(out));
  else if (shell.bits == 16)
    kernels_.to_f16(values.data(), values.size(), inverse, reinterpret_cast<std::uint16_t*>(out));
  else
    std::memcpy(out, values.data(), values.size_bytes());
  std::memcpy(out + shell.values_bytes(), trailer, floats * sizeof(float));
}

void RowEncoder::to_nibbles(std::span<const float> values, bool clips, Nibbles& out) const {
  constexpr int kMaxCode = 15;
  constexpr float kClips[] = {1.0F, 0.9F, 0.8F, 0.7F, 0.6F, 0.5F};
  out.codes.assign(values.size(), 0);
  out.scale = 0.0F;
  const float magnitude = largest(values);
  if (magnitude < kSmallestNorm) return;
  // The step with the least error: few values lie near the largest.
  float best = -1.0F, best_clip = 0.0F, last_clip = 0.0F;
  for (const float clip : std::span(kClips).first(clips ? std::size(kClips) : 1)) {
    const float inverse_step = kMaxCode / (2.0F * magnitude * (last_clip = clip));
    const simd::CodeFit fit =
        kernels_.encode(values.data(), values.size(), inverse_step, kMaxCode, out.codes.data());
    const float explained = fit.product / fit.energy * fit.product;
    if (explained <= best) continue;
    best = explained;
    best_clip = clip;
    out.scale = fit.product / fit.energy;
  }
  if (best_clip != last_clip)
    kernels_.encode(values.data(), values.size(), kMaxCode / (2.0F * magnitude * best_clip),
                    kMaxCode, out.codes.data());
}

void reconstruct(const Layout& layout, const Snapshot& snapshot, std::size_t row,
                 std::span<float> out) {
  std::size_t missing = layout.dim;  // dimensions below this one have yet to be read
  float norm_before = 1.0F;
  std::vector<float> refined;  // what the shell that was read last adds to the one before
  const simd::Kernels& kernels = simd::active();
  for (std::size_t s = layout.shells.size(); missing > 0 && s-- > 0;) {
    const ShellLayout& shell = layout.shells[s];
    const std::uint8_t* at =
        snapshot.shell(row / kChunkRows, s) + row % kChunkRows * shell.stride();
    const ShellTrailer trailer = read_trailer(shell, at);
    if (shell.has_norm_before) norm_before = trailer.norm_before;
    const float scale = trailer.scale;
    const std::size_t dims = shell.dims();
    float* values = out.data() + shell.first;
    if (shell.refines) {  // the shell before follows, and is added
      refined.resize(dims);
      kernels.decode_i4(at, dims, scale, refined.data());
      continue;
    }
    if (shell.bits == 4)
      kernels.decode_i4(at, dims, scale, values);
    else if (shell.bits == 8)
      kernels.decode_i8(reinterpret_cast<const std::int8_t*>(at), dims, scale, values);
    else if (shell.bits == 16)
      kernels.decode_f16(reinterpret_cast<const std::uint16_t*>(at), dims, scale, values);
    else
      std::memcpy(values, at, dims * sizeof(float));
    for (std::size_t d = 0; d < refined.size(); ++d) values[d] += refined[d];
    refined.clear();
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
