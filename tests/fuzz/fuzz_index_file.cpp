// libFuzzer over the parser of index files and of the files of words beside segments: whatever the
// bytes are, the file is refused with one of the core's own errors, or it can be searched, changed,
// rebuilt and read without a fault.
//
// Inputs are whole files. Most mutations work on a file's parts (metadata, sections, version) and
// write the table and the checksums again, because random bytes would stop at the first checksum.
// Build: cmake --preset fuzz && cmake --build --preset fuzz. Seeds: tests/golden.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "index.hpp"
#include "io/hash.hpp"
#include "io/word_storage.hpp"
#include "lexical/completion.hpp"
#include "lexical/word_index.hpp"
#include "lexical/word_search.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace {

using namespace nestling;

constexpr std::size_t kAlignment = 64;
constexpr std::size_t kHeaderSize = 64;
constexpr std::size_t kEntrySize = 48;
constexpr std::size_t kNameSize = 16;

using Random = std::minstd_rand;

// A file taken apart, without what follows from the rest: sizes, offsets and checksums.
struct Parts {
  std::uint32_t version = 1;
  std::string metadata;
  struct Part {
    std::string name;
    std::string content;
  };
  std::vector<Part> sections;
};

template <class T>
T number_at(std::string_view bytes, std::size_t offset) {
  T value{};
  if (offset <= bytes.size() && bytes.size() - offset >= sizeof value)
    std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

template <class T>
void put(std::string& bytes, std::size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof value);
}

std::size_t aligned(std::size_t size) {
  return (size + kAlignment - 1) / kAlignment * kAlignment;
}

std::uint64_t checksum(std::string_view bytes) {
  return nestling::hash(std::as_bytes(std::span(bytes)));
}

// What can be recognised of a file; where sizes are wrong, as much as is there.
Parts parse(std::string_view file) {
  Parts parts;
  parts.version = number_at<std::uint32_t>(file, 8);
  const auto sections = std::min<std::uint64_t>(number_at<std::uint64_t>(file, 32), 16);
  const auto piece = [&](std::uint64_t offset, std::uint64_t size) {
    if (offset >= file.size()) return std::string();
    return std::string(file.substr(offset, std::min<std::uint64_t>(size, file.size() - offset)));
  };
  for (std::size_t i = 0; i < sections; ++i) {
    const std::size_t at = kHeaderSize + i * kEntrySize;
    std::string name = piece(at, kNameSize - 1);
    name.resize(std::min(name.size(), name.find('\0')));
    parts.sections.push_back({std::move(name), piece(number_at<std::uint64_t>(file, at + 16),
                                                     number_at<std::uint64_t>(file, at + 24))});
  }
  parts.metadata = piece(kHeaderSize + sections * kEntrySize, number_at<std::uint64_t>(file, 24));
  return parts;
}

// Makes the checksums of header, table and metadata right where the sizes allow it.
void fix_checksums(std::string& file) {
  if (file.size() < kHeaderSize) return;
  const auto index =
      number_at<std::uint64_t>(file, 32) * kEntrySize + number_at<std::uint64_t>(file, 24);
  if (index <= file.size() - kHeaderSize)
    put(file, 40, checksum(std::string_view(file).substr(kHeaderSize, index)));
  put(file, 56, checksum(std::string_view(file).substr(0, 56)));
}

std::string assemble(const Parts& parts) {
  std::string file(kHeaderSize + parts.sections.size() * kEntrySize, '\0');
  file += parts.metadata;
  std::size_t at = kHeaderSize;
  for (const Parts::Part& part : parts.sections) {
    file.resize(aligned(file.size()));
    std::memcpy(file.data() + at, part.name.data(), std::min(part.name.size(), kNameSize - 1));
    put<std::uint64_t>(file, at + 16, file.size());
    put<std::uint64_t>(file, at + 24, part.content.size());
    put(file, at + 32, checksum(part.content));
    file += part.content;
    at += kEntrySize;
  }
  file.resize(aligned(file.size()));
  std::memcpy(file.data(), "nestling", 8);
  put(file, 8, parts.version);
  put<std::uint32_t>(file, 12, 0x01020304);
  put<std::uint64_t>(file, 16, file.size());
  put<std::uint64_t>(file, 24, parts.metadata.size());
  put<std::uint64_t>(file, 32, parts.sections.size());
  fix_checksums(file);
  return file;
}

// The metadata, read as far as the core needs them: Python checks the JSON before the core sees it.
struct Description {
  std::size_t dim = 0;
  Metric metric = Metric::cosine;
  std::vector<Stage> stages;
  FileMetadata saved{};
};

// The text behind `"key":`, from its first character that is not a space.
std::string_view value_of(std::string_view json, const char* key) {
  const std::string quoted = "\"" + std::string(key) + "\":";
  const std::size_t at = json.find(quoted);
  if (at == std::string_view::npos) return {};
  json.remove_prefix(at + quoted.size());
  json.remove_prefix(std::min(json.size(), json.find_first_not_of(' ')));
  return json;
}

std::size_t number(std::string_view json, const char* key) {
  return std::strtoull(std::string(value_of(json, key)).c_str(), nullptr, 10);
}

std::vector<Stage> stages(std::string_view text) {
  std::vector<Stage> found;
  std::string rest(text.substr(0, text.find('"')));
  for (const char* at = rest.c_str(); *at != '\0' && found.size() < 9;) {
    Stage stage{};
    int length = 0;
    if (std::sscanf(at, " %zu@%d%n", &stage.dims, &stage.bits, &length) != 2) break;
    at += length;
    if (std::sscanf(at, ":%zu%n", &stage.keep, &length) == 1) at += length;
    if (std::sscanf(at, "~%f%n", &stage.margin, &length) == 1) at += length;
    found.push_back(stage);
    at += std::strspn(at, " >");
  }
  return found;
}

Description describe(std::string_view json) {
  Description out;
  out.dim = number(json, "dim");
  out.metric =
      value_of(json, "metric").starts_with("\"ip\"") ? Metric::inner_product : Metric::cosine;
  std::string_view funnel = value_of(json, "funnel");
  if (!funnel.empty()) funnel.remove_prefix(1);
  out.stages = stages(funnel);
  out.saved.rows = number(json, "rows");
  const std::string_view cells = value_of(json, "cells");
  if (cells.empty()) return out;
  out.saved.cell_rows = number(cells, "rows");
  out.saved.cells = {number(cells, "count"), number(cells, "dims"),
                     value_of(cells, "spill").starts_with("true"), number(cells, "links")};
  std::string_view blocks = value_of(cells, "centroid_blocks");
  blocks = blocks.substr(0, blocks.find(']'));
  while (!blocks.empty()) {
    blocks.remove_prefix(1);  // a bracket or a comma
    out.saved.centroid_blocks.push_back(std::strtoull(std::string(blocks).c_str(), nullptr, 10));
    blocks.remove_prefix(std::min(blocks.size(), blocks.find(',')));
  }
  return out;
}

[[noreturn]] void report(const char* what) {
  std::fprintf(stderr, "wrong answer: %s\n", what);
  std::abort();
}

// Runs `work`; an error of the core's own is an answer like another.
template <class Work>
void attempt(Work work) {
  try {
    work();
  } catch (const FormatError&) {
  } catch (const FunnelError&) {
  } catch (const VectorError&) {
  } catch (const IdError&) {
  }
}

void check_search(const Index& index, const std::vector<std::int64_t>& sorted_ids,
                  const nestling::Filter& filter, const nestling::Probes& probes) {
  constexpr std::size_t kHits = 5;
  const std::size_t dim = index.layout().dim;
  std::vector<float> queries(2 * dim);
  for (std::size_t i = 0; i < queries.size(); ++i)
    queries[i] = static_cast<float>(i * 7 % 11) - 5.0F;
  std::vector<std::int64_t> ids(2 * kHits);
  std::vector<float> scores(2 * kHits);
  index.search(plan(index.layout(), index.layout().stages, kHits), queries,
               {.k = kHits, .threads = 1, .probes = probes}, filter, ids, scores);
  for (const std::int64_t id : ids)
    if (id != -1 && !std::ranges::binary_search(sorted_ids, id)) report("an id that is not there");
}

// Every reading and every change that a user can ask for.
void use(Index& index) {
  const Layout& layout = index.layout();
  std::vector<std::int64_t> ids = index.ids();
  if (ids.size() != index.size()) report("more or fewer ids than rows");
  std::vector<std::int64_t> sorted = ids;
  std::ranges::sort(sorted);
  attempt([&] { check_search(index, sorted, {}, {}); });
  attempt([&] { check_search(index, sorted, {}, {2, false}); });
  attempt([&] { check_search(index, sorted, {}, {1, true}); });
  std::vector<std::int64_t> some{0, 3};
  for (std::size_t i = 0; i < ids.size(); i += 3) some.push_back(ids[i]);
  attempt(
      [&] { check_search(index, sorted, {nestling::Filter::Kind::ids, {}, some}, {2, false}); });
  const std::vector<std::uint8_t> mask{1, 0, 0, 1, 1, 1, 0, 1, 1, 0, 1};
  attempt(
      [&] { check_search(index, sorted, {nestling::Filter::Kind::mask, mask, {}}, {2, true}); });
  if (ids.size() > 100) ids.resize(100);
  std::vector<float> values(ids.size() * layout.dim);
  attempt([&] { index.reconstruct(ids, values); });

  const auto copied = index.copy();
  const std::vector<float> rows(3 * layout.dim, 0.5F);
  attempt([&] { copied->add(rows, {}, false, 1); });
  attempt([&] { copied->add(rows, std::vector<std::int64_t>{0, 1, 1'000}, true, 1); });
  attempt([&] { copied->remove(std::span(ids).first(std::min<std::size_t>(ids.size(), 1))); });
  attempt([&] { copied->compact(1); });
  std::vector<std::int64_t> changed = copied->ids();
  std::ranges::sort(changed);
  attempt([&] { check_search(*copied, changed, {}, {1, false}); });
  const bool coded = layout.coarse.has_value();
  attempt([&] {
    const Layout plain(layout.dim, layout.metric, layout.stages);
    const auto rebuilt = index.rebuilt(plain, {coded ? 2U : 0U, 1, true}, 1);
    check_search(*rebuilt, sorted, {}, {1, false});
  });
  attempt([&] {
    const std::vector<const Index*> parts{&index, copied.get()};
    Index::merged(parts, std::vector<std::int64_t>{0, std::int64_t{1} << 40}, 1);
  });
}

// Every reading of words that a user can ask for.
void use_words(const File& file) {
  using namespace nestling::lexical;
  const auto postings = read_postings(file);
  const auto words = std::make_shared<const WordIndex>(postings);
  attempt([&] { postings->check(); });
  std::vector<std::string> terms;
  attempt([&] {
    for (TermIterator at(*postings); !at.done() && terms.size() < 6; at.next())
      terms.push_back(at.term());
  });
  terms.resize(6, "w1");
  const QueryPart one{{terms[0]}}, two{{terms[1]}}, phrase{{terms[2], terms[3]}},
      prefix{{terms[4].substr(0, 1)}, PartKind::kPrefix}, any{{terms[4], terms[5]}, PartKind::kAny};
  const auto find = [](const WordIndex& index, const std::vector<QueryPart>& parts,
                       std::span<const std::int64_t> allowed) {
    const PlacedIndex placed{&index, 10};
    const RowFilter filter(std::span(&placed, 1), allowed);
    const WordHits hits =
        search(std::span(&placed, 1), parts, 5, allowed.empty() ? nullptr : &filter);
    for (const std::int64_t row : hits.rows)
      if (row < 10 || static_cast<std::size_t>(row - 10) >= index.postings().rows())
        report("a row that is not there");
    count_rows(std::span(&placed, 1), parts);
    WordStatistics all{index.documents(), index.tokens(),
                       count_matches(std::span(&placed, 1), parts)};
    for (std::uint64_t* count : {&all.documents, &all.tokens, &all.counts.front()}) *count += 7;
    search(std::span(&placed, 1), parts, 5, allowed.empty() ? nullptr : &filter, &all);
    completion_rows(std::span(&placed, 1), parts.front().tokens);
  };
  const std::vector<std::int64_t> some{10, 13, 14, 40, 100};
  const auto fewer = words->without(some);
  for (const WordIndex* index : {words.get(), fewer.get()})
    for (const std::vector<QueryPart>& parts :
         {std::vector{one, two}, std::vector{phrase}, std::vector{prefix, one}, std::vector{any}}) {
      attempt([&] { find(*index, parts, {}); });
      attempt([&] { find(*index, parts, some); });
    }
  attempt([&] {
    const std::vector<const WordIndex*> both{words.get(), fewer.get()};
    const auto shift = static_cast<std::int64_t>(postings->rows());
    WordIndex::merged(both, std::vector<std::int64_t>{0, shift})->postings().check();
  });
}

// The file's bytes in memory that ends where they end, so that reading on is seen.
FileBytes in_memory(std::span<const std::uint8_t> bytes) {
  const std::size_t size = bytes.size();
  void* memory = nullptr;
  if (::posix_memalign(&memory, kAlignment, std::max<std::size_t>(size, 1)) != 0) std::abort();
  if (size > 0) std::memcpy(memory, bytes.data(), size);
  return {{static_cast<std::byte*>(memory), [](std::byte* p) { std::free(p); }}, size};
}

std::size_t below(Random& random, std::size_t end) {
  return std::uniform_int_distribution<std::size_t>(0, end - 1)(random);
}

void mutate(std::string& bytes, std::size_t room) {
  const std::size_t size = bytes.size();
  bytes.resize(size + room);
  bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(bytes.data()), size, size + room));
}

// Another value for one of the numbers in a text.
void mutate_number(std::string& text, Random& random) {
  std::vector<std::size_t> starts;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [&](std::size_t at) { return text[at] >= '0' && text[at] <= '9'; };
    if (digit(i) && (i == 0 || !digit(i - 1))) starts.push_back(i);
  }
  if (starts.empty()) return;
  const std::size_t start = starts[below(random, starts.size())];
  const std::size_t size =
      std::min(text.find_first_not_of("0123456789", start), text.size()) - start;
  const std::uint64_t value = std::strtoull(text.substr(start, size).c_str(), nullptr, 10);
  const std::uint64_t others[] = {0,
                                  1,
                                  2,
                                  8,
                                  16,
                                  32,
                                  33,
                                  value + 1,
                                  value - 1,
                                  value * 2,
                                  value / 2,
                                  65'536,
                                  4'294'967'295U,
                                  1ULL << 62,
                                  ~0ULL};
  text.replace(start, size, std::to_string(others[below(random, std::size(others))]));
}

constexpr const char* kNames[] = {
    "coarse",      "ids",         "alive",       "rotation",   "centre",         "cell centre",
    "centroids 0", "centroids 1", "children 0",  "children 1", "centroid shell", "cell codes",
    "cell rows",   "links",       "shell 4@4",   "shell 4@8",  "shell 4@16",     "shell 8@16",
    "word counts", "terms",       "term starts", "postings",   "blocks",         "positions",
    "lengths",     "rows"};

void mutate_sections(Parts& parts, Random& random) {
  auto& sections = parts.sections;
  if (sections.empty()) {
    sections.push_back({kNames[below(random, std::size(kNames))], std::string(64, '\1')});
    return;
  }
  const std::size_t i = below(random, sections.size());
  std::string& content = sections[i].content;
  switch (below(random, 8)) {
    case 0:
      sections.erase(sections.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    case 1:
      sections[i].name = kNames[below(random, std::size(kNames))];
      break;
    case 2:
      sections.push_back(sections[i]);
      break;
    case 3:
      content.resize(below(random, content.size() + 65));
      break;
    default: {  // of the same size, as anything else is refused at once
      const std::size_t size = content.size();
      mutate(content, 0);
      content.resize(size);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  attempt([&] {
    const File file(in_memory({data, size}), true);
    if (file.has("word counts")) return use_words(file);
    const Description description = describe(file.metadata());
    Index index(description.dim, description.metric, description.stages, file, description.saved);
    use(index);
  });
  return 0;
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t max_size, unsigned seed) {
  Random random(seed);
  std::string file(reinterpret_cast<const char*>(data), size);
  const std::size_t way = below(random, 16);
  if (way < 2) {
    mutate(file, max_size - size);
    if (way == 1) fix_checksums(file);
  } else {
    Parts parts = parse(file);
    if (way < 4)
      mutate(parts.metadata, 32);
    else if (way < 7)
      mutate_number(parts.metadata, random);
    else if (way < 15)
      mutate_sections(parts, random);
    else
      parts.version = static_cast<std::uint32_t>(below(random, 4));
    file = assemble(parts);
  }
  if (file.size() > max_size) file.resize(max_size);
  std::memcpy(data, file.data(), file.size());
  return file.size();
}

// Sections and metadata of two files mixed.
extern "C" std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* data1, std::size_t size1,
                                                 const std::uint8_t* data2, std::size_t size2,
                                                 std::uint8_t* out, std::size_t max_size,
                                                 unsigned seed) {
  Random random(seed);
  Parts parts = parse({reinterpret_cast<const char*>(data1), size1});
  Parts other = parse({reinterpret_cast<const char*>(data2), size2});
  if (below(random, 2) == 0) std::swap(parts.metadata, other.metadata);
  for (Parts::Part& part : other.sections) {
    if (below(random, 2) == 0) continue;
    const auto same = std::ranges::find(parts.sections, part.name, &Parts::Part::name);
    if (same == parts.sections.end())
      parts.sections.push_back(std::move(part));
    else
      same->content = std::move(part.content);
  }
  std::string file = assemble(parts);
  if (file.size() > max_size) file.resize(max_size);
  std::memcpy(out, file.data(), file.size());
  return file.size();
}
