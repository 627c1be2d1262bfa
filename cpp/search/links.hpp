// Links: the near neighbours of each row. A search follows them from its best rows, since the
// neighbours of a near row are likely to be near, whatever cells they are in (the premise of graph
// search: Malkov and Yashunin 2018, "Efficient and robust approximate nearest neighbor search using
// hierarchical navigable small world graphs").
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/memory.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// How many cells build_links searches for the neighbours of a row, of a partition with `cells`
// cells and so many slots.
std::size_t linked_probes(std::size_t cells, std::size_t slots);

// `count` links of every row in the snapshot's cells, as Cells::Parts stores them, chosen among the
// near neighbours that a search of a few cells finds: of `near`, which are equally many cells of
// every row, the nearest first (Probes::known). The layout must have a stage after the coarse
// one. The result does not depend on `threads`.
Bytes build_links(const Layout& layout, const Snapshot& snapshot, std::size_t count,
                  std::span<const std::uint32_t> near, std::size_t threads);

// The stage that scores a row by its shells alone as `stage` does after others; nullopt where that
// continues the coarse codes.
std::optional<PlannedStage> whole_stage(const Layout& layout, const PlannedStage& stage);

}  // namespace nestling
