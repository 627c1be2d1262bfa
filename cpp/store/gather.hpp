// Copies stored rows into new storage, bit for bit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// Rows to gather, and what is added to their ids.
struct Part {
  std::shared_ptr<const Snapshot> rows;
  std::int64_t shift = 0;
};

// The live rows of all parts, which share one layout, in the same order, without cells.
Snapshot gather(const Layout& layout, std::span<const Part> parts, std::size_t threads);

// Copies the coarse codes of these rows side by side into block_count(rows.size()) blocks.
void copy_codes(const CoarseLayout& coarse, const Snapshot& snapshot,
                std::span<const std::uint32_t> rows, std::uint8_t* blocks);

}  // namespace nestling
