// Selection among scores, written once over a vector F32 of kWidth floats (lanes.inl.hpp), for
// which the including file defines two more functions.

template <class V>
concept SelectableVector =
    FloatVector<V> && V::kSize <= 32 &&
    requires(typename V::Vector v, float* floats, std::uint32_t mask) {
      mask = above(v, v);           // above(a, b): bit i is set where a[i] > b[i]
      store_some(floats, v, mask);  // those of the mask, in order; it may write a whole vector
    };

static_assert(SelectableVector<Floats>);

constexpr float kInfinity = __builtin_huge_valf();

// A few of some values, by their ranks.
class Few {
 public:
  static constexpr std::size_t kSize = 16;

  // Those at even distances; all of them where there are no more.
  Few(const float* values, std::size_t count) {
    float chosen[kSize];
    if (count > kSize)
      for (std::size_t i = 0; i < kSize; ++i) chosen[i] = values[i * count / kSize];
    else
      for (std::size_t i = 0; i < kSize; ++i) chosen[i] = i < count ? values[i] : -kInfinity;
    F32 vectors[kSize / kWidth];
    for (std::size_t v = 0; v < kSize / kWidth; ++v) vectors[v] = load(chosen + v * kWidth);
#pragma GCC unroll 16
    for (std::size_t i = 0; i < kSize; ++i) {
      const F32 value = broadcast(chosen[i]);
      std::uint32_t larger = 0;
#pragma GCC unroll 16
      for (std::size_t v = 0; v < kSize / kWidth; ++v)
        larger |= above(vectors[v], value) << v * kWidth;
      const int rank = __builtin_popcount(larger);  // the first of those that equal values share
      by_rank_[rank] = chosen[i];
      ranks_ |= 1U << rank;
    }
  }

  // The n-th largest, 1 <= n <= kSize.
  float nth(std::size_t n) const { return by_rank_[31 - __builtin_clz(ranks_ & ((1U << n) - 1))]; }

 private:
  float by_rank_[kSize];
  std::uint32_t ranks_ = 0;
};

// Moves the values for which `passes` sets their bits to the front, in their order. Returns how
// many they are.
template <class Passes>
inline std::size_t keep_if(float* values, std::size_t count, Passes passes) {
  const std::size_t whole = count / kWidth * kWidth;
  std::size_t kept = 0;  // a vector that is written there ends at i + kWidth or before
  for (std::size_t i = 0; i < whole; i += kWidth) {
    const F32 v = load(values + i);
    const std::uint32_t mask = passes(v);
    store_some(values + kept, v, mask);
    kept += static_cast<std::size_t>(__builtin_popcount(mask));
  }
  for (std::size_t i = whole; i < count; ++i) {
    const float value = values[i];
    values[kept] = value;
    kept += passes(broadcast(value)) & 1;
  }
  return kept;
}

// The rows are read as pairs of floats, of which only the first, the scores, are compared.
std::size_t keep_from(Candidate* rows, std::size_t count, float score) {
  std::size_t kept = 0, i = 0;
  if constexpr (kWidth > 1) {
    static_assert(sizeof(Candidate) == 2 * sizeof(float));
    constexpr std::uint32_t kScores = 0x55555555 & ((1ULL << kWidth) - 1);
    constexpr std::size_t kRows = kWidth / 2;
    auto* floats = reinterpret_cast<float*>(rows);
    const F32 least = broadcast(score);
    for (; i + kRows <= count; i += kRows) {
      const F32 v = load(floats + 2 * i);
      const std::uint32_t mask = ~above(least, v) & kScores;
      store_some(floats + 2 * kept, v, mask | mask << 1);
      kept += static_cast<std::size_t>(__builtin_popcount(mask));
    }
  }
  for (; i < count; ++i) {
    const Candidate row = rows[i];
    rows[kept] = row;
    kept += static_cast<std::size_t>(row.score >= score);
  }
  return kept;
}

// How many of the values are above each of two.
struct CountsAbove {
  std::size_t high = 0, low = 0;
};
inline CountsAbove count_above(const float* values, std::size_t count, float high, float low) {
  const F32 highs = broadcast(high), lows = broadcast(low);
  const std::size_t whole = count / kWidth * kWidth;
  CountsAbove n;
  for (std::size_t i = 0; i < whole; i += kWidth) {
    const F32 v = load(values + i);
    n.high += static_cast<std::size_t>(__builtin_popcount(above(v, highs)));
    n.low += static_cast<std::size_t>(__builtin_popcount(above(v, lows)));
  }
  for (std::size_t i = whole; i < count; ++i) {
    n.high += values[i] > high;
    n.low += values[i] > low;
  }
  return n;
}

// Each round takes a sample, between two values of which the n-th is likely to lie, and goes on
// with the range that holds it, without a branch that depends on a single value (Floyd and Rivest
// 1975, "Expected time bounds for selection"). It is several times as fast as std::nth_element on
// the scores of searches.
float nth_largest(float* values, std::size_t count, std::size_t n) {
  constexpr std::size_t kBefore = 1, kBehind = 3;  // ranks in the sample
  while (count > Few::kSize) {
    const Few sample(values, count);
    const std::size_t rank = n * Few::kSize / count;  // values of the sample that are larger
    const float high = sample.nth(rank > kBefore ? rank - kBefore : 1);
    const float low = sample.nth(rank + kBehind < Few::kSize ? rank + kBehind : Few::kSize);
    const F32 highs = broadcast(high), lows = broadcast(low);
    const CountsAbove larger = count_above(values, count, high, low);
    // Each range lacks a value of the sample, so that every round leaves fewer.
    if (n <= larger.high) {
      count = keep_if(values, count, [&](F32 v) { return above(v, highs); });
    } else if (n <= larger.low) {
      count = keep_if(values, count, [&](F32 v) { return above(v, lows) & ~above(v, highs); });
      n -= larger.high;
    } else {
      const std::size_t lower = keep_if(values, count, [&](F32 v) { return above(lows, v); });
      if (n <= count - lower) return low;
      n -= count - lower;
      count = lower;
    }
  }
  return Few(values, count).nth(n);
}
