// Items by the groups that each of them is in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <vector>

namespace nestling {

// The items of each of `count` groups, in their order, by counting sort.
class Groups {
 public:
  // Every item is in `width` groups: groups[i] is one of item i / width.
  Groups(std::span<const std::uint32_t> groups, std::size_t count, std::size_t width = 1)
      : starts_(count + 1), items_(groups.size()) {
    for (const std::uint32_t group : groups) ++starts_[group + 1];
    std::partial_sum(starts_.begin(), starts_.end(), starts_.begin());
    std::vector<std::size_t> next(starts_.begin(), starts_.end() - 1);
    for (std::size_t i = 0; i < groups.size(); ++i)
      items_[next[groups[i]]++] = static_cast<std::uint32_t>(i / width);
  }
  std::span<const std::uint32_t> of(std::size_t group) const {
    return std::span(items_).subspan(starts_[group], starts_[group + 1] - starts_[group]);
  }

 private:
  std::vector<std::size_t> starts_;
  std::vector<std::uint32_t> items_;
};

}  // namespace nestling
