#include "search/centroid_tree.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "base/pool.hpp"
#include "search/groups.hpp"
#include "search/kmeans.hpp"
#include "search/nearest_cells.hpp"
#include "simd/cpu.hpp"
#include "store/codes.hpp"
#include "store/row_codec.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// A level of at most kRoot centroids is scanned as a whole; above a larger one there is another,
// with a centroid per kFanout.
constexpr std::size_t kRoot = 1024;
constexpr std::size_t kFanout = 64;
constexpr int kRefinements = 4;
constexpr std::size_t kTaskVectors = 512;

// Members of each of some groups, by their numbers.
using Members = std::vector<std::vector<std::uint32_t>>;

class TreeBuilder {
 public:
  TreeBuilder(std::span<const float> sample, std::size_t dims, std::size_t threads)
      : dims_(dims), threads_(threads), centre_(allocate(dims * sizeof(float))) {
    std::vector<double> sums(dims);
    for (std::size_t i = 0; i < sample.size(); ++i)
      sums[i % dims] += static_cast<double>(sample[i]);
    const auto count = static_cast<double>(sample.size() / dims);
    auto* centre = reinterpret_cast<float*>(centre_.get());
    for (std::size_t d = 0; d < dims; ++d) centre[d] = static_cast<float>(sums[d] / count);
  }

  // A tree over the centroids of `count` cells of the vectors.
  BuiltTree build(std::span<const float> vectors, std::size_t count) const {
    if (count <= kRoot) return root(kmeans(vectors, dims_, count, threads_));
    BuiltTree built = below(evenly_chosen(vectors, dims_, count));
    std::vector<std::uint32_t> clusters = assign(vectors, built);
    for (int i = 0; i < kRefinements; ++i) {
      if (i > 0) clusters = reassign(vectors, clusters, built);
      move_centroids(vectors, clusters, dims_, built.centroids, threads_);
      built = below(std::move(built.centroids));
    }
    return built;
  }

 private:
  // The tree of a single level.
  BuiltTree root(std::vector<float> centroids) const {
    CentroidTree tree{.dims = dims_, .centre = centre_};
    std::vector<std::uint32_t> all(centroids.size() / dims_);
    std::iota(all.begin(), all.end(), 0U);
    return with_level(std::move(tree), {std::move(all)}, std::move(centroids));
  }

  // The tree whose last level are these centroids, below centroids of their own.
  BuiltTree below(std::vector<float> centroids) const {
    BuiltTree upper = build(centroids, centroids.size() / dims_ / kFanout);
    const Members families = members(centroids, upper);
    return with_level(std::move(upper.tree), families, std::move(centroids));
  }

  // The number of the centroid that is nearest to each vector.
  std::vector<std::uint32_t> assign(std::span<const float> vectors, const BuiltTree& built) const {
    std::vector<std::uint32_t> numbers(vectors.size() / dims_);
    parallel_for((numbers.size() + kTaskVectors - 1) / kTaskVectors, threads_, [&](std::size_t t) {
      const std::size_t first = t * kTaskVectors;
      const std::size_t size = std::min(kTaskVectors, numbers.size() - first);
      const auto some = vectors.subspan(first * dims_, size * dims_);
      const auto nearest = CellQueries(built.tree, {some.begin(), some.end()}).nearest(1);
      for (std::size_t i = 0; i < size; ++i)
        numbers[first + i] = built.numbers[nearest[i].front().row];
    });
    return numbers;
  }

  // The same once the centroids have moved a little, from the numbers before: the nearest to each
  // vector is among the nearest to the centroid that it had (Wang et al. 2012, "Fast approximate
  // k-means via cluster closures").
  std::vector<std::uint32_t> reassign(std::span<const float> vectors,
                                      std::span<const std::uint32_t> before,
                                      const BuiltTree& built) const {
    constexpr std::size_t kNear = 16;
    const std::size_t count = built.centroids.size() / dims_;
    const Groups members(before, count);
    std::vector<std::uint32_t> numbers(before.size());
    parallel_for((count + kTaskVectors - 1) / kTaskVectors, threads_, [&](std::size_t t) {
      const std::size_t first = t * kTaskVectors;
      const std::size_t size = std::min(kTaskVectors, count - first);
      const auto some = std::span(built.centroids).subspan(first * dims_, size * dims_);
      const auto near = CellQueries(built.tree, {some.begin(), some.end()}).nearest(kNear);
      for (std::size_t c = 0; c < size; ++c)
        for (const std::uint32_t member : members.of(first + c))
          numbers[member] = nearest_of(near[c], vectors.data() + member * dims_, built);
    });
    return numbers;
  }

  // The number of the one of these centroids that is nearest to a vector.
  std::uint32_t nearest_of(std::span<const Candidate> cells, const float* vector,
                           const BuiltTree& built) const {
    const auto dot = simd::active().dot;
    Candidate best{-std::numeric_limits<float>::infinity(), 0};
    for (const Candidate& cell : cells) {
      const std::uint32_t number = built.numbers[cell.row];
      const float score = dot(vector, built.centroids.data() + number * dims_, dims_);
      if (score > best.score) best = {score, number};
    }
    return best.row;
  }

  // The vectors that are assigned to each slot of the tree's last level.
  Members members(std::span<const float> vectors, const BuiltTree& built) const {
    std::vector<std::uint32_t> slot_of(built.centroids.size() / dims_);
    for (std::uint32_t slot = 0; slot < built.numbers.size(); ++slot)
      if (built.numbers[slot] != kNone) slot_of[built.numbers[slot]] = slot;
    Members of_slots(built.numbers.size());
    const std::vector<std::uint32_t> numbers = assign(vectors, built);
    for (std::uint32_t i = 0; i < numbers.size(); ++i) of_slots[slot_of[numbers[i]]].push_back(i);
    return of_slots;
  }

  // Appends a level to a tree: a family of centroids for each slot of the level before.
  BuiltTree with_level(CentroidTree tree, const Members& families,
                       std::vector<float> centroids) const {
    const CoarseLayout layout = tree.layout();
    std::vector<std::uint32_t> starts{0};
    for (const auto& family : families)
      starts.push_back(starts.back() + static_cast<std::uint32_t>(block_count(family.size())));
    CentroidLevel level{.blocks = starts.back()};
    level.codes = allocate(level.blocks * layout.block_bytes());
    auto* blocks = reinterpret_cast<std::uint8_t*>(level.codes.get());
    for (std::size_t b = 0; b < level.blocks; ++b)
      clear_block(layout, blocks + b * layout.block_bytes());
    const ShellLayout shell = tree.shell();
    tree.values = allocate(level.slots() * shell.stride());
    std::memset(tree.values.get(), 0, level.slots() * shell.stride());
    std::vector<std::uint32_t> numbers(level.slots(), kNone);
    for (std::size_t f = 0; f < families.size(); ++f) {
      std::size_t slot = starts[f] * kBlockRows;
      for (const std::uint32_t number : families[f]) {
        numbers[slot] = number;
        const auto centroid = std::span<const float>(centroids).subspan(number * dims_, dims_);
        encode(centroid, slot % kBlockRows, blocks + slot / kBlockRows * layout.block_bytes());
        write_values(centroid, tree.values.get() + slot * shell.stride());
        ++slot;
      }
    }
    if (!tree.levels.empty()) {
      Bytes& links = tree.levels.back().starts;
      links = allocate(starts.size() * sizeof(std::uint32_t));
      std::memcpy(links.get(), starts.data(), starts.size() * sizeof(std::uint32_t));
    }
    tree.levels.push_back(std::move(level));
    return {std::move(tree), std::move(centroids), std::move(numbers)};
  }

  void encode(std::span<const float> centroid, std::size_t lane, std::uint8_t* block) const {
    const simd::Kernels& kernels = simd::active();
    const auto* centre = reinterpret_cast<const float*>(centre_.get());
    std::vector<float> centred(dims_);
    for (std::size_t d = 0; d < dims_; ++d) centred[d] = centroid[d] - centre[d];
    const float offset = kernels.dot(centred.data(), centre, dims_);
    RowTerms terms{};
    kernels.to_f16(&offset, 1, 1.0F, &terms.offset);
    std::vector<std::uint8_t> codes(dims_);
    terms.scale = encode_row(kernels, centred, CentroidTree::kBits, codes);
    write_row({.dims = dims_, .bits = CentroidTree::kBits, .has_offsets = true}, block, lane, codes,
              terms);
  }

  static void write_values(std::span<const float> centroid, std::byte* out) {
    const float scale = largest(centroid) / 127.0F;
    simd::active().to_i8(centroid.data(), centroid.size(), scale == 0.0F ? 0.0F : 1.0F / scale,
                         reinterpret_cast<std::int8_t*>(out));
    std::memcpy(out + (centroid.size() + 3) / 4 * 4, &scale, sizeof scale);
  }

  static constexpr std::uint32_t kNone = ~0U;

  std::size_t dims_, threads_;
  Bytes centre_;
};

}  // namespace

BuiltTree build_centroid_tree(std::span<const float> sample, std::size_t dims, std::size_t count,
                              std::size_t threads) {
  return TreeBuilder(sample, dims, threads).build(sample, count);
}

BuiltTree stored_tree(const CentroidTree& tree) {
  const std::size_t dims = tree.dims;
  const ShellLayout shell = tree.shell();
  std::vector<float> centroids(tree.last().slots() * dims);
  for (std::size_t slot = 0; slot < tree.last().slots(); ++slot) {
    const std::byte* stored = tree.values.get() + slot * shell.stride();
    const auto* values = reinterpret_cast<const std::int8_t*>(stored);
    const float scale = read_trailer(shell, reinterpret_cast<const std::uint8_t*>(stored)).scale;
    for (std::size_t d = 0; d < dims; ++d)
      centroids[slot * dims + d] = static_cast<float>(values[d]) * scale;
  }
  std::vector<std::uint32_t> numbers(tree.last().slots());
  std::iota(numbers.begin(), numbers.end(), 0U);
  CentroidTree shared = tree;
  shared.levels.back().starts = nullptr;
  return {std::move(shared), std::move(centroids), std::move(numbers)};
}

}  // namespace nestling
