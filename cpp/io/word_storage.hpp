// The sections of a file of words (io/format.hpp), written from postings and read back.
#pragma once

#include <memory>
#include <vector>

#include "io/file.hpp"
#include "lexical/postings.hpp"

namespace nestling {

// Views of everything that postings hold, for write_file.
std::vector<Section> sections(const lexical::Postings& postings);

// The postings of a mapped file, in place. Throws FormatError where a section is missing or has
// another size than the file says.
std::shared_ptr<const lexical::Postings> read_postings(const File& file);

}  // namespace nestling
