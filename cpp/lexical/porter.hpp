// The stems of English words.
#pragma once

#include <string>

namespace nestling::lexical {

// Reduces a word in lower case to its stem: Porter's algorithm (1980, "An algorithm for suffix
// stripping") exactly as SQLite's FTS5 has it, which reads the UTF-8 bytes of a word.
void stem(std::string& word);

}  // namespace nestling::lexical
