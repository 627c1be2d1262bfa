// Search for words: the rows with the highest BM25.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
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

struct WordHits {
  std::vector<std::int64_t> rows;
  std::vector<double> scores;
};

// In how many rows each part occurs; of a phrase, its rarest token.
std::vector<std::uint64_t> count_rows(std::span<const PlacedIndex> indexes,
                                      std::span<const QueryPart> parts);

// The k best of the rows that have any of the parts, the best first and equal ones by row. With
// `allowed`, which rises, only of those. Rows rise from one index to the next; the statistics are
// those of all rows together, whatever is allowed.
//
// Bounds decide which rows are scored: MAXSCORE (Turtle and Flood 1995, "Query Evaluation: Strategies
// and Optimizations") in windows of rows, with the maxima of blocks (Ding and Suel 2011, "Faster
// Top-k Document Retrieval Using Block-Max Indexes").
WordHits search(std::span<const PlacedIndex> indexes, std::span<const QueryPart> parts,
                std::size_t k, std::optional<std::span<const std::int64_t>> allowed);

}  // namespace nestling::lexical
