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

#include "io/file.hpp"
#include "io/storage.hpp"
#include "search/filter.hpp"
#include "search/funnel.hpp"
#include "store/cells.hpp"
#include "store/ids.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// Safe from any number of threads. A search sees a snapshot: all of an add, a removal or a
// compaction, or nothing of it. Writers take turns; searches wait for none of them.
class Index {
 public:
  explicit Index(Layout layout) : layout_(std::move(layout)) {}

  // Rows of a mapped file, searched where they lie.
  Index(std::size_t dim, Metric metric, std::vector<Stage> stages, const File& file,
        const FileMetadata& metadata);

  const Layout& layout() const { return layout_; }
  std::size_t size() const { return snapshot()->living(); }
  CellOptions cells() const;

  // Adds count × dim values and returns the ids: those given, else the next free ones. With
  // `replace`, rows whose ids are given again are removed at once. Throws VectorError or IdError
  // (negative, repeated or, without `replace`, present ids), and then adds nothing.
  std::vector<std::int64_t> add(std::span<const float> vectors, std::span<const std::int64_t> ids,
                                bool replace, std::size_t threads);

  // Throws IdError for an id that is not there or is given twice, and then removes nothing.
  void remove(std::span<const std::int64_t> ids);

  // Frees what removed rows take, and puts rows added since into the cells.
  void compact(std::size_t threads);

  // The rows of this index under another layout, in cells where asked; values are those of the last
  // stage, as stored.
  std::unique_ptr<Index> rebuilt(Layout layout, const CellOptions& cells,
                                 std::size_t threads) const;

  // An index of its own that shares the rows there are: changes to the one are not seen by the
  // other.
  std::unique_ptr<Index> copy() const;

  // An index without rows that stores what is added to it as this one does.
  std::unique_ptr<Index> empty() const { return std::make_unique<Index>(layout_); }

  // The rows of indexes that store the same, bit for bit and in that order, without cells; each
  // index's ids are raised by its shift. Throws FunnelError where they do not store the same, and
  // IdError where ids repeat or leave their range.
  static std::unique_ptr<Index> merged(std::span<const Index* const> indexes,
                                       std::span<const std::int64_t> shifts, std::size_t threads);

  std::vector<StageStats> search(std::span<const PlannedStage> stages,
                                 std::span<const float> queries, SearchOptions options,
                                 const Filter& filter, std::span<std::int64_t> ids,
                                 std::span<float> scores) const;

  // Writes the stored values of the rows with these ids, count × dim. Throws IdError for an id that
  // is not there.
  void reconstruct(std::span<const std::int64_t> ids, std::span<float> out) const;

  // The ids of the living rows, in the order of their storage.
  std::vector<std::int64_t> ids() const;

  // Bytes by part: "coarse", "shell 128@16", …, "ids".
  std::vector<std::pair<std::string, std::size_t>> memory() const;

  // `metadata` receives what is saved, and returns the JSON to store.
  template <class Metadata>
  void save(const std::string& path, Metadata metadata) const {
    const std::shared_ptr<const Snapshot> rows = snapshot();
    write_file(path, metadata(metadata_of(*rows)),
               sections(layout_, *rows));
  }

 private:
  std::shared_ptr<const Snapshot> snapshot() const;
  void publish(Snapshot snapshot);
  std::vector<std::int64_t> new_ids(const Snapshot& before, std::size_t count);
  std::vector<std::size_t> check_new(const Snapshot& before, std::span<const std::int64_t> ids,
                                     bool replace) const;
  std::optional<std::size_t> find(const Snapshot& snapshot, std::int64_t id) const;
  RowSet allowed(const Filter& filter, std::shared_ptr<const Snapshot>& rows) const;

  Layout layout_;
  mutable std::mutex publishing_;  // held for the copy of a pointer only
  std::shared_ptr<const Snapshot> snapshot_ = std::make_shared<const Snapshot>();
  std::mutex writing_;                      // held by adds, removals and compactions
  mutable std::mutex finding_;              // held for look-ups of ids
  mutable IdTable id_table_;                // empty while every id is its row number
  std::optional<std::int64_t> largest_id_;  // of the living rows, known once asked for
};

}  // namespace nestling
