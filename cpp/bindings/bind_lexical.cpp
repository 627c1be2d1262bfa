#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "bindings/bindings.hpp"
#include "bindings/numpy.hpp"
#include "bindings/without_gil.hpp"
#include "io/file.hpp"
#include "io/word_storage.hpp"
#include "lexical/completion.hpp"
#include "lexical/porter.hpp"
#include "lexical/word_index.hpp"
#include "lexical/word_search.hpp"

namespace nestling::bindings {
namespace {

namespace py = pybind11;

using lexical::PartKind;
using lexical::PlacedIndex;
using lexical::QueryPart;
using lexical::RowFilter;
using lexical::WordIndex;

using Words = std::shared_ptr<const WordIndex>;

// Python objects cannot be const.
std::shared_ptr<WordIndex> shared(const Words& words) {
  return std::const_pointer_cast<WordIndex>(words);
}

std::vector<std::string_view> views_of(const std::vector<py::str>& texts) {
  std::vector<std::string_view> views;
  for (const py::str& text : texts) {
    Py_ssize_t size = 0;
    const char* bytes = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
    if (bytes == nullptr) throw py::error_already_set();
    views.emplace_back(bytes, static_cast<std::size_t>(size));
  }
  return views;
}

std::shared_ptr<WordIndex> build(const Array<std::int64_t>& rows, const std::vector<py::str>& texts,
                                 std::size_t count, const std::vector<py::str>& titles,
                                 std::size_t title_weight) {
  const auto numbers = view(rows);
  if (numbers.size() != texts.size() || (!titles.empty() && titles.size() != texts.size()))
    throw IdError(std::to_string(numbers.size()) + " rows for " + std::to_string(texts.size()) +
                  " texts and " + std::to_string(titles.size()) + " titles");
  if (title_weight == 0) throw SettingError("a title counts once or more often");
  const auto text_views = views_of(texts), title_views = views_of(titles);
  const WithoutGil without_gil;
  return shared(WordIndex::of(numbers, text_views, count, title_views, title_weight));
}

std::shared_ptr<WordIndex> open_words(const File& file) {
  const WithoutGil without_gil;
  return std::make_shared<WordIndex>(read_postings(file));
}

void save_words(const WordIndex& words, const py::bytes& path, const std::string& metadata) {
  const std::string name = path;
  const WithoutGil without_gil;
  write_file(name, metadata, sections(words.postings()));
}

std::shared_ptr<WordIndex> without(const WordIndex& words, const Array<std::int64_t>& rows) {
  const auto numbers = view(rows);
  const WithoutGil without_gil;
  return shared(words.without(numbers));
}

std::shared_ptr<WordIndex> merged_words(const std::vector<const WordIndex*>& indexes,
                                        const std::vector<std::int64_t>& shifts) {
  const WithoutGil without_gil;
  return shared(WordIndex::merged(indexes, shifts));
}

// Indexes with the number of their first row each.
using Placed = std::vector<std::pair<const WordIndex*, std::int64_t>>;
// Tokens of a part, in UTF-8, and the number of its kind.
using Parts = std::vector<std::pair<std::vector<std::string>, int>>;

std::vector<PlacedIndex> to_placed(const Placed& given) {
  std::vector<PlacedIndex> placed;
  placed.reserve(given.size());
  for (const auto& [index, first] : given) placed.push_back({index, first});
  return placed;
}

std::vector<QueryPart> to_parts(const Parts& given) {
  std::vector<QueryPart> parts;
  for (const auto& [tokens, kind] : given)
    if (!tokens.empty()) parts.push_back({tokens, static_cast<PartKind>(kind)});
  return parts;
}

std::vector<std::uint64_t> count_words(const Placed& indexes, const Parts& parts) {
  const auto placed = to_placed(indexes);
  const auto given = to_parts(parts);
  const WithoutGil without_gil;
  return lexical::count_rows(placed, given);
}

std::vector<std::uint64_t> count_matches(const Placed& indexes, const Parts& parts) {
  const auto placed = to_placed(indexes);
  const auto given = to_parts(parts);
  const WithoutGil without_gil;
  return lexical::count_matches(placed, given);
}

std::vector<std::pair<std::string, std::uint64_t>> complete_word(const Placed& indexes,
                                                                 const std::string& prefix,
                                                                 std::size_t most) {
  const auto placed = to_placed(indexes);
  const WithoutGil without_gil;
  std::vector<std::pair<std::string, std::uint64_t>> found;
  for (lexical::Completion& each : lexical::completions(placed, prefix, most))
    found.emplace_back(std::move(each.term), each.rows);
  return found;
}

std::vector<std::uint64_t> completion_rows(const Placed& indexes,
                                           const std::vector<std::string>& terms) {
  const auto placed = to_placed(indexes);
  const WithoutGil without_gil;
  return lexical::completion_rows(placed, terms);
}

std::unique_ptr<RowFilter> make_filter(const Placed& indexes, const Array<std::int64_t>& allowed) {
  const auto placed = to_placed(indexes);
  const auto rows = view(allowed);
  const WithoutGil without_gil;
  return std::make_unique<RowFilter>(placed, rows);
}

// Rows, tokens, and the rows that have each part.
using Statistics = std::tuple<std::uint64_t, std::uint64_t, std::vector<std::uint64_t>>;

std::tuple<Array<std::int64_t>, Array<double>> search_words(
    const Placed& indexes, const Parts& parts, std::size_t k,
    std::optional<const RowFilter*> filter, const std::optional<Statistics>& statistics) {
  const auto placed = to_placed(indexes);
  const auto given = to_parts(parts);
  std::optional<lexical::WordStatistics> all;
  if (statistics) {
    const auto& [documents, tokens, counts] = *statistics;
    all = {documents, tokens, counts};
  }
  lexical::WordHits hits;
  {
    const WithoutGil without_gil;
    hits = lexical::search(placed, given, k, filter.value_or(nullptr), all ? &*all : nullptr);
  }
  return {to_array(std::move(hits.rows)), to_array(std::move(hits.scores))};
}

}  // namespace

void bind_lexical(py::module_& module) {
  py::class_<WordIndex, std::shared_ptr<WordIndex>>(module, "WordIndex")
      .def_static("build", &build, py::arg("rows").noconvert(), py::arg("texts"), py::kw_only(),
                  py::arg("count"), py::arg("titles") = py::list(), py::arg("title_weight") = 1)
      .def_static("open", &open_words, py::arg("file"))
      .def_static("merged", &merged_words, py::arg("indexes"), py::kw_only(), py::arg("shifts"))
      .def("save", &save_words, py::arg("path"), py::kw_only(), py::arg("metadata"))
      .def("same", &WordIndex::same, py::arg("other"), py::call_guard<WithoutGil>())
      .def("without", &without, py::arg("rows").noconvert())
      .def(
          "check", [](const WordIndex& words) { words.postings().check(); },
          py::call_guard<WithoutGil>())
      .def("__len__", &WordIndex::documents)
      .def_property_readonly("tokens", &WordIndex::tokens)
      .def_property_readonly("rows", [](const WordIndex& words) { return words.postings().rows(); })
      .def_property_readonly("terms",
                             [](const WordIndex& words) { return words.postings().counts().terms; })
      .def_property_readonly("memory",
                             [](const WordIndex& words) { return words.postings().memory(); });
  py::class_<RowFilter>(module, "RowFilter")
      .def(py::init(&make_filter), py::arg("indexes"), py::arg("allowed").noconvert());
  module.def("complete_word", &complete_word, py::arg("indexes"), py::arg("prefix"),
             py::arg("most"));
  module.def("completion_rows", &completion_rows, py::arg("indexes"), py::arg("tokens"));
  module.def("count_words", &count_words, py::arg("indexes"), py::arg("parts"));
  module.def("count_matches", &count_matches, py::arg("indexes"), py::arg("parts"));
  module.def("search_words", &search_words, py::arg("indexes"), py::arg("parts"), py::kw_only(),
             py::arg("k"), py::arg("filter"), py::arg("statistics") = py::none());
  module.def(
      "stem",
      [](std::string word) {
        lexical::stem(word);
        return word;
      },
      py::arg("word"));
}

}  // namespace nestling::bindings
