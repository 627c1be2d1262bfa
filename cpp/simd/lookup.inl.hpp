// Codes of 1 and 2 bits: a nibble holds those of 4 or 2 dimensions, so what it adds to a query's
// sum is one of 16 bytes, and one shuffle looks up as many rows as a vector has bytes (the fast
// scan of André et al. 2015, "Cache locality is not enough", with the query's own inner products as
// tables).
//
// A pair of tiles holds four slabs of 32 rows × 1 byte: 8 / bits dimensions each, the first in the
// low nibble. Entries are shifted to start at 0, and encode_query keeps them at most
// largest_entry(bits), so that those of two slabs (2 bits) or of all four (1 bit) add up in a byte.

constexpr std::size_t kSlabs = kColumnsPerBlock * kTileBytes / kBlockRows;
constexpr std::size_t kTableBytes = 16;
constexpr std::size_t kSlabTables = 2 * kTableBytes;

constexpr int slabs_per_sum(int bits) {
  return bits == 1 ? static_cast<int>(kSlabs) : 2;
}

// The codes of dimension `d` in the nibbles `first` to `first` + 7, a byte each.
template <int kBits>
constexpr std::uint64_t codes_in_nibbles(int d, int first) {
  std::uint64_t codes = 0;
  for (int i = 0; i < 8; ++i)
    codes |= static_cast<std::uint64_t>((first + i) >> d * kBits & ((1 << kBits) - 1)) << 8 * i;
  return codes;
}

// Writes the tables of the two nibbles of one slab. Returns by how much the sum of one entry of
// each exceeds the inner product. Eight entries are summed as one number of 64 bits: the bytes of
// its last value are the entries, as each is from 0 to 255.
template <int kBits>
std::int32_t make_tables(const std::int8_t* codes, std::uint8_t* tables) {
  constexpr int kDims = 4 / kBits, kMaxCode = (1 << kBits) - 1;
  constexpr std::uint64_t kEach = 0x0101010101010101;
  std::int32_t excess = 0;
  for (int nibble = 0; nibble < 2; ++nibble) {
    const std::int8_t* q = codes + static_cast<std::ptrdiff_t>(nibble * kDims);
    int lowest = 0;
    for (int d = 0; d < kDims; ++d) lowest += (q[d] & q[d] >> 7) * kMaxCode;  // q, if negative
    std::uint64_t table[2];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      table[half] = static_cast<std::uint64_t>(-lowest) * kEach;
#pragma GCC unroll 4
      for (int d = 0; d < kDims; ++d)
        table[half] +=
            static_cast<std::uint64_t>(std::int64_t{q[d]}) * codes_in_nibbles<kBits>(d, half * 8);
    }
    __builtin_memcpy(tables + nibble * static_cast<int>(kTableBytes), table, sizeof table);
    excess -= lowest;
  }
  return excess;
}

template <int kBits>
std::int32_t pack_tables(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed) {
  std::int32_t excess = 0;
  for (std::size_t slab = 0; slab < tiles * kSlabs; ++slab)
    excess += make_tables<kBits>(codes + slab * (8 / kBits), packed + slab * kSlabTables);
  return excess;
}
