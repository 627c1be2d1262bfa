#include "io/word_storage.hpp"

#include <cstring>
#include <limits>

#include "base/error.hpp"

namespace nestling {
namespace {

using lexical::kTermsTogether;
using lexical::WordCounts;

constexpr const char* kCountsSection = "word counts";
constexpr const char* kTermsSection = "terms";
constexpr const char* kStartsSection = "term starts";
constexpr const char* kPostingsSection = "postings";
constexpr const char* kDirectorySection = "blocks";
constexpr const char* kPositionsSection = "positions";
constexpr const char* kLengthsSection = "lengths";
constexpr const char* kRowsSection = "rows";

std::uint64_t starts_size(const WordCounts& counts) {
  return (counts.terms + kTermsTogether - 1) / kTermsTogether * sizeof(std::uint64_t);
}

}  // namespace

std::vector<Section> sections(const lexical::Postings& postings) {
  const lexical::WordParts& parts = postings.parts();
  const WordCounts& counts = parts.counts;
  const auto bytes = [](const Bytes& data, std::uint64_t size) -> std::span<const std::byte> {
    return {data.get(), static_cast<std::size_t>(size)};
  };
  std::vector<Section> out = {
      {kCountsSection, {std::as_bytes(std::span(&counts, 1))}},
      {kTermsSection, {bytes(parts.dictionary, counts.dictionary_size)}},
      {kStartsSection, {bytes(parts.starts, starts_size(counts))}},
      {kPostingsSection, {bytes(parts.postings, counts.postings_size)}},
      {kDirectorySection, {bytes(parts.directory, counts.directory_size)}},
      {kPositionsSection, {bytes(parts.positions, counts.positions_size)}},
      {kLengthsSection, {bytes(parts.lengths, counts.rows * counts.length_bytes)}},
  };
  if (parts.present) out.push_back({kRowsSection, {std::as_bytes(postings.present())}});
  return out;
}

std::shared_ptr<const lexical::Postings> read_postings(const File& file) {
  lexical::WordParts parts;
  WordCounts& counts = parts.counts;
  std::memcpy(&counts, file.section(kCountsSection, sizeof counts).get(), sizeof counts);
  // Larger ones could overflow in sizes.
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  if (counts.rows > kMost || counts.length_bytes > 4 || counts.terms > kMost * kTermsTogether)
    throw FormatError("there are more rows or terms than a word index can hold");
  parts.dictionary = file.section(kTermsSection, counts.dictionary_size);
  parts.starts = file.section(kStartsSection, starts_size(counts));
  parts.postings = file.section(kPostingsSection, counts.postings_size);
  parts.directory = file.section(kDirectorySection, counts.directory_size);
  parts.positions = file.section(kPositionsSection, counts.positions_size);
  parts.lengths = file.section(kLengthsSection, counts.rows * counts.length_bytes);
  if (counts.documents < counts.rows)
    parts.present =
        file.section(kRowsSection, lexical::row_words(static_cast<std::size_t>(counts.rows)) *
                                       sizeof(std::uint32_t));
  return std::make_shared<const lexical::Postings>(std::move(parts));
}

}  // namespace nestling
