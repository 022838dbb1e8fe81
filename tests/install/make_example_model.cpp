// Writes a model with one input:  make_example_model FILE.onnx   (y = -x over f32 [1,4])
#include <fstream>

#include "onnx/encode.h"

int main(int argc, char** argv) {
  using namespace onrush;
  if (argc != 2) return 2;
  onnx::ValueInfo x{.name = "x"}, y;
  x.type = {.kind = onnx::Type::Kind::tensor,
            .element = DType::f32,
            .shape = std::vector<onnx::Dimension>{{1, {}}, {4, {}}}};
  y = x;
  y.name = "y";
  onnx::Model model;
  model.ir_version = 10;
  model.opset_import = {{"", 21}};
  model.graph.name = "negate";
  model.graph.inputs = {x};
  model.graph.outputs = {y};
  model.graph.nodes = {{.name = "neg", .op_type = "Neg", .inputs = {"x"}, .outputs = {"y"}}};
  std::ofstream(argv[1], std::ios::binary) << onnx::encode(model);
  return 0;
}
