// Packing for multiply-adds, which read a query's codes as they are: kBytes of them per tile.
template <std::size_t kBytes>
std::int32_t copy_codes(const std::int8_t* codes, std::size_t tiles, std::uint8_t* packed) {
  __builtin_memcpy(packed, codes, tiles * kBytes);
  return 0;
}
