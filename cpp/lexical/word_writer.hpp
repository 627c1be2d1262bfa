// Makes postings: of texts, or of other postings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "lexical/postings.hpp"

namespace nestling::lexical {

// The list of one term: rows rise; each has its positions, which rise too.
struct TermRows {
  std::vector<std::uint32_t> rows;
  std::vector<std::uint32_t> frequencies;
  std::vector<std::uint32_t> positions;

  void clear();
};

// Writes the lists of terms, which come in the order of their bytes.
class PostingsWriter {
 public:
  // The number of tokens of each row, and a bit per row: whether it is there.
  PostingsWriter(std::vector<std::uint32_t> lengths, std::vector<std::uint32_t> present);

  void add(std::string_view term, const TermRows& list);
  std::shared_ptr<const Postings> finish();

 private:
  std::vector<std::uint32_t> lengths_, present_;
  WordCounts counts_;
  std::string before_;
  std::vector<std::byte> dictionary_, postings_, positions_;
  std::vector<std::uint64_t> starts_;
  std::vector<BlockEntry> directory_;
};

// Collects the words of rows.
class WordBuilder {
 public:
  // Adds the words of a row that was prepared by `index_text` of analysis.py. Rows rise. Before
  // them come those of a title, `repeats` times: no phrase begins in one of these and ends behind.
  void add(std::uint32_t row, std::string_view text, std::string_view title = {},
           std::size_t repeats = 0);

  // Postings of what was added, for rows below `rows`.
  std::shared_ptr<const Postings> finish(std::size_t rows);

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  using Numbers = std::unordered_map<std::string, std::uint32_t, Hash, std::equal_to<>>;

  std::uint32_t number_of(std::string_view word);
  void put(std::string_view text);

  struct Row {
    std::uint32_t row;
    std::size_t end;  // of its tokens
  };

  Numbers words_;  // the number of the term of each word
  Numbers terms_;
  std::vector<std::uint32_t> tokens_;  // the numbers of their terms, and gaps
  std::vector<Row> rows_;
};

}  // namespace nestling::lexical
