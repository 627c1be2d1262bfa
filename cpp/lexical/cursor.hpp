// The rows of one term, phrase or prefix, passed from the first to the last.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "lexical/postings.hpp"
#include "lexical/row_list.hpp"

namespace nestling::lexical {

// Goes forward only. A block is read when its rows are needed, its frequencies when they are.
class Cursor {
 public:
  Cursor(const Postings& postings, const TermList& list);
  explicit Cursor(std::shared_ptr<const RowList> rows);

  bool done() const { return block_ == blocks_; }
  std::uint64_t size() const { return size_; }

  // What bounds the scores of the list, of the current block, and of all blocks with rows below
  // `row` that are left.
  const Bound& bound() const { return bound_; }
  Bound block_bound() const { return bound_of(block_); }
  Bound bound_below(std::uint32_t row) const;

  // The last row of the current block, or more.
  std::uint32_t last_row() const { return last_; }

  // No row before it is left. Unless `rows` was called, there may be none at it either.
  std::uint32_t floor() const { return floor_; }

  // Leaves out the rows before `row`. Reads the directory only.
  void skip(std::uint32_t row) {
    if (row <= floor_) return;
    floor_ = row;
    if (row > last_) find_block();
  }

  // The rows that are left of the current block, and how often each has the term.
  std::span<const std::uint32_t> rows();
  std::span<const std::uint32_t> frequencies();

  // How often a row has the term, 0 if it does not. Leaves out the rows before it.
  std::uint32_t frequency(std::uint32_t row);

  // The positions of the first of `rows()`; not of rows in memory.
  void positions(std::vector<std::uint32_t>& out);

 private:
  Bound bound_of(std::size_t block) const;
  std::uint32_t last_of(std::size_t block) const;
  void find_block();
  void read_rows();
  void read_frequencies();

  std::optional<ListReader> list_;  // none: the rows are in memory
  std::shared_ptr<const RowList> memory_;
  std::uint64_t size_;
  std::size_t blocks_;
  Bound bound_;
  std::size_t block_ = 0;
  std::uint32_t last_ = 0;
  std::uint32_t floor_ = 0;
  std::size_t at_ = 0, count_ = 0;  // of the rows that were read
  bool has_rows_ = false, has_frequencies_ = false, has_positions_ = false;
  std::array<std::uint32_t, kBlockPostings> rows_, frequencies_;
  std::vector<std::uint32_t> positions_;
  std::array<std::uint64_t, kBlockPostings + 1> starts_;  // of the positions of each row
};

}  // namespace nestling::lexical
