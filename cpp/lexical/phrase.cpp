#include "lexical/phrase.hpp"

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "base/interrupt.hpp"

namespace nestling::lexical {
namespace {

// One token of a phrase.
struct Token {
  Token(const std::string& text, const Postings& postings, const TermList& list)
      : term(text), cursor(postings, list) {}
  std::string_view term;
  Cursor cursor;
  std::vector<std::uint32_t> positions{};  // in the current row
};

// Whether `row` has every token; else a row before which none has them all.
std::pair<bool, std::uint32_t> has_all(std::deque<Token>& tokens, std::uint32_t row) {
  for (Token& token : tokens)
    if (token.cursor.frequency(row) == 0) return {false, std::max(row + 1, token.cursor.floor())};
  return {true, row + 1};
}

}  // namespace

RowCounts phrase_rows(const WordIndex& index, std::span<const std::string> tokens) {
  RowCounts found;
  const Postings& postings = index.postings();
  std::deque<Token> distinct;
  std::vector<std::size_t> order;  // the token at each place
  for (const std::string& text : tokens) {
    const auto known = std::ranges::find(distinct, std::string_view(text), &Token::term);
    order.push_back(static_cast<std::size_t>(known - distinct.begin()));
    if (known != distinct.end()) continue;
    const auto list = postings.find(text);
    if (!list) return found;
    distinct.emplace_back(text, postings, *list);
  }
  const auto size = [](const Token& token) { return token.cursor.size(); };
  Cursor& rarest = std::ranges::min_element(distinct, {}, size)->cursor;
  while (!rarest.done()) {
    check_interrupt();
    const std::uint32_t row = rarest.rows()[0];
    const auto [all, next] = has_all(distinct, row);
    if (all && index.is_live(row)) {
      for (Token& token : distinct) token.cursor.positions(token.positions);
      std::uint32_t count = 0;
      for (const std::uint32_t start : distinct[order[0]].positions) {
        std::size_t place = 1;
        while (place < order.size() &&
               std::ranges::binary_search(distinct[order[place]].positions, start + place))
          ++place;
        count += place == order.size();
      }
      if (count > 0) {
        found.rows.push_back(row);
        found.frequencies.push_back(count);
      }
    }
    rarest.skip(next);
  }
  return found;
}

RowCounts prefix_rows(const WordIndex& index, std::string_view prefix) {
  std::vector<std::pair<std::uint32_t, std::uint32_t>> all;
  for (const TermList& list : index.postings().with_prefix(prefix)) {
    check_interrupt();
    for (Cursor at(index.postings(), list); !at.done(); at.skip(at.last_row() + 1)) {
      const auto rows = at.rows();
      const auto frequencies = at.frequencies();
      for (std::size_t i = 0; i < rows.size(); ++i)
        if (index.is_live(rows[i])) all.emplace_back(rows[i], frequencies[i]);
    }
  }
  std::ranges::sort(all);
  RowCounts found;
  for (const auto& [row, frequency] : all) {
    if (found.rows.empty() || found.rows.back() != row) {
      found.rows.push_back(row);
      found.frequencies.push_back(0);
    }
    found.frequencies.back() += frequency;
  }
  return found;
}

}  // namespace nestling::lexical
