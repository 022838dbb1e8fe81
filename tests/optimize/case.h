// A small graph, a pass over it, and the check that both compute the same.
#pragma once

#include <functional>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "ir/builder.h"
#include "optimize/facts.h"
#include "optimize/options.h"
#include "reference/evaluate.h"

namespace onrush {

// The outputs as nested calls: "max(min(x, 6), 0)". Inputs have their names, constants of one
// element are numbers, larger ones "w[4,3]"; repetition of numbers does not show.
std::string expression(const Graph& graph);

class Case : public Builder {
 public:
  using PassFunction = Graph (*)(Graph, const OptimizeOptions&);
  // Computes a graph's outputs by other means than evaluate().
  using Computation =
      std::function<std::vector<Tensor>(std::span<const Tensor> inputs, const SizeTable& sizes)>;
  using Compile = std::function<Computation(const Graph&)>;

  Case() : Builder(pass_folder()) {}

  // An input with random elements between `low` and `high`, named x, x1, x2 ...
  NodeId x(Dims shape, double low = -2, double high = 2);
  NodeId x(DType dtype, Dims shape, double low = -2, double high = 2);
  // A constant with random elements.
  NodeId weight(Shape shape);
  // A size of an input that the graph is general in.
  Dim size(const char* name, int64_t value, int64_t low = 1) {
    return shapes().symbol(name, {}, value, low);
  }

  // Evaluates the graph of these outputs and what `compile` makes of it, for the sizes at hand,
  // larger ones, 0, 1 and primes, if they meet the guards, and expects equal results.
  void check(const std::vector<NodeId>& outputs, const Compile& compile);

  // Checks a pass, and gives its graph, or that as text.
  Graph run(const std::vector<NodeId>& outputs, PassFunction pass);
  Graph run(NodeId y, PassFunction pass);
  std::string text(NodeId y, PassFunction pass) { return expression(run(y, pass)); }

 private:
  struct Feed {
    TensorType type;
    double low, high;
  };

  Tensor random(DType dtype, Shape shape, double low, double high);
  // For one set of sizes, if they meet the guards.
  void compare(const Graph& graph, const Computation& compute, std::span<const int64_t> sizes);

  std::vector<Feed> feeds_;
  std::mt19937 generator_{7};
};

// Nodes of one kind.
int count(const Graph& graph, Op op);

}  // namespace onrush
