// The words of many rows: which rows have a term, how often and where. Immutable.
//
// Terms are in the order of their bytes, and rows of a term rise. A list of rows is cut into blocks
// of 128: of each row the difference from the one before less one, then how often it has the term
// less one, each in as few bits as the largest of the block needs. The last block has what remains.
// Positions of a block follow one another elsewhere: of each row the first, then differences less
// one. So what a search does not read, it does not touch.
//
// A list of fewer than 128 rows begins with its three widths in bits, a byte each. A longer one has
// an entry of the directory per block, with the widths, where the block is, its last row, and what
// bounds its BM25 whatever the statistics of the collection are: the shortest of the rows that have
// the term once, twice, three or four times, and more often. An entry before them bounds them all.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/memory.hpp"
#include "lexical/bits.hpp"

namespace nestling::lexical {

inline constexpr std::size_t kRowsPerWord = 32;

inline std::size_t row_words(std::size_t rows) {
  return (rows + kRowsPerWord - 1) / kRowsPerWord;
}

inline bool has_row(std::span<const std::uint32_t> words, std::size_t row) {
  return (words[row / kRowsPerWord] >> row % kRowsPerWord & 1) != 0;
}

inline constexpr std::size_t kTermsTogether = 16;  // of the dictionary, that share a start
inline constexpr std::size_t kFrequencyGroups = 4;
inline constexpr std::uint8_t kNoLength = 255;   // in `shortest`: no row of this group
inline constexpr std::uint8_t kManyTimes = 255;  // in `most`: so often or more

// What bounds the BM25 of rows for one term.
struct Bound {
  std::uint8_t most = 0;  // times that a row has the term, up to kManyTimes
  std::array<std::uint8_t, kFrequencyGroups> shortest{kNoLength, kNoLength, kNoLength, kNoLength};

  void include(std::uint32_t frequency, std::uint32_t length);
  void include(const Bound& other);
};

// A length in 8 bits, rounded down; exact below 32, and never more than 2^18.
std::uint8_t length_code(std::uint32_t length);
std::uint32_t length_of(std::uint8_t code);

struct BlockEntry {
  std::uint32_t last_row = 0;
  std::uint32_t postings = 0;   // offset from the start of the list, in bytes
  std::uint32_t positions = 0;  // the same, of its positions
  std::uint8_t row_bits = 0;
  std::uint8_t frequency_bits = 0;
  std::uint8_t position_bits = 0;
  Bound bound;
};
static_assert(sizeof(BlockEntry) == 20 && std::is_trivially_copyable_v<BlockEntry>);

// Numbers of a file of words, and the sizes of its parts in bytes.
struct WordCounts {
  std::uint64_t rows = 0;       // row numbers are below it
  std::uint64_t documents = 0;  // rows that there are, with words or without
  std::uint64_t tokens = 0;
  std::uint64_t terms = 0;
  std::uint64_t postings = 0;
  std::uint64_t length_bytes = 1;  // of each row's number of tokens: 1, 2 or 4
  std::uint64_t dictionary_size = 0;
  std::uint64_t postings_size = 0;
  std::uint64_t directory_size = 0;
  std::uint64_t positions_size = 0;
};
static_assert(sizeof(WordCounts) == 80 && std::is_trivially_copyable_v<WordCounts>);

// The parts of a file of words.
struct WordParts {
  WordCounts counts;
  Bytes dictionary;  // per 16 terms: where their lists are; then the terms, less what the one
                     // before begins with, each with the number of its rows and the sizes of its
                     // lists
  Bytes starts;      // uint64 per 16 terms: their offset in the dictionary
  Bytes postings;
  Bytes directory;
  Bytes positions;
  Bytes lengths;  // per row: its number of tokens
  Bytes present;  // a bit per row, 32 rows per word: whether it is there. None where all are
};

// Where the list of a term is.
struct TermList {
  std::uint32_t rows = 0;
  std::uint64_t postings = 0, postings_size = 0;
  std::uint64_t positions = 0, positions_size = 0;
  std::uint64_t directory = 0;  // number of its first entry

  std::size_t blocks() const { return (rows + kBlockPostings - 1) / kBlockPostings; }
  bool has_directory() const { return rows >= kBlockPostings; }
  std::size_t entries() const { return has_directory() ? blocks() + 1 : 0; }  // of the directory
};

class TermIterator;

class Postings {
 public:
  // Throws FormatError where the sizes contradict one another. What lists hold is checked when they
  // are read: whatever the bytes are, reading them never leaves the parts.
  explicit Postings(WordParts parts);

  const WordCounts& counts() const { return parts_.counts; }
  const WordParts& parts() const { return parts_; }
  std::size_t rows() const { return static_cast<std::size_t>(parts_.counts.rows); }
  std::size_t memory() const;

  std::uint32_t length(std::size_t row) const;

  // A bit per row, 32 rows per word: whether it is there. Empty where all are.
  std::span<const std::uint32_t> present() const;

  // Calls visit(lengths) with a pointer to integers of their width.
  template <class Visit>
  auto with_lengths(Visit visit) const {
    const std::byte* lengths = parts_.lengths.get();
    if (parts_.counts.length_bytes == 1)
      return visit(reinterpret_cast<const std::uint8_t*>(lengths));
    if (parts_.counts.length_bytes == 2)
      return visit(reinterpret_cast<const std::uint16_t*>(lengths));
    return visit(reinterpret_cast<const std::uint32_t*>(lengths));
  }

  std::optional<TermList> find(std::string_view term) const;

  // The terms from `term` on.
  TermIterator from(std::string_view term) const;

  // The lists of all terms that begin with `prefix`.
  std::vector<TermList> with_prefix(std::string_view prefix) const;

  // Reads everything, and throws FormatError where anything contradicts anything else.
  void check() const;

 private:
  friend class TermIterator;
  friend class ListReader;
  std::size_t starts() const { return (parts_.counts.terms + kTermsTogether - 1) / kTermsTogether; }
  std::size_t start_of(std::string_view term) const;

  WordParts parts_;
};

// The terms of a dictionary, in order.
class TermIterator {
 public:
  // From the first term of group `group` on.
  explicit TermIterator(const Postings& postings, std::size_t group = 0);

  bool done() const { return term_ == postings_->counts().terms; }
  const std::string& term() const { return text_; }
  const TermList& list() const { return list_; }
  void next();

 private:
  void read();
  void enter_group();
  std::uint64_t varint();

  const Postings* postings_;
  std::uint64_t term_ = 0;  // number of the current one
  std::uint64_t at_ = 0;    // offset behind it
  std::string text_;
  TermList list_;
};

// One list of rows, read block by block.
class ListReader {
 public:
  ListReader(const Postings& postings, const TermList& list);

  std::size_t rows() const { return list_.rows; }
  std::size_t blocks() const { return list_.blocks(); }
  bool has_directory() const { return list_.has_directory(); }
  BlockEntry entry(std::size_t block) const;
  Bound bound() const;                         // of a list with a directory
  std::size_t count(std::size_t block) const;  // rows of a block

  // Reads the rows of a block; throws FormatError unless they rise and are rows.
  void read_rows(std::size_t block, std::span<std::uint32_t, kBlockPostings> rows) const;
  void read_frequencies(std::size_t block,
                        std::span<std::uint32_t, kBlockPostings> frequencies) const;

  // Reads the positions of a block, given its frequencies: for each row the first, then the
  // differences less one.
  void read_positions(std::size_t block, std::span<const std::uint32_t> frequencies,
                      std::vector<std::uint32_t>& positions) const;

 private:
  BlockEntry directory(std::size_t number) const;
  const std::byte* block_bytes(const BlockEntry& entry, std::size_t count) const;

  const Postings* postings_;
  TermList list_;
  BlockEntry only_;  // of a list without directory
};

}  // namespace nestling::lexical
