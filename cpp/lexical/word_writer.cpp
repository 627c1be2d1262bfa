#include "lexical/word_writer.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "lexical/porter.hpp"
#include "lexical/tokens.hpp"

namespace nestling::lexical {
namespace {

constexpr std::uint32_t kGap = ~0U;  // among tokens: has a position, but no term

// Shares the memory of a vector.
template <class T>
Bytes shared(std::vector<T> values) {
  auto owned = std::make_shared<std::vector<T>>(std::move(values));
  return {owned, reinterpret_cast<std::byte*>(owned->data())};
}

std::uint32_t offset(std::size_t from, std::size_t to) {
  if (to - from > std::numeric_limits<std::uint32_t>::max())
    throw SettingError("a word occurs too often for one word index: merge fewer rows");
  return static_cast<std::uint32_t>(to - from);
}

// What a block holds, in the form that it is packed in.
struct Block {
  std::vector<std::uint32_t> rows, frequencies, positions;
  BlockEntry entry;
};

unsigned bits_of(std::span<const std::uint32_t> values) {
  std::uint32_t all = 0;
  for (const std::uint32_t value : values) all |= value;
  return bits_for(all);
}

// Takes the rows first..last of a list; `position` is the number of its first position.
void fill(Block& block, const TermRows& list, std::size_t first, std::size_t last,
          std::size_t& position, std::span<const std::uint32_t> lengths) {
  block.rows.clear();
  block.frequencies.clear();
  block.positions.clear();
  block.entry = {};
  for (std::size_t i = first; i < last; ++i) {
    const std::uint32_t row = list.rows[i], frequency = list.frequencies[i];
    block.rows.push_back(i == 0 ? row : row - list.rows[i - 1] - 1);
    block.frequencies.push_back(frequency - 1);
    block.entry.bound.include(frequency, lengths[row]);
    for (std::uint32_t f = 0; f < frequency; ++f, ++position) {
      const std::uint32_t at = list.positions[position];
      block.positions.push_back(f == 0 ? at : at - list.positions[position - 1] - 1);
    }
  }
  block.entry.last_row = list.rows[last - 1];
  block.entry.row_bits = static_cast<std::uint8_t>(bits_of(block.rows));
  block.entry.frequency_bits = static_cast<std::uint8_t>(bits_of(block.frequencies));
  block.entry.position_bits = static_cast<std::uint8_t>(std::max(1U, bits_of(block.positions)));
}

void put(std::span<const std::uint32_t> values, unsigned bits, std::vector<std::byte>& out) {
  if (values.size() == kBlockPostings)
    pack_block(values.first<kBlockPostings>(), bits, out);
  else
    pack(values, bits, out);
}

template <class T>
std::vector<T> narrowed(const std::vector<std::uint32_t>& values) {
  std::vector<T> narrow(values.size());
  std::ranges::transform(values, narrow.begin(), [](std::uint32_t v) { return static_cast<T>(v); });
  return narrow;
}

}  // namespace

void TermRows::clear() {
  rows.clear();
  frequencies.clear();
  positions.clear();
}

PostingsWriter::PostingsWriter(std::vector<std::uint32_t> lengths,
                               std::vector<std::uint32_t> present)
    : lengths_(std::move(lengths)), present_(std::move(present)) {
  counts_.rows = lengths_.size();
  for (const std::uint32_t word : present_)
    counts_.documents += static_cast<unsigned>(std::popcount(word));
  counts_.tokens = std::accumulate(lengths_.begin(), lengths_.end(), std::uint64_t{0});
}

void PostingsWriter::add(std::string_view term, const TermRows& list) {
  check_interrupt();
  const std::size_t postings = postings_.size(), positions = positions_.size();
  if (counts_.terms % kTermsTogether == 0) {
    starts_.push_back(dictionary_.size());
    put_varint(postings, dictionary_);
    put_varint(positions, dictionary_);
    put_varint(directory_.size(), dictionary_);
    before_.clear();
  }
  const bool has_directory = list.rows.size() >= kBlockPostings;
  const std::size_t summary = directory_.size();
  if (has_directory) directory_.push_back({.last_row = list.rows.back()});
  Block block;
  std::size_t position = 0;
  for (std::size_t first = 0; first < list.rows.size(); first += kBlockPostings) {
    const std::size_t last = std::min(first + kBlockPostings, list.rows.size());
    fill(block, list, first, last, position, lengths_);
    BlockEntry& entry = block.entry;
    if (has_directory) {
      entry.postings = offset(postings, postings_.size());
      entry.positions = offset(positions, positions_.size());
      directory_.push_back(entry);
      directory_[summary].bound.include(entry.bound);
    } else {
      for (const std::uint8_t width : {entry.row_bits, entry.frequency_bits, entry.position_bits})
        postings_.push_back(static_cast<std::byte>(width));
    }
    put(block.rows, entry.row_bits, postings_);
    put(block.frequencies, entry.frequency_bits, postings_);
    pack(block.positions, entry.position_bits, positions_);
  }
  const auto shared =
      static_cast<std::size_t>(std::ranges::mismatch(before_, term).in1 - before_.begin());
  const auto suffix = std::as_bytes(std::span(term.substr(shared)));
  put_varint(shared, dictionary_);
  put_varint(suffix.size(), dictionary_);
  dictionary_.insert(dictionary_.end(), suffix.begin(), suffix.end());
  put_varint(list.rows.size(), dictionary_);
  put_varint(postings_.size() - postings, dictionary_);
  put_varint(positions_.size() - positions, dictionary_);
  before_ = term;
  ++counts_.terms;
  counts_.postings += list.rows.size();
}

std::shared_ptr<const Postings> PostingsWriter::finish() {
  postings_.resize(postings_.size() + kReadAhead);
  positions_.resize(positions_.size() + kReadAhead);
  counts_.dictionary_size = dictionary_.size();
  counts_.postings_size = postings_.size();
  counts_.positions_size = positions_.size();
  counts_.directory_size = directory_.size() * sizeof(BlockEntry);
  const std::uint32_t longest = lengths_.empty() ? 0 : std::ranges::max(lengths_);
  counts_.length_bytes = longest <= 0xFF ? 1 : longest <= 0xFFFF ? 2 : 4;
  WordParts parts;
  parts.counts = counts_;
  parts.lengths = counts_.length_bytes == 1   ? shared(narrowed<std::uint8_t>(lengths_))
                  : counts_.length_bytes == 2 ? shared(narrowed<std::uint16_t>(lengths_))
                                              : shared(std::move(lengths_));
  if (counts_.documents < counts_.rows) parts.present = shared(std::move(present_));
  parts.dictionary = shared(std::move(dictionary_));
  parts.starts = shared(std::move(starts_));
  parts.postings = shared(std::move(postings_));
  parts.directory = shared(std::move(directory_));
  parts.positions = shared(std::move(positions_));
  return std::make_shared<const Postings>(std::move(parts));
}

std::uint32_t WordBuilder::number_of(std::string_view word) {
  if (const auto known = words_.find(word); known != words_.end()) return known->second;
  std::string term(word);
  stem(term);
  const auto number =
      terms_.try_emplace(std::move(term), static_cast<std::uint32_t>(terms_.size())).first->second;
  words_.emplace(word, number);
  return number;
}

void WordBuilder::put(std::string_view text) {
  for_each_word(text, [&](std::string_view word) { tokens_.push_back(number_of(word)); });
}

void WordBuilder::add(std::uint32_t row, std::string_view text, std::string_view title,
                      std::size_t repeats) {
  for (std::size_t i = 0; i < repeats; ++i) {
    put(title);
    tokens_.push_back(kGap);
  }
  put(text);
  rows_.push_back({row, tokens_.size()});
}

std::shared_ptr<const Postings> WordBuilder::finish(std::size_t rows) {
  std::vector<std::uint32_t> lengths(rows), present(row_words(rows));
  std::vector<std::size_t> ends(terms_.size());  // of the tokens of each term
  for (const std::uint32_t number : tokens_)
    if (number != kGap) ++ends[number];
  std::size_t end = 0;
  for (std::size_t& count : ends) count = std::exchange(end, end + count);
  struct Place {
    std::uint32_t row, position;
  };
  std::vector<Place> places(tokens_.size());
  std::size_t at = 0;
  for (const Row& row : rows_) {
    present[row.row / kRowsPerWord] |= 1U << row.row % kRowsPerWord;
    for (std::uint32_t position = 0; at < row.end; ++at, ++position) {
      if (tokens_[at] == kGap) continue;
      places[ends[tokens_[at]]++] = {row.row, position};
      ++lengths[row.row];
    }
  }
  std::vector<std::pair<std::string_view, std::uint32_t>> order(terms_.begin(), terms_.end());
  std::ranges::sort(order);
  PostingsWriter writer(std::move(lengths), std::move(present));
  TermRows list;
  for (const auto& [term, number] : order) {
    list.clear();
    for (std::size_t p = number == 0 ? 0 : ends[number - 1]; p < ends[number]; ++p) {
      const auto& [row, position] = places[p];
      if (list.rows.empty() || list.rows.back() != row) {
        list.rows.push_back(row);
        list.frequencies.push_back(0);
      }
      ++list.frequencies.back();
      list.positions.push_back(position);
    }
    writer.add(term, list);
  }
  return writer.finish();
}

}  // namespace nestling::lexical
