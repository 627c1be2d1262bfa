// Search for words: the rows with the highest BM25.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lexical/word_index.hpp"

namespace nestling::lexical {

enum class PartKind {
  kPhrase,  // the tokens in a row, often only one
  kPrefix,  // any term that begins with the only token, as if all were the same
  kAny,     // any of the tokens: each counts, as rare as all together
};

struct QueryPart {
  std::vector<std::string> tokens;
  PartKind kind = PartKind::kPhrase;
};

// Rows that are searched together with others: those of `index` are numbered from `first` on.
struct PlacedIndex {
  const WordIndex* index;
  std::int64_t first;
};

// Rows that a search may find, a bit each. For the indexes that it was made for, as of then.
class RowFilter {
 public:
  // The rows of `allowed`, which rise, less the removed ones.
  RowFilter(std::span<const PlacedIndex> indexes, std::span<const std::int64_t> allowed);

  struct Part {
    std::int64_t first = 0;
    std::size_t rows = 0;
    std::size_t count = 0;
    std::vector<std::uint32_t> words{};

    // Where few rows are allowed: each has a rank among them, by which a search finds what it needs
    // of them in a small part of memory. Else the three are empty.
    std::vector<std::uint32_t> ranks{};                // of the first row of each word; and `count`
    std::vector<std::uint32_t> row_of{}, length_of{};  // by rank

    bool ranked() const { return !ranks.empty(); }

    // How many rows are allowed before this one, which may be the end.
    std::uint32_t rank(std::size_t row) const {
      const std::size_t word = row / kRowsPerWord;
      if (word == words.size()) return ranks[word];
      const std::uint32_t before = words[word] & ((1U << row % kRowsPerWord) - 1);
      return ranks[word] + static_cast<std::uint32_t>(std::popcount(before));
    }
  };

  // Of the index with this number. Throws IdError for another one.
  const Part& part(std::size_t number, const PlacedIndex& placed) const;

 private:
  static void rank_rows(Part& part, const Postings& postings);

  std::vector<Part> parts_;
};

// What a search knows of all rows, where those that it searches are only some of them. From the
// same statistics, the same row gets the same score, whatever rows it is searched with.
struct WordStatistics {
  std::uint64_t documents = 0;          // rows
  std::uint64_t tokens = 0;             // of these rows
  std::vector<std::uint64_t> counts{};  // as count_matches returns them
};

struct WordHits {
  std::vector<std::int64_t> rows;
  std::vector<double> scores;
};

// In how many rows each part occurs; of a phrase, its rarest token; of several terms, their sum.
std::vector<std::uint64_t> count_rows(std::span<const PlacedIndex> indexes,
                                      std::span<const QueryPart> parts);

// How many rows have each part; for a part of several terms (`kAny`), a number for each term.
std::vector<std::uint64_t> count_matches(std::span<const PlacedIndex> indexes,
                                         std::span<const QueryPart> parts);

// The k best of the rows that have any of the parts, the best first and equal ones by row. With a
// filter, only of its rows. Rows rise from one index to the next. The statistics are those given
// or, without any, those of all rows together, whatever is allowed. Throws IdError for statistics
// that are not those of the parts, or that these rows exceed.
//
// Bounds decide which rows are scored: MAXSCORE (Turtle and Flood 1995, "Query Evaluation:
// Strategies and Optimizations") in windows of rows, with the maxima of blocks (Ding and Suel 2011,
// "Faster Top-k Document Retrieval Using Block-Max Indexes").
WordHits search(std::span<const PlacedIndex> indexes, std::span<const QueryPart> parts,
                std::size_t k, const RowFilter* filter, const WordStatistics* statistics = nullptr);

}  // namespace nestling::lexical
