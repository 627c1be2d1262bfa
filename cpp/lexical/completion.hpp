// Words by their beginning.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lexical/word_search.hpp"

namespace nestling::lexical {

struct Completion {
  std::uint64_t rows;  // that have the term, removed ones included
  std::string term;

  // Those in more rows, and then the first by their bytes, come first.
  static bool before(const Completion& one, const Completion& other) {
    return one.rows != other.rows ? one.rows > other.rows : one.term < other.term;
  }
};

// The terms that begin with `prefix`, those in the most rows first: at most `most` of them. Takes
// time in proportion to all terms that begin so.
std::vector<Completion> completions(std::span<const PlacedIndex> indexes, std::string_view prefix,
                                    std::size_t most);

// The rows of each term as a completion has them.
std::vector<std::uint64_t> completion_rows(std::span<const PlacedIndex> indexes,
                                           std::span<const std::string> terms);

}  // namespace nestling::lexical
