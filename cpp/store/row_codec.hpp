// How one row is stored: its coarse codes and its shells, written and read back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "simd/kernels.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// The floats behind the values of a row in a shell; 1 for those that its layout does not have.
struct ShellTrailer {
  float scale = 1.0F;
  float norm_before = 1.0F;
  float inverse_norm = 1.0F;
};

// `row` points to the values of the row.
inline ShellTrailer read_trailer(const ShellLayout& shell, const std::uint8_t* row) {
  float stored[3] = {};
  std::memcpy(stored, row + shell.values_bytes(), shell.stride() - shell.values_bytes());
  const float* next = stored;
  ShellTrailer trailer;
  if (shell.has_scale) trailer.scale = *next++;
  if (shell.has_norm_before) trailer.norm_before = *next++;
  if (shell.has_inverse_norm) trailer.inverse_norm = *next;
  return trailer;
}

// Encodes prepared rows (store/norms.hpp) for one layout. Use one object per thread.
class RowEncoder {
 public:
  explicit RowEncoder(const Layout& layout);

  // Writes row `lane` of a coarse block that was cleared.
  void to_block(std::span<const float> row, std::size_t lane, std::uint8_t* block);

  // Writes the values and the trailer of the layout's shell of this number: shell.stride() bytes.
  void to_shell(std::span<const float> row, std::size_t number, std::byte* out);

 private:
  // Values as 4-bit codes: the level 2 * code - 15, times the scale.
  struct Nibbles {
    std::vector<std::uint8_t> codes;
    float scale = 0.0F;

    float value(std::size_t d) const { return static_cast<float>(2 * codes[d] - 15) * scale; }
  };
  // Large values are clipped where `clips` and that lessens the error of all.
  void to_nibbles(std::span<const float> values, bool clips, Nibbles& out) const;

  const Layout& layout_;
  const simd::Kernels& kernels_;
  std::vector<float> prefix_;
  std::vector<std::uint8_t> codes_;
  Nibbles coded_;
};

// Writes the stored values of one row at the last stage's precision: dim floats, rotated as they
// are stored.
void reconstruct(const Layout& layout, const Snapshot& snapshot, std::size_t row,
                 std::span<float> out);

}  // namespace nestling
