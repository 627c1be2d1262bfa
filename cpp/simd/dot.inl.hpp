// What the coarse scan is written over. The including file defines sums and floats of 16 rows and,
// for each width of codes, a struct that multiplies the codes of rows by a query: a CodeDot.

// In a struct for the same reason as Floats.
struct RowValues {
  using Sums = nestling::simd::Sums;
  using Floats = RowFloats;
};

// Integer sums of a column of 16 rows, and the floats that turn them into scores.
template <class Rows>
concept RowScoring =
    requires(typename Rows::Sums sums, typename Rows::Floats floats, const ScanQuery& query,
             const std::uint16_t* halves, std::int32_t number, std::uint32_t bits, float* scores) {
      sums = all_sums(number);
      add(sums, sums);  // to the first
      // 16 bfloat16 scales or float16 offsets: consecutive ones, or every second one.
      floats = load_scales<1>(halves);
      floats = load_scales<2>(halves);
      floats = load_offsets<1>(halves);
      floats = load_offsets<2>(halves);
      floats = no_offsets();
      // passing(sums, query, scales, offsets, may_pass, scores): the rows of the bit mask may_pass
      // whose score reaches the query's threshold. Scores are stored if there is any.
      bits = passing(sums, query, floats, floats, bits, scores);
    };

// Inner products of queries with the codes of one or two columns of 16 rows.
template <class Dot>
concept CodeDot =
    RowScoring<RowValues> &&
    // The register block: kQueries queries × kAccs accumulators.
    Dot::kQueries >= 1 && (Dot::kQueries & (Dot::kQueries - 1)) == 0 && Dot::kAccs >= 1 &&
    // Columns that an accumulator spans.
    Dot::kColumns >= 1 && kColumnsPerBlock % (Dot::kAccs * Dot::kColumns) == 0 &&
    // Whether the second of two columns holds the odd rows of a block and the first the even ones,
    // rather than rows 16..31 and 0..15.
    (!Dot::kInterleaved || Dot::kColumns == 2) &&
    // Parts in which a tile is unpacked, so that few registers hold codes at a time.
    Dot::kParts >= 1 &&
    // Dimensions of a tile, and bytes of a packed query that they meet.
    Dot::kTileDims >= 1 && Dot::kQueryBytes >= 1 &&
    // Tiles after which an accumulator must be folded into 32 bits; SIZE_MAX for never.
    Dot::kFoldTiles >= 1 &&
    requires(typename Dot::Acc acc, typename Dot::Part codes, RowValues::Sums* sums,
             const std::uint8_t* bytes, const std::int8_t* query, std::uint8_t* packed,
             std::int32_t number, std::size_t tiles) {
      acc = Dot::zero();
      codes = Dot::load(bytes, number);          // load(tile, part)
      Dot::mac(acc, codes, bytes, number);       // mac(acc, codes, packed query of the tile, part)
      Dot::fold(acc, sums);                      // adds to kColumns sums
      number = Dot::pack(query, tiles, packed);  // as CodeKernels::pack_query
      // Tells the compiler that the sums are in registers here, so that it neither reorders the
      // multiply-adds of two parts nor moves sums to the stack for it.
      Dot::pin(acc);
    };
