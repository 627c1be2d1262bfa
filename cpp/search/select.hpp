// Selection of the n-th largest of many scores.
#pragma once

#include <cstddef>
#include <span>

namespace nestling {

// The n-th largest of the values, none of which is NaN; 1 <= n <= values.size(). Reorders them. On
// the scores of searches it is several times as fast as std::nth_element: each round takes a
// sample, between two values of which the n-th is likely to lie, and goes on with the range that
// holds it, without a branch that depends on a value (Floyd and Rivest 1975, "Expected time bounds
// for selection").
float nth_largest(std::span<float> values, std::size_t n);

}  // namespace nestling
