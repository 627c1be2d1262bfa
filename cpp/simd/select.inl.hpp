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

std::size_t count_above(const float* values, std::size_t count, float pivot) {
  const F32 than = broadcast(pivot);
  const std::size_t whole = count / kWidth * kWidth;
  std::size_t n = 0;
  for (std::size_t i = 0; i < whole; i += kWidth)
    n += static_cast<std::size_t>(__builtin_popcount(above(load(values + i), than)));
  for (std::size_t i = whole; i < count; ++i) n += values[i] > pivot;
  return n;
}

std::size_t keep_between(float* values, std::size_t count, float low, float high) {
  const F32 least = broadcast(low), most = broadcast(high);
  const std::size_t whole = count / kWidth * kWidth;
  std::size_t kept = 0;  // a vector that is written there ends at i + kWidth or before
  for (std::size_t i = 0; i < whole; i += kWidth) {
    const F32 v = load(values + i);
    const std::uint32_t mask = above(v, least) & ~above(v, most);
    store_some(values + kept, v, mask);
    kept += static_cast<std::size_t>(__builtin_popcount(mask));
  }
  for (std::size_t i = whole; i < count; ++i) {
    const float value = values[i];
    values[kept] = value;
    kept += static_cast<std::size_t>(value > low) & static_cast<std::size_t>(!(value > high));
  }
  return kept;
}
