#include "lexical/word_search.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <numeric>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "lexical/bm25.hpp"
#include "lexical/cursor.hpp"
#include "lexical/phrase.hpp"

namespace nestling::lexical {
namespace {

constexpr std::size_t kWindow = 4'096;  // rows whose scores are summed together: in the L1 cache
constexpr std::size_t kLargeWindow = 16'384;    // where few of them are touched
constexpr std::size_t kSparseWindow = 262'144;  // where few of them are touched as few are allowed
constexpr double kTouchedTogether = 2'048;      // in a window that is larger than the smallest
constexpr std::size_t kStepsPerCheck = 16;      // for an interrupt
constexpr double kSparseShare = 0.25;           // of the rows, or less: rows are chosen first
constexpr std::size_t kTouchedRows = 64;        // per word of the rows of a window

struct Hit {
  double score;
  std::int64_t row;

  static bool before(const Hit& one, const Hit& other) {
    return one.score != other.score ? one.score > other.score : one.row < other.row;
  }
};

// The k best of the rows offered so far, and some more. Those beyond k are dropped together, once
// they are a quarter of k: so a search for a thousand rows takes half as long as with a heap, which
// drops each at once, while the threshold is hardly lower.
class TopRows {
 public:
  explicit TopRows(std::size_t k)
      : k_(k), room_(std::min(std::max(k / 4, std::size_t{1}), ~std::size_t{0} - k)) {}

  // A row must have more to be among them. Rows are offered in their order, so that of equal ones
  // the first stay.
  double threshold() const { return threshold_; }

  void offer(double score, std::int64_t row) {
    if (!(score > threshold_)) return;
    hits_.push_back({score, row});
    if (hits_.size() == k_ || hits_.size() - k_ == room_) keep_best();
  }

  WordHits take() {
    if (hits_.size() > k_) keep_best();
    std::ranges::sort(hits_, Hit::before);
    WordHits out;
    out.rows.reserve(hits_.size());
    out.scores.reserve(hits_.size());
    for (const Hit& hit : hits_) {
      if (!std::isfinite(hit.score)) throw FormatError("corrupted word index: a score");
      out.rows.push_back(hit.row);
      out.scores.push_back(hit.score);
    }
    return out;
  }

 private:
  void keep_best() {
    const auto last = hits_.begin() + static_cast<std::ptrdiff_t>(k_ - 1);
    std::ranges::nth_element(hits_, last, Hit::before);
    threshold_ = last->score;
    hits_.resize(k_);
  }

  std::size_t k_, room_;
  double threshold_ = -1;
  std::vector<Hit> hits_;
};

// A set of rows, a bit each; every row where `words` is empty.
struct RowMask {
  std::span<const std::uint32_t> words;
  double share = 1;  // of the rows
  bool sparse = false;
  const RowFilter::Part* ranked = nullptr;  // where its rows have ranks

  bool has(std::uint32_t row) const { return words.empty() || has_row(words, row); }

  // The first row of it from `row` on; the number of rows or more if there is none.
  std::uint64_t next(std::uint32_t row) const {
    if (words.empty()) return row;
    std::size_t at = row / kRowsPerWord;
    if (at >= words.size()) return std::numeric_limits<std::uint32_t>::max();
    std::uint32_t word = words[at] & ~0U << row % kRowsPerWord;
    while (word == 0) {
      if (++at == words.size()) return std::numeric_limits<std::uint32_t>::max();
      word = words[at];
    }
    return at * kRowsPerWord + static_cast<std::size_t>(std::countr_zero(word));
  }
};

// Sums of scores by slot, which is a row or its rank. They are zero between windows. A thread keeps
// them: most of a window is never touched, and should not be cleared for each search.
struct Sums {
  std::vector<double> scores{};
  std::vector<std::uint64_t> touched{};
  bool clean = true;

  static Sums& of_thread() {
    thread_local Sums sums;
    if (!sums.clean) sums = Sums();  // a search ended within a window
    return sums;
  }

  void reserve(std::size_t rows) {
    if (rows <= scores.size()) return;
    scores.resize(rows);
    touched.resize((rows + kTouchedRows - 1) / kTouchedRows);
  }
};

// The rows of a window, a power of two, given the share of the rows that are touched.
std::size_t window_of(double touched, std::size_t most) {
  const double rows = kTouchedTogether / std::max(touched, 1e-9);
  if (rows >= static_cast<double>(most)) return most;
  return std::max(kWindow, std::bit_floor(static_cast<std::size_t>(rows)));
}

struct Term {
  Cursor* cursor;
  double weight;
  double most;      // bounds what it adds to a row
  double here = 0;  // the same, within a window
  std::uint32_t block_last = std::numeric_limits<std::uint32_t>::max();  // of `block_most`
  double block_most = 0;
};

class IndexSearch {
 public:
  IndexSearch(const Postings& postings, RowMask mask, const Bm25& bm25, std::int64_t first,
              TopRows& top)
      : postings_(postings), mask_(mask), bm25_(bm25), first_(first), top_(top) {}

  // `touched` is how many rows of the cursor the mask has.
  void add(Cursor& cursor, double weight, double touched) {
    terms_.push_back({&cursor, weight, bm25_.bound(weight, cursor.bound())});
    touched_ += touched;
  }

  void run() {
    if (terms_.empty()) return;  // an index without rows has none
    std::ranges::sort(terms_, {}, &Term::most);
    window_ = window_of(touched_ / static_cast<double>(postings_.rows()),
                        mask_.sparse ? kSparseWindow : kLargeWindow);
    sums_.reserve(mask_.ranked != nullptr ? std::min(window_, mask_.ranked->count) : window_);
    for (std::size_t step = 0;; ++step) {
      if (step % kStepsPerCheck == 0) check_interrupt();
      std::erase_if(terms_, [](const Term& term) { return term.cursor->done(); });
      const std::size_t optional = count_optional(terms_, &Term::most);
      if (optional == terms_.size()) return;
      const std::span<Term> needed = std::span(terms_).subspan(optional);
      std::uint32_t next = std::numeric_limits<std::uint32_t>::max();
      for (const Term& term : needed) next = std::min(next, term.cursor->floor());
      const std::uint64_t allowed = mask_.next(next);
      if (allowed >= postings_.rows()) return;
      if (allowed > next) {
        for (const Term& term : needed) term.cursor->skip(static_cast<std::uint32_t>(allowed));
        continue;
      }
      if (needed.size() == 1)
        pass_block(needed[0], optional);
      else
        pass_window(next, optional);
    }
  }

 private:
  // The first of `terms` that together cannot lift a row above the threshold, and the sums of what
  // they add: rest_[i] of the first i.
  std::size_t count_optional(std::span<const Term> terms, double Term::* bound) {
    rest_.assign(1, 0.0);
    std::size_t count = 0;
    for (const Term& term : terms) {
      rest_.push_back(rest_.back() + term.*bound);
      if (rest_.back() <= top_.threshold()) ++count;
    }
    return count;
  }

  // Passes one block of the only term that is needed.
  void pass_block(Term& term, std::size_t optional) {
    Cursor& cursor = *term.cursor;
    if (block_bound(term) + rest_[optional] > top_.threshold()) {
      const auto [slots, frequencies] = chosen(cursor.rows(), cursor);
      score(term, slots, frequencies);
      for (std::size_t i = 0; i < slots.size(); ++i)
        if (scores_[i] + rest_[optional] > top_.threshold())
          if (const std::uint32_t row = row_of(slots[i]); mask_.sparse || mask_.has(row))
            complete(row, scores_[i], std::span(terms_).first(optional));
    }
    cursor.skip(cursor.last_row() + 1);
  }

  // Passes a window of rows from `first` on.
  void pass_window(std::uint32_t first, std::size_t optional) {
    const std::uint32_t start = first - first % static_cast<std::uint32_t>(kTouchedRows);
    const auto end = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(postings_.rows(), std::uint64_t{start} + window_));
    here_.assign(terms_.begin(), terms_.end());
    for (Term& term : here_) {
      term.cursor->skip(first);
      term.here = bm25_.bound(term.weight, term.cursor->bound_below(end));
    }
    std::ranges::sort(here_, {}, &Term::here);
    const std::size_t unneeded = count_optional(here_, &Term::here);
    if (unneeded < here_.size()) {
      sums_.clean = false;
      const std::uint32_t first_slot = slot(start), end_slot = slot(end);
      for (Term& term : std::span(here_).subspan(unneeded)) sum(term, first_slot, end);
      visit_touched(first_slot, end_slot, std::span(here_).first(unneeded));
      sums_.clean = true;
    }
    for (const Term& term : std::span(terms_).subspan(optional)) term.cursor->skip(end);
  }

  // Where the sum of a row is: its rank, where rows have one. The end of the rows has one, too.
  std::uint32_t slot(std::uint32_t row) const {
    return mask_.ranked != nullptr ? mask_.ranked->rank(row) : row;
  }
  std::uint32_t row_of(std::uint32_t slot) const {
    return mask_.ranked != nullptr ? mask_.ranked->row_of[slot] : slot;
  }

  // Adds the scores of a term before `end`.
  void sum(Term& term, std::uint32_t first_slot, std::uint32_t end) {
    Cursor& cursor = *term.cursor;
    while (cursor.floor() < end) {
      auto left = cursor.rows();
      const std::uint32_t last = cursor.last_row();
      if (last >= end)
        left = left.first(
            static_cast<std::size_t>(std::ranges::lower_bound(left, end) - left.begin()));
      if (!left.empty()) {
        const auto [slots, frequencies] = chosen(left, cursor);
        score(term, slots, frequencies);
        for (std::size_t i = 0; i < slots.size(); ++i) {
          const std::uint32_t at = slots[i] - first_slot;
          sums_.scores[at] += scores_[i];
          sums_.touched[at / kTouchedRows] |= std::uint64_t{1} << at % kTouchedRows;
        }
      }
      cursor.skip(std::min(last + 1, end));
    }
  }

  void visit_touched(std::uint32_t first_slot, std::uint32_t end_slot, std::span<Term> others) {
    const double rest = rest_[others.size()];
    for (std::size_t w = 0; w * kTouchedRows < end_slot - first_slot; ++w)
      for (std::uint64_t word = std::exchange(sums_.touched[w], 0); word != 0; word &= word - 1) {
        const std::size_t at = w * kTouchedRows + static_cast<std::size_t>(std::countr_zero(word));
        const double sum = std::exchange(sums_.scores[at], 0.0);
        if (sum + rest <= top_.threshold()) continue;
        const std::uint32_t row = row_of(static_cast<std::uint32_t>(first_slot + at));
        if (mask_.sparse || mask_.has(row)) complete(row, sum, others);
      }
  }

  // Adds what the other terms add to a row, the largest first, for as long as it can be enough.
  void complete(std::uint32_t row, double score, std::span<Term> others) {
    for (std::size_t t = others.size(); t-- > 0;) {
      Term& term = others[t];
      if (score + rest_[t + 1] <= top_.threshold()) return;
      term.cursor->skip(row);
      if (term.cursor->floor() > row) continue;
      if (score + rest_[t] + block_bound(term) <= top_.threshold()) return;
      if (const std::uint32_t frequency = term.cursor->frequency(row))
        score += bm25_.score(term.weight, frequency, postings_.length(row));
    }
    top_.offer(score, first_ + row);
  }

  double block_bound(Term& term) {
    if (term.block_last != term.cursor->last_row()) {
      term.block_last = term.cursor->last_row();
      term.block_most = bm25_.bound(term.weight, term.cursor->block_bound());
    }
    return term.block_most;
  }

  // The slots of the rows to score, and their frequencies: of all rows, or those of the mask where
  // it has few.
  std::pair<std::span<const std::uint32_t>, const std::uint32_t*> chosen(
      std::span<const std::uint32_t> rows, Cursor& cursor) {
    if (!mask_.sparse) return {rows, cursor.frequencies().data()};
    std::size_t count = 0;
    for (std::size_t i = 0; i < rows.size(); ++i) {  // without a branch that cannot be foreseen
      chosen_[count] = static_cast<std::uint32_t>(i);
      count += has_row(mask_.words, rows[i]) ? 1 : 0;
    }
    if (count == 0) return {};
    const std::uint32_t* frequencies = cursor.frequencies().data();
    for (std::size_t c = 0; c < count; ++c) {
      chosen_frequencies_[c] = frequencies[chosen_[c]];
      chosen_[c] = slot(rows[chosen_[c]]);
    }
    return {std::span(chosen_).first(count), chosen_frequencies_.data()};
  }

  void score(const Term& term, std::span<const std::uint32_t> slots,
             const std::uint32_t* frequencies) {
    const auto with = [&](const auto* lengths) {
      bm25_.scores(term.weight, lengths, slots, frequencies, scores_.data());
    };
    if (mask_.ranked != nullptr)
      with(mask_.ranked->length_of.data());
    else
      postings_.with_lengths(with);
  }

  const Postings& postings_;
  RowMask mask_;
  const Bm25& bm25_;
  std::int64_t first_;
  TopRows& top_;
  std::vector<Term> terms_, here_;
  std::vector<double> rest_;
  std::array<double, kBlockPostings> scores_;
  std::array<std::uint32_t, kBlockPostings> chosen_, chosen_frequencies_;
  Sums& sums_ = Sums::of_thread();
  double touched_ = 0;
  std::size_t window_ = kWindow;
};

// What a part of a query finds in one index.
struct PartRows {
  std::optional<TermList> list;
  RowCounts rows;  // of a phrase or a prefix

  std::uint64_t count(const WordIndex& index) const {
    return list ? index.count(*list) : rows.rows.size();
  }
  bool empty() const { return !list && rows.rows.empty(); }
};

PartRows rows_of(const WordIndex& index, const QueryPart& part) {
  if (part.kind == PartKind::kPrefix) return {{}, prefix_rows(index, part.tokens[0])};
  if (part.tokens.size() > 1) return {{}, phrase_rows(index, part.tokens)};
  return {index.postings().find(part.tokens[0]), {}};
}

// In how many rows a token is, or the terms that begin with it.
std::uint64_t count_token(std::span<const PlacedIndex> indexes, const std::string& token,
                          PartKind kind) {
  std::uint64_t count = 0;
  for (const PlacedIndex& placed : indexes) {
    const Postings& postings = placed.index->postings();
    if (kind == PartKind::kPrefix)
      for (const TermList& list : postings.with_prefix(token)) count += placed.index->count(list);
    else if (const auto list = postings.find(token))
      count += placed.index->count(*list);
  }
  return count;
}

// What is searched for by one cursor an index. Those of one group weigh the same.
struct Searched {
  QueryPart part;
  std::size_t group;
  std::size_t number;  // of its count in the statistics
  double times = 1;    // that it was given
};

std::vector<Searched> searched_parts(std::span<const QueryPart> parts) {
  std::vector<Searched> searched;
  std::size_t number = 0;
  for (std::size_t group = 0; group < parts.size(); ++group) {
    const QueryPart& part = parts[group];
    if (part.kind == PartKind::kAny) {
      for (const std::string& token : part.tokens) searched.push_back({{{token}}, group, number++});
      continue;
    }
    const auto known = std::ranges::find_if(searched, [&](const Searched& other) {
      return parts[other.group].kind == part.kind && other.part.tokens == part.tokens;
    });
    if (known == searched.end())
      searched.push_back({part, group, number});
    else
      ++known->times;
    ++number;
  }
  return searched;
}

std::size_t count_numbers(std::span<const QueryPart> parts) {
  std::size_t count = 0;
  for (const QueryPart& part : parts) count += part.kind == PartKind::kAny ? part.tokens.size() : 1;
  return count;
}

WordStatistics statistics_of(std::span<const PlacedIndex> indexes) {
  WordStatistics all;
  for (const PlacedIndex& placed : indexes) {
    all.documents += placed.index->documents();
    all.tokens += placed.index->tokens();
  }
  return all;
}

}  // namespace

std::vector<std::uint64_t> count_rows(std::span<const PlacedIndex> indexes,
                                      std::span<const QueryPart> parts) {
  std::vector<std::uint64_t> counts;
  for (const QueryPart& part : parts) {
    std::vector<std::uint64_t> found;
    for (const std::string& token : part.tokens)
      found.push_back(count_token(indexes, token, part.kind));
    counts.push_back(part.kind == PartKind::kAny
                         ? std::accumulate(found.begin(), found.end(), std::uint64_t{0})
                         : std::ranges::min(found));
  }
  return counts;
}

std::vector<std::uint64_t> count_matches(std::span<const PlacedIndex> indexes,
                                         std::span<const QueryPart> parts) {
  std::vector<std::uint64_t> counts;
  const auto add = [&](const QueryPart& part) {
    std::uint64_t count = 0;
    for (const PlacedIndex& placed : indexes)
      count += rows_of(*placed.index, part).count(*placed.index);
    counts.push_back(count);
  };
  for (const QueryPart& part : parts) {
    if (part.kind != PartKind::kAny)
      add(part);
    else
      for (const std::string& token : part.tokens) add({{token}});
  }
  return counts;
}

WordHits search(std::span<const PlacedIndex> indexes, std::span<const QueryPart> parts,
                std::size_t k, const RowFilter* filter, const WordStatistics* statistics) {
  const WordStatistics own = statistics_of(indexes);
  const auto [documents, tokens, given] = statistics == nullptr ? own : *statistics;
  if (statistics != nullptr && given.size() != count_numbers(parts))
    throw IdError(std::to_string(given.size()) + " counts for " +
                  std::to_string(count_numbers(parts)) + " parts");
  if (documents < own.documents || tokens < own.tokens)
    throw IdError("the statistics are of fewer rows than are searched");
  if (documents == 0 || k == 0) return {};
  const std::vector<Searched> searched = searched_parts(parts);
  std::vector<std::vector<PartRows>> found(indexes.size());
  std::vector<std::uint64_t> counts(searched.size()), group_counts(parts.size());
  for (std::size_t p = 0; p < searched.size(); ++p) {
    for (std::size_t i = 0; i < indexes.size(); ++i) {
      const WordIndex& index = *indexes[i].index;
      counts[p] += found[i].emplace_back(rows_of(index, searched[p].part)).count(index);
    }
    if (statistics != nullptr) {
      if (given[searched[p].number] < counts[p])
        throw IdError("the statistics are of fewer rows than are searched");
      counts[p] = given[searched[p].number];
    }
    group_counts[searched[p].group] += counts[p];
  }
  std::vector<double> weights;
  double total = 0;
  for (std::size_t p = 0; p < searched.size(); ++p) {
    const std::uint64_t count = std::min(group_counts[searched[p].group], documents);
    weights.push_back(searched[p].times * term_weight(documents, count));
    if (counts[p] > 0) total += weights.back();
  }
  if (total == 0) return {};
  const Bm25 bm25(total, static_cast<double>(tokens) / static_cast<double>(documents));
  TopRows top(k);
  for (std::size_t i = 0; i < indexes.size(); ++i) {
    const PlacedIndex& placed = indexes[i];
    const Postings& postings = placed.index->postings();
    RowMask mask{placed.index->live()};
    if (filter != nullptr) {
      const RowFilter::Part& allowed = filter->part(i, placed);
      if (allowed.count == 0) continue;
      const double share = static_cast<double>(allowed.count) / static_cast<double>(allowed.rows);
      mask = {allowed.words, share, share <= kSparseShare, allowed.ranked() ? &allowed : nullptr};
    }
    std::vector<std::unique_ptr<Cursor>> cursors;
    IndexSearch one(postings, mask, bm25, placed.first, top);
    for (std::size_t p = 0; p < searched.size(); ++p) {
      PartRows& part = found[i][p];
      if (part.empty()) continue;
      std::shared_ptr<const RowList> chosen;
      if (part.list && mask.ranked != nullptr)
        chosen = mask.ranked->lists->find(postings, *part.list);
      const double share = chosen ? 1 : mask.share;
      if (!part.list) chosen = std::make_shared<const RowList>(postings, std::move(part.rows));
      if (chosen && chosen->size() == 0) continue;
      cursors.push_back(chosen ? std::make_unique<Cursor>(std::move(chosen))
                               : std::make_unique<Cursor>(postings, *part.list));
      Cursor& cursor = *cursors.back();
      one.add(cursor, weights[p], static_cast<double>(cursor.size()) * share);
    }
    one.run();
  }
  return top.take();
}

}  // namespace nestling::lexical
