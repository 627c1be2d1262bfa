// Rows of tokens, and of pairs of neighbouring tokens, whose sum embeds a text.
//
// An id has one row and may have row 0, which is zero: it adds nothing. The arrays are those of
// python/nestling/runtime/token_rows.py, which has checked them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nestling::embedding {

// The arrays of a file, which stay where they are and must outlive the table.
struct TokenArrays {
  std::span<const std::int8_t> codes;   // rows × dim; the rows of pairs come last
  std::span<const float> scales;        // per row: what a code of 1 stands for
  std::span<const std::int32_t> index;  // the row of each id; ids beyond it have none
  std::span<const std::int32_t> pairs;  // pairs × 2 ids, rising
  std::span<const float> offset;        // dim, added to a sum at unit length; or empty
};

class TokenTable {
 public:
  // Throws FormatError where the arrays do not fit together.
  explicit TokenTable(const TokenArrays& arrays);

  std::size_t dim() const { return dim_; }

  // Writes the sum of the rows of one text's ids into `out`, dim() values. Its bits depend on the
  // ids alone: rows are added in the order of the ids, then those of pairs.
  void sum(std::span<const std::int64_t> ids, std::span<float> out) const;

  // The same for many texts, of so many ids each: `out` has dim() values for every one.
  void sums(std::span<const std::int64_t> ids, std::span<const std::size_t> lengths,
            std::span<float> out) const;

 private:
  void add_row(std::size_t row, std::span<float> out) const;
  std::size_t row_of(std::int64_t id) const;
  std::size_t row_of(std::int64_t left, std::int64_t right) const;

  TokenArrays arrays_;
  std::size_t dim_;
  std::vector<std::uint64_t> keys_;  // of pairs: the left id in the upper half, rising
  std::int64_t last_paired_ = -1;    // the highest id of any pair: runs of letters lie above it
};

// Writes the first values of rows of `dim` values at unit length; zeros stay zeros.
void unit_prefixes(std::span<const float> rows, std::size_t dim, std::size_t prefix,
                   std::span<float> out);

}  // namespace nestling::embedding
