#include "base/memory.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <new>

namespace nestling {

Bytes allocate(std::size_t size) {
  constexpr std::size_t kHugePage = std::size_t{2} << 20;
  const std::size_t alignment = size >= 2 * kHugePage ? kHugePage : 64;
  const std::size_t rounded =
      (std::max<std::size_t>(size, 1) + alignment - 1) / alignment * alignment;
  // NOLINTBEGIN(cppcoreguidelines-owning-memory): owned by the returned pointer
  auto* memory = static_cast<std::byte*>(std::aligned_alloc(alignment, rounded));
  if (memory == nullptr) throw std::bad_alloc();
#if defined(MADV_HUGEPAGE)
  // Only a hint: fewer TLB misses where the system follows it.
  if (alignment == kHugePage) madvise(memory, rounded, MADV_HUGEPAGE);
#endif
  return {memory, [](std::byte* p) { std::free(p); }};
  // NOLINTEND(cppcoreguidelines-owning-memory)
}

}  // namespace nestling
