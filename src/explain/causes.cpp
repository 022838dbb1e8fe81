#include "explain/causes.h"

#include <algorithm>
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

class Attribution {
 public:
  Attribution(const Explanation& explanation, const PeerRun& peer)
      : explanation_(explanation),
        peer_(peer),
        own_scale_(explanation.timeline.profiled_us > 0
                       ? peer.own_us / explanation.timeline.profiled_us
                       : 1),
        peer_scale_(peer.profile.run_us > 0 ? peer.peer_us / peer.profile.run_us : 1),
        gpu_(explanation.options.device.starts_with("cuda")) {
    for (const StepFigures& figures : explanation.steps)
      inlined_.insert(figures.step->inlined.begin(), figures.step->inlined.end());
  }

  std::vector<Cause> run() {
    double own = 0, peers = 0;
    for (const Region& region : regions_of(explanation_.steps, peer_.profile.events, peer_.nodes)) {
      add(region);
      own += own_scale_ * region.own_us;
      peers += peer_scale_ * region.peer_us;
    }
    for (const Timeline::Around& around : explanation_.timeline.around)
      if (around.kind == "copy" || around.kind == "send") {
        cause(Kind::transfers).own_us += own_scale_ * around.time_us;
        own += own_scale_ * around.time_us;
      }
    // What no kernel takes lies between kernels.
    Cause& between = cause(Kind::starting);
    between.own_us += peer_.own_us - own;
    between.peer_us += peer_.peer_us - peers;
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

  void add_to(Cause& to, Side own, Side peer) {
    to.own_us += own.us;
    to.peer_us += peer.us;
    to.own_count += own.count;
    to.peer_count += peer.count;
  }

  void note(Cause& to, const engines::PeerEvent& event) {
    ++examples_[&to - causes_.data()][event.op];
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

  // Little work, and little time for each kernel: starting it is what takes the time.
  bool is_small(const Region& region, double us, size_t kernels) const {
    constexpr double kShort = 25, kLittle = 0.3;
    return kernels > 0 && us / static_cast<double>(kernels) < kShort &&
           ideal_us(region) < kLittle * us;
  }

  // Onrush computes the event's nodes inside kernels for other nodes.
  bool is_inlined(size_t event) const {
    return std::ranges::any_of(peer_.nodes[event],
                               [&](const std::string& node) { return inlined_.contains(node); });
  }

  // Splits the events that the peer added from those that compute the region's nodes.
  void add(const Region& region) {
    Side products, rest, own_products, own_rest;
    std::map<std::string, double> time_by_op;
    std::vector<const engines::PeerEvent*> resting;
    const bool own_any = !region.steps.empty();
    for (const size_t i : region.events) {
      const engines::PeerEvent& event = peer_.profile.events[i];
      const double us = peer_scale_ * event.time_us;
      const bool on_cpu = gpu_ && event.provider == "CPUExecutionProvider";
      std::optional<Kind> kind = on_cpu ? std::optional(Kind::fallback) : std::nullopt;
      const bool moves = event.op.starts_with("Memcpy") || event.op.starts_with("Reorder");
      if (!kind && (peer_.nodes[i].empty() || moves))
        kind = added_kind(event.op).value_or(Kind::fusion);
      if (!kind && !own_any) kind = is_inlined(i) ? Kind::fusion : Kind::no_kernel;
      if (kind) {
        Cause& to = cause(*kind);
        add_to(to, {}, {us, 1});
        note(to, event);
        continue;
      }
      const bool product = products_of(event.op) > 0;
      Side& side = product ? products : rest;
      side.us += us;
      ++side.count;
      time_by_op[event.op] += us;
      if (!product) resting.push_back(&event);
    }
    for (const size_t i : region.steps) {
      const StepFigures& figures = explanation_.steps[i];
      const bool product = figures.step->product_flops > 0;
      Side& side = product ? own_products : own_rest;
      side.us += own_scale_ * figures.time_us;
      side.count += figures.calls * static_cast<size_t>(figures.step->kernels);
    }
    if (products.count + rest.count + own_products.count + own_rest.count == 0) return;
    attribute(region, {products, rest, own_products, own_rest}, time_by_op, resting);
  }

  struct Sides {
    Side products, rest, own_products, own_rest;
  };
  void attribute(const Region& region, const Sides& s,
                 const std::map<std::string, double>& time_by_op,
                 const std::vector<const engines::PeerEvent*>& resting) {
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
      if (!other_count) return add_to(cause(Kind::kernels, op), own, peer);
      add_to(cause(Kind::kernels, op), s.own_products, s.products);
      Cause& to = cause(Kind::fusion);
      add_to(to, s.own_rest, s.rest);
      for (const engines::PeerEvent* event : resting) note(to, *event);
      return;
    }
    Cause& to = cause(Kind::fusion);
    add_to(to, own, peer);
    for (const engines::PeerEvent* event : resting) note(to, *event);
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
  double own_scale_, peer_scale_;
  bool gpu_;
  NodeNames inlined_;
  std::vector<Cause> causes_;
  std::map<ptrdiff_t, std::map<std::string, size_t>> examples_;  // by cause
};

std::string times(double us) {
  return us >= 1000 ? measure::significant(us / 1000, 3) + " ms"
                    : measure::significant(us, 3) + " us";
}

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
    case Kind::no_kernel: return "nodes without a kernel";
  }
  return {};
}

std::string words(const Cause& cause, const std::string& peer) {
  const std::string peers = times(cause.peer_us), own = times(cause.own_us);
  switch (cause.kind) {
    case Kind::starting:
      return fmt::format(
          "starting kernels, and what lies between them, takes {} of {}'s run and {} of Onrush's",
          peers, peer, own);
    case Kind::fusion:
      return fmt::format("beside the products, {} runs {} kernel{} for {} and Onrush {} for {}{}",
                         peer, cause.peer_count, cause.peer_count == 1 ? "" : "s", peers,
                         cause.own_count, own, cause.examples.empty() ? "" : ": " + cause.examples);
    case Kind::kernels:
      return fmt::format("{}'s kernels for {} take {}, Onrush's {}", peer, cause.op, peers, own);
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
      return fmt::format("{} computes {} nodes on the CPU ({}), which takes {}", peer,
                         cause.peer_count, cause.examples, peers);
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
