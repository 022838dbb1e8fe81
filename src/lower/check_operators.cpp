#include "lower/check_operators.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "lower/lower.h"
#include "lower/op_schema.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

// What ONNX defines and this build does not run.
constexpr std::string_view kNotSupported[] = {"ImageDecoder", "Gradient", "ZipMap",
                                              "DictVectorizer", "CastMap"};

bool is_onnx(std::string_view domain) { return domain.empty() || domain.starts_with("ai.onnx."); }

[[noreturn]] void refuse(const onnx::Model& model, const onnx::Node& node) {
  const std::string place = describe(model, node);
  const std::string domain = node.domain.empty() ? "ai.onnx" : node.domain;
  if (!is_onnx(node.domain))
    fail(ErrorCode::unsupported,
         "{}: operators of domain '{}' are not supported; give '{}' as a function of the model, or "
         "export the model with operators of ai.onnx",
         place, domain, node.op_type);
  if (std::ranges::count(kNotSupported, node.op_type))
    fail(ErrorCode::unsupported,
         "{}: this operator is not supported; take it out of the model and do its work before or "
         "after the run",
         place);
  fail(ErrorCode::invalid_model,
       "{}: there is no operator '{}' in domain '{}'; if a newer ONNX has it, export for opset {} "
       "or older",
       place, node.op_type, domain, model.opset(node.domain));
}

std::string_view type_of(const onnx::Attribute& attribute) {
  static constexpr std::array<std::string_view, 13> kTypes = {
      "undefined", "float", "int",     "string",  "tensor", "graph",      "type_proto",
      "floats",    "ints",  "strings", "tensors", "graphs", "type_protos"};
  static_assert(std::variant_size_v<decltype(attribute.value)> == kTypes.size());
  return kTypes[attribute.value.index()];
}

// A node against its operator's schema.
class NodeChecker {
 public:
  NodeChecker(const onnx::Model& model, const onnx::Node& node)
      : model_(model),
        node_(node),
        opset_(model.opset_of(node)),
        schema_(find_schema(node.domain, node.op_type, opset_)) {}

  void check() const {
    if (!schema_.since) return;
    check_version();
    check_values(node_.inputs, schema_.inputs, "input");
    check_values(node_.outputs, schema_.outputs, "output");
    check_attributes();
  }

 private:
  using Parameter = OpSchema::Parameter;
  using Option = Parameter::Option;

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorCode::invalid_model, "{}: {}; export the model again", describe(model_, node_),
         fmt::format(format, std::forward<Args>(args)...));
  }

  std::string op() const { return fmt::format("{} of opset {}", node_.op_type, opset_); }

  void check_version() const {
    // onnxruntime's optimizer writes LayerNormalization into models of older opsets.
    if (schema_.since > opset_ && node_.op_type != "LayerNormalization")
      refuse("opset {} has no operator '{}', which came with opset {}", opset_, node_.op_type,
             schema_.since);
    if (schema_.deprecated)
      refuse("operator '{}' is no longer in opset {}, since opset {}", node_.op_type, opset_,
             schema_.since);
  }

  void check_values(const std::vector<std::string>& values,
                    const std::vector<Parameter>& parameters, std::string_view what) const {
    const size_t least = least_count(parameters);
    if (values.size() < least)
      refuse("it has {} {}s, and {} has at least {}: {}", values.size(), what, op(), least,
             names(parameters));
    for (size_t i = 0; i < values.size(); ++i) {
      const Parameter* parameter = OpSchema::at(parameters, i);
      if (!parameter)
        refuse("it has {} {}s, and {} has at most {}: {}", values.size(), what, op(),
               parameters.size(), names(parameters));
      if (!values[i].empty() || parameter->option == Option::optional) continue;
      if (parameter->option == Option::single)
        refuse("{} {} ({}) is missing, and {} must have it", what, i, parameter->name, op());
      if (what == "input")
        refuse("input {} is missing, and {} allows no gaps among '{}'", i, op(), parameter->name);
    }
  }

  static size_t least_count(const std::vector<Parameter>& parameters) {
    size_t least = 0;
    for (size_t i = 0; i < parameters.size(); ++i) {
      if (parameters[i].option == Option::single) least = i + 1;
      if (parameters[i].option == Option::variadic)
        least = i + static_cast<size_t>(parameters[i].least);
    }
    return least;
  }

  static std::string names(const std::vector<Parameter>& parameters) {
    std::string text;
    for (const Parameter& parameter : parameters)
      text += (text.empty() ? "" : ", ") + std::string(parameter.name) +
              (parameter.option == Option::optional ? "?" : "") +
              (parameter.option == Option::variadic ? "..." : "");
    return text.empty() ? "none" : text;
  }

  void check_attributes() const {
    for (const onnx::Attribute& attribute : node_.attributes) check(attribute);
    for (const OpSchema::Attribute& attribute : schema_.attributes)
      if (attribute.required && !node_.find(attribute.name))
        refuse("attribute '{}' is missing, and {} must have it", attribute.name, op());
  }

  void check(const onnx::Attribute& attribute) const {
    if (attribute.name.starts_with("__")) return;  // of other tools
    const auto found =
        std::ranges::find(schema_.attributes, attribute.name, &OpSchema::Attribute::name);
    if (found == schema_.attributes.end()) refuse("{} has no attribute '{}'", op(), attribute.name);
    const std::string_view type = type_of(attribute);
    // Sparse tensors become dense when the file is read.
    const bool sparse = type == "tensor" && found->type == "sparse_tensor";
    if (type != found->type && !sparse)
      refuse("attribute '{}' is of type {}, and must be of type {}", attribute.name, type,
             found->type);
  }

  const onnx::Model& model_;
  const onnx::Node& node_;
  int64_t opset_;
  const OpSchema& schema_;
};

void check(const onnx::Model& model, const onnx::Graph& graph) {
  using Subgraph = std::shared_ptr<const onnx::Graph>;
  for (const onnx::Node& node : graph.nodes) {
    if (!is_supported(node)) refuse(model, node);
    NodeChecker(model, node).check();
    for (const onnx::Attribute& attribute : node.attributes) {
      if (const auto* body = std::get_if<Subgraph>(&attribute.value)) check(model, **body);
      if (const auto* bodies = std::get_if<std::vector<Subgraph>>(&attribute.value))
        for (const Subgraph& body : *bodies) check(model, *body);
    }
  }
}

}  // namespace

bool is_supported(const onnx::Node& node) {
  if (node.domain.empty() && node.op_type == "If") return true;
  return is_loop(node) || find_op(node.domain, node.op_type) != nullptr;
}

void check_operators(const onnx::Model& model) { check(model, model.graph); }

}  // namespace onrush
