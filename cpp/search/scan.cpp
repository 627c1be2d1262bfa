#include "search/scan.hpp"

#include <algorithm>
#include <cmath>

#include "base/interrupt.hpp"
#include "search/rerank.hpp"
#include "simd/cpu.hpp"
#include "store/gather.hpp"
#include "store/norms.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// Coarse codes that the queries of a group scan while they are in the cache.
constexpr std::size_t kCacheBytes = std::size_t{192} << 10;
constexpr std::size_t kLine = 64;

// Every kSampleStep-th block is the sample that seeds thresholds.
constexpr std::size_t kSampleStep = 128;

// The rank in the sample whose score becomes the threshold. A sample holds keep / kSampleStep of
// the `keep` best rows, ± the square root of that. With four deviations more, fewer than 1 query in
// 10,000 gets too few rows, and is scanned again.
std::size_t sample_rank(std::size_t keep) {
  const double expected = static_cast<double>(keep) / static_cast<double>(kSampleStep);
  return static_cast<std::size_t>(expected + 4.0 * std::sqrt(expected) + 4.0);
}

// Few allowed rows are copied together if several queries scan them. A single query reads them only
// once in any case.
constexpr std::size_t kGatherQueries = 4;
constexpr std::size_t kGatherShare = 4;  // at most one in this many rows

}  // namespace

CodedQueries::CodedQueries(Metric metric, const CoarseLayout& coarse, std::span<const float> centre,
                           const Queries& queries) {
  const simd::Kernels& all = simd::active();
  const simd::CodeKernels& kernels = all.codes(coarse.bits);
  const std::size_t stride =
      (coarse.tiles() * kernels.query_tile_bytes + kLine - 1) / kLine * kLine;
  packed_.resize(stride * queries.count() + kLine);
  auto* packed =
      packed_.data() + (kLine - reinterpret_cast<std::uintptr_t>(packed_.data()) % kLine);
  prepared_.reserve(queries.count());
  std::vector<float> prefix(coarse.dims);
  for (std::size_t i = 0; i < queries.count(); ++i) {
    const std::span<const float> query = queries.row(i);
    const float factor = inverse_norm(metric, query, coarse.dims);
    for (std::size_t d = 0; d < coarse.dims; ++d) prefix[d] = query[d] * factor;
    float shift = 0.0F;
    if (!centre.empty()) {
      shift = all.dot(prefix.data(), centre.data(), coarse.dims);
      for (std::size_t d = 0; d < coarse.dims; ++d) prefix[d] -= centre[d];
    }
    QueryCode code = encode_query(all, prefix, coarse.bits);
    code.codes.resize(coarse.tiles() * coarse.tile_dims());
    std::uint8_t* out = packed + i * stride;
    const std::int32_t excess = kernels.pack_query(code.codes.data(), coarse.tiles(), out);
    const std::int32_t correction = ((1 << coarse.bits) - 1) * code.sum + 2 * excess;
    prepared_.push_back(simd::ScanQuery::of(out, correction, code.scale));
    shifts_.push_back(shift);
  }
}

GatheredCodes::GatheredCodes(const Layout& layout, const Snapshot& snapshot,
                             const RowSet& selected) {
  rows.reserve(selected.size());
  selected.for_each(0, snapshot.rows,
                    [&](std::size_t row) { rows.push_back(static_cast<std::uint32_t>(row)); });
  const CoarseLayout& coarse = *layout.coarse;
  blocks = allocate(block_count(rows.size()) * coarse.block_bytes());
  copy_codes(coarse, snapshot, rows, reinterpret_cast<std::uint8_t*>(blocks.get()));
}

CoarseScan::CoarseScan(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                       std::size_t k, const Queries& queries, const RowSet* allowed)
    : layout_(layout),
      snapshot_(snapshot),
      stage_(stage),
      queries_(queries),
      k_(k),
      scored_(allowed == nullptr ? snapshot.rows : allowed->size()),
      kernels_(simd::active()),
      gathered_(gather(layout, snapshot, stage, queries, allowed)),
      allowed_(gathered_ ? nullptr : allowed),
      order_(snapshot, slot_rows()),
      thresholds_(queries.count(), -std::numeric_limits<float>::infinity()) {
  if (stage.shells.empty())
    coded_.emplace(layout.metric, *layout.coarse, layout.transform.centre, queries);
}

std::optional<GatheredCodes> CoarseScan::gather(const Layout& layout, const Snapshot& snapshot,
                                                const PlannedStage& stage, const Queries& queries,
                                                const RowSet* allowed) {
  if (allowed == nullptr || !stage.shells.empty() || queries.count() < kGatherQueries ||
      allowed->size() > snapshot.rows / kGatherShare)
    return std::nullopt;
  return GatheredCodes(layout, snapshot, *allowed);
}

SlotRows CoarseScan::slot_rows() const {
  if (!gathered_) return {};
  return {.table = gathered_->rows.data(),
          .slots = static_cast<std::uint32_t>(gathered_->rows.size()),
          .rows = std::numeric_limits<std::uint32_t>::max()};
}

KeepRule CoarseScan::rule(std::size_t query) const {
  return {.keep = stage_.keep,
          .k = k_,
          .margin = stage_.margin,
          .shift = coded_ ? coded_->shift(query) : 0.0F};
}

std::size_t CoarseScan::blocks() const {
  return block_count(slots());
}

std::size_t CoarseScan::bytes_read() const {
  if (!coded_) return scored_ * bytes_per_row(layout_, stage_);
  return blocks() * layout_.coarse->block_bytes();
}

std::vector<Collector> CoarseScan::collectors() const {
  std::vector<Collector> out;
  out.reserve(queries_.count());
  for (std::size_t i = 0; i < queries_.count(); ++i)
    out.emplace_back(rule(i), order_, thresholds_[i]);
  return out;
}

std::vector<simd::ScanQuery> CoarseScan::bind(std::size_t first_query,
                                              std::span<Collector> collectors) const {
  std::vector<simd::ScanQuery> bound;
  bound.reserve(collectors.size());
  for (std::size_t i = 0; i < collectors.size(); ++i)
    bound.push_back(coded_->bind(first_query + i, collectors[i]));
  return bound;
}

void CoarseScan::seed() {
  const std::size_t rank = sample_rank(stage_.keep), first_rank = sample_rank(k_);
  const std::size_t sampled = scored_ / kSampleStep;
  const bool margin = stage_.margin > 0.0F;
  if (!coded_ || sampled < 4 * (margin ? first_rank : rank))
    return;  // the sample would cost more than it saves
  std::vector<Collector> sample;
  sample.reserve(queries_.count());
  for (std::size_t i = 0; i < queries_.count(); ++i)
    sample.emplace_back(KeepRule{.keep = rank, .k = rank}, order_);
  scan_codes(0, slots() / kBlockRows, kSampleStep, bind(0, sample));
  for (std::size_t i = 0; i < sample.size(); ++i) {
    const std::vector<Candidate> best = sample[i].take();
    const std::span<const Candidate> rows(best);
    if (rows.size() >= rank) thresholds_[i] = nth_best(rows, rank);
    if (margin && rows.size() >= first_rank)
      thresholds_[i] = std::max(thresholds_[i], rule(i).lowest(nth_best(rows, first_rank)));
  }
}

const std::uint8_t* CoarseScan::block(std::size_t number) const {
  const CoarseLayout& coarse = *layout_.coarse;
  if (!gathered_) return snapshot_.block(coarse, number * kBlockRows);
  return reinterpret_cast<const std::uint8_t*>(gathered_->blocks.get()) +
         number * coarse.block_bytes();
}

void CoarseScan::scan_codes(std::size_t first_block, std::size_t end_block, std::size_t step,
                            std::span<const simd::ScanQuery> queries) const {
  const CoarseLayout& coarse = *layout_.coarse;
  const auto kernel = kernels_.codes(coarse.bits).scan;
  const std::size_t bytes = coarse.block_bytes();
  // Several queries scan a run of blocks while it is in the cache. A single query needs no runs.
  const std::size_t run =
      queries.size() > 1 ? std::max<std::size_t>(1, kCacheBytes / bytes) : kChunkBlocks;
  const bool sparse = allowed_ != nullptr && scored_ < snapshot_.rows / kBlockRows;
  std::vector<std::uint32_t> stepped;
  const auto scan_run = [&](std::size_t first, std::size_t count, const std::uint8_t* next) {
    const std::uint32_t* allowed = nullptr;
    if (allowed_ != nullptr && step == 1) allowed = allowed_->words().data() + first;
    if (allowed_ != nullptr && step != 1) {
      stepped.resize(count);
      for (std::size_t i = 0; i < count; ++i) stepped[i] = allowed_->words()[first + i * step];
      allowed = stepped.data();
    }
    kernel({.data = block(first),
            .count = count,
            .block_bytes = bytes * step,
            .tiles = coarse.tiles(),
            .has_offsets = coarse.has_offsets,
            .first_row = static_cast<std::uint32_t>(first * kBlockRows),
            .allowed = allowed,
            .sparse = sparse,
            .next = next},
           queries.data(), queries.size());
  };
  // The last block is stored separately if it is not full.
  const std::size_t together = gathered_ ? blocks() : snapshot_.whole_blocks();
  const std::size_t whole = std::min(end_block, together);
  for (std::size_t b = first_block; b < whole;) {
    check_interrupt();
    const std::size_t chunk_end =
        gathered_ ? whole : std::min(whole, (b / kChunkBlocks + 1) * kChunkBlocks);
    const std::size_t count = std::min(run, (chunk_end - b + step - 1) / step);
    const bool more = queries.size() > 1 && step == 1 && b + 2 * count <= chunk_end;
    scan_run(b, count, more ? block(b + count) : nullptr);
    b += count * step;
  }
  if (end_block > whole && whole >= first_block && step == 1) scan_run(whole, 1, nullptr);
}

// A first stage of 16 or 32 bits has no codes: its shells are scored row by row.
void CoarseScan::scan_rows(std::size_t first_block, std::size_t end_block, std::size_t first_query,
                           std::span<Collector> collectors) const {
  constexpr std::size_t kRun = 256;
  const std::size_t end = std::min(end_block * kBlockRows, snapshot_.rows);
  std::vector<Survivor> run;
  run.reserve(kRun);
  const auto score = [&] {
    for (std::size_t q = 0; q < collectors.size(); ++q) {
      rerank(layout_, snapshot_, stage_, queries_.row(first_query + q), false, 0.0F, run);
      for (const Survivor& survivor : run) collectors[q].push(survivor.score, survivor.row);
    }
    run.clear();
  };
  const auto visit = [&](std::size_t row) {
    run.push_back({0.0F, 0.0F, static_cast<std::uint32_t>(row)});
    if (run.size() == kRun) score();
  };
  if (allowed_ != nullptr)
    allowed_->for_each(first_block * kBlockRows, end, visit);
  else
    for (std::size_t row = first_block * kBlockRows; row < end; ++row) visit(row);
  score();
}

void CoarseScan::scan(std::size_t first_block, std::size_t end_block,
                      std::span<Collector> collectors) const {
  if (coded_)
    scan_codes(first_block, end_block, 1, bind(0, collectors));
  else
    scan_rows(first_block, end_block, 0, collectors);
}

// Whether all rows that must be kept are certain to have passed the threshold.
bool CoarseScan::is_complete(const KeepRule& rule, std::span<const Candidate> collected,
                             float threshold) const {
  if (collected.size() >= std::min(rule.keep, scored_)) return true;
  return rule.margin > 0.0F && collected.size() >= rule.k &&
         rule.lowest(nth_best(collected, rule.k)) >= threshold;
}

std::vector<Survivor> CoarseScan::finish(std::size_t i, std::vector<Candidate> collected) const {
  const KeepRule rule = this->rule(i);
  if (!is_complete(rule, collected, thresholds_[i])) {
    std::vector<Collector> again;
    again.emplace_back(rule, order_);
    if (coded_)
      scan_codes(0, blocks(), 1, bind(i, again));
    else
      scan_rows(0, blocks(), i, again);
    collected = again.front().take();
  }
  keep_best(collected, rule, order_);
  std::vector<Survivor> survivors;
  survivors.reserve(collected.size());
  for (const auto& [score, slot] : collected)
    survivors.push_back(Survivor::of(score + rule.shift, order_.rows()(slot)));
  return survivors;
}

}  // namespace nestling
