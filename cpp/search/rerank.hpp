// Re-ranks rows by their shells.
#pragma once

#include <span>

#include "search/survivors.hpp"
#include "store/layout.hpp"
#include "store/snapshot.hpp"

namespace nestling {

// Reads the shells of `stage` for the survivors, adds their inner products to the running sums and
// sets the scores. If the stage before was coded (`coded_before`), a shell that continues it starts
// from the coarse score.
void rerank(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
            std::span<const float> query, bool coded_before, float inverse_norm_before,
            std::span<Survivor> survivors);

// Has the system read what `rerank` will, all at once.
void fetch_shells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                  std::span<const Survivor> survivors);

// Asks memory for what `rerank` will read of a row, so that work before it hides the wait.
void prefetch_shells(const Layout& layout, const Snapshot& snapshot, const PlannedStage& stage,
                     std::uint32_t row);

// Bytes that `rerank` reads of each row.
std::size_t bytes_per_row(const Layout& layout, const PlannedStage& stage);

}  // namespace nestling
