// Why one engine takes longer than another: their difference, cause by cause.
#pragma once

#include <string>
#include <vector>

#include "explain/explanation.h"
#include "explain/line_up.h"

namespace onrush::explain {

struct Cause {
  enum class Kind {
    // What lies between kernels: on a GPU, waiting for the host to launch the next one; on the CPU
    // also kernels that are too small for the time they take.
    starting,
    fusion,         // kernels that the other one does not need
    kernels,        // the same work by other kernels
    layout,         // turning values into another layout and back
    casts,          // to another precision and back
    device_copies,  // between GPU and host, in the middle of the model
    fallback,       // nodes on the CPU of a model that was to run on a GPU
    transfers,      // of inputs and outputs
    waiting,        // of the host for a GPU that has nothing to do any more
    no_kernel,      // nodes that Onrush knows before the run, reads through, or merged into others
  };
  Kind kind;
  std::string op;                        // of `kernels`
  double own_us = 0;                     // what it takes of Onrush's run,
  double peer_us = 0;                    // and of the peer's
  size_t own_count = 0, peer_count = 0;  // kernels
  // Of the peer's kernels: their operators, or names on a GPU; the most frequent first.
  std::string examples;
  double difference() const { return peer_us - own_us; }
};
// What a cause is, as a sentence about the peer.
std::string words(const Cause& cause, const std::string& peer);
std::string_view name(Cause::Kind kind);

// A run of the peer, by turns with Onrush's.
struct PeerRun {
  std::string name;
  std::string version;
  double own_us = 0, peer_us = 0;  // by the clock
  measure::Comparison comparison;  // over 1: Onrush is the faster
  engines::PeerProfile profile;
  std::vector<NodeNames> nodes;  // by event of the profile
};

// They add up to peer_us - own_us; the largest first in the direction of the difference.
// Profiled times are scaled to what runs take when nothing watches.
std::vector<Cause> causes_of(const Explanation& explanation, const PeerRun& peer);

}  // namespace onrush::explain
