#include "lexical/porter.hpp"

#include <algorithm>
#include <cstddef>
#include <span>
#include <string_view>

namespace nestling::lexical {
namespace {

constexpr std::size_t kShortest = 3, kLongest = 64;  // bytes of the words that have a stem

struct Rule {
  std::string_view suffix, replacement;
};

constexpr Rule kStep2[] = {
    {"ational", "ate"}, {"tional", "tion"}, {"enci", "ence"},   {"anci", "ance"}, {"izer", "ize"},
    {"logi", "log"},    {"bli", "ble"},     {"alli", "al"},     {"entli", "ent"}, {"eli", "e"},
    {"ousli", "ous"},   {"ization", "ize"}, {"ation", "ate"},   {"ator", "ate"},  {"alism", "al"},
    {"iveness", "ive"}, {"fulness", "ful"}, {"ousness", "ous"}, {"aliti", "al"},  {"iviti", "ive"},
    {"biliti", "ble"},
};
constexpr Rule kStep3[] = {
    {"ical", "ic"}, {"ness", ""},  {"icate", "ic"}, {"iciti", "ic"},
    {"ful", ""},    {"ative", ""}, {"alize", "al"},
};
constexpr Rule kStep4[] = {
    {"al", ""},  {"ance", ""},  {"ence", ""}, {"er", ""},  {"ic", ""},  {"able", ""}, {"ible", ""},
    {"ant", ""}, {"ement", ""}, {"ment", ""}, {"ent", ""}, {"ion", ""}, {"ou", ""},   {"ism", ""},
    {"ate", ""}, {"iti", ""},   {"ous", ""},  {"ive", ""}, {"ize", ""},
};

bool is_vowel(char c) {
  return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u';
}

// The consonants of a word, letter by letter; "y" is one unless it follows another.
class Letters {
 public:
  bool consonant(char letter) { return last_ = !(is_vowel(letter) || (letter == 'y' && last_)); }

 private:
  bool last_ = false;
};

// How often a consonant follows a vowel.
std::size_t measure(std::string_view text) {
  Letters letters;
  std::size_t count = 0;
  bool vowel = false;
  for (const char letter : text) {
    const bool consonant = letters.consonant(letter);
    count += consonant && vowel;
    vowel = !consonant;
  }
  return count;
}

// Whether it ends with consonant, vowel, consonant, the last not one of w, x, y.
bool is_short(std::string_view text) {
  if (text.size() < 3 || text.back() == 'w' || text.back() == 'x' || text.back() == 'y')
    return false;
  Letters letters;
  unsigned last = 0;
  for (const char letter : text)
    last = last << 1 | static_cast<unsigned>(letters.consonant(letter));
  return (last & 7U) == 5U;
}

bool has_vowel(std::string_view text) {
  return std::ranges::any_of(text, is_vowel) || text.find('y', 1) != text.npos;
}

void remove_plural(std::string& text) {
  if (!text.ends_with('s')) return;
  if ((text.ends_with("sses") && text.size() > 4) || (text.ends_with("ies") && text.size() > 3))
    text.resize(text.size() - 2);
  else if (!text.ends_with("ss"))
    text.pop_back();
}

void remove_past_or_progressive(std::string& text) {
  const std::string_view whole = text;
  if (text.ends_with("eed") && text.size() > 3) {
    if (measure(whole.substr(0, text.size() - 3)) > 0) text.pop_back();
    return;
  }
  std::size_t size = 0;
  for (const std::string_view suffix : {std::string_view("ed"), std::string_view("ing")})
    if (size == 0 && text.ends_with(suffix) &&
        has_vowel(whole.substr(0, text.size() - suffix.size())))
      size = text.size() - suffix.size();
  if (size == 0) return;
  text.resize(size);
  if (size > 2 && (text.ends_with("at") || text.ends_with("bl") || text.ends_with("iz"))) {
    text += 'e';
    return;
  }
  const char last = text.back();
  if (size > 1 && last == text[size - 2] && !is_vowel(last) && last != 'l' && last != 's' &&
      last != 'z')
    text.pop_back();
  else if (measure(text) == 1 && is_short(text))
    text += 'e';
}

// Applies the first rule whose suffix fits, if the measure of the rest is large enough.
void replace(std::string& text, std::span<const Rule> rules, std::size_t least) {
  for (const auto& [suffix, replacement] : rules) {
    if (!text.ends_with(suffix) || text.size() <= suffix.size()) continue;
    const std::string_view body(text.data(), text.size() - suffix.size());
    const bool fits =
        measure(body) >= least && (suffix != "ion" || body.back() == 's' || body.back() == 't');
    if (fits) text.replace(body.size(), suffix.size(), replacement);
    return;
  }
}

}  // namespace

void stem(std::string& word) {
  if (word.size() < kShortest || word.size() > kLongest) return;
  if (word.back() < 'a' || word.back() > 'z') return;  // every rule changes a letter at the end
  remove_plural(word);
  remove_past_or_progressive(word);
  if (word.back() == 'y' && has_vowel(std::string_view(word.data(), word.size() - 1)))
    word.back() = 'i';
  replace(word, kStep2, 1);
  replace(word, kStep3, 1);
  replace(word, kStep4, 2);
  if (word.back() == 'e') {
    const std::string_view body(word.data(), word.size() - 1);
    const std::size_t count = measure(body);
    if (count > 1 || (count == 1 && !is_short(body))) word.pop_back();
  }
  if (word.ends_with("ll") && measure(std::string_view(word.data(), word.size() - 1)) > 1)
    word.pop_back();
}

}  // namespace nestling::lexical
