#include <algorithm>

#include "builders.h"

namespace onrush::onnx {
namespace {

std::string sparse(const Tensor& values, const Tensor& indices, const Shape& dims) {
  std::string bytes;
  Writer writer(bytes);
  writer.add_message(proto::sparse_values, encode_tensor(values, "w"));
  writer.add_message(proto::sparse_indices, encode_tensor(indices));
  writer.add_packed_int64(proto::sparse_dims, dims.begin(), dims.end());
  return bytes;
}

Model model_with(const std::string& sparse_bytes, const LoadOptions& options = {}) {
  std::string bytes = encode(model(graph({}, {}, {})));
  Writer writer(bytes);
  {
    Writer graph_writer(writer, proto::model_graph);
    graph_writer.add_message(proto::graph_sparse_initializer, sparse_bytes);
  }
  return decode_text(bytes, options);
}

void expect_bad(const std::string& sparse_bytes, const std::string& text) {
  expect_error(ErrorCode::invalid_model, text, [&] { model_with(sparse_bytes); });
}

Tensor indices(Shape shape, std::initializer_list<int64_t> values) {
  return tensor<int64_t>(DType::i64, std::move(shape), values);
}

const Tensor kValues = tensor<float>(DType::f32, {2}, {5, 7});

TEST(Sparse, FlatIndices) {
  const Model m = model_with(sparse(kValues, indices({2}, {1, 5}), {2, 3}));
  const Initializer& weight = m.graph.initializers[0];
  EXPECT_EQ(weight.name, "w");
  EXPECT_EQ(weight.tensor.shape(), (Shape{2, 3}));
  EXPECT_TRUE(std::ranges::equal(weight.tensor.as<float>(), std::vector<float>{0, 5, 0, 0, 0, 7}));
}

TEST(Sparse, Coordinates) {
  const Model m = model_with(sparse(kValues, indices({2, 2}, {0, 1, 1, 2}), {2, 3}));
  EXPECT_TRUE(std::ranges::equal(m.graph.initializers[0].tensor.as<float>(),
                                 std::vector<float>{0, 5, 0, 0, 0, 7}));
}

TEST(Sparse, SubByteValues) {
  Tensor packed(DType::f4e2m1, {2});
  packed.as<uint8_t>()[0] = 0xb8;  // -0, -1.5
  const Model m = model_with(sparse(packed, indices({2}, {0, 3}), {4}));
  const auto* data = static_cast<const uint8_t*>(m.graph.initializers[0].tensor.data());
  EXPECT_EQ(data[0], 0x08);
  EXPECT_EQ(data[1], 0xb0);
}

TEST(Sparse, AsAttribute) {
  std::string bytes = encode(model(graph({}, {}, {})));
  Writer writer(bytes);
  {
    Writer graph_writer(writer, proto::model_graph);
    Writer node_writer(graph_writer, proto::graph_node);
    node_writer.add_string(proto::node_op_type, "Constant");
    Writer attribute_writer(node_writer, proto::node_attribute);
    attribute_writer.add_string(proto::attribute_name, "sparse_value");
    attribute_writer.add_int32(proto::attribute_type, proto::kAttributeSparseTensor);
    attribute_writer.add_message(proto::attribute_sparse_tensor,
                                 sparse(kValues, indices({2}, {0, 2}), {3}));
  }
  const Model m = decode_text(bytes);
  EXPECT_EQ(std::get<Tensor>(m.graph.nodes[0].find("sparse_value")->value).as<float>()[2], 7);
}

TEST(Sparse, IndicesOutsideTheShape) {
  expect_bad(sparse(kValues, indices({2}, {1, 6}), {2, 3}),
             "model.onnx: sparse tensor 'w': sparse index 6 lies outside the 6 elements");
  expect_bad(sparse(kValues, indices({2}, {-1, 0}), {2, 3}), "sparse index -1 lies outside");
  expect_bad(sparse(kValues, indices({2, 2}, {0, 1, 0, 3}), {2, 3}),
             "sparse index [0,3] lies outside shape [2,3]");
}

TEST(Sparse, IndicesNotAscending) {
  expect_bad(sparse(kValues, indices({2}, {4, 4}), {2, 3}), "must ascend without repetition");
  expect_bad(sparse(kValues, indices({2, 2}, {1, 0, 0, 2}), {2, 3}), "must ascend");
}

TEST(Sparse, WrongShapesAndTypes) {
  expect_bad(sparse(kValues, indices({3}, {0, 1, 2}), {2, 3}), "must be int64 [2] or [2,2]");
  expect_bad(sparse(kValues.reshaped({1, 2}), indices({2}, {0, 1}), {2, 3}), "of shape [NNZ]");
  expect_bad(sparse(kValues, tensor<int32_t>(DType::i32, {2}, {0, 1}), {6}), "not int32 [2]");
  expect_bad(sparse(kValues, indices({2}, {0, 1}), {-6}), "negative dimension");
  expect_bad("", "the values of a sparse tensor");
}

TEST(Sparse, SizeLimit) {
  const std::string bytes = sparse(kValues, indices({2}, {0, 1}), {int64_t{1} << 36});
  expect_error(ErrorCode::unsupported, "raise it", [&] { model_with(bytes); });
  const LoadOptions options{.max_dense_bytes = 23};
  const std::string small = sparse(kValues, indices({2}, {0, 1}), {6});
  expect_error(ErrorCode::unsupported, "takes 24 bytes when made dense, 23 are left",
               [&] { model_with(small, options); });
}

}  // namespace
}  // namespace onrush::onnx
