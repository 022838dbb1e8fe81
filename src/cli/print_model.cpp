#include "cli/print_model.h"

#include <fmt/format.h>
#include <span>

#include "cli/text.h"

namespace onrush::cli {
namespace {

constexpr size_t kShownElements = 16;

template <class T>
std::string list(std::span<const T> values) {
  const auto shown = values.subspan(0, std::min(values.size(), kShownElements));
  return fmt::format("[{}{}]", fmt::join(shown, ","), values.size() > kShownElements ? ",..." : "");
}

// The value of an attribute that is no graph.
struct AttributeText {
  std::string operator()(const auto&) const { return "..."; }
  std::string operator()(float value) const { return fmt::format("{}", value); }
  std::string operator()(int64_t value) const { return fmt::format("{}", value); }
  std::string operator()(const std::string& value) const { return json_string(value); }
  std::string operator()(const Tensor& value) const {
    return fmt::format("{} {}", onnx_name(value.dtype()), to_string(value.shape()));
  }
  std::string operator()(const std::vector<float>& values) const {
    return list(std::span<const float>(values));
  }
  std::string operator()(const std::vector<int64_t>& values) const {
    return list(std::span<const int64_t>(values));
  }
  std::string operator()(const std::vector<std::string>& values) const {
    std::vector<std::string> quoted;
    quoted.reserve(values.size());
    for (const std::string& value : values) quoted.push_back(json_string(value));
    return list(std::span<const std::string>(quoted));
  }
};

std::vector<std::string> names(const std::vector<onnx::ValueInfo>& values) {
  std::vector<std::string> names;
  names.reserve(values.size());
  for (const onnx::ValueInfo& value : values) names.push_back(value.name);
  return names;
}

using Subgraph = std::shared_ptr<const onnx::Graph>;

std::string header(const onnx::Node& node) {
  std::vector<std::string> attributes;
  for (const onnx::Attribute& attribute : node.attributes)
    if (!std::holds_alternative<Subgraph>(attribute.value))
      attributes.push_back(attribute.name + "=" + std::visit(AttributeText{}, attribute.value));
  const std::string domain = node.domain.empty() ? "" : node.domain + ".";
  std::string text = fmt::format("{} = {}{}({})", fmt::join(node.outputs, ", "), domain,
                                 node.op_type, fmt::join(node.inputs, ", "));
  if (!attributes.empty()) text += fmt::format(" {{{}}}", fmt::join(attributes, " "));
  if (!node.name.empty()) text += "  # " + node.name;
  return text + "\n";
}

}  // namespace

std::string body_text(const onnx::Graph& graph, int indent) {
  const std::string margin(static_cast<size_t>(indent), ' ');
  std::string text;
  for (const onnx::Initializer& initializer : graph.initializers)
    text +=
        fmt::format("{}weight {} : {} {}\n", margin, initializer.name,
                    onnx_name(initializer.tensor.dtype()), to_string(initializer.tensor.shape()));
  for (const onnx::Node& node : graph.nodes) {
    text += margin + header(node);
    for (const onnx::Attribute& attribute : node.attributes)
      if (const auto* body = std::get_if<Subgraph>(&attribute.value))
        text +=
            fmt::format("{}  {}({}) -> ({}):\n{}", margin, attribute.name,
                        fmt::join(names((*body)->inputs), ", "),
                        fmt::join(names((*body)->outputs), ", "), body_text(**body, indent + 4));
  }
  return text;
}

}  // namespace onrush::cli
