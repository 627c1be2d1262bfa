// Fusion of several rankings of the same rows into one.
//
// By ranks: Cormack, Clarke and Büttcher 2009, "Reciprocal Rank Fusion Outperforms Condorcet and
// Individual Rank Learning Methods". By scores: a convex combination of scores scaled to 0..1,
// which preserves their distances; Bruch, Gai and Ingber 2023, "An Analysis of Fusion Functions for
// Hybrid Retrieval", found it the better of the two, and the choice of normalisation of little
// importance. Here it is min-max over the given rows, which needs no bounds of the scores: BM25 has
// none.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nestling {

inline constexpr double kRankOffset = 60;  // k in the paper, which calls it not critical

enum class FusionRule {
  kWeightedScores,   // weight × score, scaled to 0..1; 1 where all scores of a ranking are equal
  kReciprocalRanks,  // weight / (kRankOffset + rank); equal scores are ranked by row
};

// Distinct rows with their finite scores, of which higher ones are better.
struct Ranking {
  std::span<const std::int64_t> rows;
  std::span<const double> scores;
  double weight = 1;
};

// Rows by their sums over the rankings that have them, the best first and equal ones by row.
struct FusedRows {
  std::vector<std::int64_t> rows;
  std::vector<double> scores;
  // Per row and ranking: the place of the row in what the ranking gave, from 1; 0 if it lacks it.
  std::vector<std::int32_t> places;
};

// The k best. Throws FormatError where a row is repeated in a ranking or a score is not finite:
// searches give neither, unless a file is corrupted.
FusedRows fuse(std::span<const Ranking> rankings, FusionRule rule, std::size_t k);

}  // namespace nestling
