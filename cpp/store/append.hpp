// Appends rows to a snapshot's storage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// Whether `prepare` (store/norms.hpp) was applied to vectors, or has yet to be.
enum class Vectors { raw, prepared };

// Appends rows (n × dim values) to the storage of `before`, which must be the newest snapshot of
// its storage, and returns the snapshot that includes them. `ids` has one id per row, or is empty
// where ids equal the row numbers. Throws VectorError for a vector that cannot be stored.
Snapshot append(const Layout& layout, const Snapshot& before, std::span<const float> vectors,
                std::span<const std::int64_t> ids, std::size_t threads,
                Vectors kind = Vectors::raw);

}  // namespace nestling
