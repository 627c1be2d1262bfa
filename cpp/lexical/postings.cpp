#include "lexical/postings.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

#include "base/error.hpp"
#include "base/interrupt.hpp"

namespace nestling::lexical {
namespace {

constexpr std::size_t kWidths = 3;  // bytes before a list without directory

[[noreturn]] void corrupted(const char* what) {
  throw FormatError(std::string("corrupted word index: ") + what);
}

void require(bool holds, const char* what) {
  if (!holds) corrupted(what);
}

constexpr std::uint32_t kLargestLength = 1U << 18;

std::size_t group_of(std::uint32_t frequency) {
  return frequency <= 2 ? frequency - 1 : frequency <= 4 ? 2 : 3;
}

}  // namespace

void Bound::include(std::uint32_t frequency, std::uint32_t length) {
  most = std::max(most, static_cast<std::uint8_t>(std::min<std::uint32_t>(frequency, kManyTimes)));
  std::uint8_t& least = shortest[group_of(frequency)];
  least = std::min(least, length_code(length));
}

void Bound::include(const Bound& other) {
  most = std::max(most, other.most);
  for (std::size_t g = 0; g < kFrequencyGroups; ++g)
    shortest[g] = std::min(shortest[g], other.shortest[g]);
}

std::uint8_t length_code(std::uint32_t length) {
  length = std::min(length, kLargestLength);
  if (length < 32) return static_cast<std::uint8_t>(length);
  const auto width = static_cast<std::uint32_t>(std::bit_width(length));
  return static_cast<std::uint8_t>(32 + (width - 6) * 16 + (length >> (width - 5) & 15));
}

std::uint32_t length_of(std::uint8_t code) {
  if (code < 32) return code;
  const std::uint32_t step = (code - 32U) / 16, part = (code - 32U) % 16;
  return (16 + part) << (step + 1);
}

Postings::Postings(WordParts parts) : parts_(std::move(parts)) {
  const WordCounts& counts = parts_.counts;
  require(counts.rows <= std::numeric_limits<std::uint32_t>::max(), "too many rows");
  require(counts.documents <= counts.rows, "more documents than rows");
  require(counts.length_bytes == 1 || counts.length_bytes == 2 || counts.length_bytes == 4,
          "the width of lengths");
  require(counts.directory_size % sizeof(BlockEntry) == 0, "the size of the directory");
  require(counts.postings_size >= kReadAhead && counts.positions_size >= kReadAhead,
          "the sizes of the lists");
  require((counts.documents == counts.rows) == !parts_.present, "the rows that are there");
}

std::size_t Postings::memory() const {
  const WordCounts& counts = parts_.counts;
  return static_cast<std::size_t>(counts.dictionary_size + counts.postings_size +
                                  counts.directory_size + counts.positions_size +
                                  counts.rows * counts.length_bytes) +
         starts() * sizeof(std::uint64_t);
}

std::uint32_t Postings::length(std::size_t row) const {
  return with_lengths([row](const auto* lengths) -> std::uint32_t { return lengths[row]; });
}

std::span<const std::uint32_t> Postings::present() const {
  if (!parts_.present) return {};
  return {reinterpret_cast<const std::uint32_t*>(parts_.present.get()), row_words(rows())};
}

std::size_t Postings::start_of(std::string_view term) const {
  std::size_t first = 0, last = starts();
  while (last - first > 1) {
    const std::size_t middle = first + (last - first) / 2;
    if (TermIterator(*this, middle).term() <= term)
      first = middle;
    else
      last = middle;
  }
  return first;
}

TermIterator Postings::from(std::string_view term) const {
  TermIterator at(*this, start_of(term));
  while (!at.done() && at.term() < term) at.next();
  return at;
}

std::optional<TermList> Postings::find(std::string_view term) const {
  const TermIterator at = from(term);
  if (at.done() || at.term() != term) return std::nullopt;
  return at.list();
}

std::vector<TermList> Postings::with_prefix(std::string_view prefix) const {
  std::vector<TermList> found;
  for (TermIterator at = from(prefix); !at.done() && at.term().starts_with(prefix); at.next())
    found.push_back(at.list());
  return found;
}

void Postings::check() const {
  const WordCounts& counts = parts_.counts;
  std::uint64_t documents = 0;
  for (const std::uint32_t word : present())
    documents += static_cast<unsigned>(std::popcount(word));
  require(present().empty() || documents == counts.documents, "the rows that are there");
  std::vector<std::uint64_t> tokens(rows());
  std::uint64_t postings = 0, total = 0;
  std::string before;
  std::array<std::uint32_t, kBlockPostings> rows_read{}, frequencies{};
  std::vector<std::uint32_t> positions;
  for (TermIterator at(*this); !at.done(); at.next()) {
    require(at.term() > before, "terms are not in order");
    before = at.term();
    const ListReader list(*this, at.list());
    postings += list.rows();
    for (std::size_t b = 0; b < list.blocks(); ++b) {
      check_interrupt();
      list.read_rows(b, rows_read);
      list.read_frequencies(b, frequencies);
      const std::size_t count = list.count(b);
      list.read_positions(b, std::span(frequencies).first(count), positions);
      for (std::size_t i = 0; i < count; ++i) tokens[rows_read[i]] += frequencies[i];
    }
  }
  for (std::size_t row = 0; row < rows(); ++row) {
    require(tokens[row] == length(row), "a length differs from the number of tokens");
    total += tokens[row];
    require(tokens[row] == 0 || present().empty() || has_row(present(), row),
            "words of a row that is not there");
  }
  require(total == counts.tokens && postings == counts.postings, "the numbers of tokens");
}

TermIterator::TermIterator(const Postings& postings, std::size_t group)
    : postings_(&postings), term_(group * kTermsTogether) {
  if (done()) return;
  enter_group();
  read();
}

void TermIterator::next() {
  ++term_;
  if (done()) return;
  if (term_ % kTermsTogether == 0) {
    enter_group();
  } else {
    list_.postings += list_.postings_size;
    list_.positions += list_.positions_size;
    list_.directory += list_.entries();
  }
  read();
}

void TermIterator::enter_group() {
  const auto* starts = reinterpret_cast<const std::uint64_t*>(postings_->parts_.starts.get());
  at_ = starts[term_ / kTermsTogether];
  list_.postings = varint();
  list_.positions = varint();
  list_.directory = varint();
  text_.clear();
}

void TermIterator::read() {
  const WordParts& parts = postings_->parts_;
  const WordCounts& counts = parts.counts;
  const std::uint64_t shared = varint();
  const std::uint64_t size = varint();
  require(shared <= text_.size() && at_ <= counts.dictionary_size &&
              size <= counts.dictionary_size - at_,
          "a term leaves the dictionary");
  text_.resize(static_cast<std::size_t>(shared));
  text_.append(reinterpret_cast<const char*>(parts.dictionary.get() + at_),
               static_cast<std::size_t>(size));
  at_ += size;
  const std::uint64_t rows = varint();
  list_.postings_size = varint();
  list_.positions_size = varint();
  require(rows >= 1 && rows <= counts.rows, "the number of rows of a term");
  list_.rows = static_cast<std::uint32_t>(rows);
  const std::uint64_t postings = counts.postings_size - kReadAhead;
  const std::uint64_t positions = counts.positions_size - kReadAhead;
  const std::uint64_t entries = counts.directory_size / sizeof(BlockEntry);
  require(list_.postings <= postings && list_.postings_size <= postings - list_.postings &&
              list_.positions <= positions && list_.positions_size <= positions - list_.positions,
          "a list leaves its section");
  require(list_.directory <= entries && list_.entries() <= entries - list_.directory,
          "a list leaves the directory");
}

std::uint64_t TermIterator::varint() {
  const WordParts& parts = postings_->parts_;
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    require(at_ < parts.counts.dictionary_size, "the dictionary ends within a term");
    const auto byte = static_cast<std::uint8_t>(parts.dictionary.get()[at_++]);
    value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  corrupted("a number of the dictionary is too long");
}

ListReader::ListReader(const Postings& postings, const TermList& list)
    : postings_(&postings), list_(list) {
  if (list.has_directory()) return;
  require(list.postings_size >= kWidths, "a list is too short");
  const std::byte* widths = postings.parts_.postings.get() + list.postings;
  only_.last_row = static_cast<std::uint32_t>(postings.rows() - 1);
  only_.postings = kWidths;
  only_.row_bits = static_cast<std::uint8_t>(widths[0]);
  only_.frequency_bits = static_cast<std::uint8_t>(widths[1]);
  only_.position_bits = static_cast<std::uint8_t>(widths[2]);
  only_.bound = {kManyTimes, {0, 0, 0, 0}};
}

BlockEntry ListReader::directory(std::size_t number) const {
  BlockEntry entry;
  std::memcpy(&entry, postings_->parts_.directory.get() + (list_.directory + number) * sizeof entry,
              sizeof entry);
  return entry;
}

BlockEntry ListReader::entry(std::size_t block) const {
  return list_.has_directory() ? directory(block + 1) : only_;
}

Bound ListReader::bound() const {
  return directory(0).bound;
}

std::size_t ListReader::count(std::size_t block) const {
  return std::min(kBlockPostings, list_.rows - block * kBlockPostings);
}

const std::byte* ListReader::block_bytes(const BlockEntry& entry, std::size_t count) const {
  require(entry.row_bits <= 32 && entry.frequency_bits <= 32 && entry.position_bits <= 32,
          "a width of more than 32 bits");
  const std::size_t size =
      packed_size(count, entry.row_bits) + packed_size(count, entry.frequency_bits);
  require(entry.postings <= list_.postings_size && size <= list_.postings_size - entry.postings,
          "a block leaves its list");
  return postings_->parts_.postings.get() + list_.postings + entry.postings;
}

void ListReader::read_rows(std::size_t block, std::span<std::uint32_t, kBlockPostings> rows) const {
  const BlockEntry at = entry(block);
  const std::size_t n = count(block);
  const std::byte* bytes = block_bytes(at, n);
  if (n == kBlockPostings)
    unpack_block(bytes, at.row_bits, rows);
  else
    unpack(bytes, at.row_bits, rows.first(n));
  // In 64 bits the rows rise, whatever the differences are; so only the last can be out of range.
  std::uint64_t next = block == 0 ? 0 : std::uint64_t{entry(block - 1).last_row} + 1;
  for (std::size_t i = 0; i < n; ++i) {
    next += rows[i];
    rows[i] = static_cast<std::uint32_t>(next++);
  }
  const std::uint64_t last = next - 1;
  require(last <= at.last_row && at.last_row < postings_->rows() &&
              (last == at.last_row || !list_.has_directory()),
          "rows are not in order");
}

void ListReader::read_frequencies(std::size_t block,
                                  std::span<std::uint32_t, kBlockPostings> frequencies) const {
  const BlockEntry at = entry(block);
  const std::size_t n = count(block);
  const std::byte* bytes = block_bytes(at, n) + packed_size(n, at.row_bits);
  if (n == kBlockPostings)
    unpack_block(bytes, at.frequency_bits, frequencies);
  else
    unpack(bytes, at.frequency_bits, frequencies.first(n));
  std::uint32_t most = 0;
  for (std::size_t i = 0; i < n; ++i) most = std::max(most, frequencies[i]);
  require(most < std::numeric_limits<std::uint32_t>::max(), "a frequency");
  for (std::size_t i = 0; i < n; ++i) ++frequencies[i];
}

void ListReader::read_positions(std::size_t block, std::span<const std::uint32_t> frequencies,
                                std::vector<std::uint32_t>& positions) const {
  const BlockEntry at = entry(block);
  block_bytes(at, frequencies.size());
  std::uint64_t total = 0;
  for (const std::uint32_t frequency : frequencies) total += frequency;
  require(at.positions <= list_.positions_size, "positions leave their list");
  // Positions have at least a bit each, so that the file bounds the memory that they take.
  const std::uint64_t room = (list_.positions_size - at.positions) * 8;
  require(at.position_bits > 0 && total <= room / at.position_bits, "positions leave their list");
  positions.resize(static_cast<std::size_t>(total));
  unpack(postings_->parts_.positions.get() + list_.positions + at.positions, at.position_bits,
         positions);
}

}  // namespace nestling::lexical
