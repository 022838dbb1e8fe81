#include "lower/check_operators.h"

#include <algorithm>

#include "base/check.h"
#include "lower/lower.h"
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

void check(const onnx::Model& model, const onnx::Graph& graph) {
  using Subgraph = std::shared_ptr<const onnx::Graph>;
  for (const onnx::Node& node : graph.nodes) {
    if (!is_supported(node)) refuse(model, node);
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
