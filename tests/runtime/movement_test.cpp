// Kernels of the CPU backend that read in another order than they write, against the reference.
#include <algorithm>
#include <gtest/gtest.h>
#include <numeric>
#include <span>

#include "../onnx/builders.h"
#include <onrush/session.h>

namespace onrush::onnx {
namespace {

// Small whole numbers, which every dtype has.
Tensor numbers(DType dtype, Shape shape) {
  Tensor tensor(dtype, std::move(shape));
  for (int64_t i = 0; i < tensor.count(); ++i) {
    const auto at = static_cast<size_t>(i);
    const auto number = static_cast<uint8_t>(i * 7 % 101);
    if (dtype == DType::f32) tensor.as<float>()[at] = number;
    else if (dtype == DType::f64) tensor.as<double>()[at] = number;
    else if (dtype == DType::i64) tensor.as<int64_t>()[at] = number;
    else tensor.as<uint8_t>()[at] = number;
  }
  return tensor;
}

std::vector<std::byte> run(const std::string& device, const std::vector<Node>& nodes,
                           const Tensor& x, const Tensor& z) {
  Graph g = graph({}, nodes, {"y"});
  for (const auto& [name, tensor] : {std::pair("x", &x), std::pair("z", &z)}) {
    ValueInfo& input = g.inputs.emplace_back(value_info(name));
    input.type.element = tensor->dtype();
    input.type.shape.emplace();
    for (int64_t extent : tensor->shape()) input.type.shape->push_back({extent, {}});
  }
  SessionOptions options;
  options.device = device;
  options.threads = 2;
  const std::string bytes = encode(model(g));
  const auto outputs = Session::load(bytes_of(bytes), options).run({{"x", x}, {"z", z}});
  const Tensor& y = outputs.at(0).tensor();
  const auto* data = static_cast<const std::byte*>(y.data());
  return {data, data + y.bytes()};
}

void compare(const std::vector<Node>& nodes, const Tensor& x, const Tensor& z) {
  EXPECT_TRUE(run("cpu", nodes, x, z) == run("reference", nodes, x, z))
      << nodes[0].op_type << " of " << testing::PrintToString(x.shape());
}

Node transpose(const std::vector<int64_t>& perm, std::string to) {
  return node("Transpose", {"x"}, {std::move(to)}, {attribute("perm", perm)});
}

TEST(Movement, TransposesOfAllOrders) {
  for (DType dtype : {DType::f32, DType::f64, DType::i64, DType::u8})
    for (const Shape& shape : {Shape{2, 3, 5, 7}, Shape{1, 40, 33, 35}, Shape{3, 64, 1, 50}}) {
      std::vector<int64_t> perm = {0, 1, 2, 3};
      do {
        SCOPED_TRACE(testing::PrintToString(perm));
        Shape transposed;
        for (int64_t axis : perm) transposed.push_back(shape[static_cast<size_t>(axis)]);
        const Tensor x = numbers(dtype, shape), z = numbers(dtype, transposed);
        compare({transpose(perm, "t"), node("Add", {"t", "z"}, {"y"})}, x, z);
        compare({transpose(perm, "y")}, x, z);
        if (testing::Test::HasFailure()) return;
      } while (std::ranges::next_permutation(perm).found);
    }
}

// Rows of a table, and single elements.
TEST(Movement, GathersOfManyRows) {
  for (int64_t width : {1, 3, 64}) {
    Tensor places(DType::i64, {500, 2});
    for (size_t i = 0; i < 1000; ++i) places.as<int64_t>()[i] = int64_t(i) * 37 % 40 - 20;
    compare({node("GatherND", {"x", "z"}, {"y"})}, numbers(DType::f32, {40, 40, width}), places);
  }
}

}  // namespace
}  // namespace onrush::onnx
