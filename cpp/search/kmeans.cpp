#include "search/kmeans.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/pool.hpp"
#include "search/groups.hpp"
#include "search/scan.hpp"
#include "search/survivors.hpp"
#include "simd/cpu.hpp"
#include "store/norms.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

constexpr int kIterations = 8;
constexpr std::size_t kTaskVectors = 512;

std::span<const float> vector_at(std::span<const float> values, std::size_t dims, std::size_t i) {
  return values.subspan(i * dims, dims);
}

// Scales a vector to unit length. Returns false where it is too short to have a direction.
bool normalise(std::span<float> vector) {
  const float norm = std::sqrt(simd::active().dot(vector.data(), vector.data(), vector.size()));
  if (norm < kSmallestNorm) return false;
  for (float& v : vector) v /= norm;
  return true;
}

// Centroids, coded so that assigning vectors to them is a coarse scan.
class Centroids {
 public:
  Centroids(std::span<const float> values, std::size_t dims)
      : layout_{dims, 8}, count_(values.size() / dims) {
    const std::size_t bytes = layout_.block_bytes();
    blocks_ = allocate(block_count(count_) * bytes);
    std::vector<std::uint8_t> codes(dims);
    for (std::size_t i = 0; i < count_; ++i) {
      auto* block = reinterpret_cast<std::uint8_t*>(blocks_.get()) + i / kBlockRows * bytes;
      if (i % kBlockRows == 0) clear_block(layout_, block);
      const BFloat16 scale =
          encode_row(simd::active(), vector_at(values, dims, i), layout_.bits, codes);
      write_row(layout_, block, i % kBlockRows, codes, {scale});
    }
  }

  // Writes the number of the centroid that is nearest to each of the vectors.
  void assign(std::span<const float> vectors, std::span<std::uint32_t> out,
              std::size_t threads) const {
    const std::size_t dims = layout_.dims;
    parallel_for((out.size() + kTaskVectors - 1) / kTaskVectors, threads, [&](std::size_t task) {
      const std::size_t first = task * kTaskVectors;
      const std::size_t size = std::min(kTaskVectors, out.size() - first);
      nearest(vectors.subspan(first * dims, size * dims), out.subspan(first, size));
    });
  }

 private:
  void nearest(std::span<const float> vectors, std::span<std::uint32_t> out) const {
    static const Snapshot nothing;
    const RankOrder order(nothing);
    const CodedQueries coded(Metric::cosine, layout_, {}, Queries{vectors, layout_.dims});
    std::vector<Collector> collectors;
    collectors.reserve(coded.count());
    std::vector<simd::ScanQuery> bound;
    for (std::size_t i = 0; i < coded.count(); ++i) {
      collectors.emplace_back(KeepRule{.keep = 1, .k = 1}, order);
      bound.push_back(coded.bind(i, collectors.back()));
    }
    simd::active()
        .codes(layout_.bits)
        .scan({.data = reinterpret_cast<const std::uint8_t*>(blocks_.get()),
               .count = block_count(count_),
               .block_bytes = layout_.block_bytes(),
               .tiles = layout_.tiles(),
               .has_offsets = layout_.has_offsets},
              bound.data(), bound.size());
    for (std::size_t i = 0; i < out.size(); ++i) {
      const std::vector<Candidate> best = collectors[i].take();
      out[i] = best.empty() ? 0 : best.front().row;  // empty for a NaN of a corrupted file
    }
  }

  CoarseLayout layout_;
  std::size_t count_;
  Bytes blocks_;
};

}  // namespace

std::vector<float> evenly_chosen(std::span<const float> vectors, std::size_t dims,
                                 std::size_t count) {
  const std::size_t all = vectors.size() / dims;
  std::vector<float> chosen;
  chosen.reserve(count * dims);
  for (std::size_t i = 0; i < count; ++i) {
    const auto vector = vector_at(vectors, dims, i * all / count);
    chosen.insert(chosen.end(), vector.begin(), vector.end());
  }
  return chosen;
}

void move_centroids(std::span<const float> vectors, std::span<const std::uint32_t> clusters,
                    std::size_t dims, std::span<float> centroids, std::size_t threads) {
  const std::size_t count = centroids.size() / dims;
  const Groups members(clusters, count);
  parallel_for(count, threads, [&](std::size_t c) {
    const std::span<float> centroid(centroids.data() + c * dims, dims);
    std::vector<float> sum(dims);
    for (const std::uint32_t i : members.of(c)) {
      const auto member = vector_at(vectors, dims, i);
      for (std::size_t d = 0; d < dims; ++d) sum[d] += member[d];
    }
    if (normalise(sum)) std::ranges::copy(sum, centroid.begin());
  });
  // An empty cluster gets a member of one of the largest ones, so that every centroid is used.
  std::vector<std::uint32_t> by_size(count);
  std::iota(by_size.begin(), by_size.end(), 0U);
  std::ranges::stable_sort(by_size, std::greater<>(),
                           [&](std::uint32_t c) { return members.of(c).size(); });
  std::size_t donor = 0;
  for (std::size_t c = 0; c < count; ++c) {
    if (!members.of(c).empty()) continue;
    const auto crowd = members.of(by_size[donor++]);
    if (crowd.size() < 2) break;
    std::ranges::copy(vector_at(vectors, dims, crowd[crowd.size() / 2]),
                      centroids.begin() + static_cast<std::ptrdiff_t>(c * dims));
  }
}

std::vector<float> kmeans(std::span<const float> vectors, std::size_t dims, std::size_t count,
                          std::size_t threads) {
  std::vector<float> centroids = evenly_chosen(vectors, dims, count);
  std::vector<std::uint32_t> clusters(vectors.size() / dims);
  for (int iteration = 0; iteration < kIterations; ++iteration) {
    Centroids(centroids, dims).assign(vectors, clusters, threads);
    move_centroids(vectors, clusters, dims, centroids, threads);
  }
  return centroids;
}

}  // namespace nestling
