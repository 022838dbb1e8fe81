// Running the program `onrush`, and files for it to read.
#pragma once

#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include "onnx/builders.h"

namespace onrush::cli {

// A folder of its own for one test, removed with it.
class Folder {
 public:
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "onrush_cli_XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path_); }

  std::string path(const std::string& name) const { return path_ / name; }
  // Both give the path.
  std::string write(const std::string& name, std::string_view bytes) const {
    std::ofstream(path(name), std::ios::binary) << bytes;
    return path(name);
  }
  std::string write(const std::string& name, const onnx::Model& model) const {
    return write(name, onnx::encode(model));
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

struct Result {
  int exit_code;  // 128 and more: ended by a signal
  std::string out, err;
};

inline Result onrush(const std::vector<std::string>& arguments) {
  const auto quoted = [](const std::string& text) { return " '" + text + "'"; };
  const Folder folder;
  std::string command = quoted(ONRUSH_PROGRAM);
  for (const std::string& argument : arguments) command += quoted(argument);
  command += " >" + quoted(folder.path("out")) + " 2>" + quoted(folder.path("err"));
  const int status = std::system(command.c_str());
  return {WEXITSTATUS(status), read_file(folder.path("out")), read_file(folder.path("err"))};
}

inline void expect_text(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "expected: " << part << "\nin: " << text;
}

// Success, with all of this in the output.
inline void expect_output(const std::vector<std::string>& arguments,
                          const std::vector<std::string>& parts) {
  const Result result = onrush(arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const std::string& part : parts) expect_text(result.out, part);
}

// An error with this exit code whose message, a line on standard error, has all of this. (A
// sanitizer may warn before it.)
inline void expect_failure(int exit_code, const std::vector<std::string>& arguments,
                           const std::vector<std::string>& parts) {
  const Result result = onrush(arguments);
  EXPECT_EQ(result.exit_code, exit_code) << result.out << result.err;
  expect_text("\n" + result.err, "\nonrush: ");
  for (const std::string& part : parts) expect_text(result.err, part);
}

// --- models

inline onnx::ValueInfo value(std::string name, DType dtype, std::vector<onnx::Dimension> shape) {
  onnx::ValueInfo info = onnx::value_info(std::move(name));
  info.type.element = dtype;
  info.type.shape = std::move(shape);
  return info;
}
inline onnx::Dimension size(int64_t value) { return {value, {}}; }
inline onnx::Dimension named(std::string name) { return {std::nullopt, std::move(name)}; }

// y = x + 1 over f32 [batch,3]
inline onnx::Model increment() {
  onnx::Graph graph =
      onnx::graph({}, {onnx::named("inc", onnx::node("Add", {"x", "one"}, {"y"}))}, {});
  graph.inputs = {value("x", DType::f32, {named("batch"), size(3)})};
  graph.outputs = {value("y", DType::f32, {named("batch"), size(3)})};
  graph.initializers = {{"one", onnx::tensor<float>(DType::f32, {3}, {1, 1, 1})}};
  return onnx::model(std::move(graph));
}

// y = x for one input of any type and shape
inline onnx::Model identity(DType dtype, std::vector<onnx::Dimension> shape) {
  onnx::Graph graph = onnx::graph({}, {onnx::node("Identity", {"x"}, {"y"})}, {});
  graph.inputs = {value("x", dtype, shape)};
  graph.outputs = {value("y", dtype, shape)};
  onnx::Model model = onnx::model(std::move(graph));
  model.opset_import = {{"", 25}};  // the first that has every type
  return model;
}

// y = x @ w over f32 [batch,n] and [n,n]; enough weights to reach a limit
inline onnx::Model matmul(int64_t n) {
  onnx::Graph graph =
      onnx::graph({}, {onnx::named("mm", onnx::node("MatMul", {"x", "w"}, {"y"}))}, {});
  graph.inputs = {value("x", DType::f32, {named("batch"), size(n)})};
  graph.outputs = {value("y", DType::f32, {named("batch"), size(n)})};
  Tensor weight(DType::f32, {n, n});
  for (int64_t i = 0; i < n * n; ++i)
    weight.as<float>()[static_cast<size_t>(i)] = 0.25f + static_cast<float>(i % 7);
  graph.initializers = {{"w", weight}};
  return onnx::model(std::move(graph));
}

}  // namespace onrush::cli
