// What this core can do at most, for benchmarks: integer multiply-adds on rows that stay in registers, and
// plain reads.

// Multiply-adds done: `rounds` tiles of 16 rows for each of the queries of a register block.
template <class Dot>
std::uint64_t multiply_add(std::size_t rounds) {
  alignas(64) std::uint8_t bytes[kTileBytes];
  alignas(64) std::uint8_t query[Dot::kQueryBytes];
  for (std::size_t i = 0; i < kTileBytes; ++i) bytes[i] = static_cast<std::uint8_t>(i * 37);
  for (std::size_t i = 0; i < Dot::kQueryBytes; ++i) query[i] = static_cast<std::uint8_t>(i & 1);
  const typename Dot::Tile tile = Dot::load(bytes);
  typename Dot::Acc acc[kQueries * kColumns];
  for (auto& a : acc) a = Dot::zero();
  for (std::size_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 16
    for (auto& a : acc) Dot::mac(a, tile, query);
    __asm__ volatile("" ::: "memory");  // the query is read anew each round
  }
  for (auto& a : acc) {
    const Sums sums = Dot::fold(a);
    __asm__ volatile("" ::"m"(sums));
  }
  const std::size_t dims = Dot::kTileDims;
  return static_cast<std::uint64_t>(rounds) * kQueries * kColumns * kTileRows * dims;
}
