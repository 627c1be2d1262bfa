// Search for words: the rows with the highest BM25.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lexical/word_index.hpp"

namespace nestling::lexical {

// A part of a query: one token, a phrase of several, or all terms that begin with the only one.
struct QueryPart {
  std::vector<std::string> tokens;
  bool prefix = false;
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
  };

  // Of the index with this number. Throws IdError for another one.
  const Part& part(std::size_t number, const PlacedIndex& placed) const;

 private:
  std::vector<Part> parts_;
};

struct WordHits {
  std::vector<std::int64_t> rows;
  std::vector<double> scores;
};

// In how many rows each part occurs; of a phrase, its rarest token.
std::vector<std::uint64_t> count_rows(std::span<const PlacedIndex> indexes,
                                      std::span<const QueryPart> parts);

// The k best of the rows that have any of the parts, the best first and equal ones by row. With a
// filter, only of its rows. Rows rise from one index to the next; the statistics are those of all
// rows together, whatever is allowed.
//
// Bounds decide which rows are scored: MAXSCORE (Turtle and Flood 1995, "Query Evaluation:
// Strategies and Optimizations") in windows of rows, with the maxima of blocks (Ding and Suel 2011,
// "Faster Top-k Document Retrieval Using Block-Max Indexes").
WordHits search(std::span<const PlacedIndex> indexes, std::span<const QueryPart> parts,
                std::size_t k, const RowFilter* filter);

}  // namespace nestling::lexical
