// Search for words: the rows with the highest BM25.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lexical/row_filter.hpp"
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
