#include "io/hash.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace nestling {
namespace {

constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87U, kPrime2 = 0xC2B2AE3D27D4EB4FU,
                        kPrime3 = 0x165667B19E3779F9U, kPrime4 = 0x85EBCA77C2B2AE63U,
                        kPrime5 = 0x27D4EB2F165667C5U;

// The specification reads little-endian words, as do all supported CPUs.
static_assert(std::endian::native == std::endian::little);

template <class Word>
Word read(const std::byte* at) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

std::uint64_t round(std::uint64_t lane, std::uint64_t word) {
  return std::rotl(lane + word * kPrime2, 31) * kPrime1;
}

std::uint64_t merge(std::uint64_t sum, std::uint64_t lane) {
  return (sum ^ round(0, lane)) * kPrime1 + kPrime4;
}

}  // namespace

void Hash::stripe(const std::byte* at) {
  for (std::size_t i = 0; i < 4; ++i) lanes_[i] = round(lanes_[i], read<std::uint64_t>(at + 8 * i));
}

void Hash::update(std::span<const std::byte> bytes) {
  total_ += bytes.size();
  if (rest_size_ > 0) {
    const std::size_t taken = std::min(bytes.size(), sizeof rest_ - rest_size_);
    std::memcpy(rest_ + rest_size_, bytes.data(), taken);
    rest_size_ += taken;
    bytes = bytes.subspan(taken);
    if (rest_size_ < sizeof rest_) return;
    stripe(rest_);
    rest_size_ = 0;
  }
  for (; bytes.size() >= sizeof rest_; bytes = bytes.subspan(sizeof rest_)) stripe(bytes.data());
  if (!bytes.empty()) std::memcpy(rest_, bytes.data(), bytes.size());
  rest_size_ = bytes.size();
}

std::uint64_t Hash::digest() const {
  std::uint64_t sum = kPrime5;
  if (total_ >= 32) {
    sum = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
          std::rotl(lanes_[3], 18);
    for (const std::uint64_t lane : lanes_) sum = merge(sum, lane);
  }
  sum += total_;
  const std::byte* at = rest_;
  std::size_t left = rest_size_;
  for (; left >= 8; at += 8, left -= 8)
    sum = std::rotl(sum ^ round(0, read<std::uint64_t>(at)), 27) * kPrime1 + kPrime4;
  if (left >= 4) {
    sum = std::rotl(sum ^ read<std::uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
    at += 4, left -= 4;
  }
  for (; left > 0; ++at, --left)
    sum = std::rotl(sum ^ static_cast<std::uint64_t>(*at) * kPrime5, 11) * kPrime1;
  sum = (sum ^ sum >> 33) * kPrime2;
  sum = (sum ^ sum >> 29) * kPrime3;
  return sum ^ sum >> 32;
}

}  // namespace nestling
