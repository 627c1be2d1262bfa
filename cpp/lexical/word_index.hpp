// Postings of which some rows were removed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

#include "lexical/postings.hpp"

namespace nestling::lexical {

// Immutable, but for a cache. Removed rows are not found, and do not count.
class WordIndex {
 public:
  explicit WordIndex(std::shared_ptr<const Postings> postings);

  // The same postings without those of these rows that are left.
  std::shared_ptr<const WordIndex> without(std::span<const std::int64_t> rows) const;

  const Postings& postings() const { return *postings_; }
  std::uint64_t documents() const { return documents_; }
  std::uint64_t tokens() const { return tokens_; }

  // A bit per row, 32 rows per word: whether it is left. Empty where none was removed; rows that
  // were never there have no words.
  std::span<const std::uint32_t> live() const { return live_; }
  bool is_live(std::size_t row) const {
    const auto words = live_.empty() ? postings_->present() : live();
    return words.empty() || has_row(words, row);
  }

  // Whether both have the same words in the same rows, of those that are left.
  bool same(const WordIndex& other) const;

  // Rows that have a term, of those that are left.
  std::uint64_t count(const TermList& list) const;

  // The words of texts that `index_text` of analysis.py has prepared; text i is row rows[i], which
  // rise and are below `count`. Throws IdError where they do not. Of each text, what is also in
  // titles[i] counts `title_weight` times, as if it were written as often (Robertson, Zaragoza and
  // Taylor 2004, "Simple BM25 Extension to Multiple Weighted Fields"); no titles: nothing does.
  static std::shared_ptr<const WordIndex> of(std::span<const std::int64_t> rows,
                                             std::span<const std::string_view> texts,
                                             std::size_t count,
                                             std::span<const std::string_view> titles = {},
                                             std::size_t title_weight = 1);

  // The rows of several indexes, in this order: the first row of each is `shifts[i]`, which rise.
  // Removed ones are dropped.
  static std::shared_ptr<const WordIndex> merged(std::span<const WordIndex* const> indexes,
                                                 std::span<const std::int64_t> shifts);

 private:
  std::shared_ptr<const Postings> postings_;
  std::vector<std::uint32_t> live_;
  std::uint64_t documents_;
  std::uint64_t tokens_;
  mutable std::mutex mutex_;
  mutable std::map<std::uint64_t, std::uint64_t> counts_;
};

// Rows that are searched together with others: those of `index` are numbered from `first` on.
struct PlacedIndex {
  const WordIndex* index;
  std::int64_t first;
};

}  // namespace nestling::lexical
