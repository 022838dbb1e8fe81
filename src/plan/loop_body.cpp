#include "plan/loop_body.h"

#include "ir/builder.h"

namespace onrush {
namespace {

class BodyMaker {
 public:
  BodyMaker(const Graph& graph, const Node& loop, const std::vector<Time>& times)
      : graph_(graph),
        loop_(loop),
        attr_(loop.as<LoopAttr>()),
        times_(times),
        b_(*attr_.body, {}),
        weights_(graph.nodes.size()) {}

  Graph make() {
    std::vector<NodeId> made;
    for (const Node& node : attr_.body->nodes) {
      b_.set_origins(node.origins);
      std::vector<NodeId> operands;
      for (NodeId operand : node.inputs) operands.push_back(made[operand.index]);
      const NodeId weight = captured_weight(node);
      made.push_back(weight.valid() ? copy(weight) : b_.rebuild(node, std::move(operands)));
    }
    for (const GraphOutput& output : attr_.body->outputs)
      b_.output(output.name, made[output.node.index]);
    return b_.finish();
  }

 private:
  // What a captured input stands for, if that depends on weights alone.
  NodeId captured_weight(const Node& node) const {
    const auto* input = std::get_if<InputAttr>(&node.attr);
    if (!input || input->index < attr_.carried + attr_.scanned ||
        input->index >= static_cast<int>(loop_.inputs.size()))
      return {};
    const NodeId operand = loop_.inputs[static_cast<size_t>(input->index)];
    return times_[operand.index] == Time::prepare ? operand : NodeId();
  }

  NodeId copy(NodeId id) {
    NodeId& made = weights_[id.index];
    if (made.valid()) return made;
    std::vector<NodeId> operands;
    for (NodeId operand : graph_[id].inputs) operands.push_back(copy(operand));
    return made = b_.rebuild(graph_[id], std::move(operands));
  }

  const Graph& graph_;
  const Node& loop_;
  const LoopAttr& attr_;
  const std::vector<Time>& times_;
  Builder b_;
  std::vector<NodeId> weights_;  // by node of the graph: its copy in the body
};

}  // namespace

Graph make_loop_body(const Graph& graph, NodeId loop, const std::vector<Time>& times) {
  return BodyMaker(graph, graph[loop], times).make();
}

}  // namespace onrush
