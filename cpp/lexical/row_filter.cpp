#include "lexical/row_filter.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"

namespace nestling::lexical {
namespace {

constexpr std::size_t kRankedShare = 16;       // one of so many rows, or less: they have ranks
constexpr std::size_t kRowsPerKept = 4;        // of the index, for a row of a list that is kept
constexpr std::size_t kRoomOfList = 32;        // that a list takes beside its rows, as rows
constexpr std::size_t kBlocksPerCheck = 1024;  // for an interrupt

}  // namespace

FilteredLists::FilteredLists(std::span<const std::uint32_t> allowed, std::size_t rows)
    : allowed_(allowed), room_(rows / kRowsPerKept) {}

std::shared_ptr<const RowList> FilteredLists::find(const Postings& postings, const TermList& list) {
  const std::uint64_t term = list.postings;  // where its list begins, which no other one does
  {
    const std::scoped_lock lock(mutex_);
    const auto known = lists_.find(term);
    if (known == lists_.end()) {
      remember(term, nullptr);
      return nullptr;
    }
    if (known->second) return known->second;
  }
  auto made = std::make_shared<const RowList>(postings, read(postings, list));
  const std::scoped_lock lock(mutex_);
  remember(term, made);
  return made;
}

RowCounts FilteredLists::read(const Postings& postings, const TermList& list) const {
  RowCounts found;
  const ListReader reader(postings, list);
  std::array<std::uint32_t, kBlockPostings> rows, frequencies;
  std::array<std::uint8_t, kBlockPostings> places;
  for (std::size_t block = 0; block < reader.blocks(); ++block) {
    if (block % kBlocksPerCheck == 0) check_interrupt();
    reader.read_rows(block, rows);
    std::size_t count = 0;
    for (std::size_t i = 0; i < reader.count(block); ++i) {  // without branches, most not foreseen
      places[count] = static_cast<std::uint8_t>(i);
      count += has_row(allowed_, rows[i]) ? 1 : 0;
    }
    if (count == 0) continue;
    reader.read_frequencies(block, frequencies);
    for (std::size_t c = 0; c < count; ++c) {
      found.rows.push_back(rows[places[c]]);
      found.frequencies.push_back(frequencies[places[c]]);
    }
  }
  return found;
}

void FilteredLists::remember(std::uint64_t term, std::shared_ptr<const RowList> list) {
  const std::size_t size = kRoomOfList + (list ? list->size() : 0);
  if (used_ + size > room_) {  // whatever is still searched for comes again
    lists_.clear();
    used_ = 0;
  }
  used_ += size;
  lists_[term] = std::move(list);
}

RowFilter::RowFilter(std::span<const PlacedIndex> indexes, std::span<const std::int64_t> allowed) {
  auto at = allowed.begin();
  for (const PlacedIndex& placed : indexes) {
    const std::size_t rows = placed.index->postings().rows();
    const std::int64_t end = placed.first + static_cast<std::int64_t>(rows);
    Part& part = parts_.emplace_back();
    part.first = placed.first;
    part.rows = rows;
    part.words.resize(row_words(rows));
    at = std::lower_bound(at, allowed.end(), placed.first);
    for (; at != allowed.end() && *at < end; ++at) {
      const auto row = static_cast<std::uint64_t>(*at - placed.first);
      if (row < rows) part.words[row / kRowsPerWord] |= 1U << row % kRowsPerWord;
    }
    const auto live = placed.index->live();
    for (std::size_t w = 0; w < part.words.size(); ++w) {
      if (!live.empty()) part.words[w] &= live[w];
      part.count += static_cast<unsigned>(std::popcount(part.words[w]));
    }
    if (part.count <= rows / kRankedShare) rank_rows(part, placed.index->postings());
  }
}

void RowFilter::rank_rows(Part& part, const Postings& postings) {
  part.ranks.reserve(part.words.size() + 1);
  part.row_of.reserve(part.count);
  part.length_of.reserve(part.count);
  for (std::size_t w = 0; w < part.words.size(); ++w) {
    part.ranks.push_back(static_cast<std::uint32_t>(part.row_of.size()));
    for (std::uint32_t word = part.words[w]; word != 0; word &= word - 1) {
      const std::size_t row = w * kRowsPerWord + static_cast<std::size_t>(std::countr_zero(word));
      part.row_of.push_back(static_cast<std::uint32_t>(row));
      part.length_of.push_back(postings.length(row));
    }
  }
  part.ranks.push_back(static_cast<std::uint32_t>(part.row_of.size()));
  part.lists = std::make_unique<FilteredLists>(part.words, part.rows);
}

const RowFilter::Part& RowFilter::part(std::size_t number, const PlacedIndex& placed) const {
  if (number >= parts_.size() || parts_[number].first != placed.first ||
      parts_[number].rows != placed.index->postings().rows())
    throw IdError("the filter was made for other word indexes");
  return parts_[number];
}

}  // namespace nestling::lexical
