// What an index stores for its funnel, and what a search has to read of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "store/matrix.hpp"
#include "store/transform.hpp"

namespace nestling {

enum class Metric { cosine, inner_product };

inline constexpr float kLargestMargin = 1000.0F;
inline constexpr std::size_t kMaxDim = 32'768;  // 8-bit codes of so many dimensions fit 32-bit sums

// One step of a funnel. `keep` is ignored for the last one, which keeps the k of the search. With a
// `margin` f > 0, only those of the `keep` best rows stay whose score s satisfies
// 1 - s <= f * (1 - s_k), where s_k is the k-th best score: an easy query keeps few rows, a hard
// one many.
struct Stage {
  std::size_t dims;
  int bits;
  std::size_t keep = 0;
  float margin = 0.0F;
};

// How the dimensions first..last, which one stage adds, are stored. Each row has its values, padded
// to 4 bytes, and then up to three float32: those of the three below that it has, in this order.
struct ShellLayout {
  std::size_t first, last;
  int bits;        // 4, 8, 16 or 32
  bool refines;    // values are what the shell before, of the same dimensions, has rounded off
  bool has_scale;  // values are stored divided by it: at 4 and 8 bits, at 16 for inner products
  bool has_norm_before;   // of the prefix 0..first, whose coarse codes are of the normalised prefix
  bool has_inverse_norm;  // of the prefix 0..last, where the score is a cosine and last < dim

  constexpr std::size_t dims() const { return last - first; }
  // The precision that is reached: that of its stage.
  constexpr int stage_bits() const { return refines ? 2 * bits : bits; }
  // Whether its sums are added to those of the stage before.
  constexpr bool continues() const { return first > 0 || refines; }
  constexpr std::size_t values_bytes() const {
    if (bits == 4) return (dims() + 31) / 32 * 16;
    return (dims() * static_cast<std::size_t>(bits) / 8 + 3) / 4 * 4;
  }
  constexpr std::size_t stride() const {
    return values_bytes() + sizeof(float) * (has_scale + has_norm_before + has_inverse_norm);
  }
};

// 13 values of one byte, padded to 16, and a scale.
static_assert(ShellLayout{.first = 20,
                          .last = 33,
                          .bits = 8,
                          .refines = false,
                          .has_scale = true,
                          .has_norm_before = false,
                          .has_inverse_norm = false}
                  .stride() == 20);

// A funnel's storage. Stage 0 is coarse codes or a shell; every later stage has a shell.
struct Layout {
  std::size_t dim;
  Metric metric;
  std::vector<Stage> stages;
  Transform transform;
  std::optional<CoarseLayout> coarse;
  std::vector<ShellLayout> shells;  // one per stage, except for a coded stage 0

  // Throws FunnelError where the stages do not make a funnel for `dim`, and VectorError where the
  // transform does not fit them.
  Layout(std::size_t dim, Metric metric, std::vector<Stage> stages, Transform transform = {});

  std::size_t shell_of(std::size_t stage) const { return coarse ? stage - 1 : stage; }
};

// Whether both store rows in the same way, bit for bit. What their stages keep may differ.
bool stores_the_same(const Layout& one, const Layout& other);

// One stage of a search: `shells` are read in order; the first continues the running sum of the
// stage before where its layout does not start at dimension 0. The coded stage has none.
struct PlannedStage {
  std::size_t dims;
  int bits;
  std::size_t keep;
  float margin;
  std::vector<std::size_t> shells;
};

// Maps a search's funnel, a subset of the stored one's stages in order, to what must be read.
// Throws FunnelError where it is not such a subset. Every `keep` is raised to k, since a stage must
// pass on k rows.
std::vector<PlannedStage> plan(const Layout& layout, const std::vector<Stage>& funnel,
                               std::size_t k);

}  // namespace nestling
