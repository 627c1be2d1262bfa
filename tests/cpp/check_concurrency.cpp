// Threads that search, change, copy, rebuild and save one index at the same time, for
// ThreadSanitizer. Rows are added and removed in whole batches, so every answer must be made of
// whole batches: anything else was not read from one snapshot.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/pool.hpp"
#include "check.hpp"
#include "index.hpp"

namespace {

using namespace nestling;

constexpr std::size_t kDim = 40;
constexpr std::size_t kBatch = 40;  // rows that are added, and removed, at once
constexpr int kBatches = 30;

// Starts a thread per function and waits for all of them.
template <class... Work>
void run_together(Work... work) {
  std::vector<std::thread> threads;
  (threads.emplace_back(work), ...);
  for (std::thread& thread : threads) thread.join();
}

std::vector<float> batch(int number) {
  std::mt19937 bits(static_cast<unsigned>(number));
  return check::filled<float>(kBatch * kDim,
                              [&] { return std::normal_distribution<float>()(bits); });
}

std::vector<std::int64_t> batch_ids(int number) {
  std::vector<std::int64_t> ids(kBatch);
  std::iota(ids.begin(), ids.end(), static_cast<std::int64_t>(number) * kBatch);
  return ids;
}

// Whether `ids`, -1 aside, are those of whole batches, each row once.
bool whole_batches(std::span<const std::int64_t> ids) {
  std::array<std::size_t, kBatches> rows{};
  std::array<bool, kBatches * kBatch> seen{};
  for (const std::int64_t id : ids) {
    if (id < 0) continue;
    const auto row = static_cast<std::size_t>(id);
    if (row >= seen.size() || seen[row]) return false;
    seen[row] = true;
    ++rows[row / kBatch];
  }
  return std::ranges::all_of(rows, [](std::size_t n) { return n == 0 || n == kBatch; });
}

// The ids of the best `k` rows for one query.
std::vector<std::int64_t> search(const Index& index, std::size_t k, std::size_t threads,
                                 const nestling::Filter& filter = {},
                                 const nestling::Probes& probes = {}) {
  const std::vector<float> query(kDim, 1.0F);
  std::vector<std::int64_t> ids(k);
  std::vector<float> scores(k);
  index.search(plan(index.layout(), index.layout().stages, k), query,
               {.k = k, .threads = threads, .probes = probes}, filter, ids, scores);
  return ids;
}

// Every task runs once, whichever threads start it; a task may start tasks of its own.
void check_pool() {
  const auto work = [] {
    for (std::size_t round = 0; round < 200; ++round) {
      const std::size_t count = 1 + round % 37;
      std::vector<int> runs(count);
      parallel_for(count, 1 + round % 5, [&](std::size_t i) { ++runs[i]; });
      CHECK(runs == std::vector<int>(count, 1));
    }
  };
  const auto nest = [] {
    std::atomic<int> inner{0};
    for (int round = 0; round < 50; ++round)
      parallel_for(4, 3, [&](std::size_t) { parallel_for(5, 2, [&](std::size_t) { ++inner; }); });
    CHECK(inner == 50 * 4 * 5);
  };
  const auto fail = [] {
    for (int round = 0; round < 50; ++round) {
      bool thrown = false;
      try {
        parallel_for(9, 3, [](std::size_t i) {
          if (i == 5) throw std::runtime_error("task 5");
        });
      } catch (const std::runtime_error& error) {
        thrown = std::string(error.what()) == "task 5";
      }
      CHECK(thrown);
    }
  };
  run_together(work, work, nest, fail);
}

// An interrupt ends a call on every thread that works on it, and only that call.
void check_interrupts() {
  struct Stopped {};
  const auto stop = [] {
    for (int round = 0; round < 5; ++round) {
      std::atomic<std::size_t> begun{0};
      bool stopped = false;
      const Interruptible interruptible([] { throw Stopped(); });
      try {
        parallel_for(100'000, 3, [&](std::size_t) {
          ++begun;
          std::this_thread::sleep_for(std::chrono::milliseconds(1));
        });
      } catch (const Stopped&) {
        stopped = true;
      }
      CHECK(stopped && begun < 100'000);
    }
  };
  const auto go_on = [] {
    std::size_t polls = 0;
    const Interruptible interruptible([&] { ++polls; });
    std::atomic<std::size_t> runs{0};
    std::size_t rounds = 0;
    do {  // on a busy machine, other threads may do all of it while the one that polls is paused
      parallel_for(200, 3, [&](std::size_t) {
        ++runs;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
      ++rounds;
    } while (polls == 0 && rounds < 1000);
    CHECK(runs == 200 * rounds && polls > 0);
  };
  run_together(stop, stop, go_on, check_pool);
}

// Readers of every kind beside writers of every kind.
void check_snapshots(const std::vector<Stage>& stages, const std::string& path) {
  const Layout layout(kDim, Metric::cosine, stages);
  const bool coded = layout.coarse.has_value();
  constexpr std::size_t kAll = kBatches * kBatch + 7;  // more rows than there ever are
  Index first(layout);
  first.add(batch(0), batch_ids(0), false, 1);
  const auto index = first.rebuilt(layout, {coded ? 3U : 0U, 16, true}, 2);
  std::atomic<int> added{1};
  std::atomic<bool> finished{false};

  // Batch 0 stays, so that the index always has cells to fill.
  const auto add = [&] {
    for (int number = 1; number < kBatches; ++number) {
      index->add(batch(number), batch_ids(number), false, 2);
      added = number + 1;
    }
    finished = true;
  };
  const auto remove = [&] {
    for (int number = 1; number < kBatches; number += 3) {
      while (added <= number) std::this_thread::yield();
      index->remove(batch_ids(number));
      bool refused = false;
      try {
        index->remove(batch_ids(number));
      } catch (const IdError&) {
        refused = true;
      }
      CHECK(refused);
    }
  };
  const auto replace = [&] {
    while (!finished) {
      index->add(batch(0), batch_ids(0), true, 1);
      index->compact(2);
    }
  };
  const auto find = [&](std::size_t threads) {
    do {
      CHECK(whole_batches(search(*index, kAll, threads)));
      if (coded) CHECK(whole_batches(search(*index, kAll, threads, {}, {3, false})));
      const int number = added / 2;
      const std::vector<std::int64_t> ids = batch_ids(number);
      const nestling::Filter some{nestling::Filter::Kind::ids, {}, ids};
      CHECK(whole_batches(search(*index, kBatch, threads, some)));
      std::vector<std::uint8_t> mask(kBatches * kBatch);
      for (const std::int64_t id : ids) mask[static_cast<std::size_t>(id)] = 1;
      const nestling::Filter masked{nestling::Filter::Kind::mask, mask, {}};
      for (const std::int64_t id : search(*index, 3, threads, masked))
        CHECK(id < 0 || mask[static_cast<std::size_t>(id)] == 1);
    } while (!finished);
  };
  const auto read = [&] {
    std::vector<float> values(kBatch * kDim);
    do {
      CHECK(whole_batches(index->ids()));
      CHECK(index->size() % kBatch == 0);
      CHECK(!index->memory().empty());
      index->reconstruct(batch_ids(0), values);
    } while (!finished);
  };
  const auto copy = [&] {
    do {
      const auto copied = index->copy();
      copied->remove(batch_ids(0));
      CHECK(whole_batches(copied->ids()));
      copied->add(batch(0), batch_ids(0), false, 2);
      CHECK(whole_batches(search(*copied, kAll, 2)));
      CHECK(whole_batches(index->rebuilt(layout, {coded ? 2U : 0U, 16, false}, 2)->ids()));
      const auto empty = index->empty({}, 2);
      const std::vector<const Index*> parts{index.get(), empty.get()};
      CHECK(whole_batches(Index::merged(parts, std::vector<std::int64_t>{0, 0}, 2)->ids()));
    } while (!finished);
  };
  const auto save = [&] {
    do {
      FileMetadata saved{};
      index->save(path, [&](const FileMetadata& now) {
        saved = now;
        return std::string("{}");
      });
      const File file(path, true);
      const Index loaded(kDim, Metric::cosine, stages, file, saved);
      CHECK(whole_batches(loaded.ids()));
      CHECK(whole_batches(search(loaded, kAll, 2)));
    } while (!finished);
  };
  run_together(add, remove, replace, [&] { find(1); }, [&] { find(3); }, read, copy, save);

  index->compact(2);
  std::size_t batches = 0;
  for (int number = 0; number < kBatches; ++number) batches += number == 0 || number % 3 != 1;
  CHECK(index->size() == batches * kBatch);
  CHECK(whole_batches(search(*index, kAll, 2)));
}

}  // namespace

int main() {
  const auto folder =
      std::filesystem::temp_directory_path() / ("nestling-check-" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  check_pool();
  check_interrupts();
  for (const std::vector<Stage>& stages :
       {std::vector<Stage>{{.dims = 16, .bits = 4, .keep = 9000},
                           {.dims = 32, .bits = 8, .keep = 9000},
                           {.dims = kDim, .bits = 16}},
        {{.dims = kDim, .bits = 1, .keep = 9000}, {.dims = kDim, .bits = 32}},
        {{.dims = kDim, .bits = 32}}})
    check_snapshots(stages, (folder / "check.nest").string());
  std::filesystem::remove_all(folder);
  return check::report("check_concurrency");
}
