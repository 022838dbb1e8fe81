#include "explain/step.h"

#include <algorithm>
#include <array>

namespace onrush::explain {

bool is_kernel(const ProfiledStep& step) {
  static constexpr std::array<std::string_view, 6> kKinds = {
      "pointwise", "reduction", "window", "contraction", "concat", "attention"};
  return std::ranges::find(kKinds, step.kind) != kKinds.end();
}

std::string_view category(const ProfiledStep& step) {
  return is_kernel(step) ? "kernels" : std::string_view(step.kind);
}

std::string_view name(Bound bound) {
  switch (bound) {
    case Bound::memory: return "memory";
    case Bound::arithmetic: return "arithmetic";
    case Bound::start: return "start";
    case Bound::neither: return "neither";
    case Bound::unknown: break;
  }
  return "";
}

Speed speed_of(const ProfiledStep& step, double time_us, const Roofs& roofs) {
  constexpr double kMost = 0.5, kMuch = 0.3;
  const double seconds = 1e-6 * time_us;
  if (!is_kernel(step) || seconds <= 0) return {};
  const auto bytes = static_cast<double>(step.bytes_read + step.bytes_written);
  const auto flops = static_cast<double>(step.flops);
  Speed speed{bytes / seconds, flops / seconds};
  const bool products = step.kind == "contraction" || step.kind == "attention";
  const double bandwidth = roofs.bytes_per_second(bytes);
  const double arithmetic = products ? roofs.product_flops : roofs.vector_flops;
  if (bandwidth <= 0 || arithmetic <= 0) return speed;
  speed.memory_share = speed.bytes_per_second / bandwidth;
  speed.arithmetic_share = speed.flops_per_second / arithmetic;
  const double best = std::max(speed.memory_share, speed.arithmetic_share);
  if (best >= kMost)
    speed.bound = speed.memory_share >= speed.arithmetic_share ? Bound::memory : Bound::arithmetic;
  else speed.bound = roofs.start_us >= kMuch * time_us ? Bound::start : Bound::neither;
  return speed;
}

}  // namespace onrush::explain
