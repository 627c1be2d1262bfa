// Memory that snapshots share.
#pragma once

#include <cstddef>
#include <memory>

namespace nestling {

// Bytes shared by all who read them: memory of our own, or a part of a mapped file.
using Bytes = std::shared_ptr<std::byte>;

// Uninitialised, 64-byte aligned; in huge pages if large. Throws std::bad_alloc.
Bytes allocate(std::size_t size);

}  // namespace nestling
