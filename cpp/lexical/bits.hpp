// Integers of a few bits each, packed.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nestling::lexical {

inline constexpr std::size_t kBlockPostings = 128;  // values of a packed block

// Bytes behind packed values that `unpack` and `value_at` may read.
inline constexpr std::size_t kReadAhead = 8;

inline unsigned bits_for(std::uint32_t largest) {
  return static_cast<unsigned>(std::bit_width(largest));
}

inline std::size_t packed_size(std::size_t count, unsigned bits) {
  return (count * bits + 7) / 8;
}

// Appends 128 values of `bits` bits, 0 to 32: packed_size(128, bits) bytes. Value i is in lane
// i % 4 of four lanes of 32-bit words, so that one vector instruction unpacks four.
void pack_block(std::span<const std::uint32_t, kBlockPostings> values, unsigned bits,
                std::vector<std::byte>& out);
void unpack_block(const std::byte* in, unsigned bits, std::span<std::uint32_t, kBlockPostings> out);

// Appends any number of values, one behind the other: packed_size(count, bits) bytes.
void pack(std::span<const std::uint32_t> values, unsigned bits, std::vector<std::byte>& out);
void unpack(const std::byte* in, unsigned bits, std::span<std::uint32_t> out);
std::uint32_t value_at(const std::byte* in, unsigned bits, std::size_t index);

// Appends a number in groups of seven bits, the lowest first.
void put_varint(std::uint64_t value, std::vector<std::byte>& out);

}  // namespace nestling::lexical
