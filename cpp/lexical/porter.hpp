// The stems of English words.
#pragma once

#include <string>

namespace nestling::lexical {

// Reduces a word in lower case to its stem: Porter's algorithm (1980, "An algorithm for suffix
// stripping") with the rules of SQLite's FTS5, which reads the UTF-8 bytes of a word. The same as
// python/nestling/collection/ingest/porter.py; a test compares them.
void stem(std::string& word);

}  // namespace nestling::lexical
