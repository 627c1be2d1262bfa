#include "embedding/token_table.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.hpp"

namespace nestling::embedding {
namespace {

std::uint64_t key_of(std::int64_t left, std::int64_t right) {
  return static_cast<std::uint64_t>(left) << 32 | static_cast<std::uint64_t>(right);
}

// In several sums, which the compiler can keep in one register: their order is fixed, and so are
// the bits.
float squared_length(std::span<const float> values) {
  std::array<float, 8> sums{};
  std::size_t i = 0;
  for (; i + sums.size() <= values.size(); i += sums.size())
    for (std::size_t lane = 0; lane < sums.size(); ++lane)
      sums[lane] += values[i + lane] * values[i + lane];
  float total = 0;
  for (const float sum : sums) total += sum;
  for (; i < values.size(); ++i) total += values[i] * values[i];
  return total;
}

void scale_to_unit(std::span<const float> values, std::span<float> out) {
  const float length = std::sqrt(squared_length(values));
  const float divisor = length == 0 ? 1 : length;
  for (std::size_t i = 0; i < values.size(); ++i) out[i] = values[i] / divisor;
}

}  // namespace

TokenTable::TokenTable(const TokenArrays& arrays)
    : arrays_(arrays),
      dim_(arrays.scales.empty() ? 0 : arrays.codes.size() / arrays.scales.size()) {
  const std::size_t rows = arrays.scales.size(), pairs = arrays.pairs.size() / 2;
  const bool rows_exist = std::ranges::all_of(arrays.index, [&](std::int32_t row) {
    return row >= 0 && static_cast<std::size_t>(row) < rows;
  });
  if (dim_ == 0 || arrays.codes.size() != rows * dim_ || pairs >= rows || !rows_exist ||
      arrays.pairs.size() % 2 != 0 || (!arrays.offset.empty() && arrays.offset.size() != dim_))
    throw FormatError("the arrays of a table of token rows do not fit together");
  if (!arrays.pairs.empty()) last_paired_ = std::ranges::max(arrays.pairs);
  keys_.reserve(pairs);
  for (std::size_t i = 0; i < pairs; ++i)
    keys_.push_back(key_of(arrays.pairs[2 * i], arrays.pairs[2 * i + 1]));
}

void TokenTable::sum(std::span<const std::int64_t> ids, std::span<float> out) const {
  std::ranges::fill(out, 0.0F);
  for (const std::int64_t id : ids) add_row(row_of(id), out);
  for (std::size_t i = 1; i < ids.size() && !keys_.empty(); ++i)
    add_row(row_of(ids[i - 1], ids[i]), out);
  if (arrays_.offset.empty()) return;
  scale_to_unit(out, out);
  for (std::size_t i = 0; i < dim_; ++i) out[i] += arrays_.offset[i];
}

void TokenTable::sums(std::span<const std::int64_t> ids, std::span<const std::size_t> lengths,
                      std::span<float> out) const {
  for (const std::size_t length : lengths) {
    sum(ids.first(length), out.first(dim_));
    ids = ids.subspan(length);
    out = out.subspan(dim_);
  }
}

void TokenTable::add_row(std::size_t row, std::span<float> out) const {
  if (row == 0) return;
  const auto codes = arrays_.codes.subspan(row * dim_, dim_);
  const float scale = arrays_.scales[row];
  for (std::size_t i = 0; i < dim_; ++i) out[i] += scale * static_cast<float>(codes[i]);
}

std::size_t TokenTable::row_of(std::int64_t id) const {
  if (id < 0 || static_cast<std::size_t>(id) >= arrays_.index.size()) return 0;
  return static_cast<std::size_t>(arrays_.index[static_cast<std::size_t>(id)]);
}

std::size_t TokenTable::row_of(std::int64_t left, std::int64_t right) const {
  if (std::min(left, right) < 0 || std::max(left, right) > last_paired_) return 0;
  const auto found = std::ranges::lower_bound(keys_, key_of(left, right));
  if (found == keys_.end() || *found != key_of(left, right)) return 0;
  return arrays_.scales.size() - static_cast<std::size_t>(keys_.end() - found);
}

void unit_prefixes(std::span<const float> rows, std::size_t dim, std::size_t prefix,
                   std::span<float> out) {
  for (; !rows.empty(); rows = rows.subspan(dim), out = out.subspan(prefix))
    scale_to_unit(rows.first(prefix), out.first(prefix));
}

}  // namespace nestling::embedding
