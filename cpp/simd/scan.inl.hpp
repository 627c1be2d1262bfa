// The coarse scan, written once over the dot products of dot.inl.hpp.

// The rows of one column: `first`, and then every `step`-th.
struct ColumnRows {
  std::uint32_t first, step;
};

inline void append(Sink& sink, unsigned mask, const float* scores, ColumnRows rows) {
  for (; mask != 0; mask &= mask - 1) {
    const auto i = static_cast<std::uint32_t>(__builtin_ctz(mask));
    sink.candidates[sink.count++] = {scores[i], rows.first + i * rows.step};
  }
  if (sink.capacity - sink.count < kTileRows) sink.full(sink);
}

// The bits 0, 2, 4, … of a word, packed together.
inline std::uint32_t even_bits(std::uint32_t word) {
  word &= 0x55555555;
  word = (word | word >> 1) & 0x33333333;
  word = (word | word >> 2) & 0x0f0f0f0f;
  word = (word | word >> 4) & 0x00ff00ff;
  return (word | word >> 8) & 0xffff;
}

constexpr std::uint32_t kAllRows = 0xffff;  // of a tile

// What scoring one column of a block needs of its rows.
struct ColumnTerms {
  RowFloats scales, offsets;
  std::uint32_t may_pass;
  ColumnRows rows;
};

template <CodeDot Dot>
inline ColumnTerms column_terms(const std::uint16_t* row_scales, bool has_offsets,
                                std::uint32_t first_row, std::uint32_t allowed, int column) {
  constexpr int kStep = Dot::kInterleaved ? 2 : 1;
  const auto offset = static_cast<std::uint32_t>(Dot::kInterleaved ? column : column * 16);
  const std::uint16_t* at = row_scales + offset;
  return {
      .scales = load_scales<kStep>(at),
      .offsets = has_offsets ? load_offsets<kStep>(at + kBlockRows) : no_offsets(),
      .may_pass = Dot::kInterleaved ? even_bits(allowed >> offset) : allowed >> offset & kAllRows,
      .rows = {first_row + offset, kStep},
  };
}

constexpr std::size_t kTilesStep = kColumnsPerBlock * kTileBytes;

// One register block: Q queries against A Accs of one block of rows. With kFetches, a block that is
// scanned later is fetched from `later` on, two lines for a pair of tiles: memory serves few lines
// at once, so a whole block that is asked for at once holds up the loads of this one.
template <CodeDot Dot, int Q, int A, bool kFetches>
inline void scan_columns(const std::uint8_t* tiles, std::size_t n_tiles, const ScanQuery* queries,
                         const std::uint16_t* row_scales, bool has_offsets, std::uint32_t first_row,
                         std::uint32_t allowed, const std::uint8_t* later) {
  constexpr int kC = A * Dot::kColumns;
  const std::uint8_t* packed[Q];
#pragma GCC unroll 16
  for (int q = 0; q < Q; ++q) packed[q] = queries[q].codes;
  Sums sums[Q][kC];  // of all runs of kFoldTiles tiles but the last
  for (std::size_t t = 0;;) {
    const bool first = Dot::kFoldTiles == SIZE_MAX || t == 0;
    typename Dot::Acc acc[Q][A];
#pragma GCC unroll 16
    for (int q = 0; q < Q; ++q)
#pragma GCC unroll 2
      for (int a = 0; a < A; ++a) acc[q][a] = Dot::zero();

    const std::size_t end = n_tiles - t <= Dot::kFoldTiles ? n_tiles : t + Dot::kFoldTiles;
    for (; t < end; ++t) {
      if constexpr (kFetches) {
        __builtin_prefetch(later + t * kTilesStep);
        __builtin_prefetch(later + t * kTilesStep + kTileBytes);
      }
#pragma GCC unroll 4
      for (int part = 0; part < Dot::kParts; ++part) {
        typename Dot::Part codes[A];
#pragma GCC unroll 2
        for (int a = 0; a < A; ++a)
          codes[a] = Dot::load(tiles + t * kTilesStep + a * kTileBytes, part);
#pragma GCC unroll 16
        for (int q = 0; q < Q; ++q)
#pragma GCC unroll 2
          for (int a = 0; a < A; ++a) {
            Dot::mac(acc[q][a], codes[a], packed[q] + t * Dot::kQueryBytes, part);
            Dot::pin(acc[q][a]);
          }
      }
    }

    const auto fold = [&](int q, Sums* of) __attribute__((always_inline)) {
#pragma GCC unroll 2
      for (int c = 0; c < kC; ++c) of[c] = first ? all_sums(queries[q].start) : sums[q][c];
#pragma GCC unroll 2
      for (int a = 0; a < A; ++a)
        Dot::fold(acc[q][a], of + static_cast<std::size_t>(a) * Dot::kColumns);
    };
    if (Dot::kFoldTiles != SIZE_MAX && t < n_tiles) {
#pragma GCC unroll 16
      for (int q = 0; q < Q; ++q) fold(q, sums[q]);
      continue;
    }
    ColumnTerms terms[kC];
#pragma GCC unroll 2
    for (int c = 0; c < kC; ++c)
      terms[c] = column_terms<Dot>(row_scales, has_offsets, first_row, allowed, c);
#pragma GCC unroll 16
    for (int q = 0; q < Q; ++q) {
      Sums of[kC];
      fold(q, of);
#pragma GCC unroll 2
      for (int c = 0; c < kC; ++c) {
        float scores[kTileRows];
        const unsigned mask = passing(of[c], queries[q], terms[c].scales, terms[c].offsets,
                                      terms[c].may_pass, scores);
        if (__builtin_expect(mask != 0, 0)) append(*queries[q].sink, mask, scores, terms[c].rows);
      }
    }
    return;
  }
}

constexpr std::size_t kPrefetchBytes = 4096;
constexpr std::size_t kPrefetchBlocks = 16;
constexpr std::size_t kPrefetchNumbered = 4096;

// The block to be fetched while block b is scanned for a single query, which reads faster than the
// hardware prefetches; `block` itself where no other is worth fetching.
inline const std::uint8_t* later_block(const ScanBlocks& blocks, std::size_t b,
                                       const std::uint8_t* block) {
  if (blocks.next != nullptr) return blocks.next + b * blocks.block_bytes;
  if (blocks.numbers == nullptr) return block + kPrefetchBytes;
  const std::size_t ahead = b + 1 + kPrefetchNumbered / blocks.block_bytes;
  if (ahead >= blocks.listed) return block;
  if (blocks.allowed != nullptr && ahead < blocks.count && blocks.allowed[ahead] == 0) return block;
  return blocks.data + blocks.numbers[ahead] * blocks.block_bytes;
}

inline void prefetch_block(const ScanBlocks& blocks, const std::uint8_t* block) {
  for (std::size_t byte = 0; byte < blocks.block_bytes; byte += kTileBytes)
    __builtin_prefetch(block + byte);
}

// Where few rows are allowed, only the lines of their tiles are fetched, and further ahead.
template <CodeDot Dot>
inline void prefetch_sparse(const ScanBlocks& blocks, std::size_t b) {
  if (b + kPrefetchBlocks >= blocks.count) return;
  const std::uint32_t allowed = blocks.allowed[b + kPrefetchBlocks];
  const std::uint8_t* block = blocks.data + (b + kPrefetchBlocks) * blocks.block_bytes;
  if (allowed == 0) return;
  if constexpr (Dot::kColumns > 1) {  // every line has codes of all rows
    for (std::size_t byte = 0; byte < blocks.block_bytes; byte += kTileBytes)
      __builtin_prefetch(block + byte);
  } else {
    __builtin_prefetch(block + blocks.tiles * kTilesStep);  // the scales
    for (std::size_t c = 0; c < kColumnsPerBlock; ++c) {
      if ((allowed >> (c * kTileRows) & kAllRows) == 0) continue;
      for (std::size_t byte = c * kTileBytes; byte < blocks.block_bytes; byte += kTilesStep)
        __builtin_prefetch(block + byte);
    }
  }
}

// How many Accs a call scans, and whether it fetches a later block.
template <int A, bool kFetches>
struct Accs {};

template <CodeDot Dot, int Q>
void scan_queries(const ScanBlocks& blocks, const ScanQuery* queries) {
  // A single query has registers to spare for a whole block; more queries share them.
  constexpr int kWhole = static_cast<int>(kColumnsPerBlock) / Dot::kColumns;
  constexpr int kA = Q == 1 ? kWhole : Dot::kAccs;
  constexpr std::size_t kC = kA * Dot::kColumns;
  for (std::size_t b = 0; b < blocks.count; ++b) {
    const std::size_t number = blocks.numbers == nullptr ? b : blocks.numbers[b];
    const std::uint8_t* block = blocks.data + number * blocks.block_bytes;
    const std::uint32_t allowed = blocks.allowed == nullptr ? ~0U : blocks.allowed[b];
    const std::uint8_t* later = block;
    // Fetches later blocks, so it does not matter whether this one is allowed.
    if constexpr (Q == 1) {
      if (blocks.sparse)
        prefetch_sparse<Dot>(blocks, b);
      else
        later = later_block(blocks, b, block);
      if (allowed == 0 && later != block) prefetch_block(blocks, later);
    }
    if (allowed == 0) continue;
    const auto* scales = reinterpret_cast<const std::uint16_t*>(block + blocks.tiles * kTilesStep);
    if (Q > 1 && blocks.next != nullptr) {
      const std::uint8_t* next = blocks.next + b * blocks.block_bytes;
      for (std::size_t byte = 0; byte < blocks.block_bytes; byte += kTileBytes)
        __builtin_prefetch(next + byte, 0, 2);
    }
    const auto row = blocks.first_row + static_cast<std::uint32_t>(number * kBlockRows);
    const auto scan_from = [&]<int A, bool kFetches>(Accs<A, kFetches>, std::size_t c) {
      scan_columns<Dot, Q, A, kFetches>(
          block + c * kTileBytes, blocks.tiles, queries, scales + c * kTileRows, blocks.has_offsets,
          row + static_cast<std::uint32_t>(c * kTileRows), allowed >> (c * kTileRows), later);
    };
    if constexpr (Dot::kColumns == 1) {
      if (blocks.sparse && ((allowed & kAllRows) == 0 || allowed >> kTileRows == 0)) {
        scan_from(Accs<1, false>{}, (allowed & kAllRows) == 0 ? 1 : 0);
        continue;
      }
    }
    if constexpr (Q == 1) {
      if (!blocks.sparse) {
        scan_from(Accs<kA, true>{}, 0);
        for (std::size_t byte = blocks.tiles * kTilesStep; byte < blocks.block_bytes;
             byte += kTileBytes)
          __builtin_prefetch(later + byte);
        continue;
      }
    }
    for (std::size_t c = 0; c < kColumnsPerBlock; c += kC) scan_from(Accs<kA, false>{}, c);
  }
}

// As many queries at a time as the registers hold, then half as many for the rest.
template <CodeDot Dot, int Q = Dot::kQueries>
void scan(const ScanBlocks& blocks, const ScanQuery* queries, std::size_t count) {
  ScanBlocks same = blocks;  // `next` is prefetched only in the last pass
  same.next = nullptr;
  for (; count >= Q; count -= Q, queries += Q)
    scan_queries<Dot, Q>(count == Q ? blocks : same, queries);
  if constexpr (Q > 1) {
    if (count > 0) scan<Dot, Q / 2>(blocks, queries, count);
  }
}
