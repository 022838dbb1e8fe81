#include "explain/causes.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <fmt/format.h>
#include <map>
#include <numeric>

#include "measure/report.h"

namespace onrush::explain {
namespace {

using Kind = Cause::Kind;

// What the peer added to the model; nothing for other operators.
std::optional<Kind> added_kind(const std::string& op) {
  if (op == "MemcpyToHost" || op == "MemcpyFromHost") return Kind::device_copies;
  if (op == "Cast" || op == "aten::to" || op == "aten::_to_copy") return Kind::casts;
  if (op == "Transpose" || op == "ReorderInput" || op == "ReorderOutput" ||
      op == "aten::contiguous" || op == "aten::clone")
    return Kind::layout;
  if (op.starts_with("Memcpy")) return Kind::transfers;
  return std::nullopt;
}

// Between channels first and channels last, within an operator: cuDNN's "nchwToNhwcKernel".
bool changes_layout(std::string kernel) {
  std::ranges::transform(kernel, kernel.begin(), [](unsigned char c) { return std::tolower(c); });
  static constexpr std::array<std::string_view, 5> kParts = {"tonhwc", "tonchw", "nchw2nhwc",
                                                             "nhwc2nchw", "foldednhwc"};
  return std::ranges::any_of(
      kParts, [&](std::string_view part) { return kernel.find(part) != std::string::npos; });
}

// A profiler slows the host down, but not what a GPU does: how much longer the rest of the
// profiled run takes than that of one which nothing watches.
struct Scale {
  double host = 1, device = 1;

  Scale(double us, double profiled_us, double device_us) {
    const double rest = profiled_us - device_us;
    if (us > device_us && rest > 0) host = (us - device_us) / rest;
    else if (profiled_us > 0) host = device = us / profiled_us;
  }
  double operator()(const engines::PeerEvent& event) const {
    return device * event.device_us + host * (event.time_us - event.device_us);
  }
};

double device_us(const engines::PeerProfile& profile) {
  double sum = 0;
  for (const engines::PeerEvent& event : profile.events) sum += event.device_us;
  return sum;
}

class Attribution {
 public:
  Attribution(const Explanation& explanation, const PeerRun& peer)
      : explanation_(explanation),
        peer_(peer),
        own_scale_(explanation.timeline.profiled_us > 0
                       ? peer.own_us / explanation.timeline.profiled_us
                       : 1),
        peer_scale_(peer.peer_us, peer.profile.run_us, device_us(peer.profile)),
        gpu_(explanation.options.device.starts_with("cuda")) {
    for (const StepFigures& figures : explanation.steps)
      inlined_.insert(figures.step->inlined.begin(), figures.step->inlined.end());
  }

  std::vector<Cause> run() {
    double own = 0, peers = 0;
    for (const Region& region : regions_of(explanation_.steps, peer_.profile.events, peer_.nodes)) {
      add(region);
      own += own_scale_ * region.own_us;
      for (const size_t event : region.events) peers += peer_us(event);
    }
    for (const Timeline::Around& around : explanation_.timeline.around) {
      const bool copies = around.kind == "copy" || around.kind == "send";
      if (!copies && around.kind != "wait") continue;
      cause(copies ? Kind::transfers : Kind::waiting).own_us += own_scale_ * around.time_us;
      own += own_scale_ * around.time_us;
    }
    // What no kernel takes lies between kernels.
    Cause& between = cause(Kind::starting);
    between.own_us += peer_.own_us - own;
    between.peer_us += peer_.peer_us - peers;
    if (gpu_) {
      between.own_count = explanation_.timeline.events.size();
      between.peer_count = launches();
    }
    return sorted();
  }

 private:
  struct Side {
    double us = 0;
    size_t count = 0;
  };

  Cause& cause(Kind kind, const std::string& op = "") {
    const auto found =
        std::ranges::find_if(causes_, [&](const Cause& c) { return c.kind == kind && c.op == op; });
    return found == causes_.end() ? causes_.emplace_back(Cause{kind, op}) : *found;
  }

  static void add_to(Side& to, Side more) {
    to.us += more.us;
    to.count += more.count;
  }

  static void add_to(Cause& to, Side own, Side peer) {
    to.own_us += own.us;
    to.peer_us += peer.us;
    to.own_count += own.count;
    to.peer_count += peer.count;
  }

  static size_t count(const engines::PeerEvent& event) {
    return static_cast<size_t>(std::max(std::lround(event.calls), 1L));
  }

  void note(Cause& to, const engines::PeerEvent& event, const std::string& title) {
    constexpr size_t kLongest = 48;  // libraries' kernels have names of up to 150
    const bool fits = title.size() <= kLongest;
    examples_[&to - causes_.data()][fits ? title : title.substr(0, kLongest) + "..."] +=
        count(event);
  }

  double peer_us(size_t event) const { return peer_scale_(peer_.profile.events[event]); }

  // Kernels, copies and fills of the peer.
  size_t launches() const {
    size_t sum = 0;
    for (const engines::PeerEvent& event : peer_.profile.events)
      if (event.device_us > 0) sum += count(event);
    return sum;
  }

  double ideal_us(const Region& region) const {
    double total = 0;
    for (const size_t i : region.steps) {
      const StepFigures& figures = explanation_.steps[i];
      const double share = std::max(figures.speed.memory_share, figures.speed.arithmetic_share);
      total += std::min(share, 1.0) * figures.time_us;
    }
    return own_scale_ * total;
  }

  // Little work, and little time for each kernel: starting it is what takes the time. A GPU's
  // kernels start before their time counts.
  bool is_small(const Region& region, double us, size_t kernels) const {
    constexpr double kShort = 25, kLittle = 0.3;
    return !gpu_ && kernels > 0 && us / static_cast<double>(kernels) < kShort &&
           ideal_us(region) < kLittle * us;
  }

  // Onrush computes the event's nodes inside kernels for other nodes.
  bool is_inlined(size_t event) const {
    return std::ranges::any_of(peer_.nodes[event],
                               [&](const std::string& node) { return inlined_.contains(node); });
  }

  // What an event is a cause of, whatever Onrush does at its nodes; nothing for the others.
  std::optional<Kind> kind_of(size_t i) const {
    const engines::PeerEvent& event = peer_.profile.events[i];
    if (gpu_ && event.provider == "CPUExecutionProvider") return Kind::fallback;
    if (event.op == "synchronize") return Kind::waiting;
    if (changes_layout(event.kernel)) return Kind::layout;
    // PyTorch names no nodes.
    const bool added = peer_.nodes[i].empty() || event.op.starts_with("Memcpy") ||
                       event.op.starts_with("Reorder") || event.op.starts_with("aten::");
    const std::optional<Kind> kind = added ? added_kind(event.op) : std::nullopt;
    return !kind && peer_.nodes[i].empty() ? Kind::fusion : kind;
  }

  // Splits the events that the peer added from those that compute the region's nodes.
  void add(const Region& region) {
    Side products, rest, own_products, own_rest;
    std::map<std::string, double> time_by_op;
    std::vector<const engines::PeerEvent*> multiplying, resting;
    const bool own_any = !region.steps.empty();
    for (const size_t i : region.events) {
      const engines::PeerEvent& event = peer_.profile.events[i];
      const Side side{peer_us(i), count(event)};
      std::optional<Kind> kind = kind_of(i);
      if (!kind && !own_any) kind = is_inlined(i) ? Kind::fusion : Kind::no_kernel;
      if (kind) {
        Cause& to = cause(*kind);
        add_to(to, {}, side);
        note(to, event, changes_layout(event.kernel) ? event.kernel : event.op);
        continue;
      }
      const bool product = products_of(event.op) > 0;
      add_to(product ? products : rest, side);
      time_by_op[event.op] += side.us;
      (product ? multiplying : resting).push_back(&event);
    }
    for (const size_t i : region.steps) {
      const StepFigures& figures = explanation_.steps[i];
      const bool product = figures.step->product_flops > 0;
      add_to(product ? own_products : own_rest,
             {own_scale_ * figures.time_us,
              figures.calls * static_cast<size_t>(figures.step->kernels)});
    }
    if (products.count + rest.count + own_products.count + own_rest.count == 0) return;
    attribute(region, {products, rest, own_products, own_rest, multiplying, resting}, time_by_op);
  }

  using Events = std::vector<const engines::PeerEvent*>;
  struct Sides {
    Side products, rest, own_products, own_rest;
    Events multiplying, resting;  // the peer's
  };

  void note_kernels(Cause& to, const Events& events) {
    for (const engines::PeerEvent* event : events)
      if (!event->kernel.empty()) note(to, *event, event->kernel);
  }

  void attribute(const Region& region, const Sides& s,
                 const std::map<std::string, double>& time_by_op) {
    const Side peer{s.products.us + s.rest.us, s.products.count + s.rest.count};
    const Side own{s.own_products.us + s.own_rest.us, s.own_products.count + s.own_rest.count};
    const bool slower = peer.us > own.us;
    if (slower ? is_small(region, peer.us, peer.count) : is_small(region, own.us, own.count)) {
      Cause& to = cause(Kind::starting);
      add_to(to, own, peer);
      return;
    }
    const bool other_count = s.rest.count != s.own_rest.count;
    const bool products = s.products.count > 0 && s.own_products.count > 0;
    if (products || !other_count) {
      const auto main = std::ranges::max_element(time_by_op, {}, [&](const auto& entry) {
        return (products_of(entry.first) > 0 ? 1e12 : 0) + entry.second;
      });
      const std::string op = main != time_by_op.end() ? plain(main->first) : own_op(region);
      note_kernels(cause(Kind::kernels, op), s.multiplying);
      if (!other_count) {
        note_kernels(cause(Kind::kernels, op), s.resting);
        return add_to(cause(Kind::kernels, op), own, peer);
      }
      add_to(cause(Kind::kernels, op), s.own_products, s.products);
      add_fusion(s.own_rest, s.rest, s.resting);
      return;
    }
    add_fusion(own, peer, s.resting);
  }

  void add_fusion(Side own, Side peer, const Events& events) {
    Cause& to = cause(Kind::fusion);
    add_to(to, own, peer);
    for (const engines::PeerEvent* event : events) note(to, *event, event->op);
  }

  // Without what the peer's variants of an operator are called.
  static std::string plain(const std::string& op) {
    if (op.starts_with("Fused")) return op.substr(5);
    return op.starts_with("aten::") ? op.substr(6) : op;
  }

  std::string own_op(const Region& region) const {
    for (const std::string& node : region.nodes)
      if (const auto found = explanation_.model_nodes.find(node);
          found != explanation_.model_nodes.end())
        return found->second.op;
    return "";
  }

  std::vector<Cause> sorted() {
    for (size_t i = 0; i < causes_.size(); ++i) {
      std::vector<std::pair<std::string, size_t>> ops(examples_[i].begin(), examples_[i].end());
      std::ranges::stable_sort(ops, std::greater(), &std::pair<std::string, size_t>::second);
      constexpr size_t kMost = 4;
      for (size_t k = 0; k < std::min(kMost, ops.size()); ++k)
        causes_[i].examples += fmt::format("{}{} {}", k ? ", " : "", ops[k].second, ops[k].first);
    }
    const double sign = peer_.peer_us >= peer_.own_us ? 1 : -1;
    std::ranges::stable_sort(causes_, std::greater(),
                             [&](const Cause& cause) { return sign * cause.difference(); });
    return causes_;
  }

  const Explanation& explanation_;
  const PeerRun& peer_;
  double own_scale_;
  Scale peer_scale_;
  bool gpu_;
  NodeNames inlined_;
  std::vector<Cause> causes_;
  std::map<ptrdiff_t, std::map<std::string, size_t>> examples_;  // by cause
};

}  // namespace

std::string_view name(Kind kind) {
  switch (kind) {
    case Kind::starting: return "starting kernels";
    case Kind::fusion: return "fusion";
    case Kind::kernels: return "kernels";
    case Kind::layout: return "layout";
    case Kind::casts: return "casts";
    case Kind::device_copies: return "device copies";
    case Kind::fallback: return "fallback to the CPU";
    case Kind::transfers: return "transfers";
    case Kind::waiting: return "synchronisation";
    case Kind::no_kernel: return "nodes without a kernel";
  }
  return {};
}

std::string words(const Cause& cause, const std::string& peer) {
  const std::string peers = measure::duration(cause.peer_us), own = measure::duration(cause.own_us);
  switch (cause.kind) {
    case Kind::starting:
      if (cause.peer_count > 0 && cause.own_count > 0)
        return fmt::format(
            "launching {} kernels and copies, and what lies between them, takes {} of {}'s run, "
            "launching {} takes {} of Onrush's",
            cause.peer_count, peers, peer, cause.own_count, own);
      return fmt::format(
          "starting kernels, and what lies between them, takes {} of {}'s run and {} of Onrush's",
          peers, peer, own);
    case Kind::fusion:
      return fmt::format("beside the products, {} runs {} kernel{} for {} and Onrush {} for {}{}",
                         peer, cause.peer_count, cause.peer_count == 1 ? "" : "s", peers,
                         cause.own_count, own, cause.examples.empty() ? "" : ": " + cause.examples);
    case Kind::kernels:
      return fmt::format("{}'s kernels for {} take {}{}, Onrush's {}", peer, cause.op, peers,
                         cause.examples.empty() ? "" : " (" + cause.examples + ")", own);
    case Kind::layout:
      return fmt::format("{} turns values into another layout and back ({}), which takes {}", peer,
                         cause.examples, peers);
    case Kind::casts:
      return fmt::format("{} converts values to another precision and back ({}), which takes {}",
                         peer, cause.examples, peers);
    case Kind::device_copies:
      return fmt::format("{} copies values between GPU and host ({}), which takes {}", peer,
                         cause.examples, peers);
    case Kind::fallback:
      return fmt::format("{} computes {} node{} on the CPU ({}), for which the GPU waits {}", peer,
                         cause.peer_count, cause.peer_count == 1 ? "" : "s", cause.examples, peers);
    case Kind::waiting:
      return fmt::format(
          "{}'s host hears of it {} after the GPU has nothing more to do, Onrush's {}", peer, peers,
          own);
    case Kind::transfers:
      return fmt::format(
          "sending inputs and fetching outputs takes {} of {}'s run and {} of "
          "Onrush's",
          peers, peer, own);
    case Kind::no_kernel:
      return fmt::format(
          "{} spends {} of each run on nodes that need no kernel in Onrush, which knows them "
          "before "
          "the run, reads through them or merged them into others ({})",
          peer, peers, cause.examples);
  }
  return {};
}

std::vector<Cause> causes_of(const Explanation& explanation, const PeerRun& peer) {
  return Attribution(explanation, peer).run();
}

}  // namespace onrush::explain
