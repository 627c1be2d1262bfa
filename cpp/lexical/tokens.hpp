// The tokens of a text that python/nestling/collection/ingest/analysis.py has prepared.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace nestling::lexical {

inline constexpr std::size_t kMaxTokenBytes = 32'768;  // where a token is cut

inline bool in_token(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         static_cast<unsigned char>(c) >= 0x80;
}

// Calls visit(word) for each run of ASCII letters, digits and bytes beyond ASCII, in lower case, as
// SQLite's FTS5 finds them with its tokenizer `ascii`. The word is not reduced to its stem.
template <class Visit>
void for_each_word(std::string_view text, Visit visit) {
  std::string word;
  for (std::size_t at = 0; at < text.size();) {
    if (!in_token(text[at])) {
      ++at;
      continue;
    }
    word.clear();
    for (; at < text.size() && in_token(text[at]); ++at) {
      const char c = text[at];
      word += c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
    }
    visit(std::string_view(word).substr(0, kMaxTokenBytes));
  }
}

}  // namespace nestling::lexical
