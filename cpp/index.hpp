// The engine: rows in, hits out, on disk and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
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

// Thread-safe. A search reads one snapshot, which has all of an add, a removal or a compaction or
// nothing of it. Writers exclude one another; searches never wait for them.
class Index {
 public:
  explicit Index(Layout layout) : layout_(std::move(layout)) {}

  // The rows of a mapped file, searched in place.
  Index(std::size_t dim, Metric metric, std::vector<Stage> stages, const File& file,
        const FileMetadata& metadata);

  const Layout& layout() const { return layout_; }
  std::size_t size() const { return snapshot()->live_count(); }
  CellOptions cells() const;

  // Adds count × dim values and returns their ids: those given, or else the next free ones. With
  // `replace`, a row that has one of the ids is removed in the same step. Throws VectorError, or
  // IdError for ids that are negative, repeated or, without `replace`, present; then adds nothing.
  std::vector<std::int64_t> add(std::span<const float> vectors, std::span<const std::int64_t> ids,
                                bool replace, std::size_t threads);

  // Throws IdError for an id that is unknown or given twice, and then removes nothing.
  void remove(std::span<const std::int64_t> ids);

  // Frees the storage of removed rows, and puts rows added since the cells were built into them.
  void compact(std::size_t threads);

  // The rows of this index in another layout, and in cells if cells.count is not 0. The values are
  // read back from the last stage.
  std::unique_ptr<Index> rebuilt(Layout layout, const CellOptions& cells,
                                 std::size_t threads) const;

  // The living rows of this index, copied bit for bit, in cells. Throws FunnelError where the first
  // stage or the dimensions do not fit.
  std::unique_ptr<Index> partitioned(CellOptions cells, std::size_t threads) const;

  // The same in the cells of another index, which are not learned again; without cells if that one
  // has none. Throws FunnelError where the other one stores its rows in another way.
  std::unique_ptr<Index> partitioned_like(const Index& other, std::size_t threads) const;

  // An independent index that shares the storage of the present rows.
  std::unique_ptr<Index> copy() const;

  // An index without rows, of the same layout; if cells.count is not 0, with cells whose centroids
  // are learned from this one's rows. Throws as `partitioned`.
  std::unique_ptr<Index> empty(CellOptions cells, std::size_t threads) const;

  // The rows of several indexes of one layout, copied bit for bit, in this order and without cells.
  // Each index's shift is added to its ids. Throws FunnelError where the layouts differ, and
  // IdError where ids repeat or leave their range.
  static std::unique_ptr<Index> merged(std::span<const Index* const> indexes,
                                       std::span<const std::int64_t> shifts, std::size_t threads);

  std::vector<StageStats> search(std::span<const PlannedStage> stages,
                                 std::span<const float> queries, SearchOptions options,
                                 const Filter& filter, std::span<std::int64_t> ids,
                                 std::span<float> scores) const;

  // Writes the stored values of the rows with these ids, count × dim. Throws IdError for an
  // unknown id.
  void reconstruct(std::span<const std::int64_t> ids, std::span<float> out) const;

  // The ids of the live rows, in the order of their storage.
  std::vector<std::int64_t> ids() const;

  // Bytes by part: "coarse", "shell 128@16", …, "ids".
  std::vector<std::pair<std::string, std::size_t>> memory() const;

  // `metadata` is called with the FileMetadata of what is saved, and returns the JSON to store.
  template <class Metadata>
  void save(const std::string& path, Metadata metadata) const {
    const std::shared_ptr<const Snapshot> rows = snapshot();
    write_file(path, metadata(metadata_of(*rows)), sections(layout_, *rows));
  }

 private:
  using MakeCells = std::function<std::shared_ptr<const Cells>(const Snapshot&)>;

  std::shared_ptr<const Snapshot> snapshot() const;
  std::unique_ptr<Index> living_rows(const MakeCells& cells, std::size_t threads) const;
  void publish(Snapshot snapshot);
  std::vector<std::int64_t> new_ids(const Snapshot& before, std::size_t count);
  std::vector<std::size_t> check_new(const Snapshot& before, std::span<const std::int64_t> ids,
                                     bool replace) const;
  std::optional<std::size_t> find(const Snapshot& snapshot, std::int64_t id) const;
  AllowedRows allowed(const Filter& filter, std::shared_ptr<const Snapshot>& rows) const;

  Layout layout_;
  mutable std::mutex snapshot_mutex_;  // held only while a pointer is copied
  std::shared_ptr<const Snapshot> snapshot_ = std::make_shared<const Snapshot>();
  std::mutex write_mutex_;                  // held by adds, removals and compactions
  mutable std::mutex lookup_mutex_;         // held for look-ups of ids
  mutable IdTable id_table_;                // empty while every id is its row number
  std::optional<std::int64_t> largest_id_;  // of the live rows; computed when first needed
};

}  // namespace nestling
