// The engine: rows in, hits out, on disk and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "file.hpp"
#include "funnel.hpp"
#include "ids.hpp"
#include "layout.hpp"
#include "rows.hpp"

namespace nestling {

// Safe from any number of threads. A search sees a snapshot: all of an add or nothing of it. Adds
// and look-ups of ids take turns; searches wait for neither.
class Index {
 public:
  explicit Index(Layout layout) : layout_(std::move(layout)) {}

  // Rows of a mapped file, searched where they lie.
  Index(Layout layout, const File& file, std::size_t rows);

  const Layout& layout() const { return layout_; }
  std::size_t size() const { return snapshot()->rows; }

  // Adds count × dim values and returns the ids: those given, else the next free ones. Throws
  // VectorError or IdError (negative, repeated or present ids), and then adds nothing.
  std::vector<std::int64_t> add(std::span<const float> vectors, std::span<const std::int64_t> ids,
                                std::size_t threads);

  std::vector<StageStats> search(std::span<const PlannedStage> stages,
                                 std::span<const float> queries, std::size_t k, std::size_t threads,
                                 std::int64_t* ids, float* scores) const;

  // Stored values of the rows with these ids, count × dim. Throws IdError for an id that is not
  // there.
  void reconstruct(std::span<const std::int64_t> ids, float* out) const;

  // Bytes by part: "coarse", "shell 128@16", …, "ids".
  std::vector<std::pair<std::string, std::size_t>> memory() const;

  // `metadata` receives the number of rows that are saved, and returns the JSON to store.
  template <class Metadata>
  void save(const std::string& path, Metadata metadata) const {
    const std::shared_ptr<const Snapshot> rows = snapshot();
    write_file(path, metadata(rows->rows), sections(*rows));
  }

 private:
  std::shared_ptr<const Snapshot> snapshot() const;
  std::vector<std::int64_t> new_ids(const Snapshot& before, std::size_t count);
  void check_new(const Snapshot& before, std::span<const std::int64_t> ids) const;
  std::vector<Section> sections(const Snapshot& snapshot) const;
  std::string section_name(std::size_t shell) const;

  Layout layout_;
  mutable std::mutex publishing_;  // held for the copy of a pointer only
  std::shared_ptr<const Snapshot> snapshot_ = std::make_shared<const Snapshot>();
  mutable std::mutex adding_;               // held by adds and by what needs the id table
  mutable IdTable id_table_;                // empty while every id is its row number
  std::optional<std::int64_t> largest_id_;  // known once asked for
};

}  // namespace nestling
