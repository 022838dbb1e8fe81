#include "cli/placeholders.h"

#include <memory>
#include <variant>

#include "base/numeric.h"

namespace onrush::cli {
namespace {

class Filler {
 public:
  uint64_t bytes() const { return bytes_; }

  void fill(onnx::Graph& graph) {
    for (onnx::Initializer& initializer : graph.initializers) fill(initializer.tensor);
    fill(graph.nodes);
  }

  void fill(std::vector<onnx::Node>& nodes) {
    for (onnx::Node& node : nodes)
      for (onnx::Attribute& attribute : node.attributes) fill(attribute);
  }

 private:
  using Subgraph = std::shared_ptr<const onnx::Graph>;

  void fill(onnx::Attribute& attribute) {
    if (auto* tensor = std::get_if<Tensor>(&attribute.value)) fill(*tensor);
    if (auto* tensors = std::get_if<std::vector<Tensor>>(&attribute.value))
      for (Tensor& tensor : *tensors) fill(tensor);
    if (auto* graph = std::get_if<Subgraph>(&attribute.value)) fill(*graph);
    if (auto* graphs = std::get_if<std::vector<Subgraph>>(&attribute.value))
      for (Subgraph& graph : *graphs) fill(graph);
  }

  void fill(Subgraph& graph) {
    auto copy = std::make_shared<onnx::Graph>(*graph);
    fill(*copy);
    graph = std::move(copy);
  }

  void fill(Tensor& tensor) {
    if (tensor.data() || tensor.count() == 0) return;
    tensor = Tensor(tensor.dtype(), tensor.shape());
    if (is_float(tensor.dtype())) fill_floats(tensor);
    else if (tensor.dtype() != DType::string && !is_complex(tensor.dtype()))
      for (int64_t i = 0; i < tensor.count(); ++i) store_i64(tensor.dtype(), tensor.data(), i, 1);
    bytes_ += tensor.bytes();
  }

  // Bytes that read as f32, f16, bf16 and f64 are positive numbers; the varying ones come from
  // multiplicative hashing.
  void fill_floats(const Tensor& tensor) {
    auto* bytes = static_cast<uint8_t*>(tensor.data());
    for (size_t i = 0; i < tensor.bytes(); ++i)
      bytes[i] = i % 2 ? 0x3c : static_cast<uint8_t>(++counter_ * 0x9e3779b97f4a7c15 >> 56);
  }

  uint64_t bytes_ = 0;
  uint64_t counter_ = 0;
};

}  // namespace

uint64_t fill_missing_weights(onnx::Model& model) {
  Filler filler;
  filler.fill(model.graph);
  for (onnx::Function& function : model.functions) filler.fill(function.nodes);
  return filler.bytes();
}

}  // namespace onrush::cli
