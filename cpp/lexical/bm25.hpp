// BM25, as SQLite's FTS5 computes it.
//
// Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond". A term in
// n of N rows that occurs f times in a row of l tokens, where rows have L on average, adds
//
//   log((N - n + 0.5) / (n + 0.5)) × f (k1 + 1) / (f + k1 (1 - b + b l / L))
//
// with a logarithm of at least 10^-6. What terms add is rounded to one step for the whole query,
// 2^-51 of the most that they can add together: so sums are exact, and independent of their order.
#pragma once

#include <cstdint>
#include <span>

#include "lexical/postings.hpp"

namespace nestling::lexical {

inline constexpr double kSaturation = 1.2;    // k1
inline constexpr double kLengthShare = 0.75;  // b

// What a term weighs that `count` of `documents` rows have.
double term_weight(std::uint64_t documents, std::uint64_t count);

class Bm25 {
 public:
  // For terms of these weights together, in rows of `mean_length` tokens.
  Bm25(double total_weight, double mean_length);

  double score(double weight, std::uint32_t frequency, std::uint32_t length) const {
    const auto f = static_cast<double>(frequency);
    return rounded(weight * f / (f + (base_ + slope_ * static_cast<double>(length))));
  }

  // Writes the scores of rows with these frequencies.
  template <class Length>
  void scores(double weight, const Length* lengths, std::span<const std::uint32_t> rows,
              const std::uint32_t* frequencies, double* out) const {
    for (std::size_t i = 0; i < rows.size(); ++i)
      out[i] = base_ + slope_ * static_cast<double>(static_cast<std::int32_t>(lengths[rows[i]]));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto f = static_cast<double>(static_cast<std::int32_t>(frequencies[i]));
      out[i] = rounded(weight * f / (f + out[i]));
    }
  }

  // At least the score of every row that a bound includes.
  double bound(double weight, const Bound& bound) const;

 private:
  double rounded(double value) const { return (value + rounder_) - rounder_; }

  double base_, slope_;
  double rounder_;  // added and subtracted, it leaves a multiple of the step
  double step_;
};

}  // namespace nestling::lexical
