// FlexAttention: attention whose scores and probabilities pass through subgraphs of the model.
#include "lower/attention.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

// x after the subgraph that the attribute `name` holds; x where there is none.
NodeId modify(const OpContext& c, std::string_view name, NodeId x) {
  const onnx::Attribute* attribute = c.node().find(name);
  if (!attribute) return x;
  const auto* graph = std::get_if<std::shared_ptr<const onnx::Graph>>(&attribute->value);
  c.require(graph && (*graph)->inputs.size() == 1 && (*graph)->outputs.size() == 1,
            "score_mod and prob_mod must be subgraphs with one input and one output");
  const Dims shape = c.b.shape(x);
  const Lowered result = c.inline_graph(**graph, {x}).front();
  c.require(result.node() && c.b.dtype(*result.node()) == c.b.dtype(x) &&
                c.b.rank(*result.node()) == static_cast<int>(shape.size()),
            "score_mod and prob_mod must keep the type of their input");
  for (size_t i = 0; i < shape.size(); ++i)
    c.require(decide(equal(c.b.shape(*result.node())[i], shape[i]), "FlexAttention"),
              "score_mod and prob_mod must keep the shape of their input");
  return *result.node();
}

}  // namespace

Results flex_attention(OpContext& c) {
  const NodeId q = c.in(0), k = c.in(1), v = c.in(2);
  c.require(c.rank(0) == 4 && c.rank(1) == 4 && c.rank(2) == 4, "Q, K and V must have rank 4");
  const DType precision = dtype_attr(c, "softmax_precision", wide(c.dtype(0)));
  c.require(is_float(precision), "'softmax_precision' must be a float dtype");
  const NodeId scores = modify(c, "score_mod", c.b.cast(attention_scores(c, q, k), precision));
  const NodeId probabilities = modify(c, "prob_mod", softmax(c.b, scores, {3}));
  return attend(c, probabilities, v, c.dtype(2));
}

}  // namespace onrush
