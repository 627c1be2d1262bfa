// Fills a table with the kernels of the including file.

constexpr Kernels make_table(const char* name) {
  return {
      .name = name,
      .query_tile_bytes_4 = Dot4::kQueryBytes,
      .query_tile_bytes_8 = Dot8::kQueryBytes,
      .pack_query_4 = Dot4::pack,
      .pack_query_8 = Dot8::pack,
      .scan_4 = scan<Dot4>,
      .scan_8 = scan<Dot8>,
      .dot_i8 = dot_rows<std::int8_t>,
      .dot_f16 = dot_rows<Half>,
      .dot_f32 = dot_rows<float>,
      .dot = dot,
      .encode = encode,
      .to_i8 = to_i8,
      .to_f16 = to_f16,
      .multiply_add_4 = multiply_add<Dot4>,
      .multiply_add_8 = multiply_add<Dot8>,
  };
}
