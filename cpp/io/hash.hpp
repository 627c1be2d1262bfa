// XXH64, the checksum of the file format.
// Specification: github.com/Cyan4973/xxHash, doc/xxhash_spec.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace nestling {

// Hashes bytes that are passed in any number of parts. The seed is 0.
class Hash {
 public:
  void update(std::span<const std::byte> bytes);
  std::uint64_t digest() const;

 private:
  void stripe(const std::byte* at);

  static constexpr std::uint64_t kPrime1 = 0x9E3779B185EBCA87U;
  static constexpr std::uint64_t kPrime2 = 0xC2B2AE3D27D4EB4FU;

  std::uint64_t lanes_[4] = {kPrime1 + kPrime2, kPrime2, 0, 0 - kPrime1};
  std::byte rest_[32] = {};
  std::size_t rest_size_ = 0;
  std::uint64_t total_ = 0;
};

inline std::uint64_t hash(std::span<const std::byte> bytes) {
  Hash h;
  h.update(bytes);
  return h.digest();
}

}  // namespace nestling
