#include "lexical/bits.hpp"

#include <array>
#include <cstring>
#include <utility>

namespace nestling::lexical {
namespace {

constexpr std::size_t kLanes = 4;
constexpr std::size_t kSteps = kBlockPostings / kLanes;

constexpr std::uint32_t mask_of(unsigned bits) {
  return bits == 32 ? ~0U : (1U << bits) - 1;
}

template <unsigned Bits, std::size_t Step>
void unpack_step(const std::uint32_t* words, std::uint32_t* out) {
  constexpr std::size_t word = Step * Bits / 32;
  constexpr unsigned shift = Step * Bits % 32;
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    std::uint32_t value = words[word * kLanes + lane] >> shift;
    if constexpr (shift + Bits > 32) value |= words[(word + 1) * kLanes + lane] << (32 - shift);
    out[Step * kLanes + lane] = value & mask_of(Bits);
  }
}

template <unsigned Bits>
void unpack_lanes(const std::byte* in, std::uint32_t* out) {
  if constexpr (Bits == 0) {
    std::memset(out, 0, kBlockPostings * sizeof *out);
  } else {
    std::array<std::uint32_t, kLanes * Bits> words;
    std::memcpy(words.data(), in, sizeof words);
    [&]<std::size_t... Steps>(std::index_sequence<Steps...>) {
      (unpack_step<Bits, Steps>(words.data(), out), ...);
    }(std::make_index_sequence<kSteps>());
  }
}

using Unpack = void (*)(const std::byte*, std::uint32_t*);

constexpr std::array<Unpack, 33> kUnpack = []<std::size_t... Bits>(std::index_sequence<Bits...>) {
  return std::array<Unpack, 33>{&unpack_lanes<static_cast<unsigned>(Bits)>...};
}(std::make_index_sequence<33>());

std::uint64_t load(const std::byte* in) {
  std::uint64_t value = 0;
  std::memcpy(&value, in, sizeof value);
  return value;
}

}  // namespace

void pack_block(std::span<const std::uint32_t, kBlockPostings> values, unsigned bits,
                std::vector<std::byte>& out) {
  std::vector<std::uint32_t> words(kLanes * bits);
  for (std::size_t i = 0; i < kBlockPostings; ++i) {
    const std::size_t lane = i % kLanes;
    const std::size_t bit = i / kLanes * bits;
    const std::size_t word = bit / 32;
    const unsigned shift = bit % 32;
    if (bits == 0) continue;
    words[word * kLanes + lane] |= values[i] << shift;
    if (shift + bits > 32) words[(word + 1) * kLanes + lane] |= values[i] >> (32 - shift);
  }
  const auto bytes = std::as_bytes(std::span(words));
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void unpack_block(const std::byte* in, unsigned bits,
                  std::span<std::uint32_t, kBlockPostings> out) {
  kUnpack[bits](in, out.data());
}

void pack(std::span<const std::uint32_t> values, unsigned bits, std::vector<std::byte>& out) {
  std::uint64_t waiting = 0;
  unsigned count = 0;
  for (const std::uint32_t value : values) {
    waiting |= static_cast<std::uint64_t>(value) << count;
    for (count += bits; count >= 8; count -= 8, waiting >>= 8)
      out.push_back(static_cast<std::byte>(waiting));
  }
  if (count > 0) out.push_back(static_cast<std::byte>(waiting));
}

void unpack(const std::byte* in, unsigned bits, std::span<std::uint32_t> out) {
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = value_at(in, bits, i);
}

std::uint32_t value_at(const std::byte* in, unsigned bits, std::size_t index) {
  const std::size_t bit = index * bits;
  return static_cast<std::uint32_t>(load(in + bit / 8) >> bit % 8) & mask_of(bits);
}

void put_varint(std::uint64_t value, std::vector<std::byte>& out) {
  for (; value >= 0x80; value >>= 7) out.push_back(static_cast<std::byte>(value | 0x80));
  out.push_back(static_cast<std::byte>(value));
}

}  // namespace nestling::lexical
