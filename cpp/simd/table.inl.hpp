// Makes a table of the kernels of the including file.

template <CodeDot Dot>
constexpr CodeKernels code_kernels() {
  return {
      .query_tile_bytes = Dot::kQueryBytes,
      .pack_query = Dot::pack,
      .scan = scan<Dot>,
      .multiply_add = multiply_add<Dot>,
  };
}

// Compiled with the ISA's flags, so that it is one instruction per word where the CPU has it.
std::size_t count_bits(const std::uint32_t* words, std::size_t count) {
  std::size_t bits = 0;
  for (std::size_t i = 0; i < count; ++i)
    bits += static_cast<std::size_t>(__builtin_popcount(words[i]));
  return bits;
}

constexpr Kernels make_table(const char* name) {
  return {
      .name = name,
      .codes_1 = code_kernels<Dot1>(),
      .codes_2 = code_kernels<Dot2>(),
      .codes_4 = code_kernels<Dot4>(),
      .codes_8 = code_kernels<Dot8>(),
      .dot_i4 = dot_rows<NibbleGroup>,
      .dot_i8 = dot_rows<std::int8_t>,
      .dot_f16 = dot_rows<Half>,
      .dot_f32 = dot_rows<float>,
      .dot = dot,
      .encode = encode,
      .to_i8 = to_i8,
      .to_f16 = to_f16,
      .decode_i4 = decode_i4,
      .decode_i8 = decode_i8,
      .decode_f16 = decode_f16,
      .nth_largest = nth_largest,
      .keep_from = keep_from,
      .pack_bits = pack_bits,
      .count_bits = count_bits,
  };
}
