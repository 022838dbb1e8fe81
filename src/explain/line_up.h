// Which nodes of a model each kernel of a peer computes.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "engines/peer_profile.h"
#include "explain/explanation.h"
#include "onnx/model.h"

namespace onrush::explain {

using NodeNames = std::set<std::string>;  // as ModelNodes has them

// By event of the profile: the nodes of the model between what the kernel reads and what it writes.
// Empty: the peer added it. `ran` is the graph that the peer made of the model, whose tensors keep
// their names where it did not make new ones.
std::vector<NodeNames> nodes_by_event(const onnx::Graph& model, const onnx::Graph& ran,
                                      const std::vector<engines::PeerEvent>& events);

// For a peer that tells nothing of nodes: events and nodes are both cut at each product (Conv,
// MatMul, ...), in the order of execution, and the i-th pieces belong together. Empty if the peer
// does not compute as many products as the model has.
std::vector<NodeNames> nodes_by_products(const onnx::Graph& model,
                                         const std::vector<engines::PeerEvent>& events);

// A part of the model that both engines compute by kernels of their own, neither of which shares
// nodes with kernels outside.
struct Region {
  NodeNames nodes;             // of the model
  std::vector<size_t> steps;   // of Onrush
  std::vector<size_t> events;  // of the peer
  double own_us = 0, peer_us = 0;
};
// In order of execution, Onrush's first. Events that the peer added are regions without nodes.
std::vector<Region> regions_of(const std::vector<StepFigures>& steps,
                               const std::vector<engines::PeerEvent>& events,
                               const std::vector<NodeNames>& nodes);

// The host's copies of inputs and outputs, and its waiting for the device.
bool is_of_no_node(const engines::PeerEvent& event);

// "Conv", "FusedConv", "aten::addmm": a matrix product, a convolution, or attention. 0: no product;
// attention counts as two.
int products_of(const std::string& op);

}  // namespace onrush::explain
