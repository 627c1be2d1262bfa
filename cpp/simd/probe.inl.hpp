// The peak of one core, for benchmarks: integer multiply-adds on rows that stay in registers.

// Multiplies `rounds` tiles of 16 rows by each query of a register block. Returns the
// multiply-adds.
template <CodeDot Dot>
std::uint64_t multiply_add(std::size_t rounds) {
  alignas(64) std::uint8_t bytes[kColumnsPerBlock * kTileBytes];
  constexpr int kBlock = Dot::kQueries * Dot::kAccs;
  alignas(64) std::uint8_t queries[kBlock * Dot::kQueryBytes];
  for (std::size_t i = 0; i < sizeof bytes; ++i) bytes[i] = static_cast<std::uint8_t>(i * 37);
  for (std::size_t i = 0; i < sizeof queries; ++i) queries[i] = static_cast<std::uint8_t>(i & 1);
  typename Dot::Part codes[Dot::kParts];
  for (int part = 0; part < Dot::kParts; ++part) codes[part] = Dot::load(bytes, part);
  typename Dot::Acc acc[kBlock];
#pragma GCC unroll 16
  for (int i = 0; i < kBlock; ++i) acc[i] = Dot::zero();
  for (std::size_t r = 0; r < rounds; ++r) {
    __asm__ volatile("" : : "r"(queries) : "memory");  // keeps the products in the loop
#pragma GCC unroll 4
    for (int part = 0; part < Dot::kParts; ++part)
#pragma GCC unroll 16
      for (int i = 0; i < kBlock; ++i) {
        Dot::mac(acc[i], codes[part], queries + static_cast<std::size_t>(i) * Dot::kQueryBytes,
                 part);
        Dot::pin(acc[i]);
      }
  }
#pragma GCC unroll 16
  for (int i = 0; i < kBlock; ++i) {
    Sums sums[Dot::kColumns];
    for (Sums& s : sums) s = all_sums(0);
    Dot::fold(acc[i], sums);
    __asm__ volatile("" ::"m"(sums));
  }
  const std::size_t dims = Dot::kTileDims;
  return static_cast<std::uint64_t>(rounds) * kBlock * Dot::kColumns * kTileRows * dims;
}
