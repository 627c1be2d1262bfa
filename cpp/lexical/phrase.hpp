// Rows of what is not one term: of a phrase, and of all terms that begin alike.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "lexical/cursor.hpp"
#include "lexical/word_index.hpp"

namespace nestling::lexical {

// The rows in which the tokens follow one another, with the number of places where they do.
RowCounts phrase_rows(const WordIndex& index, std::span<const std::string> tokens);

// The rows that have a term that begins with `prefix`, with the number of such tokens.
RowCounts prefix_rows(const WordIndex& index, std::string_view prefix);

}  // namespace nestling::lexical
