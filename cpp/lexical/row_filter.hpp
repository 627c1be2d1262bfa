// Rows that a search for words may find.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "lexical/row_list.hpp"
#include "lexical/word_index.hpp"

namespace nestling::lexical {

// The lists of terms, less the rows that a filter does not let pass. They are made from the second
// search for a term on: then a search reads some rows, where before it read blocks to find that of
// most of them no row passes, or one.
class FilteredLists {
 public:
  // For a filter that lets these rows pass, a bit each.
  explicit FilteredLists(std::span<const std::uint32_t> allowed, std::size_t rows);

  // The rows of a term's list that pass; null where it is asked for the first time.
  std::shared_ptr<const RowList> find(const Postings& postings, const TermList& list);

 private:
  RowCounts read(const Postings& postings, const TermList& list) const;
  void remember(std::uint64_t term, std::shared_ptr<const RowList> list);

  std::span<const std::uint32_t> allowed_;
  std::size_t room_;  // for the rows of lists that are kept
  std::size_t used_ = 0;
  std::unordered_map<std::uint64_t, std::shared_ptr<const RowList>> lists_;  // null: seen once
  std::mutex mutex_;
};

// Rows that a search may find, a bit each. For the indexes that it was made for, as of then.
class RowFilter {
 public:
  // The rows of `allowed`, which rise, less the removed ones.
  RowFilter(std::span<const PlacedIndex> indexes, std::span<const std::int64_t> allowed);

  struct Part {
    std::int64_t first = 0;
    std::size_t rows = 0;
    std::size_t count = 0;
    std::vector<std::uint32_t> words{};

    // Where few rows are allowed: each has a rank among them, by which a search finds what it needs
    // of them in a small part of memory. Else the three are empty.
    std::vector<std::uint32_t> ranks{};                // of the first row of each word; and `count`
    std::vector<std::uint32_t> row_of{}, length_of{};  // by rank
    std::unique_ptr<FilteredLists> lists{};            // null where rows have no ranks

    bool ranked() const { return lists != nullptr; }

    // How many rows are allowed before this one, which may be the end.
    std::uint32_t rank(std::size_t row) const {
      const std::size_t word = row / kRowsPerWord;
      if (word == words.size()) return ranks[word];
      const std::uint32_t before = words[word] & ((1U << row % kRowsPerWord) - 1);
      return ranks[word] + static_cast<std::uint32_t>(std::popcount(before));
    }
  };

  // Of the index with this number. Throws IdError for another one.
  const Part& part(std::size_t number, const PlacedIndex& placed) const;

 private:
  static void rank_rows(Part& part, const Postings& postings);

  std::vector<Part> parts_;
};

}  // namespace nestling::lexical
