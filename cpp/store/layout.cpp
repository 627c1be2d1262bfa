#include "store/layout.hpp"

#include <algorithm>
#include <string>

#include "base/error.hpp"

namespace nestling {
namespace {

std::string name(const Stage& stage) {
  return std::to_string(stage.dims) + "@" + std::to_string(stage.bits);
}

bool is_coded(const Stage& stage) {
  return stage.bits <= 8;
}

void check_margin(Metric metric, const Stage& stage) {
  if (stage.margin == 0.0F) return;
  if (metric != Metric::cosine)
    throw FunnelError("stage " + name(stage) +
                      " has a margin, which only the cosine metric supports");
  if (!(stage.margin >= 1.0F && stage.margin <= kLargestMargin))
    throw FunnelError("stage " + name(stage) + " has a margin that is not 1 to " +
                      std::to_string(static_cast<int>(kLargestMargin)));
}

void check(const Layout& layout) {
  if (layout.dim < 1 || layout.dim > kMaxDim)
    throw FunnelError("dim must be 1 to " + std::to_string(kMaxDim));
  if (layout.stages.empty()) throw FunnelError("a funnel has at least one stage");
  for (std::size_t i = 0; i < layout.stages.size(); ++i) {
    const Stage& stage = layout.stages[i];
    const bool precise = stage.bits == 4 || stage.bits == 8 || stage.bits == 16 || stage.bits == 32;
    const bool coarse = stage.bits == 1 || stage.bits == 2;
    if (!precise && !(i == 0 && coarse))
      throw FunnelError("stage " + name(stage) + " has a precision that it cannot be stored in");
    if (stage.dims < 1 || stage.dims > layout.dim)
      throw FunnelError("stage " + name(stage) + " does not fit an embedding of " +
                        std::to_string(layout.dim) + " dimensions");
    check_margin(layout.metric, stage);
    if (i == 0) continue;
    const Stage& before = layout.stages[i - 1];
    const bool grows = stage.dims > before.dims || stage.bits > before.bits;
    if (stage.dims < before.dims || stage.bits < before.bits || !grows)
      throw FunnelError("stage " + name(stage) + " must read more than " + name(before) +
                        " before it: neither dims nor bits may decrease");
  }
  if (layout.stages.back().dims != layout.dim)
    throw FunnelError("the last stage must read the whole embedding, " +
                      std::to_string(layout.dim) + " dimensions, not " +
                      std::to_string(layout.stages.back().dims));
}

void check_transform(const Layout& layout) {
  const Transform& transform = layout.transform;
  const auto size = [](std::size_t found, std::size_t expected, const char* what) {
    if (found != 0 && found != expected)
      throw VectorError(std::string(what) + " has " + std::to_string(found) +
                        " values instead of " + std::to_string(expected));
  };
  size(transform.rotation.size(), layout.dim * layout.dim, "the rotation");
  if (transform.centre.empty()) return;
  if (layout.metric != Metric::cosine || !is_coded(layout.stages[0]))
    throw FunnelError("only the codes of a cosine can be centred");
  size(transform.centre.size(), layout.stages[0].dims, "the centre");
}

}  // namespace

Layout::Layout(std::size_t dim_, Metric metric_, std::vector<Stage> stages_, Transform transform_)
    : dim(dim_), metric(metric_), stages(std::move(stages_)), transform(std::move(transform_)) {
  check(*this);
  check_transform(*this);
  const bool cosine = metric == Metric::cosine;
  if (is_coded(stages[0]))
    coarse = CoarseLayout{stages[0].dims, stages[0].bits, !transform.centre.empty()};
  for (std::size_t i = coarse ? 1 : 0; i < stages.size(); ++i) {
    const std::size_t dims = stages[i].dims;
    const int bits = stages[i].bits;
    // Dimensions that the stage before has summed at this precision are not read again.
    const bool continues = i > 0 && stages[i - 1].bits == bits;
    // 8 bits of what has 4 already are 4 more.
    const bool refines = !shells.empty() && shells.back().first == 0 && shells.back().bits == 4 &&
                         stages[i - 1].dims == dims && bits == 8;
    shells.push_back({
        .first = continues ? stages[i - 1].dims : 0,
        .last = dims,
        .bits = refines ? 4 : bits,
        .refines = refines,
        .has_scale = bits <= 8 || (bits == 16 && !cosine),
        .has_norm_before = cosine && continues && i == 1 && coarse.has_value(),
        .has_inverse_norm = cosine && dims < dim,
    });
  }
}

bool stores_the_same(const Layout& one, const Layout& other) {
  const auto same_stage = [](const Stage& a, const Stage& b) {
    return a.dims == b.dims && a.bits == b.bits;
  };
  return one.dim == other.dim && one.metric == other.metric &&
         std::ranges::equal(one.stages, other.stages, same_stage) &&
         one.transform.rotation == other.transform.rotation &&
         one.transform.centre == other.transform.centre;
}

std::vector<PlannedStage> plan(const Layout& layout, const std::vector<Stage>& funnel,
                               std::size_t k) {
  if (funnel.empty()) throw FunnelError("a funnel has at least one stage");
  std::vector<PlannedStage> planned;
  std::size_t reached = 0;  // stored stages below this one are planned or skipped
  for (std::size_t i = 0; i < funnel.size(); ++i) {
    const Stage& requested = funnel[i];
    const auto same = [&](const Stage& s) {
      return s.dims == requested.dims && s.bits == requested.bits;
    };
    const auto found = std::find_if(layout.stages.begin() + static_cast<std::ptrdiff_t>(reached),
                                    layout.stages.end(), same);
    if (found == layout.stages.end()) {
      std::string stored;
      for (const Stage& stage : layout.stages)
        stored += (stored.empty() ? "" : " > ") + name(stage);
      throw FunnelError("stage " + name(requested) +
                        " is not stored in this order; the index has " + stored);
    }
    const auto stage = static_cast<std::size_t>(found - layout.stages.begin());
    const bool last = i + 1 == funnel.size();
    PlannedStage step{.dims = requested.dims,
                      .bits = requested.bits,
                      .keep = last ? k : std::max(k, requested.keep),
                      .margin = last ? 0.0F : requested.margin,
                      .shells = {}};
    check_margin(layout.metric, requested);
    // Goes back along shells that continue one another, to the last planned stage or to the start.
    for (std::size_t s = stage + 1; s-- > reached;) {
      if (s == 0 && layout.coarse) {
        if (i == 0 && stage > 0)
          throw FunnelError("stage " + name(requested) + " adds to " + name(layout.stages[0]) +
                            ", so a funnel must start with that");
        break;
      }
      step.shells.insert(step.shells.begin(), layout.shell_of(s));
      if (!layout.shells[layout.shell_of(s)].continues()) break;
    }
    planned.push_back(std::move(step));
    reached = stage + 1;
  }
  return planned;
}

}  // namespace nestling
