#include "search/family_scan.hpp"

#include <algorithm>

#include "base/interrupt.hpp"
#include "simd/cpu.hpp"

namespace nestling {

using simd::kBlockRows;

namespace {

// Sorts visits by family, and then by query. Counting is faster once most families are visited.
void sort_by_family(std::vector<Visit>& visits, std::size_t families) {
  constexpr std::size_t kCountedShare = 8;
  if (visits.size() < families / kCountedShare) {
    std::ranges::sort(visits, {}, [](const Visit& visit) {
      return std::uint64_t{visit.family} << 32 | visit.query;
    });
    return;
  }
  std::vector<std::uint32_t> next(families + 1);
  for (const Visit& visit : visits) ++next[visit.family + 1];
  for (std::size_t f = 0; f < families; ++f) next[f + 1] += next[f];
  std::vector<Visit> sorted(visits.size());
  for (const Visit& visit : visits) sorted[next[visit.family]++] = visit;
  visits = std::move(sorted);
}

// The state of one call of scan_families.
class FamilyScan {
 public:
  FamilyScan(const Families& families, const CodedQueries& queries, std::span<Collector> collectors)
      : families_(families),
        kernel_(simd::active().codes(families.coarse.bits).scan),
        queries_(queries),
        collectors_(collectors) {}

  // Scans the families that one query visits, as one list of blocks.
  void scan_for_one(std::span<const Visit> visits, std::optional<std::uint32_t> upcoming) {
    std::size_t blocks = 0;
    for (const Visit& visit : visits)
      blocks += families_.starts[visit.family + 1] - families_.starts[visit.family];
    numbers_.clear();
    numbers_.reserve(blocks);
    for (const Visit& visit : visits) list_blocks(visit.family);
    const std::size_t count = numbers_.size();
    if (count == 0) return;
    if (upcoming) list_blocks(*upcoming);
    bound_ = {queries_.bind(visits.front().query, collectors_[visits.front().query])};
    const std::span<const std::uint32_t> listed = numbers_;
    for (std::size_t first = 0; first < count; first += kBlocksPerCheck) {
      check_interrupt();
      scan(listed.subspan(first), std::min(kBlocksPerCheck, count - first), nullptr);
    }
  }

  // Scans each family for the queries that visit it; visits are sorted by family.
  void scan_for_all(std::span<const Visit> visits) {
    std::size_t blocks = 0;
    for (std::size_t i = 0; i < visits.size();) {
      std::size_t end = i + 1;
      while (end < visits.size() && visits[end].family == visits[i].family) ++end;
      bound_.clear();
      for (const Visit& visit : visits.subspan(i, end - i))
        bound_.push_back(queries_.bind(visit.query, collectors_[visit.query]));
      numbers_.clear();
      list_blocks(visits[i].family);
      const std::uint8_t* next =
          end < visits.size() ? block(families_.starts[visits[end].family]) : nullptr;
      if (!numbers_.empty()) scan(numbers_, numbers_.size(), next);
      if (blocks / kBlocksPerCheck != (blocks + numbers_.size()) / kBlocksPerCheck)
        check_interrupt();
      blocks += numbers_.size();
      i = end;
    }
  }

  const ScanCounts& counts() const { return counts_; }

 private:
  static constexpr std::size_t kBlocksPerCheck = 1024;  // for an interrupt

  const std::uint8_t* block(std::uint32_t number) const {
    return families_.codes + number * families_.coarse.block_bytes();
  }

  void list_blocks(std::uint32_t family) {
    for (std::uint32_t b = families_.starts[family]; b < families_.starts[family + 1]; ++b)
      numbers_.push_back(b);
  }

  // Scans the first `count` of the blocks that are listed.
  void scan(std::span<const std::uint32_t> listed, std::size_t count, const std::uint8_t* next) {
    const CoarseLayout& coarse = families_.coarse;
    kernel_({.data = families_.codes,
             .numbers = listed.data(),
             .listed = listed.size(),
             .count = count,
             .block_bytes = coarse.block_bytes(),
             .tiles = coarse.tiles(),
             .has_offsets = coarse.has_offsets,
             .allowed = families_.allowed == nullptr ? nullptr : allowed(listed.first(count)),
             .next = next},
            bound_.data(), bound_.size());
    counts_.rows_seen += count * kBlockRows * bound_.size();
    counts_.bytes_read += count * coarse.block_bytes() * bound_.size();
  }

  const std::uint32_t* allowed(std::span<const std::uint32_t> numbers) {
    words_.clear();
    for (const std::uint32_t number : numbers) words_.push_back(families_.allowed[number]);
    return words_.data();
  }

  const Families& families_;
  decltype(simd::CodeKernels::scan) kernel_;
  const CodedQueries& queries_;
  std::span<Collector> collectors_;
  std::vector<simd::ScanQuery> bound_;
  std::vector<std::uint32_t> numbers_, words_;
  ScanCounts counts_;
};

}  // namespace

ScanCounts scan_families(const Families& families, std::vector<Visit>& visits,
                         const CodedQueries& queries, std::span<Collector> collectors,
                         std::optional<std::uint32_t> upcoming) {
  FamilyScan scan(families, queries, collectors);
  if (visits.empty()) return {};
  if (collectors.size() == 1) {
    scan.scan_for_one(visits, upcoming);
  } else {
    sort_by_family(visits, families.starts.size() - 1);
    scan.scan_for_all(visits);
  }
  return scan.counts();
}

}  // namespace nestling
