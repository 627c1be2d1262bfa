// Compares every kernel of every ISA that this CPU can run with the scalar one, bit for bit.
// NESTLING_TEST_REQUIRE_ISA=a,b fails if an ISA of that list cannot run.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <limits>
#include <sstream>
#include <string>

#include "check.hpp"
#include "simd/cpu.hpp"
#include "store/layout.hpp"

namespace {

using nestling::CoarseLayout;
using nestling::simd::Candidate;
using nestling::simd::kBlockRows;
using nestling::simd::Kernels;
using nestling::simd::ScanQuery;
using nestling::simd::Sink;

std::mt19937 random_bits(20261123);

float normal() {
  return std::normal_distribution<float>()(random_bits);
}
int uniform(int low, int high) {
  return std::uniform_int_distribution<int>(low, high)(random_bits);
}

bool same(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
}

// ---- coarse scan

enum class Fill { random, highest, lowest_query, highest_query };

constexpr float kNotScored = -1e35F;

// The scores by row of a scan that every allowed row passes (a word per block; empty: all rows).
// With `numbers`, which are all blocks in another order, they are scanned in it, in two calls.
std::vector<std::vector<float>> scan(const Kernels& kernels, const CoarseLayout& coarse,
                                     const std::vector<std::uint8_t>& blocks,
                                     const std::vector<std::vector<std::int8_t>>& queries,
                                     const std::vector<std::uint32_t>& allowed = {},
                                     bool sparse = false,
                                     const std::vector<std::uint32_t>& numbers = {}) {
  const nestling::simd::CodeKernels& codes = kernels.codes(coarse.bits);
  const std::size_t rows = blocks.size() / coarse.block_bytes() * kBlockRows;
  std::vector<std::vector<std::uint8_t>> packed;
  std::vector<std::vector<Candidate>> buffers(queries.size(),
                                              std::vector<Candidate>(rows + kBlockRows));
  std::vector<Sink> sinks(queries.size());
  std::vector<ScanQuery> prepared;
  for (std::size_t q = 0; q < queries.size(); ++q) {
    packed.emplace_back(coarse.tiles() * codes.query_tile_bytes);
    const int excess = codes.pack_query(queries[q].data(), coarse.tiles(), packed[q].data());
    const auto capacity = static_cast<std::uint32_t>(buffers[q].size());
    sinks[q] = {.threshold = -1e30F,
                .count = 0,
                .capacity = capacity,
                .candidates = buffers[q].data(),
                .full = [](Sink&) { CHECK(!"the buffer has room"); }};
    prepared.push_back(
        ScanQuery::of(packed[q].data(), static_cast<int>(q) * 17 + 2 * excess, 0.0123F));
    prepared[q].sink = &sinks[q];
  }
  nestling::simd::ScanBlocks scanned{.data = blocks.data(),
                                     .count = rows / kBlockRows,
                                     .block_bytes = coarse.block_bytes(),
                                     .tiles = coarse.tiles(),
                                     .has_offsets = coarse.has_offsets,
                                     .allowed = allowed.empty() ? nullptr : allowed.data(),
                                     .sparse = sparse,
                                     .next = blocks.data()};
  if (numbers.empty()) codes.scan(scanned, prepared.data(), prepared.size());
  scanned.next = nullptr;
  for (std::size_t first = 0; first < numbers.size(); first += scanned.count) {
    scanned.numbers = numbers.data() + first;
    scanned.listed = numbers.size() - first;
    scanned.count = std::min<std::size_t>(2, scanned.listed);
    codes.scan(scanned, prepared.data(), prepared.size());
  }
  std::size_t expected = rows;
  if (!allowed.empty()) expected = 0;
  for (const std::uint32_t word : allowed)
    expected += static_cast<std::size_t>(std::popcount(word));
  std::vector<std::vector<float>> scores(queries.size(), std::vector<float>(rows, kNotScored));
  for (std::size_t q = 0; q < queries.size(); ++q) {
    CHECK(sinks[q].count == expected);
    for (std::size_t i = 0; i < sinks[q].count; ++i)
      scores[q][buffers[q][i].row] = buffers[q][i].score;
  }
  return scores;
}

// If no code is larger than this, the kernels' sums cannot overflow; encode_query guarantees it.
int largest_query_code(int bits) {
  return bits == 8   ? 127
         : bits == 4 ? 2184 / 64  // 15 * |q| over 64 of 128 dimensions in 16 bits
         : bits == 2 ? nestling::simd::largest_entry(2) / (2 * 3)
                     : nestling::simd::largest_entry(1) / 4;
}

void check_scan(const Kernels& scalar, const Kernels& kernels, int bits, std::size_t dims,
                std::size_t n_queries, Fill fill) {
  const CoarseLayout coarse{dims, bits, n_queries % 2 == 0};
  constexpr std::size_t kBlocks = 3;
  auto blocks = check::filled<std::uint8_t>(
      coarse.block_bytes() * kBlocks, [&] { return fill == Fill::random ? uniform(0, 255) : 255; });
  for (std::size_t b = 0; b < kBlocks; ++b) {  // scales that are numbers
    auto* scales = reinterpret_cast<std::uint16_t*>(blocks.data() + b * coarse.block_bytes() +
                                                    coarse.scales_offset());
    for (std::size_t i = 0; i < kBlockRows; ++i)
      scales[i] = static_cast<std::uint16_t>(uniform(0x3c00, 0x4200));
    auto* offsets = reinterpret_cast<std::uint16_t*>(blocks.data() + b * coarse.block_bytes() +
                                                     coarse.offsets_offset());
    for (std::size_t i = 0; coarse.has_offsets && i < kBlockRows; ++i)
      offsets[i] = static_cast<std::uint16_t>(uniform(0, 0x3c00) | uniform(0, 1) << 15);
  }
  const int top = largest_query_code(bits);
  std::vector<std::vector<std::int8_t>> queries;
  for (std::size_t q = 0; q < n_queries; ++q) {
    queries.push_back(check::filled<std::int8_t>(coarse.tiles() * coarse.tile_dims(), [&] {
      if (fill == Fill::random) return uniform(-top, top);
      return fill == Fill::lowest_query ? -top : top;
    }));
  }
  const auto expected = scan(scalar, coarse, blocks, queries);
  const auto found = scan(kernels, coarse, blocks, queries);
  // Rows that are not allowed are left out, and nothing else changes: a whole block, half, or some.
  const std::vector<std::uint32_t> allowed = {0, uniform(0, 1) != 0 ? 0xffff0000U : 0x0000ffffU,
                                              static_cast<std::uint32_t>(uniform(0, 0x7fffffff))
                                                  << 1};
  const auto some = scan(kernels, coarse, blocks, queries, allowed);
  const auto few = scan(kernels, coarse, blocks, queries, allowed, true);
  const auto numbered = scan(kernels, coarse, blocks, queries, {}, false, {2, 0, 1});
  for (std::size_t q = 0; q < n_queries; ++q)
    for (std::size_t i = 0; i < expected[q].size(); ++i) {
      CHECK(same(expected[q][i], found[q][i]));
      CHECK(same(expected[q][i], numbered[q][i]));
      const bool may_pass = (allowed[i / kBlockRows] >> i % kBlockRows & 1) != 0;
      CHECK(same(some[q][i], may_pass ? expected[q][i] : kNotScored));
      CHECK(same(few[q][i], some[q][i]));
    }
}

// The scalar kernel itself, against the definition of a block in store/matrix.hpp.
void check_definition(const Kernels& scalar, int bits, std::size_t dims) {
  const CoarseLayout coarse{dims, bits};
  auto block = check::filled<std::uint8_t>(coarse.block_bytes(), [] { return uniform(0, 255); });
  auto* scales = reinterpret_cast<std::uint16_t*>(block.data() + coarse.scales_offset());
  for (std::size_t i = 0; i < kBlockRows; ++i) scales[i] = 0x3f80;  // 1
  const int top = largest_query_code(bits);
  const auto query = check::filled<std::int8_t>(coarse.tiles() * coarse.tile_dims(),
                                                [&] { return uniform(-top, top); });
  const auto scores = scan(scalar, coarse, block, {query});
  for (std::size_t row = 0; row < kBlockRows; ++row) {
    int sum = 0;
    for (std::size_t d = 0; d < query.size(); ++d) {
      int code;
      if (bits <= 2) {
        const std::size_t slab_dims = 8 / static_cast<std::size_t>(bits);
        const int byte = block[d / slab_dims * kBlockRows + row];
        code = byte >> d % slab_dims * static_cast<std::size_t>(bits) & ((1 << bits) - 1);
      } else {
        const std::size_t tile = d / coarse.tile_dims() * 2 + row / 16, at = d % coarse.tile_dims();
        const int byte = block[tile * 64 + row % 16 * 4 + at % 4];
        code = bits == 8 ? byte : at < 4 ? byte & 15 : byte >> 4;
      }
      sum += code * query[d];
    }
    CHECK(same(scores[0][row], static_cast<float>(2 * sum) * 0.0123F));
  }
}

// Rows below the threshold, and rows with a NaN scale, do not pass; `full` is called in time.
void check_selection(const Kernels& kernels) {
  const CoarseLayout coarse{8, 4};
  constexpr std::size_t kBlocks = 40;
  std::vector<std::uint8_t> blocks(coarse.block_bytes() * kBlocks, 0x88);
  for (std::size_t b = 0; b < kBlocks; ++b) {
    auto* scales = reinterpret_cast<std::uint16_t*>(blocks.data() + b * coarse.block_bytes() +
                                                    coarse.scales_offset());
    for (std::size_t i = 0; i < kBlockRows; ++i)
      scales[i] = i % 4 == 0 ? 0x7fc0 : i % 4 == 1 ? 0x3f80 : 0x4000;  // absent, 1, 2
  }
  const std::vector<std::int8_t> query(8, 1);
  std::vector<std::uint8_t> packed(kernels.codes_4.query_tile_bytes);
  kernels.codes_4.pack_query(query.data(), 1, packed.data());
  static std::size_t cuts, seen;
  cuts = seen = 0;
  std::vector<Candidate> buffer(2 * kBlockRows);
  Sink sink{.threshold = 200.0F,
            .count = 0,
            .capacity = static_cast<std::uint32_t>(buffer.size()),
            .candidates = buffer.data(),
            .full = [](Sink& s) {
              ++cuts;
              for (std::uint32_t i = 0; i < s.count; ++i) CHECK(s.candidates[i].row % 4 >= 2);
              seen += s.count;
              s.count = 0;
            }};
  // Every code is 8, so a row scores 2 * 64 * scale: only scale 2 reaches 200.
  ScanQuery prepared = ScanQuery::of(packed.data(), 0, 1.0F);
  prepared.sink = &sink;
  kernels.codes_4.scan({.data = blocks.data(),
                        .count = kBlocks,
                        .block_bytes = coarse.block_bytes(),
                        .tiles = coarse.tiles(),
                        .has_offsets = false},
                       &prepared, 1);
  CHECK(cuts > 0);
  CHECK(seen + sink.count == kBlocks * kBlockRows / 2);
}

// ---- re-rank and encoding

template <class T>
void check_dot_rows(nestling::simd::DotKernel scalar, nestling::simd::DotKernel kernel,
                    std::size_t dims, std::size_t stored, auto make) {
  constexpr std::size_t kRows = 20;
  const auto data = check::filled<T>(stored * kRows, make);
  const auto query = check::filled<float>(dims, normal);
  std::vector<const std::uint8_t*> rows;
  for (std::size_t i = 0; i < 2 * kRows; ++i) {
    const auto row = static_cast<std::size_t>(uniform(0, kRows - 1));
    rows.push_back(reinterpret_cast<const std::uint8_t*>(data.data() + row * stored));
  }
  std::vector<float> expected(rows.size()), found(rows.size());
  const nestling::simd::ShellRows shell{
      .rows = rows.data(), .count = rows.size(), .dims = dims, .stride = stored * sizeof(T)};
  scalar(shell, query.data(), expected.data());
  kernel(shell, query.data(), found.data());
  for (std::size_t i = 0; i < rows.size(); ++i) CHECK(same(expected[i], found[i]));
}

void check_encoding(const Kernels& scalar, const Kernels& kernels, std::size_t dims, float spread) {
  const auto x = check::filled<float>(dims, [&] { return normal() * spread; });
  const auto y = check::filled<float>(dims, normal);
  CHECK(same(scalar.dot(x.data(), y.data(), dims), kernels.dot(x.data(), y.data(), dims)));
  for (const int max_code : {1, 3, 15, 255}) {
    std::vector<std::uint8_t> expected(dims), found(dims);
    const float inverse = static_cast<float>(max_code) / (3.0F * spread);
    const auto a = scalar.encode(x.data(), dims, inverse, max_code, expected.data());
    const auto b = kernels.encode(x.data(), dims, inverse, max_code, found.data());
    CHECK(same(a.product, b.product) && same(a.energy, b.energy));
    CHECK(expected == found);
  }
  const auto flags = check::filled<std::uint8_t>(
      3 * kBlockRows, [] { return uniform(0, 2) == 0 ? uniform(0, 255) : 0; });
  std::vector<std::uint32_t> words(3), other_words(3);
  scalar.pack_bits(flags.data(), words.size(), words.data());
  kernels.pack_bits(flags.data(), other_words.size(), other_words.data());
  CHECK(words == other_words);
  CHECK(scalar.count_bits(words.data(), 3) == kernels.count_bits(words.data(), 3));
  std::vector<std::int8_t> bytes(dims), other_bytes(dims);
  scalar.to_i8(x.data(), dims, 50.0F / spread, bytes.data());
  kernels.to_i8(x.data(), dims, 50.0F / spread, other_bytes.data());
  CHECK(bytes == other_bytes);
  std::vector<std::uint16_t> halves(dims), other_halves(dims);
  scalar.to_f16(x.data(), dims, 1.0F, halves.data());
  kernels.to_f16(x.data(), dims, 1.0F, other_halves.data());
  CHECK(halves == other_halves);
  std::vector<float> values(dims), other_values(dims);
  const auto check_values = [&](auto decode, const auto* stored, auto expected) {
    const float scale = 0.7F * spread;
    (scalar.*decode)(stored, dims, scale, values.data());
    (kernels.*decode)(stored, dims, scale, other_values.data());
    for (std::size_t i = 0; i < dims; ++i) {
      CHECK(same(values[i], other_values[i]));
      CHECK(values[i] == expected(i) * scale);
    }
  };
  check_values(&Kernels::decode_i8, bytes.data(),
               [&](std::size_t i) { return static_cast<float>(bytes[i]); });
  const auto nibbles =
      check::filled<std::uint8_t>((dims + 31) / 32 * 16, [] { return uniform(0, 255); });
  check_values(&Kernels::decode_i4, nibbles.data(), [&](std::size_t i) {
    const int code = nibbles[i / 32 * 16 + i % 16] >> (i % 32 < 16 ? 0 : 4) & 15;
    return static_cast<float>(2 * code - 15);
  });
  std::vector<float> halves_as_floats(dims);
  scalar.decode_f16(halves.data(), dims, 1.0F, halves_as_floats.data());
  check_values(&Kernels::decode_f16, halves.data(),
               [&](std::size_t i) { return halves_as_floats[i]; });
}

// Values of which many are equal or infinite, before one that is left alone.
void check_nth_largest(const Kernels& kernels, std::size_t count) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const auto values = check::filled<float>(count + 1, [] {
    const int kind = uniform(0, 9);
    return kind == 0 ? kInfinity : kind == 1 ? -kInfinity : std::round(3.0F * normal());
  });
  std::vector<float> sorted(values.begin(), values.end() - 1);
  std::ranges::sort(sorted, std::greater<>());
  for (std::size_t n = 1; n <= count; ++n) {
    std::vector<float> overwritten = values;
    CHECK(kernels.nth_largest(overwritten.data(), count, n) == sorted[n - 1]);
    CHECK(overwritten[count] == values[count]);
  }
}

// Rows of which some have the score that is asked for, before one that is left alone. Any number of
// a row is kept, also one that reads as a NaN.
void check_keep_from(const Kernels& kernels, std::size_t count) {
  const auto rows = check::filled<Candidate>(count + 1, [] {
    return Candidate{std::round(3.0F * normal()), static_cast<std::uint32_t>(random_bits())};
  });
  const auto equal = [](const Candidate& a, const Candidate& b) {
    return a.score == b.score && a.row == b.row;
  };
  for (const float score : {-100.0F, -1.0F, 0.0F, 2.0F, 100.0F}) {
    std::vector<Candidate> expected, found = rows;
    std::copy_if(rows.begin(), rows.end() - 1, std::back_inserter(expected),
                 [&](const Candidate& row) { return row.score >= score; });
    CHECK(kernels.keep_from(found.data(), count, score) == expected.size());
    CHECK(std::equal(expected.begin(), expected.end(), found.begin(), equal));
    CHECK(equal(found[count], rows[count]));
  }
}

// With NESTLING_EMULATED_AVX512 that table uses emulated intrinsics and runs on any CPU.
std::vector<const Kernels*> tables() {
#ifdef NESTLING_EMULATED_AVX512
  return {&nestling::simd::kScalar, &nestling::simd::kAvx512Vnni};
#else
  const auto found = nestling::simd::available();
  return {found.begin(), found.end()};
#endif
}

void check_required(const std::vector<const Kernels*>& found) {
  const char* required = std::getenv("NESTLING_TEST_REQUIRE_ISA");
  std::istringstream names(required == nullptr ? "" : required);
  for (std::string name; std::getline(names, name, ',');) {
    const auto has_name = [&](const Kernels* kernels) { return name == kernels->name; };
    CHECK(std::ranges::any_of(found, has_name));
  }
}

}  // namespace

int main() {
  const Kernels& scalar = nestling::simd::kScalar;
  check_required(tables());
  for (const int bits : {1, 2, 4, 8})
    for (const std::size_t dims : {1, 4, 7, 8, 48, 65, 300}) check_definition(scalar, bits, dims);
  for (const Kernels* kernels : tables()) {
    std::printf("%s\n", kernels->name);
    check_selection(*kernels);
    for (const int bits : {1, 2, 4, 8})
      for (const std::size_t dims : {1, 3, 4, 5, 8, 9, 31, 48, 64, 100, 128, 136, 257, 768, 4100})
        for (const std::size_t queries : {1, 2, 3, 5, 9, 17})
          for (const Fill fill :
               {Fill::random, Fill::highest, Fill::lowest_query, Fill::highest_query})
            check_scan(scalar, *kernels, bits, dims, queries, fill);
    for (std::size_t count = 1; count < 140; ++count) check_nth_largest(*kernels, count);
    for (std::size_t count = 0; count < 70; ++count) check_keep_from(*kernels, count);
    for (std::size_t dims = 1; dims < 140; ++dims) {
      check_dot_rows<std::uint8_t>(scalar.dot_i4, kernels->dot_i4, dims, (dims + 31) / 32 * 16,
                                   [] { return uniform(0, 255); });
      check_dot_rows<std::int8_t>(scalar.dot_i8, kernels->dot_i8, dims, dims,
                                  [] { return uniform(-127, 127); });
      check_dot_rows<std::uint16_t>(scalar.dot_f16, kernels->dot_f16, dims, dims, [] {
        return uniform(0, 0x7bff) | uniform(0, 1) << 15;  // every finite half, subnormals too
      });
      check_dot_rows<float>(scalar.dot_f32, kernels->dot_f32, dims, dims, normal);
      for (const float spread : {1.0F, 1e-6F, 1e4F, 3e-30F})
        check_encoding(scalar, *kernels, dims, spread);
    }
  }
  return check::report("check_kernels");
}
