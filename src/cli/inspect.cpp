// onrush inspect: what a model file holds, and whether this build can run it.
#include <algorithm>

#include "base/check.h"
#include "base/mapped_file.h"
#include "cli/commands.h"
#include "cli/external_files.h"
#include "cli/text.h"
#include "lower/check_operators.h"
#include "onnx/decode.h"
#include "onnx/inline_functions.h"
#include "runtime/session_impl.h"

namespace onrush::cli {
namespace {

struct OperatorUse {
  int nodes = 0;
  std::string first;  // node
  bool supported = false;
};

struct Contents {
  std::map<std::string, OperatorUse> operators;  // by "domain.name"
  std::map<DType, uint64_t> parameter_bytes;
  uint64_t parameters = 0;  // elements
  int parameter_tensors = 0;
  int nodes = 0;
};

void count(const onnx::Graph& graph, Contents& contents);

void count(const onnx::Node& node, Contents& contents) {
  ++contents.nodes;
  OperatorUse& use =
      contents.operators[node.domain.empty() ? node.op_type : node.domain + "." + node.op_type];
  if (use.nodes++ == 0) {
    use.first = node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name;
    use.supported = is_supported(node);
  }
  using Subgraph = std::shared_ptr<const onnx::Graph>;
  for (const onnx::Attribute& attribute : node.attributes) {
    if (const auto* graph = std::get_if<Subgraph>(&attribute.value)) count(**graph, contents);
    if (const auto* graphs = std::get_if<std::vector<Subgraph>>(&attribute.value))
      for (const Subgraph& graph : *graphs) count(*graph, contents);
  }
}

void count(const onnx::Graph& graph, Contents& contents) {
  for (const onnx::Initializer& initializer : graph.initializers) {
    const Tensor& tensor = initializer.tensor;
    ++contents.parameter_tensors;
    contents.parameters += static_cast<uint64_t>(tensor.count());
    contents.parameter_bytes[tensor.dtype()] += tensor.bytes();
  }
  for (const onnx::Node& node : graph.nodes) count(node, contents);
}

void print_header(const onnx::Model& model, uint64_t file_bytes) {
  fmt::print("{}: ONNX IR version {}, {}\n", model.path, model.ir_version, human_bytes(file_bytes));
  if (!model.producer_name.empty())
    fmt::print("producer: {} {}\n", model.producer_name, model.producer_version);
  std::vector<std::string> opsets;
  for (const auto& [domain, version] : model.opset_import)
    opsets.push_back(fmt::format("{} {}", domain.empty() ? "ai.onnx" : domain, version));
  fmt::print("opsets: {}\n", fmt::join(opsets, ", "));
  for (const auto& [key, value] : model.metadata) fmt::print("metadata {}: {}\n", key, value);
}

void print_arguments(std::string_view title, const std::vector<Argument>& arguments) {
  fmt::print("{}:\n", title);
  for (const Argument& argument : arguments) fmt::print("  {}\n", argument_text(argument));
}

void print_parameters(const Contents& contents) {
  uint64_t bytes = 0;
  std::vector<std::string> parts;
  for (const auto& [dtype, part] : contents.parameter_bytes) {
    bytes += part;
    parts.push_back(fmt::format("{} {}", onnx_name(dtype), human_bytes(part)));
  }
  fmt::print("parameters: {} in {} tensors, {}{}\n", human_count(contents.parameters),
             contents.parameter_tensors, human_bytes(bytes),
             parts.empty() ? "" : fmt::format(" ({})", fmt::join(parts, ", ")));
}

void print_external(const ExternalFiles& files) {
  for (const auto& [location, file] : files)
    fmt::print("external data {}: {} tensors, {}{}\n", location, file.tensors,
               human_bytes(file.bytes), file.present ? "" : ", MISSING");
}

void print_operators(const Contents& contents) {
  std::vector<std::pair<std::string, OperatorUse>> operators(contents.operators.begin(),
                                                             contents.operators.end());
  std::stable_sort(operators.begin(), operators.end(),
                   [](const auto& a, const auto& b) { return a.second.nodes > b.second.nodes; });
  fmt::print("operators: {} nodes\n", contents.nodes);
  for (const auto& [name, use] : operators) fmt::print("  {:6} {}\n", use.nodes, name);
  bool all = true;
  for (const auto& [name, use] : operators) {
    if (use.supported) continue;
    if (all) fmt::print("unsupported:\n");
    fmt::print("  {:6} {}, first in node '{}'\n", use.nodes, name, use.first);
    all = false;
  }
  if (all) fmt::print("unsupported: nothing\n");
}

}  // namespace

void inspect(const std::string& path) {
  const auto file = MappedFile::open(path);
  onnx::LoadOptions options;
  options.allow_missing_external_data = true;
  options.verify_checksums = false;
  onnx::Model model = onnx::load(path, options);
  const auto functions = model.functions.size();
  const auto external = external_files(file->bytes(), path);
  onnx::inline_functions(model);
  const Arguments arguments = arguments_of(model.graph);
  Contents contents;
  count(model.graph, contents);

  print_header(model, file->bytes().size());
  print_arguments("inputs", arguments.inputs);
  print_arguments("outputs", arguments.outputs);
  print_parameters(contents);
  print_external(external);
  if (functions) fmt::print("functions: {}, counted below where they are called\n", functions);
  print_operators(contents);
}

}  // namespace onrush::cli
