#include <cmath>

#include "base/numeric.h"
#include "cli/inputs.h"
#include "npy/npy.h"
#include "support.h"

namespace onrush::cli {
namespace {

using onnx::expect_error;

void expect_usage_error(const InputTexts& texts, const std::string& message) {
  try {
    parse(texts);
    ADD_FAILURE() << "no error; expected: " << message;
  } catch (const UsageError& error) {
    expect_text(error.what(), message);
  }
}

Argument argument(std::string name, DType dtype, std::vector<ArgumentDim> shape) {
  return {std::move(name), "tensor(" + std::string(onnx_name(dtype)) + ")", dtype,
          std::move(shape)};
}

Tensor only(const Argument& input, const InputTexts& texts = {}) {
  return make_inputs(std::span(&input, 1), parse(texts)).values.at(input.name).tensor();
}

TEST(Arguments, shapes_dims_and_sources_are_parsed) {
  const InputChoices choices = parse(
      {{"a=random", "b=random:7", "c=x=y.npy"}, {"a=1x3x224x224", "s=", "one=5"}, {"batch=8"}});
  EXPECT_EQ(std::get<RandomValues>(choices.sources.at("b")).seed, 7u);
  EXPECT_EQ(std::get<ArrayFile>(choices.sources.at("c")).path, "x=y.npy");
  EXPECT_EQ(choices.shapes.at("a"), (Shape{1, 3, 224, 224}));
  EXPECT_EQ(choices.shapes.at("s"), Shape{});
  EXPECT_EQ(choices.shapes.at("one"), Shape{5});
  EXPECT_EQ(choices.dims.at("batch"), 8);
}

TEST(Arguments, malformed_ones_are_usage_errors) {
  for (const std::string text :
       {"x", "=random", "x=", "x=zeros", "x=random:", "x=random:a", "x=a.bin"})
    expect_usage_error({{text}, {}, {}}, "--input '" + text + "'");
  for (const std::string text :
       {"x", "x=1x", "x=x", "x=1xx2", "x=-1x2", "x=1,2", "x=99999999999999999999"})
    expect_usage_error({{}, {text}, {}}, "--shape '" + text + "'");
  for (const std::string text : {"x", "x=", "x=a", "x=-1"})
    expect_usage_error({{}, {}, {text}}, "--dim '" + text + "'");
  expect_usage_error({{}, {"x=1", "x=2"}, {}}, "given twice");
}

TEST(Inputs, random_floats_are_normal) {
  const Tensor x = only(argument("x", DType::f32, {{100, ""}, {100, ""}}));
  double sum = 0, squares = 0;
  for (float value : x.as<float>()) {
    sum += value;
    squares += value * value;
  }
  EXPECT_NEAR(sum / 1e4, 0, 0.05);
  EXPECT_NEAR(std::sqrt(squares / 1e4), 1, 0.05);
}

TEST(Inputs, seeds_decide_the_values) {
  const Argument x = argument("x", DType::f64, {{4, ""}});
  const auto value = [&](const std::string& source) {
    return only(x, {{"x=" + source}, {}, {}}).as<double>()[3];
  };
  EXPECT_EQ(value("random"), value("random:0"));
  EXPECT_EQ(value("random:5"), value("random:5"));
  EXPECT_NE(value("random:5"), value("random:6"));
}

TEST(Inputs, integers_are_small) {
  for (int i = 1; i < kDTypeCount; ++i) {
    const auto dtype = static_cast<DType>(i);
    if (!is_integer(dtype) && dtype != DType::boolean) continue;
    const Tensor x = only(argument("x", dtype, {{40, ""}, {3, ""}}));
    int64_t sum = 0;
    for (int64_t at = 0; at < x.count(); ++at) {
      const int64_t value = load_i64(dtype, x.data(), at);
      sum += value;
      EXPECT_LT(std::abs(value), 100) << onnx_name(dtype);
    }
    EXPECT_NE(sum, 0) << onnx_name(dtype);
  }
  EXPECT_EQ(only(argument("size", DType::i64, {{1, ""}})).as<int64_t>()[0], 1);
}

TEST(Inputs, symbolic_dims_follow_options_and_each_other) {
  const std::vector<Argument> inputs = {
      argument("ids", DType::i64, {{{}, "batch"}, {{}, "length"}}),
      argument("mask", DType::i64, {{{}, "batch"}, {{}, "length"}}),
      argument("x", DType::f32, {{{}, ""}, {3, ""}})};
  const auto shapes = [&](const InputTexts& texts) {
    const NamedValues values = make_inputs(inputs, parse(texts)).values;
    return std::vector<Shape>{values.at("ids").tensor().shape(), values.at("mask").tensor().shape(),
                              values.at("x").tensor().shape()};
  };
  EXPECT_EQ(shapes({}), (std::vector<Shape>{{1, 1}, {1, 1}, {1, 3}}));
  EXPECT_EQ(shapes({{}, {}, {"length=7"}}), (std::vector<Shape>{{1, 7}, {1, 7}, {1, 3}}));
  EXPECT_EQ(shapes({{}, {"mask=2x9", "x=5x3"}, {}}), (std::vector<Shape>{{2, 9}, {2, 9}, {5, 3}}));

  const Folder folder;
  write_npy(folder.path("ids.npy"), Tensor(DType::i64, {4, 6}));
  EXPECT_EQ(shapes({{"ids=" + folder.path("ids.npy")}, {}, {}}),
            (std::vector<Shape>{{4, 6}, {4, 6}, {1, 3}}));
}

TEST(Inputs, guessed_sizes_are_named) {
  const std::vector<Argument> inputs = {argument("x", DType::f32, {{{}, "n"}, {3, ""}}),
                                        argument("y", DType::f32, {{2, ""}})};
  EXPECT_EQ(make_inputs(inputs, {}).guessed, std::vector<std::string>{"x=1x3"});
  EXPECT_TRUE(make_inputs(inputs, parse({{}, {}, {"n=1"}})).guessed.empty());
  expect_text(explain(Error(ErrorCode::invalid_model, "why"), make_inputs(inputs, {})).what(),
              "x=1x3");
}

TEST(Inputs, contradictions_are_errors) {
  const Argument x = argument("x", DType::f32, {{{}, "batch"}, {3, ""}});
  const auto expect = [&](const InputTexts& texts, const std::string& message) {
    expect_error(ErrorCode::invalid_argument, message, [&] { only(x, texts); });
  };
  expect({{"y=random"}, {}, {}}, "the model has no input 'y'; it has 'x'");
  expect({{}, {"y=1"}, {}}, "the model has no input 'y'");
  expect({{}, {}, {"length=1"}}, "no input of the model has a dimension 'length'");
  expect({{}, {"x=1x2"}, {}}, "must have shape [batch,3], not [1,2]");
  expect({{}, {"x=1x3x1"}, {}}, "must have shape [batch,3], not [1,3,1]");
  expect({{"x=a.npy"}, {"x=1x3"}, {}}, "leave --shape out");
  const Argument unknown{"u", "tensor(float)", DType::f32, std::nullopt};
  expect_error(ErrorCode::invalid_argument, "--shape u=", [&] { only(unknown); });
  EXPECT_EQ(only(unknown, {{}, {"u=2x2"}, {}}).shape(), (Shape{2, 2}));
}

TEST(Inputs, archives_give_one_or_all_inputs) {
  const Folder folder;
  const std::string path = folder.path("a.npz");
  write_npz(path, std::vector<std::pair<std::string, Tensor>>{
                      {"x", onnx::tensor<float>(DType::f32, {1}, {4})},
                      {"y", onnx::tensor<float>(DType::f32, {1}, {5})}});
  const std::vector<Argument> inputs = {argument("x", DType::f32, {{1, ""}}),
                                        argument("y", DType::f32, {{1, ""}})};
  EXPECT_EQ(
      make_inputs(inputs, parse({{"y=" + path}, {}, {}})).values.at("y").tensor().as<float>()[0],
      5);
  EXPECT_EQ(make_inputs(inputs, parse({{path}, {}, {}})).values.at("x").tensor().as<float>()[0], 4);
  write_npz(path, std::vector<std::pair<std::string, Tensor>>{
                      {"any", onnx::tensor<float>(DType::f32, {1}, {6})}});
  EXPECT_EQ(
      make_inputs(inputs, parse({{"x=" + path}, {}, {}})).values.at("x").tensor().as<float>()[0],
      6);
}

TEST(Inputs, sequences_and_optionals_come_from_files) {
  const Folder folder;
  const std::string path = folder.path("a.npz");
  write_npz(path, std::vector<std::pair<std::string, Tensor>>{
                      {"a", onnx::tensor<float>(DType::f32, {1}, {4})},
                      {"b", Tensor(DType::f32, {2, 2})}});
  const Argument sequence{"s", "seq(tensor(float))", DType::undefined, std::nullopt};
  const auto values = make_inputs(std::span(&sequence, 1), parse({{"s=" + path}, {}, {}})).values;
  EXPECT_EQ(values.at("s").sequence().elements.size(), 2u);
  expect_error(ErrorCode::invalid_argument, "has to come from a file",
               [&] { make_inputs(std::span(&sequence, 1), {}); });
  const Argument optional{"o", "optional(seq(tensor(float)))", DType::undefined, std::nullopt};
  EXPECT_TRUE(make_inputs(std::span(&optional, 1), {}).values.empty());
  const auto present = make_inputs(std::span(&optional, 1), parse({{"o=" + path}, {}, {}})).values;
  EXPECT_EQ(present.at("o").optional().value->sequence().elements.size(), 2u);
}

}  // namespace
}  // namespace onrush::cli
