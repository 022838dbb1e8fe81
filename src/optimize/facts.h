// What passes ask about nodes of a graph that is being built. Answers are kept; nodes of a builder
// do not change.
#pragma once

#include <optional>
#include <vector>

#include "ir/builder.h"
#include "ir/time.h"

namespace onrush {

// Larger constants are not searched for structure: that would read every weight of a model.
inline constexpr size_t kMaxInspectedBytes = size_t{1} << 20;

// Of a graph that may grow.
class NodeFacts {
 public:
  explicit NodeFacts(const Graph& graph) : graph_(graph) {}

  Time time(NodeId id);
  bool is_weight(NodeId id) { return time(id) == Time::prepare; }
  // The number that all elements are equal to, where that shows. Never NaN.
  std::optional<double> splat(NodeId id);
  bool is_splat(NodeId id, double value) { return splat(id) == value; }
  // Nodes on the longest way to it from a source.
  int depth(NodeId id) { return facts(id).depth; }

 private:
  struct Facts {
    Time time;
    std::optional<double> splat;
    int depth;
  };
  const Facts& facts(NodeId id);
  Time find_time(const Node& node) const;
  std::optional<double> find_splat(const Node& node) const;
  int find_depth(const Node& node) const;

  const Graph& graph_;
  std::vector<Facts> known_;
};

// The folder of passes: small results of constants, but no broadcast. A number read again and again
// is cheaper than its repetitions stored, and shows what it is.
Folder pass_folder();

// Number of elements for the sizes at hand, as a cost: unknown sizes count as one.
double element_cost(const TensorType& type);

bool contains(const Axes& axes, int axis);

}  // namespace onrush
