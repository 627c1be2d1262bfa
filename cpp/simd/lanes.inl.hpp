// Floating-point kernels, written once over a vector F32 of kWidth floats, which the including file
// defines in its own anonymous namespace with the functions that FloatVector lists.
//
// Every sum runs in 32 lanes: element i is added to lane i % 32 with a fused multiply-add, and the
// lanes are folded by one tree, i + 16, i + 8, … i + 1. So all ISAs round alike and return the same
// bits, at the price that the scalar table emulates the fused operation where the CPU lacks it.

constexpr std::size_t kLanes = 32;
constexpr std::size_t kVectors = kLanes / kWidth;

// An IEEE 754 binary16; a type of its own selects the overload of load.
struct Half {
  std::uint16_t bits;
};

// The 4-bit codes of 32 dimensions: 16 of them in the low nibbles, and then 16 in the high ones.
struct NibbleGroup {
  std::uint8_t bytes[kLanes / 2];
};

// Names the vector type for templates: as a template argument itself it would lose its attributes,
// of which GCC warns.
struct Floats {
  using Vector = F32;
  static constexpr std::size_t kSize = kWidth;
};

// A type that rows are stored in: `load` converts kWidth elements to a vector.
template <class T, class V>
concept Loadable = requires(const T* values, typename V::Vector v) { v = load(values); };

// A vector of kWidth floats.
template <class V>
concept FloatVector =
    sizeof(typename V::Vector) == V::kSize * sizeof(float) && kLanes % V::kSize == 0 &&
    Loadable<float, V> && Loadable<Half, V> && Loadable<std::int8_t, V> &&
    requires(typename V::Vector v, float number, std::size_t n, float* floats,
             std::uint16_t* halves, const std::uint8_t* bytes) {
      v = zero();
      v = broadcast(number);
      v = add(v, v);
      v = mul(v, v);
      v = fma(v, v, v);             // fma(a, b, c) = a * b + c, rounded once
      v = load_low_nibbles(bytes);  // of kWidth bytes
      v = load_high_nibbles(bytes);
      v = round(v);  // to nearest, ties to even
      v = clamp(v, number, number);
      // keep_first(v, at, count): v, whose elements are at, at + 1, …, zeroed from element `count`
      v = keep_first(v, n, n);
      number = reduce(v);  // the last log2(kWidth) steps of the tree
      store(floats, v);
      store_half(halves, v);  // to nearest, ties to even
    };

template <FloatVector V>
struct LanesOf {
  typename V::Vector v[kLanes / V::kSize];
};
using Lanes = LanesOf<Floats>;

inline Lanes zero_lanes() {
  Lanes lanes;
#pragma GCC unroll 32  // or GCC clears them in memory, by rep stos
  for (std::size_t i = 0; i < kVectors; ++i) lanes.v[i] = zero();
  return lanes;
}

inline float fold(Lanes lanes) {
  for (std::size_t half = kVectors / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) lanes.v[i] = add(lanes.v[i], lanes.v[i + half]);
  return reduce(lanes.v[0]);
}

// The last, partial group of 32 elements, padded with zeros.
template <class T>
struct Tail {
  T values[kLanes] = {};
  Tail(const T* x, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) values[i] = x[i];
  }
};

template <Loadable<Floats> T>
inline void multiply_add(Lanes& sum, const T* a, const float* b) {
#pragma GCC unroll 32
  for (std::size_t i = 0; i < kVectors; ++i)
    sum.v[i] = fma(load(a + i * kWidth), load(b + i * kWidth), sum.v[i]);
}

inline void multiply_add(Lanes& sum, const NibbleGroup* codes, const float* b) {
  constexpr std::size_t kHalf = kVectors / 2;
#pragma GCC unroll 32
  for (std::size_t i = 0; i < kHalf; ++i) {
    const std::uint8_t* bytes = codes->bytes + i * kWidth;
    sum.v[i] = fma(load_low_nibbles(bytes), load(b + i * kWidth), sum.v[i]);
    sum.v[kHalf + i] =
        fma(load_high_nibbles(bytes), load(b + (kHalf + i) * kWidth), sum.v[kHalf + i]);
  }
}

inline float inner_product(const NibbleGroup* codes, const float* b, std::size_t dims) {
  Lanes sum = zero_lanes();
  const std::size_t whole = dims / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) multiply_add(sum, codes + i / kLanes, b + i);
  if (whole < dims)
    multiply_add(sum, codes + whole / kLanes, Tail<float>(b + whole, dims - whole).values);
  return fold(sum);
}

template <Loadable<Floats> T>
inline float inner_product(const T* a, const float* b, std::size_t dims) {
  Lanes sum = zero_lanes();
  const std::size_t whole = dims / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) multiply_add(sum, a + i, b + i);
  if (whole < dims) {
    const Tail<T> x(a + whole, dims - whole);
    const Tail<float> y(b + whole, dims - whole);
    multiply_add(sum, x.values, y.values);
  }
  return fold(sum);
}

float dot(const float* a, const float* b, std::size_t dims) {
  return inner_product(a, b, dims);
}

// The values as floats, times the scale.
template <Loadable<Floats> T>
void decode(const T* x, std::size_t dims, float scale, float* out) {
  const F32 factor = broadcast(scale);
  const std::size_t whole = dims / kWidth * kWidth;
  for (std::size_t i = 0; i < whole; i += kWidth) store(out + i, mul(load(x + i), factor));
  if (whole == dims) return;
  const Tail<T> rest(x + whole, dims - whole);
  float last[kWidth];
  store(last, mul(load(rest.values), factor));
  for (std::size_t i = whole; i < dims; ++i) out[i] = last[i - whole];
}

void decode_i8(const std::int8_t* x, std::size_t dims, float scale, float* out) {
  decode(x, dims, scale, out);
}

void decode_f16(const std::uint16_t* x, std::size_t dims, float scale, float* out) {
  decode(reinterpret_cast<const Half*>(x), dims, scale, out);
}

void decode_i4(const std::uint8_t* codes, std::size_t dims, float scale, float* out) {
  constexpr std::size_t kHalf = kLanes / 2;
  const F32 factor = broadcast(scale), two = broadcast(2.0F), highest = broadcast(-15.0F);
  const auto decode_group = [&](const std::uint8_t* group, float* values) {
    for (std::size_t i = 0; i < kHalf; i += kWidth) {
      store(values + i, mul(fma(load_low_nibbles(group + i), two, highest), factor));
      store(values + kHalf + i, mul(fma(load_high_nibbles(group + i), two, highest), factor));
    }
  };
  std::size_t first = 0;
  for (; first + kLanes <= dims; first += kLanes) decode_group(codes + first / 2, out + first);
  if (first == dims) return;
  float last[kLanes];
  decode_group(codes + first / 2, last);
  for (std::size_t i = first; i < dims; ++i) out[i] = last[i - first];
}

// Rows of a shell lie anywhere in memory, so the lines of a later one are prefetched.
template <class T>
  requires requires(const T* values, const float* query) { inner_product(values, query, 1); }
void dot_rows(const ShellRows& shell, const float* query, float* sums) {
  // Bytes to prefetch ahead: enough to hide the latency of memory, few enough to stay in the L1
  // cache.
  constexpr std::size_t kAheadBytes = 8192, kMaxAhead = 24, kMinAhead = 4;
  const std::size_t fits = kAheadBytes / shell.stride;
  const std::size_t ahead = fits < kMinAhead ? kMinAhead : fits < kMaxAhead ? fits : kMaxAhead;
  constexpr std::size_t kLine = 64;
  for (std::size_t i = 0; i < shell.count; ++i) {
    if (i + ahead < shell.count) {
      const std::uint8_t* next = shell.rows[i + ahead];
      for (std::size_t byte = 0; byte < shell.stride; byte += kLine)
        __builtin_prefetch(next + byte);
    }
    const auto* row = reinterpret_cast<const T*>(shell.rows[i]);
    sums[i] = inner_product(row, query, shell.dims);
  }
}

// Calls visit(first, values, count) with groups of 32 elements of x, the last padded with zeros.
template <class Visit>
  requires requires(Visit visit, const float* values, std::size_t n) { visit(n, values, n); }
inline void for_each_group(const float* x, std::size_t dims, Visit visit) {
  const std::size_t whole = dims / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes) visit(i, x + i, kLanes);
  if (whole < dims) {
    const Tail<float> tail(x + whole, dims - whole);
    visit(whole, tail.values, dims - whole);
  }
}

CodeFit encode(const float* x, std::size_t dims, float inverse_step, int max_code,
               std::uint8_t* codes) {
  const auto top = static_cast<float>(max_code);
  const F32 inverse = broadcast(inverse_step), offset = broadcast(top / 2);
  const F32 two = broadcast(2.0F), shift = broadcast(-top);
  Lanes product = zero_lanes(), energy = zero_lanes();
  for_each_group(x, dims, [&](std::size_t first, const float* values, std::size_t count) {
    float rounded[kLanes];
    for (std::size_t i = 0; i < kVectors; ++i) {
      const F32 value = load(values + i * kWidth);
      const F32 code = clamp(round(fma(value, inverse, offset)), 0.0F, top);
      const F32 level = keep_first(fma(code, two, shift), i * kWidth, count);
      product.v[i] = fma(value, level, product.v[i]);
      energy.v[i] = fma(level, level, energy.v[i]);
      store(rounded + i * kWidth, code);
    }
    for (std::size_t i = 0; i < count; ++i)
      codes[first + i] = static_cast<std::uint8_t>(rounded[i]);
  });
  return {fold(product), fold(energy)};
}

void to_i8(const float* x, std::size_t dims, float inverse_step, std::int8_t* out) {
  const F32 inverse = broadcast(inverse_step);
  for_each_group(x, dims, [&](std::size_t first, const float* values, std::size_t count) {
    float rounded[kLanes];
    for (std::size_t i = 0; i < kLanes; i += kWidth)
      store(rounded + i, clamp(round(mul(load(values + i), inverse)), -127.0F, 127.0F));
    for (std::size_t i = 0; i < count; ++i) out[first + i] = static_cast<std::int8_t>(rounded[i]);
  });
}

void to_f16(const float* x, std::size_t dims, float factor, std::uint16_t* out) {
  const F32 by = broadcast(factor);
  for_each_group(x, dims, [&](std::size_t first, const float* values, std::size_t count) {
    std::uint16_t halves[kLanes];
    for (std::size_t i = 0; i < kLanes; i += kWidth)
      store_half(halves + i, mul(load(values + i), by));
    for (std::size_t i = 0; i < count; ++i) out[first + i] = halves[i];
  });
}
