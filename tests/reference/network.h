// A network under test: nodes over inputs that hold given tensors, evaluated.
#pragma once

#include <cmath>
#include <gtest/gtest.h>
#include <limits>
#include <vector>

#include "base/numeric.h"
#include "ir/builder.h"
#include "reference/evaluate.h"
#include <onrush/error.h>

namespace onrush {

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// A tensor of any number dtype from f64 values.
inline Tensor make(DType dtype, Shape shape, const std::vector<double>& values) {
  Tensor tensor(dtype, std::move(shape));
  EXPECT_EQ(tensor.count(), static_cast<int64_t>(values.size()));
  for (size_t i = 0; i < values.size(); ++i)
    store_f64(dtype, tensor.data(), static_cast<int64_t>(i), values[i]);
  return tensor;
}
inline Tensor f32(Shape shape, const std::vector<double>& values) {
  return make(DType::f32, std::move(shape), values);
}
inline Tensor i64(Shape shape, const std::vector<int64_t>& values) {
  return Tensor::of<int64_t>(DType::i64, std::move(shape), values);
}
inline Tensor strings(Shape shape, std::vector<std::string> values) {
  return Tensor::of_strings(std::move(shape), std::move(values));
}

inline void expect_tensor(const Tensor& tensor, DType dtype, const Shape& shape,
                          const std::vector<double>& values) {
  EXPECT_EQ(name(tensor.dtype()), name(dtype));
  ASSERT_EQ(tensor.shape(), shape);
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = load_f64(dtype, tensor.data(), static_cast<int64_t>(i));
    if (std::isnan(values[i])) EXPECT_TRUE(std::isnan(value)) << "element " << i;
    else EXPECT_EQ(value, values[i]) << "element " << i;
  }
}
inline void expect_strings(const Tensor& tensor, const Shape& shape,
                           const std::vector<std::string>& values) {
  ASSERT_EQ(tensor.dtype(), DType::string);
  ASSERT_EQ(tensor.shape(), shape);
  EXPECT_EQ(std::vector<std::string>(tensor.strings().begin(), tensor.strings().end()), values);
}

class Network : public Builder {
 public:
  NodeId feed(Tensor tensor) {
    const TensorType type{tensor.dtype(), Dims(tensor.shape().begin(), tensor.shape().end())};
    tensors_.push_back(std::move(tensor));
    return input("x" + std::to_string(tensors_.size()), type);
  }
  // Evaluates one node; call once.
  Tensor run(NodeId node) {
    output("y", node);
    const Graph graph = finish();
    verify(graph, Stage::lowered);
    return evaluate(graph, tensors_)[0];
  }

 private:
  std::vector<Tensor> tensors_;
};

}  // namespace onrush
