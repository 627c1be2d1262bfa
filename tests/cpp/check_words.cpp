// Compares packed integers with what was packed, and searches for words with sums over all rows.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "check.hpp"
#include "lexical/bits.hpp"
#include "lexical/postings.hpp"
#include "lexical/word_index.hpp"
#include "lexical/word_search.hpp"

namespace {

using namespace nestling::lexical;

std::mt19937 random_bits(20261126);

void check_bits(unsigned bits) {
  const std::uint32_t largest = bits == 32 ? ~0U : (1U << bits) - 1;
  std::vector<std::uint32_t> values(kBlockPostings);
  for (std::uint32_t& value : values) value = static_cast<std::uint32_t>(random_bits()) & largest;
  values[5] = largest;
  CHECK(bits_for(largest) == bits);
  std::vector<std::byte> packed;
  pack_block(std::span<const std::uint32_t, kBlockPostings>(values), bits, packed);
  CHECK(packed.size() == packed_size(kBlockPostings, bits));
  std::vector<std::uint32_t> found(kBlockPostings);
  unpack_block(packed.data(), bits, std::span<std::uint32_t, kBlockPostings>(found));
  CHECK(found == values);
  for (const std::size_t count : {0, 1, 7, 127, 128}) {
    const auto some = std::span(values).first(count);
    packed.clear();
    pack(some, bits, packed);
    CHECK(packed.size() == packed_size(count, bits));
    packed.resize(packed.size() + kReadAhead);
    found.resize(count);
    unpack(packed.data(), bits, found);
    CHECK(std::ranges::equal(found, some));
  }
}

void check_length_codes() {
  for (std::uint32_t length = 0; length < 100'000; ++length) {
    const std::uint32_t coded = length_of(length_code(length));
    CHECK(coded <= length && length - coded <= length / 16);
    CHECK(length == 0 || length_code(length - 1) <= length_code(length));
  }
  CHECK(length_code(~0U) < kNoLength);
}

// Rows of random words, the first ones the most frequent.
std::vector<std::vector<int>> make_rows(std::size_t count) {
  std::vector<std::vector<int>> rows(count);
  for (auto& row : rows) {
    row.resize(random_bits() % 20);
    for (int& word : row)
      word = static_cast<int>(300.0 / (1.0 + static_cast<double>(random_bits() % 300)));
  }
  return rows;
}

std::shared_ptr<const WordIndex> index_of(const std::vector<std::vector<int>>& rows) {
  std::vector<std::string> texts;
  for (const auto& row : rows) {
    std::string& text = texts.emplace_back();
    for (const int word : row) text += "w" + std::to_string(word) + " ";
  }
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<std::int64_t> numbers(rows.size());
  for (std::size_t i = 0; i < rows.size(); ++i) numbers[i] = static_cast<std::int64_t>(i);
  return WordIndex::of(numbers, views, rows.size());
}

double expected_score(const std::vector<std::vector<int>>& rows, const std::vector<int>& query,
                      std::size_t row) {
  double tokens = 0;
  for (const auto& words : rows) tokens += static_cast<double>(words.size());
  const auto count = static_cast<double>(rows.size());
  const double share = static_cast<double>(rows[row].size()) * count / tokens;
  double score = 0;
  for (const int word : query) {
    const auto having = static_cast<double>(std::ranges::count_if(
        rows, [word](const auto& words) { return std::ranges::count(words, word) > 0; }));
    const double idf = std::log((count - having + 0.5) / (having + 0.5));
    const auto times = static_cast<double>(std::ranges::count(rows[row], word));
    score += (idf > 0 ? idf : 1e-6) * times * 2.2 / (times + 1.2 * (0.25 + 0.75 * share));
  }
  return score;
}

// What a word adds is rounded to 2^-51 of what all words of the query can add.
bool close(double found, double expected) {
  return std::abs(found - expected) <= 1e-9 * expected + 1e-13;
}

void check_search(std::size_t count, const std::vector<int>& query, std::size_t k) {
  const auto rows = make_rows(count);
  const auto index = index_of(rows);
  index->postings().check();
  std::vector<QueryPart> parts;
  for (const int word : query) parts.push_back({{"w" + std::to_string(word)}});
  const PlacedIndex placed{index.get(), 100};
  const WordHits hits = search(std::span(&placed, 1), parts, k, nullptr);
  std::vector<double> scores;
  for (std::size_t row = 0; row < count; ++row) scores.push_back(expected_score(rows, query, row));
  for (std::size_t i = 0; i < hits.rows.size(); ++i) {
    const double expected = scores[static_cast<std::size_t>(hits.rows[i] - 100)];
    CHECK(close(hits.scores[i], expected));
  }
  std::ranges::sort(scores, std::greater<>());
  CHECK(hits.rows.size() == std::min(k, static_cast<std::size_t>(std::ranges::count_if(
                                            scores, [](double score) { return score > 0; }))));
  for (std::size_t i = 0; i < hits.rows.size(); ++i) CHECK(close(hits.scores[i], scores[i]));

  // The same rows in two indexes, each searched on its own with the statistics of both.
  const std::size_t half = count / 3;
  const auto middle = rows.begin() + static_cast<std::ptrdiff_t>(half);
  const auto first = index_of({rows.begin(), middle}), second = index_of({middle, rows.end()});
  const WordStatistics all{first->documents() + second->documents(),
                           first->tokens() + second->tokens(),
                           count_matches(std::span(&placed, 1), parts)};
  std::vector<std::pair<double, std::int64_t>> apart;
  for (const PlacedIndex& part :
       {PlacedIndex{first.get(), 100},
        PlacedIndex{second.get(), 100 + static_cast<std::int64_t>(half)}}) {
    const WordHits some = search(std::span(&part, 1), parts, k, nullptr, &all);
    for (std::size_t i = 0; i < some.rows.size(); ++i)
      apart.emplace_back(-some.scores[i], some.rows[i]);
  }
  std::ranges::sort(apart);
  CHECK(apart.size() >= hits.rows.size());
  for (std::size_t i = 0; i < hits.rows.size(); ++i)
    CHECK(apart[i] == std::pair(-hits.scores[i], hits.rows[i]));
}

// A filter keeps the rows of a term that pass from the second time on, and forgets for want of room.
void check_filtered_lists(std::size_t count) {
  const auto rows = make_rows(count);
  const auto index = index_of(rows);
  const Postings& postings = index->postings();
  std::vector<std::uint32_t> allowed(row_words(count));
  for (std::size_t row = 0; row < count; row += 1 + random_bits() % 40)
    allowed[row / kRowsPerWord] |= 1U << row % kRowsPerWord;
  FilteredLists lists(allowed, count);
  for (const int word : {1, 2, 3, 50, 300}) {
    const auto list = postings.find("w" + std::to_string(word));
    if (!list) continue;
    CHECK(lists.find(postings, *list) == nullptr);
    const auto kept = lists.find(postings, *list);
    CHECK(kept != nullptr && lists.find(postings, *list) == kept);
    RowCounts expected;
    for (std::size_t row = 0; row < count; ++row) {
      const auto times = static_cast<std::uint32_t>(std::ranges::count(rows[row], word));
      if (times == 0 || !has_row(allowed, row)) continue;
      expected.rows.push_back(static_cast<std::uint32_t>(row));
      expected.frequencies.push_back(times);
    }
    CHECK(kept->counts().rows == expected.rows);
    CHECK(kept->counts().frequencies == expected.frequencies);
  }
  const auto first = postings.find("w1");
  for (TermIterator at = postings.from(""); first && !at.done(); at.next())
    lists.find(postings, at.list());
  if (first && postings.counts().terms * 32 > count) CHECK(lists.find(postings, *first) == nullptr);
}

}  // namespace

int main() {
  for (unsigned bits = 0; bits <= 32; ++bits) check_bits(bits);
  check_length_codes();
  for (const std::size_t count : {1, 100, 128, 129, 1'000, 6'000})
    for (const std::size_t k : {1, 10, 400}) {
      check_search(count, {1}, k);
      check_search(count, {150, 3, 1}, k);
      check_search(count, {2, 5, 7, 30, 75, 300}, k);
    }
  for (const std::size_t count : {100, 1'000, 6'000}) check_filtered_lists(count);
  return check::report("check_words");
}
