#include "lexical/completion.hpp"

#include <algorithm>

#include "base/interrupt.hpp"

namespace nestling::lexical {
namespace {

constexpr std::size_t kTermsPerCheck = 4'096;  // for an interrupt

}  // namespace

std::vector<Completion> completions(std::span<const PlacedIndex> indexes, std::string_view prefix,
                                    std::size_t most) {
  std::vector<TermIterator> terms;
  for (const PlacedIndex& placed : indexes) terms.push_back(placed.index->postings().from(prefix));
  std::vector<Completion> best;  // a heap with the last one on top
  std::string least;
  for (std::size_t step = 0; most > 0; ++step) {
    if (step % kTermsPerCheck == 0) check_interrupt();
    bool found = false;
    for (const TermIterator& at : terms)
      if (!at.done() && at.term().starts_with(prefix) && (!found || at.term() < least)) {
        least = at.term();
        found = true;
      }
    if (!found) break;
    std::uint64_t rows = 0;
    for (TermIterator& at : terms)
      if (!at.done() && at.term() == least) {
        rows += at.list().rows;
        at.next();
      }
    if (best.size() == most) {
      if (rows <= best.front().rows) continue;  // terms come in order: of equal ones the first stay
      std::ranges::pop_heap(best, Completion::before);
      best.pop_back();
    }
    best.push_back({rows, least});
    std::ranges::push_heap(best, Completion::before);
  }
  std::ranges::sort(best, Completion::before);
  return best;
}

std::vector<std::uint64_t> completion_rows(std::span<const PlacedIndex> indexes,
                                           std::span<const std::string> terms) {
  std::vector<std::uint64_t> rows;
  for (const std::string& term : terms) {
    std::uint64_t& count = rows.emplace_back(0);
    for (const PlacedIndex& placed : indexes)
      if (const auto list = placed.index->postings().find(term)) count += list->rows;
  }
  return rows;
}

}  // namespace nestling::lexical
