// Runs a model with one fp32 input on ones:  run_model MODEL.onnx
#include <algorithm>
#include <cstdio>

#include <onrush/session.h>

int main(int argc, char** argv) try {
  const auto session = onrush::Session::load(argc > 1 ? argv[1] : "model.onnx");
  const onrush::Argument& input = session.inputs().at(0);

  onrush::Shape shape;
  for (const onrush::ArgumentDim& dim : input.shape.value()) shape.push_back(dim.value.value_or(1));
  onrush::Tensor ones(onrush::DType::f32, shape);
  std::ranges::fill(ones.as<float>(), 1.0f);

  const std::vector<onrush::Value> outputs = session.run({{input.name, ones}});
  for (size_t i = 0; i < outputs.size(); ++i)
    std::printf("%s %s\n", session.outputs()[i].name.c_str(),
                onrush::to_string(outputs[i].tensor().shape()).c_str());
} catch (const onrush::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
