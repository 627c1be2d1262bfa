// The coarse scan, written once over the integer dot products that the including file defines.
//
// Wanted of the including file, for each code width a struct Dot with
//   kQueries, kAccs  the register block: so many queries × so many Accs
//   kColumns         columns of 16 rows that an Acc spans
//   Acc              running sums of kColumns × 16 rows
//   kFoldTiles       tiles after which Acc must be folded into 32 bits
//   kParts, Part     a tile is unpacked part by part, so that few registers hold codes at a time
//   kQueryBytes      bytes of the packed query that a tile meets
//   zero(), load(tile*, part), mac(Acc&, Part, query*, part), fold(Acc, Sums*), pack(codes, tiles,
//   packed) pin(Acc&)        tells the compiler that the sums are in registers here, so that it
//   neither reorders
//                    the multiply-adds of two parts nor moves sums to the stack for it
// and: Sums (16 int32), all_sums(int32), add(Sums&, Sums), RowFloats (16 floats),
// load_scales(bfloat16*), load_offsets(float16*), no_offsets(), passing(Sums, ScanQuery, scales,
// offsets, scores) -> bit mask of the rows whose score reaches the query's threshold; scores are
// stored where any does.

inline void append(Sink& sink, unsigned mask, const float* scores, std::uint32_t first_row) {
  for (; mask != 0; mask &= mask - 1) {
    const auto i = static_cast<std::uint32_t>(__builtin_ctz(mask));
    sink.candidates[sink.count++] = {scores[i], first_row + i};
  }
  if (sink.capacity - sink.count < kTileRows) sink.full(sink);
}

constexpr std::uint32_t kAllRows = 0xffff;  // of a tile

// One register block: Q queries against A Accs of one block of rows.
template <class Dot, int Q, int A>
inline void scan_columns(const std::uint8_t* tiles, std::size_t n_tiles, const ScanQuery* queries,
                         const std::uint16_t* row_scales, bool has_offsets, std::uint32_t first_row,
                         std::uint32_t allowed) {
  constexpr std::size_t kStep = kColumnsPerBlock * kTileBytes;
  const std::uint8_t* packed[Q];
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q) packed[q] = queries[q].codes;
  constexpr int kC = A * Dot::kColumns;
  Sums sums[Q][kC];
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q)
#pragma GCC unroll 2
    for (int c = 0; c < kC; ++c) sums[q][c] = all_sums(queries[q].start);

  for (std::size_t t = 0; t < n_tiles;) {
    typename Dot::Acc acc[Q][A];
#pragma GCC unroll 16
    for (int q = 0; q < Q; ++q)
#pragma GCC unroll 2
      for (int a = 0; a < A; ++a) acc[q][a] = Dot::zero();

    const std::size_t end = n_tiles - t < Dot::kFoldTiles ? n_tiles : t + Dot::kFoldTiles;
    for (; t < end; ++t) {
#pragma GCC unroll 4
      for (int part = 0; part < Dot::kParts; ++part) {
        typename Dot::Part codes[A];
#pragma GCC unroll 2
        for (int a = 0; a < A; ++a) codes[a] = Dot::load(tiles + t * kStep + a * kTileBytes, part);
#pragma GCC unroll 16
        for (int q = 0; q < Q; ++q)
#pragma GCC unroll 2
          for (int a = 0; a < A; ++a) {
            Dot::mac(acc[q][a], codes[a], packed[q] + t * Dot::kQueryBytes, part);
            Dot::pin(acc[q][a]);
          }
      }
    }
#pragma GCC unroll 16
    for (int q = 0; q < Q; ++q)
#pragma GCC unroll 2
      for (int a = 0; a < A; ++a) Dot::fold(acc[q][a], &sums[q][a * Dot::kColumns]);
  }

#pragma GCC unroll 2
  for (int c = 0; c < kC; ++c) {
    const std::uint16_t* at = row_scales + c * kTileRows;
    const RowFloats scales = load_scales(at);
    const RowFloats offsets = has_offsets ? load_offsets(at + kBlockRows) : no_offsets();
    const std::uint32_t may_pass = allowed >> (c * kTileRows) & kAllRows;
#pragma GCC unroll 16
    for (int q = 0; q < Q; ++q) {
      float scores[kTileRows];
      const unsigned mask = passing(sums[q][c], queries[q], scales, offsets, scores) & may_pass;
      if (__builtin_expect(mask != 0, 0))
        append(*queries[q].sink, mask, scores,
               first_row + c * static_cast<std::uint32_t>(kTileRows));
    }
  }
}

constexpr std::size_t kPrefetchBytes = 4096;
constexpr std::size_t kPrefetchBlocks = 16;

// One query reads faster than the hardware prefetches: 4 kB ahead was 1.3 times as fast on Zen 3
// from memory. Several queries find the blocks in the cache. Where few rows are allowed, the lines
// of their tiles only, and further ahead.
inline void prefetch(const ScanBlocks& blocks, std::size_t b) {
  const std::uint8_t* block = blocks.data + b * blocks.block_bytes;
  if (blocks.allowed == nullptr) {
    for (std::size_t byte = 0; byte < blocks.block_bytes; byte += kTileBytes)
      __builtin_prefetch(block + kPrefetchBytes + byte);
    return;
  }
  if (b + kPrefetchBlocks >= blocks.count) return;
  const std::uint32_t allowed = blocks.allowed[b + kPrefetchBlocks];
  block += kPrefetchBlocks * blocks.block_bytes;
  if (allowed == 0) return;
  constexpr std::size_t kStep = kColumnsPerBlock * kTileBytes;
  __builtin_prefetch(block + blocks.tiles * kStep);  // the scales
  for (std::size_t c = 0; c < kColumnsPerBlock; ++c) {
    if ((allowed >> (c * kTileRows) & kAllRows) == 0) continue;
    for (std::size_t byte = c * kTileBytes; byte < blocks.block_bytes; byte += kStep)
      __builtin_prefetch(block + byte);
  }
}

template <int A>
struct Accs {};

template <class Dot, int Q>
void scan_queries(const ScanBlocks& blocks, const ScanQuery* queries) {
  // A lone query has registers to spare for a whole block; more queries share them.
  constexpr int kWhole = static_cast<int>(kColumnsPerBlock) / Dot::kColumns;
  constexpr int kA = Q == 1 ? kWhole : Dot::kAccs;
  constexpr std::size_t kC = kA * Dot::kColumns;
  for (std::size_t b = 0; b < blocks.count; ++b) {
    const std::uint32_t allowed = blocks.allowed == nullptr ? ~0U : blocks.allowed[b];
    if (allowed == 0) continue;
    const std::uint8_t* block = blocks.data + b * blocks.block_bytes;
    const auto* scales = reinterpret_cast<const std::uint16_t*>(
        block + blocks.tiles * kColumnsPerBlock * kTileBytes);
    if constexpr (Q == 1) prefetch(blocks, b);
    const auto row = blocks.first_row + static_cast<std::uint32_t>(b * kBlockRows);
    const auto scan_from = [&]<int A>(Accs<A>, std::size_t c) {
      scan_columns<Dot, Q, A>(block + c * kTileBytes, blocks.tiles, queries, scales + c * kTileRows,
                              blocks.has_offsets, row + static_cast<std::uint32_t>(c * kTileRows),
                              allowed >> (c * kTileRows));
    };
    if constexpr (Dot::kColumns == 1) {
      if ((allowed & kAllRows) == 0 || allowed >> kTileRows == 0) {  // nobody in one of the columns
        scan_from(Accs<1>{}, (allowed & kAllRows) == 0 ? 1 : 0);
        continue;
      }
    }
    for (std::size_t c = 0; c < kColumnsPerBlock; c += kC) scan_from(Accs<kA>{}, c);
  }
}

// As many queries at a time as the registers hold, then half as many for the rest.
template <class Dot, int Q = Dot::kQueries>
void scan(const ScanBlocks& blocks, const ScanQuery* queries, std::size_t count) {
  for (; count >= Q; count -= Q, queries += Q) scan_queries<Dot, Q>(blocks, queries);
  if constexpr (Q > 1) {
    if (count > 0) scan<Dot, Q / 2>(blocks, queries, count);
  }
}
