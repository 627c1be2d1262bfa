#include "scan.hpp"

#include <algorithm>
#include <cmath>

#include "rerank.hpp"
#include "simd/cpu.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

constexpr std::size_t kCacheBytes = std::size_t{192}
                                    << 10;  // of coarse codes that the queries of a group share
constexpr std::size_t kLine = 64;

// Every kSampleStep-th block is the sample that seeds thresholds.
constexpr std::size_t kSampleStep = 128;

// How many of a sample's best lie above the threshold. Of the `keep` best rows a sample holds
// keep / kSampleStep ± its square root; four deviations more leave fewer than 1 query in 10,000
// with too few rows, and that one is scanned again.
std::size_t sample_rank(std::size_t keep) {
  const double expected = static_cast<double>(keep) / static_cast<double>(kSampleStep);
  return static_cast<std::size_t>(expected + 4.0 * std::sqrt(expected) + 4.0);
}

}  // namespace

CoarseScan::CoarseScan(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                       const Queries& queries)
    : layout_(layout),
      snapshot_(snapshot),
      stage_(stage),
      queries_(queries),
      kernels_(simd::active()),
      better_(snapshot),
      thresholds_(queries.count(), -std::numeric_limits<float>::infinity()) {
  if (!stage.shells.empty()) return;
  const CoarseLayout& coarse = *layout.coarse;
  const simd::CodeKernels& kernels = kernels_.codes(coarse.bits);
  packed_stride_ = (coarse.tiles() * kernels.query_tile_bytes + kLine - 1) / kLine * kLine;
  packed_.resize(packed_stride_ * queries.count() + kLine);
  auto* packed =
      packed_.data() + (kLine - reinterpret_cast<std::uintptr_t>(packed_.data()) % kLine);
  std::vector<float> prefix(coarse.dims);
  for (std::size_t i = 0; i < queries.count(); ++i) {
    const std::span<const float> query = queries.row(i);
    const float factor = inverse_norm(layout.metric, query, coarse.dims);
    for (std::size_t d = 0; d < coarse.dims; ++d) prefix[d] = query[d] * factor;
    QueryCode code = encode_query(prefix, coarse.bits);
    code.codes.resize(coarse.tiles() * coarse.tile_dims());
    std::uint8_t* out = packed + i * packed_stride_;
    const std::int32_t excess = kernels.pack_query(code.codes.data(), coarse.tiles(), out);
    prepared_.push_back(
        {out, ((1 << coarse.bits) - 1) * code.sum + 2 * excess, code.scale, nullptr});
  }
}

std::size_t CoarseScan::blocks() const {
  return (snapshot_.rows + kBlockRows - 1) / kBlockRows;
}

std::vector<Collector> CoarseScan::collectors() const {
  std::vector<Collector> out;
  out.reserve(queries_.count());
  for (const float threshold : thresholds_) out.emplace_back(stage_.keep, better_, threshold);
  return out;
}

std::vector<simd::ScanQuery> CoarseScan::bind(std::size_t first_query,
                                              std::span<Collector> collectors) const {
  std::vector<simd::ScanQuery> bound;
  for (std::size_t i = 0; i < collectors.size(); ++i) {
    bound.push_back(prepared_[first_query + i]);
    bound.back().sink = &collectors[i];
  }
  return bound;
}

void CoarseScan::seed() {
  const std::size_t rank = sample_rank(stage_.keep);
  const std::size_t sampled = snapshot_.rows / kSampleStep;
  if (!stage_.shells.empty() || sampled < 4 * rank)
    return;  // the sample would cost more than it saves
  std::vector<Collector> sample;
  sample.reserve(queries_.count());
  for (std::size_t i = 0; i < queries_.count(); ++i) sample.emplace_back(rank, better_);
  scan_codes(0, snapshot_.whole_blocks(), kSampleStep, bind(0, sample));
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const std::vector<Candidate> best = sample[i].take();
    if (best.size() < rank) continue;
    thresholds_[i] = std::ranges::min_element(best, {}, &Candidate::score)->score;
  }
}

void CoarseScan::scan_codes(std::size_t first_block, std::size_t end_block, std::size_t step,
                            std::span<const simd::ScanQuery> queries) const {
  const CoarseLayout& coarse = *layout_.coarse;
  const auto kernel = kernels_.codes(coarse.bits).scan;
  const std::size_t bytes = coarse.block_bytes();
  // Several queries pass over a run of blocks while it is in the cache; one alone needs no runs.
  const std::size_t run =
      queries.size() > 1 ? std::max<std::size_t>(1, kCacheBytes / bytes) : kChunkBlocks;
  const auto scan_run = [&](const std::uint8_t* data, std::size_t count, std::size_t block) {
    kernel(
        {data, count, bytes * step, coarse.tiles(), static_cast<std::uint32_t>(block * kBlockRows)},
        queries.data(), queries.size());
  };
  const std::size_t whole = std::min(end_block, snapshot_.whole_blocks());
  for (std::size_t b = first_block; b < whole;) {
    const std::size_t chunk_end = std::min(whole, (b / kChunkBlocks + 1) * kChunkBlocks);
    const std::size_t count = std::min(run, (chunk_end - b + step - 1) / step);
    scan_run(snapshot_.block(coarse, b * kBlockRows), count, b);
    b += count * step;
  }
  if (end_block > whole && step == 1)
    scan_run(snapshot_.block(coarse, whole * kBlockRows), 1, whole);
}

// A first stage of 16 or 32 bits has no codes: its shells are scored row by row.
void CoarseScan::scan_rows(std::size_t first_block, std::size_t end_block, std::size_t first_query,
                           std::span<Collector> collectors) const {
  constexpr std::size_t kRun = 256;
  const std::size_t end = std::min(end_block * kBlockRows, snapshot_.rows);
  std::vector<Survivor> run;
  for (std::size_t row = first_block * kBlockRows; row < end; row += run.size()) {
    run.resize(std::min(kRun, end - row));
    for (std::size_t q = 0; q < collectors.size(); ++q) {
      for (std::size_t i = 0; i < run.size(); ++i) run[i].row = static_cast<std::uint32_t>(row + i);
      rerank(layout_, snapshot_, stage_, queries_.row(first_query + q), false, 0.0F, run);
      for (const Survivor& survivor : run) collectors[q].push(survivor.score, survivor.row);
    }
  }
}

void CoarseScan::scan(std::size_t first_block, std::size_t end_block,
                      std::span<Collector> collectors) const {
  if (stage_.shells.empty())
    scan_codes(first_block, end_block, 1, bind(0, collectors));
  else
    scan_rows(first_block, end_block, 0, collectors);
}

std::vector<Candidate> CoarseScan::finish(std::size_t i, std::vector<Candidate> collected) const {
  const std::size_t wanted = std::min(stage_.keep, snapshot_.rows);
  if (collected.size() >= wanted) {
    keep_best(collected, stage_.keep, better_);
    return collected;
  }
  std::vector<Collector> again;
  again.emplace_back(stage_.keep, better_);
  if (stage_.shells.empty())
    scan_codes(0, blocks(), 1, bind(i, again));
  else
    scan_rows(0, blocks(), i, again);
  return again.front().take();
}

}  // namespace nestling
