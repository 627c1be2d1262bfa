#include "lexical/cursor.hpp"

#include <algorithm>
#include <utility>

namespace nestling::lexical {
namespace {

constexpr std::uint32_t kEnd = ~0U;

}  // namespace

Cursor::Cursor(const Postings& postings, const TermList& list)
    : list_(std::in_place, postings, list), size_(list.rows), blocks_(list.blocks()) {
  if (list_->has_directory()) {
    bound_ = list_->bound();
  } else {
    list_->read_rows(0, rows_);
    list_->read_frequencies(0, frequencies_);
    has_rows_ = has_frequencies_ = true;
    count_ = list.rows;
    for (std::size_t i = 0; i < count_; ++i)
      bound_.include(frequencies_[i], postings.length(rows_[i]));
    floor_ = rows_[0];
  }
  last_ = last_of(0);
}

Cursor::Cursor(std::shared_ptr<const RowList> rows)
    : memory_(std::move(rows)),
      size_(memory_->size()),
      blocks_(memory_->blocks()),
      bound_(memory_->bound()) {
  floor_ = done() ? kEnd : memory_->counts().rows[0];
  last_ = done() ? kEnd : last_of(0);
}

Bound Cursor::bound_of(std::size_t block) const {
  if (memory_) return memory_->bound_of(block);
  return list_->has_directory() ? list_->entry(block).bound : bound_;
}

std::uint32_t Cursor::last_of(std::size_t block) const {
  if (memory_) return memory_->last_of(block);
  return list_->has_directory() ? list_->entry(block).last_row : rows_[count_ - 1];
}

Bound Cursor::bound_below(std::uint32_t row) const {
  Bound bound;
  if (floor_ >= row) return bound;
  for (std::size_t block = block_; block < blocks_; ++block) {
    bound.include(bound_of(block));
    if (last_of(block) >= row - 1) break;
  }
  return bound;
}

void Cursor::find_block() {
  // In steps that double, then by halves between the last two.
  std::size_t first = block_ + 1, step = 1;
  while (first + step < blocks_ && last_of(first + step) < floor_) {
    first += step;
    step *= 2;
  }
  std::size_t last = std::min(first + step, blocks_);
  while (first < last) {
    const std::size_t middle = first + (last - first) / 2;
    if (last_of(middle) < floor_)
      first = middle + 1;
    else
      last = middle;
  }
  block_ = first;
  at_ = 0;
  has_rows_ = has_frequencies_ = has_positions_ = false;
  if (done()) {
    floor_ = last_ = kEnd;
    count_ = 0;
  } else {
    last_ = last_of(block_);
    floor_ = std::max(floor_, last_of(block_ - 1) + 1);
  }
}

void Cursor::read_rows() {
  has_rows_ = true;
  at_ = 0;
  if (list_) {
    list_->read_rows(block_, rows_);
    count_ = list_->count(block_);
  } else {
    const std::size_t first = block_ * kBlockPostings;
    count_ = std::min<std::size_t>(kBlockPostings, size_ - first);
    std::copy_n(memory_->counts().rows.data() + first, count_, rows_.data());
  }
}

void Cursor::read_frequencies() {
  has_frequencies_ = true;
  if (list_)
    list_->read_frequencies(block_, frequencies_);
  else
    std::copy_n(memory_->counts().frequencies.data() + block_ * kBlockPostings, count_,
                frequencies_.data());
}

std::span<const std::uint32_t> Cursor::rows() {
  if (done()) return {};
  if (!has_rows_) read_rows();
  if (rows_[at_] < floor_) {
    const auto first = rows_.begin() + static_cast<std::ptrdiff_t>(at_);
    const auto last = rows_.begin() + static_cast<std::ptrdiff_t>(count_);
    at_ = static_cast<std::size_t>(std::lower_bound(first, last, floor_) - rows_.begin());
  }
  // The last row of the block is not before `floor_`, so that there is one at `at_`; a corrupted
  // directory was found when the rows were read.
  floor_ = rows_[at_];
  return std::span(rows_).subspan(at_, count_ - at_);
}

std::span<const std::uint32_t> Cursor::frequencies() {
  if (done()) return {};
  if (!has_frequencies_) read_frequencies();
  return std::span(frequencies_).subspan(at_, count_ - at_);
}

std::uint32_t Cursor::frequency(std::uint32_t row) {
  skip(row);
  if (done()) return 0;
  const auto left = rows();
  return !left.empty() && left[0] == row ? frequencies()[0] : 0;
}

void Cursor::positions(std::vector<std::uint32_t>& out) {
  if (!has_frequencies_) read_frequencies();
  if (!has_positions_) {
    has_positions_ = true;
    const auto counts = std::span<const std::uint32_t>(frequencies_).first(count_);
    list_->read_positions(block_, counts, positions_);
    starts_[0] = 0;
    for (std::size_t i = 0; i < count_; ++i) starts_[i + 1] = starts_[i] + frequencies_[i];
  }
  out.clear();
  std::uint32_t position = ~0U;
  for (std::uint64_t p = starts_[at_]; p < starts_[at_ + 1]; ++p)
    out.push_back(position += positions_[static_cast<std::size_t>(p)] + 1);
}

}  // namespace nestling::lexical
