// Runs the engine through adds, searches, files and corruption, for the sanitizers and for emulated
// CPUs. The tests in Python check its answers in full.
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "base/error.hpp"
#include "check.hpp"
#include "index.hpp"

namespace {

using namespace nestling;

std::mt19937 random_bits(7);

std::vector<float> vectors(std::size_t rows, std::size_t dim) {
  return check::filled<float>(rows * dim,
                              [] { return std::normal_distribution<float>()(random_bits); });
}

struct Result {
  std::vector<std::int64_t> ids;
  std::vector<float> scores;
  bool operator==(const Result&) const = default;
};

Result search(const Index& index, std::span<const float> queries, std::size_t k,
              std::size_t threads, const nestling::Probes& probes = {},
              const nestling::Filter& filter = {}) {
  const std::size_t count = queries.size() / index.layout().dim;
  Result out{std::vector<std::int64_t>(count * k), std::vector<float>(count * k)};
  index.search(plan(index.layout(), index.layout().stages, k), queries,
               {.k = k, .threads = threads, .probes = probes}, filter, out.ids, out.scores);
  for (float& score : out.scores)
    if (std::isnan(score)) score = 0.0F;  // so that results can be compared
  return out;
}

void check_roundtrip(const Layout& layout, std::size_t rows, const std::string& path) {
  Index index(layout);
  std::vector<float> all;
  while (index.size() < rows) {  // in parts that end inside blocks
    const std::size_t count = std::min<std::size_t>(rows - index.size(), 1 + random_bits() % 90);
    const auto part = vectors(count, layout.dim);
    index.add(part, {}, false, 3);
    all.insert(all.end(), part.begin(), part.end());
  }
  const auto queries = vectors(9, layout.dim);
  const Result expected = search(index, queries, 5, 1);
  CHECK(search(index, queries, 5, 4) == expected);

  Index whole(layout);
  whole.add(all, {}, false, 1);
  CHECK(search(whole, queries, 5, 1) == expected);

  FileMetadata saved{};
  index.save(path, [&](const FileMetadata& now) {
    saved = now;
    return std::string("{}");
  });
  const File file(path, true);
  Index loaded(layout.dim, layout.metric, layout.stages, file, saved);
  CHECK(search(loaded, queries, 5, 2) == expected);
  const auto more = vectors(40, layout.dim);
  std::vector<std::int64_t> ids(40);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int64_t>(1'000'000 - i);
  CHECK(loaded.add(more, ids, false, 2) == ids);
  CHECK(loaded.size() == rows + 40);
  std::vector<float> values(layout.dim * 2);
  loaded.reconstruct(std::vector<std::int64_t>{1'000'000, 0}, values);
  bool refused = false;
  try {
    loaded.add(vectors(1, layout.dim), std::vector<std::int64_t>{0}, false, 1);
  } catch (const IdError&) {
    refused = true;
  }
  CHECK(refused);
}

// Cells without rows are saved, and rows of another index are put into them: many, few and none.
void check_shared_cells(const Index& learned, const std::string& path) {
  const Layout& layout = learned.layout();
  const nestling::CellOptions cells{40, 40, true};
  const auto queries = vectors(5, layout.dim);
  const auto reopened = [&](const Index& index) {
    FileMetadata saved{};
    index.save(path, [&](const FileMetadata& now) {
      saved = now;
      return std::string("{}");
    });
    const File file(path, true);
    return std::make_unique<Index>(layout.dim, layout.metric, layout.stages, file, saved);
  };
  const auto model = reopened(*learned.empty(cells, 2));
  CHECK(model->size() == 0 && model->cells().count == 40);
  for (const std::size_t rows : {300U, 3U, 0U}) {
    Index index(layout);
    index.add(vectors(rows, layout.dim), {}, false, 1);
    const Result flat = search(index, queries, 5, 1);
    const auto shared = reopened(*index.partitioned_like(*model, 3));
    CHECK(shared->cells().count == 40);
    CHECK(search(*shared, queries, 5, 2, {40, false}) == flat);
    search(*shared, queries, 5, 1, {2, true});
    shared->add(vectors(50, layout.dim), {}, false, 2);
    const Result after = search(*shared, queries, 5, 1);
    CHECK(search(*shared, queries, 5, 2, {40, false}) == after);
    shared->compact(2);
    CHECK(search(*shared, queries, 5, 1) == after);
  }
  bool refused = false;
  try {
    Index(Layout(layout.dim, layout.metric, {{.dims = layout.dim, .bits = 8}}))
        .partitioned_like(*model, 1);
  } catch (const FunnelError&) {
    refused = true;
  }
  CHECK(refused);
}

// Rows are added, removed, replaced, filtered, rotated, centred and put into cells.
void check_life(const Layout& layout, const std::string& path) {
  Index index(layout);
  const std::size_t rows = 900;
  const auto queries = vectors(5, layout.dim);
  index.add(vectors(rows, layout.dim), {}, false, 2);
  std::vector<std::int64_t> removed;
  for (std::int64_t id = 0; id < 300; id += 2) removed.push_back(id);
  index.remove(removed);
  index.add(vectors(2, layout.dim), std::vector<std::int64_t>{5, 700}, true, 1);
  CHECK(index.size() == rows - removed.size());
  std::vector<std::uint8_t> mask(rows);
  for (std::size_t i = 0; i < rows; i += 3) mask[i] = 1;
  const nestling::Filter masked{nestling::Filter::Kind::mask, mask, {}};
  const Result expected = search(index, queries, 5, 2),
               some = search(index, queries, 5, 1, {}, masked);
  for (const std::int64_t id : some.ids) CHECK(id % 3 == 0 && (id >= 300 || id % 2 == 1));
  index.compact(2);
  CHECK(search(index, queries, 5, 3) == expected);
  CHECK(search(index, queries, 5, 2, {}, masked) == some);

  const bool coded = layout.coarse.has_value();
  nestling::Transform transform;
  transform.rotation.assign(layout.dim * layout.dim, 0.0F);
  for (std::size_t d = 0; d < layout.dim; ++d)
    transform.rotation[d * layout.dim + layout.dim - 1 - d] = 1.0F;
  if (coded && layout.metric == Metric::cosine)
    transform.centre.assign(layout.stages[0].dims, 0.01F);
  const nestling::CellOptions cells{coded ? 20U : 0U, 40, true};
  const auto rebuilt =
      index.rebuilt(Layout(layout.dim, layout.metric, layout.stages, transform), cells, 2);
  CHECK(rebuilt->size() == index.size());
  const Result all = search(*rebuilt, queries, 5, 1);
  CHECK(search(*rebuilt, queries, 5, 2, {20, false}) == all);  // all cells, so all rows
  rebuilt->add(vectors(70, layout.dim), {}, false, 1);
  rebuilt->remove(std::vector<std::int64_t>{all.ids[0], all.ids[5]});
  const Result after = search(*rebuilt, queries, 5, 1);
  CHECK(search(*rebuilt, queries, 5, 3, {20, false}) == after);
  search(*rebuilt, queries, 5, 1, {2, true});
  FileMetadata saved{};
  rebuilt->save(path, [&](const FileMetadata& now) {
    saved = now;
    return std::string("{}");
  });
  const File file(path, true);
  const Index loaded(layout.dim, layout.metric, layout.stages, file, saved);
  CHECK(loaded.size() == rebuilt->size());
  CHECK(search(loaded, queries, 5, 2) == after);
  rebuilt->compact(2);
  CHECK(search(*rebuilt, queries, 5, 2, {20, false}) == after);
  if (coded) check_shared_cells(*rebuilt, path);
}

// A copy shares rows but no changes; merged indexes equal one index of all their rows.
void check_copies(const Layout& layout) {
  const std::size_t dim = layout.dim;
  const auto rows = vectors(500, dim), queries = vectors(5, dim);
  const std::span<const float> all(rows);
  Index whole(layout), first(layout), second(layout);
  whole.add(all, {}, false, 2);
  first.add(all.first(310 * dim), {}, false, 1);
  second.add(all.subspan(310 * dim), {}, false, 2);
  const auto copied = first.copy();
  const Result before = search(first, queries, 5, 1);
  copied->remove(std::vector<std::int64_t>{3, 300});
  copied->add(all.subspan(310 * dim, 40 * dim), {}, false, 1);
  first.add(all.subspan(400 * dim, 7 * dim), {}, false, 1);
  first.remove(std::vector<std::int64_t>{310, 311, 312, 313, 314, 315, 316});
  CHECK(search(first, queries, 5, 1) == before);
  CHECK(copied->size() == 348);

  const std::vector<const Index*> parts{&first, &second};
  const std::vector<std::int64_t> shifts{0, 310};
  const auto merged = Index::merged(parts, shifts, 2);
  CHECK(merged->size() == 500);
  CHECK(merged->ids() == whole.ids());
  CHECK(search(*merged, queries, 7, 2) == search(whole, queries, 7, 1));
  const std::vector<const Index*> twice{&second, &second};
  bool refused = false;
  try {
    Index::merged(twice, std::vector<std::int64_t>{0, 0}, 1);
  } catch (const IdError&) {
    refused = true;
  }
  CHECK(refused);
}

// A file that is truncated or corrupted anywhere is refused.
void check_damage(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string good{std::istreambuf_iterator<char>(in), {}};
  const auto refused = [&](const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
    try {
      const File file(path, true);
      return false;
    } catch (const FormatError&) {
      return true;
    }
  };
  for (int i = 0; i < 300; ++i) {
    std::string bad = good;
    char& byte = bad[random_bits() % bad.size()];
    byte = static_cast<char>(byte ^ static_cast<int>(1 + random_bits() % 255));
    CHECK(refused(bad));
    CHECK(refused(good.substr(0, random_bits() % good.size())));
  }
  CHECK(!refused(good));
}

void check_concurrency() {
  const Layout layout(40, Metric::cosine,
                      {{.dims = 16, .bits = 4, .keep = 50}, {.dims = 40, .bits = 16}});
  Index index(layout);
  std::thread writer([&] {
    std::mt19937 own(3);
    for (int i = 0; i < 60; ++i) {
      std::vector<float> rows(40 * (1 + own() % 50));
      for (float& v : rows) v = std::normal_distribution<float>()(own);
      index.add(rows, {}, false, 2);
    }
  });
  const auto queries = vectors(4, 40);
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t)
    readers.emplace_back([&] {
      for (int i = 0; i < 60; ++i) {
        const auto before = static_cast<std::int64_t>(index.size());
        const Result result = search(index, queries, 3, 2);
        const auto after = static_cast<std::int64_t>(index.size());
        for (const std::int64_t id : result.ids) CHECK(id < after && (id >= 0 || before < 3));
      }
    });
  writer.join();
  for (std::thread& reader : readers) reader.join();
}

}  // namespace

int main() {
  const auto folder =
      std::filesystem::temp_directory_path() / ("nestling-check-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const std::string path = (folder / "check.nest").string();
  for (const Metric metric : {Metric::cosine, Metric::inner_product})
    for (const std::vector<Stage>& stages :
         {std::vector<Stage>{{.dims = 64, .bits = 4, .keep = 30},
                             {.dims = 100, .bits = 16, .keep = 10},
                             {.dims = 131, .bits = 16}},
          {{.dims = 131, .bits = 8}},
          {{.dims = 131, .bits = 32}},
          {{.dims = 5, .bits = 8, .keep = 40}, {.dims = 131, .bits = 8}},
          {{.dims = 9, .bits = 16, .keep = 40}, {.dims = 131, .bits = 32}},
          {{.dims = 131, .bits = 4, .keep = 60},
           {.dims = 131, .bits = 8, .keep = 9},
           {.dims = 131, .bits = 32}},
          {{.dims = 100, .bits = 1, .keep = 60}, {.dims = 131, .bits = 16}},
          {{.dims = 50, .bits = 2, .keep = 60}, {.dims = 131, .bits = 8}}}) {
      for (const std::size_t rows : {1, 31, 32, 33, 700})
        check_roundtrip(Layout(131, metric, stages), rows, path);
      check_life(Layout(131, metric, stages), path);
      check_copies(Layout(131, metric, stages));
    }
  check_damage(path);
  check_concurrency();
  std::filesystem::remove_all(folder);
  return check::report("check_index");
}
