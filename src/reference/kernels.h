// The families of primitives behind evaluate_node(). Each takes a node of its ops (or class), the
// operands' tensors and the sizes, and gives the node's tensors. Nothing is checked that
// Builder's type inference ensures.
#pragma once

#include <span>
#include <vector>

#include "ir/graph.h"
#include "reference/evaluate.h"
#include <onrush/tensor.h>

namespace onrush::reference {

using Operands = std::span<const Tensor>;

Shape shape_of(const Dims& dims, const SizeFunction& size);
// An uninitialised tensor of the type of a node that gives one.
Tensor result_of(const Node& node, const SizeFunction& size);

// constant, dims, iota, random_bits
Tensor evaluate_source(const Node& node, const SizeFunction& size);
// The classes unary, predicate, binary, comparison, select, cast
Tensor evaluate_elementwise(const Node& node, Operands operands);
Tensor evaluate_movement(const Node& node, Operands operands, const SizeFunction& size);
Tensor evaluate_reduce(const Node& node, const Tensor& x, const SizeFunction& size);
Tensor evaluate_window(const Node& node, const Tensor& x, const SizeFunction& size);
Tensor evaluate_scan(const Node& node, const Tensor& x);
std::vector<Tensor> evaluate_sort(const Node& node, const Tensor& x, const SizeFunction& size);
Tensor evaluate_gather(const Node& node, Operands operands, const SizeFunction& size);
Tensor evaluate_scatter(const Node& node, Operands operands);
Tensor evaluate_dot(const Node& node, Operands operands, const SizeFunction& size);
Tensor evaluate_conv(const Node& node, Operands operands, const SizeFunction& size);
std::vector<Tensor> evaluate_loop(const Node& node, Operands operands, const SizeFunction& size);

// evaluate(), for the body of a loop too.
std::vector<Tensor> run_graph(const Graph& graph, Operands inputs, const SizeFunction& size);

}  // namespace onrush::reference
