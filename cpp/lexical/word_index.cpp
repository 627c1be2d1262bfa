#include "lexical/word_index.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "lexical/word_writer.hpp"

namespace nestling::lexical {
namespace {

// Appends the rows of a list that are left, with `shift` added.
void append(const WordIndex& index, const TermList& term, std::uint32_t shift, TermRows& out) {
  const ListReader list(index.postings(), term);
  std::array<std::uint32_t, kBlockPostings> rows, frequencies;
  std::vector<std::uint32_t> positions;
  for (std::size_t block = 0; block < list.blocks(); ++block) {
    const std::size_t count = list.count(block);
    list.read_rows(block, rows);
    list.read_frequencies(block, frequencies);
    list.read_positions(block, std::span(frequencies).first(count), positions);
    std::size_t at = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t end = at + frequencies[i];
      if (index.is_live(rows[i])) {
        out.rows.push_back(rows[i] + shift);
        out.frequencies.push_back(frequencies[i]);
        std::uint32_t position = ~0U;
        for (std::size_t p = at; p < end; ++p)
          out.positions.push_back(position += positions[p] + 1);
      }
      at = end;
    }
  }
}

}  // namespace

WordIndex::WordIndex(std::shared_ptr<const Postings> postings)
    : postings_(std::move(postings)),
      documents_(postings_->counts().documents),
      tokens_(postings_->counts().tokens) {}

std::shared_ptr<const WordIndex> WordIndex::of(std::span<const std::int64_t> rows,
                                               std::span<const std::string_view> texts,
                                               std::size_t count,
                                               std::span<const std::string_view> titles,
                                               std::size_t title_weight) {
  if (count > std::numeric_limits<std::uint32_t>::max())
    throw IdError("more rows than a word index can hold");
  WordBuilder builder;
  std::int64_t before = -1;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] <= before || rows[i] >= static_cast<std::int64_t>(count))
      throw IdError("rows must rise and be below " + std::to_string(count) + ", not " +
                    std::to_string(rows[i]));
    before = rows[i];
    check_interrupt();
    const std::string_view title = titles.empty() ? std::string_view() : titles[i];
    builder.add(static_cast<std::uint32_t>(before), texts[i], title,
                title.empty() ? 0 : title_weight - 1);
  }
  return std::make_shared<const WordIndex>(builder.finish(count));
}

std::shared_ptr<const WordIndex> WordIndex::without(std::span<const std::int64_t> rows) const {
  auto changed = std::make_shared<WordIndex>(postings_);
  const std::size_t size = postings_->rows();
  const auto present = postings_->present();
  changed->live_ = live_;
  if (live_.empty()) changed->live_.assign(present.begin(), present.end());
  if (changed->live_.empty()) changed->live_.assign(row_words(size), ~0U);
  changed->documents_ = documents_;
  changed->tokens_ = tokens_;
  for (const std::int64_t id : rows) {
    const auto row = static_cast<std::uint64_t>(id);
    if (row >= size || !has_row(changed->live_, row)) continue;
    changed->live_[row / kRowsPerWord] &= ~(1U << row % kRowsPerWord);
    const std::uint32_t length = postings_->length(row);
    if (changed->documents_ == 0 || length > changed->tokens_)
      throw FormatError("corrupted word index: its rows have more words than it counts");
    --changed->documents_;
    changed->tokens_ -= length;
  }
  return changed;
}

std::uint64_t WordIndex::count(const TermList& term) const {
  if (live_.empty()) return term.rows;
  const std::uint64_t key = term.postings + term.directory;  // no two lists have the same
  {
    const std::scoped_lock lock(mutex_);
    if (const auto known = counts_.find(key); known != counts_.end()) return known->second;
  }
  const ListReader list(*postings_, term);
  std::array<std::uint32_t, kBlockPostings> rows;
  std::uint64_t count = 0;
  for (std::size_t block = 0; block < list.blocks(); ++block) {
    list.read_rows(block, rows);
    for (std::size_t i = 0; i < list.count(block); ++i) count += has_row(live_, rows[i]);
  }
  const std::scoped_lock lock(mutex_);
  counts_.emplace(key, count);
  return count;
}

std::shared_ptr<const WordIndex> WordIndex::merged(std::span<const WordIndex* const> indexes,
                                                   std::span<const std::int64_t> shifts) {
  if (indexes.size() != shifts.size())
    throw IdError(std::to_string(shifts.size()) + " shifts for " + std::to_string(indexes.size()) +
                  " word indexes");
  std::uint64_t rows = 0;
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    const auto shift = static_cast<std::uint64_t>(shifts[i]);
    if (shifts[i] < 0 || shift < rows) throw IdError("the rows of word indexes overlap");
    rows = shift + indexes[i]->postings().rows();
    if (rows > std::numeric_limits<std::uint32_t>::max())
      throw IdError("more rows than a word index can hold");
  }
  std::vector<std::uint32_t> lengths(rows), present(row_words(rows));
  std::vector<TermIterator> terms;
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    const Postings& postings = indexes[i]->postings();
    for (std::size_t row = 0; row < postings.rows(); ++row)
      if (indexes[i]->is_live(row)) {
        const std::size_t moved = static_cast<std::size_t>(shifts[i]) + row;
        lengths[moved] = postings.length(row);
        present[moved / kRowsPerWord] |= 1U << moved % kRowsPerWord;
      }
    terms.emplace_back(postings);
  }
  while (!lengths.empty() && !has_row(present, lengths.size() - 1)) lengths.pop_back();
  present.resize(row_words(lengths.size()));
  PostingsWriter writer(std::move(lengths), std::move(present));
  TermRows list;
  while (true) {
    const std::string* least = nullptr;
    for (const TermIterator& at : terms)
      if (!at.done() && (least == nullptr || at.term() < *least)) least = &at.term();
    if (least == nullptr) break;
    const std::string term = *least;
    list.clear();
    for (std::size_t i = 0; i < terms.size(); ++i) {
      if (terms[i].done() || terms[i].term() != term) continue;
      append(*indexes[i], terms[i].list(), static_cast<std::uint32_t>(shifts[i]), list);
      terms[i].next();
    }
    if (!list.rows.empty()) writer.add(term, list);
  }
  return std::make_shared<const WordIndex>(writer.finish());
}

bool WordIndex::same(const WordIndex& other) const {
  // The same words in the same rows are written as the same bytes.
  const auto parts = [](const WordIndex* index) {
    const std::int64_t shift = 0;
    return merged(std::span(&index, 1), std::span(&shift, 1))->postings_->parts();
  };
  const WordParts one = parts(this), two = parts(&other);
  const WordCounts& counts = one.counts;
  const auto equal = [](const Bytes& a, const Bytes& b, std::uint64_t size) {
    return std::memcmp(a.get(), b.get(), static_cast<std::size_t>(size)) == 0;
  };
  return std::memcmp(&counts, &two.counts, sizeof counts) == 0 &&
         equal(one.dictionary, two.dictionary, counts.dictionary_size) &&
         equal(one.postings, two.postings, counts.postings_size) &&
         equal(one.directory, two.directory, counts.directory_size) &&
         equal(one.positions, two.positions, counts.positions_size) &&
         equal(one.lengths, two.lengths, counts.rows * counts.length_bytes) &&
         (!one.present ||
          equal(one.present, two.present, row_words(static_cast<std::size_t>(counts.rows)) * 4));
}

}  // namespace nestling::lexical
