#include "reference/element.h"
#include "reference/kernels.h"

namespace onrush::reference {
namespace {

// Element `trip` along axis 0.
Tensor element_at(const Tensor& x, int64_t trip) {
  Tensor element = allocate(x.dtype(), Shape(x.shape().begin() + 1, x.shape().end()));
  copy_elements(x, trip * element.count(), element, 0, element.count());
  return element;
}

}  // namespace

std::vector<Tensor> evaluate_loop(const Node& node, Operands operands, const SizeFunction& size) {
  const auto& attr = node.as<LoopAttr>();
  const auto& parts = std::get<TupleType>(node.type).parts;
  const size_t carried = static_cast<size_t>(attr.carried);
  const size_t scanned = static_cast<size_t>(attr.scanned);
  const int64_t trips = size(attr.trips);

  std::vector<Tensor> results(operands.begin(), operands.begin() + attr.carried);
  for (size_t i = carried; i < parts.size(); ++i)
    results.push_back(allocate(parts[i].dtype, shape_of(parts[i].shape, size)));

  for (int64_t trip = 0; trip < trips; ++trip) {
    std::vector<Tensor> inputs(results.begin(), results.begin() + attr.carried);
    for (size_t i = carried; i < carried + scanned; ++i)
      inputs.push_back(element_at(operands[i], attr.reverse ? trips - 1 - trip : trip));
    for (size_t i = carried + scanned; i < operands.size(); ++i) inputs.push_back(operands[i]);
    inputs.push_back(Tensor::of<int64_t>(DType::i64, {}, std::span(&trip, 1)));

    const std::vector<Tensor> outputs = run_graph(*attr.body, inputs, size);
    for (size_t i = 0; i < carried; ++i) results[i] = outputs[i];
    for (size_t i = carried; i < outputs.size(); ++i)
      copy_elements(outputs[i], 0, results[i], trip * outputs[i].count(), outputs[i].count());
  }
  return results;
}

}  // namespace onrush::reference
