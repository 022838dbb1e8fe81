// Shorthand for models, protobuf messages and expected errors in the tests of src/onnx.
#pragma once

#include <gtest/gtest.h>
#include <initializer_list>
#include <protozero/pbf_writer.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "onnx/decode.h"
#include "onnx/encode.h"
#include "onnx/model.h"
#include "onnx/proto.h"
#include <onrush/error.h>

namespace onrush::onnx {

using Names = std::vector<std::string>;
using Writer = protozero::pbf_writer;

inline Attribute attribute(std::string name, decltype(Attribute::value) value) {
  return {std::move(name), {}, std::move(value)};
}
inline Attribute reference(std::string name, std::string caller_name) {
  return {std::move(name), std::move(caller_name), {}};
}
inline Attribute subgraph(std::string name, Graph graph) {
  return attribute(std::move(name), std::make_shared<const Graph>(std::move(graph)));
}

inline Node node(std::string op, Names inputs, Names outputs,
                 std::vector<Attribute> attributes = {}, std::string domain = {}) {
  Node result;
  result.op_type = std::move(op);
  result.inputs = std::move(inputs);
  result.outputs = std::move(outputs);
  result.attributes = std::move(attributes);
  result.domain = std::move(domain);
  return result;
}
inline Node named(std::string name, Node node) {
  node.name = std::move(name);
  return node;
}

inline ValueInfo value_info(std::string name) {
  ValueInfo info;
  info.name = std::move(name);
  info.type.kind = Type::Kind::tensor;
  info.type.element = DType::f32;
  return info;
}

// Inputs are tensors of floats; of outputs nothing is declared but the name.
inline Graph graph(Names inputs, std::vector<Node> nodes, Names outputs) {
  Graph result;
  result.name = "g";
  for (std::string& input : inputs) result.inputs.push_back(value_info(std::move(input)));
  result.nodes = std::move(nodes);
  for (std::string& output : outputs) {
    result.outputs.emplace_back();
    result.outputs.back().name = std::move(output);
  }
  return result;
}

inline Model model(Graph graph) {
  Model result;
  result.ir_version = 10;
  result.opset_import = {{"", 21}};
  result.graph = std::move(graph);
  return result;
}

inline std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text));
}

inline Model decode_text(const std::string& text, const LoadOptions& options = {}) {
  return decode({bytes_of(text)}, options, "model.onnx");
}
inline Model recode(const Model& model) { return decode_text(encode(model)); }

template <class T>
Tensor tensor(DType dtype, Shape shape, std::initializer_list<T> values) {
  return Tensor::of<T>(dtype, std::move(shape), std::vector<T>(values));
}

// Runs `action`, which must throw an Error of this code whose message holds `text`.
template <class Action>
void expect_error(ErrorCode code, const std::string& text, Action&& action) {
  try {
    action();
    ADD_FAILURE() << "no error; expected: " << text;
  } catch (const Error& error) {
    EXPECT_EQ(to_string(error.code()), std::string(to_string(code))) << error.what();
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos)
        << "message: " << error.what() << "\nexpected: " << text;
  }
}

inline void expect_invalid(const Model& model, const std::string& text) {
  expect_error(ErrorCode::invalid_model, text, [&] { recode(model); });
}

}  // namespace onrush::onnx
