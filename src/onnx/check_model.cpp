#include "onnx/check_model.h"

#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <unordered_set>

#include "onnx/place.h"
#include "onnx/sort_nodes.h"

namespace onrush::onnx {
namespace {

using Imports = std::vector<std::pair<std::string, int64_t>>;
using NameSet = std::unordered_set<std::string_view>;

// Imports are searched one by one; real models have a handful.
constexpr size_t kMaxImports = 1000;

// Names visible in a graph, and those of the graphs around it.
struct Scope {
  const Scope* parent = nullptr;
  NameSet names = {};

  bool sees(std::string_view name) const {
    return names.contains(name) || (parent && parent->sees(name));
  }
};

// What is the same for all nodes of the model, or of one function.
struct Context {
  const NameSet& function_domains;  // of the functions of the model
  NameSet imported_domains;
  std::optional<NameSet> declared_attributes = {};  // of the function; empty: outside functions

  bool knows_domain(std::string_view domain) const {
    return imported_domains.contains(domain) || function_domains.contains(domain);
  }
};

void check_ir_version(const Model& model, const Place& file) {
  if (model.ir_version <= 0)
    fail_at(file,
            "the model states no IR version; the file is damaged or is no ONNX model, fetch or "
            "export it again");
  if (model.ir_version > kNewestIrVersion)
    fail_at(ErrorCode::unsupported, file,
            "IR version {} is newer than {}, the newest this build reads; update Onrush, or save "
            "the model with an older IR version",
            model.ir_version, kNewestIrVersion);
}

void check_imports(const Imports& imports, const Place& place) {
  NameSet seen;
  if (imports.size() > kMaxImports)
    fail_at(place, "{} operator sets are imported, more than {}", imports.size(), kMaxImports);
  for (const auto& [domain, version] : imports) {
    const std::string shown = domain.empty() ? "ai.onnx" : domain;
    if (!seen.insert(domain).second)
      fail_at(place, "operator set {} is imported twice; export the model again", quoted(shown));
    if (version <= 0)
      fail_at(place, "operator set {} is imported with version {}; versions start at 1",
              quoted(shown), version);
    if (domain.empty() && version > kNewestOpset)
      fail_at(ErrorCode::unsupported, place,
              "ai.onnx opset {} is newer than {}, the newest this build runs; update Onrush, or "
              "export the model with opset_version={}",
              version, kNewestOpset, kNewestOpset);
  }
}

NameSet domains_of(const Imports& imports) {
  NameSet domains;
  for (const auto& [domain, version] : imports) domains.insert(domain);
  return domains;
}

class GraphChecker {
 public:
  explicit GraphChecker(const Context& context) : context_(context) {}

  void check_graph(const Graph& graph, const Scope* parent, const Place& place) const {
    Scope scope{.parent = parent};
    for (const Initializer& initializer : graph.initializers)
      define(initializer.name, "initializer", scope, place);
    check_inputs(graph.inputs, scope, place);
    check_nodes(graph.nodes, scope, place);
    for (size_t i = 0; i < graph.outputs.size(); ++i) {
      const Place output{.parent = &place,
                         .kind = "graph output",
                         .name = graph.outputs[i].name,
                         .index = static_cast<int64_t>(i)};
      if (!scope.sees(output.name))
        fail_at(output,
                "no node produces it and it is no graph input or initializer; the file is "
                "incomplete, export it again");
    }
  }

  void check_nodes(const std::vector<Node>& nodes, Scope& scope, const Place& parent) const {
    for (size_t i = 0; i < nodes.size(); ++i) {
      const Place place{.parent = &parent,
                        .kind = "node",
                        .name = nodes[i].name,
                        .index = static_cast<int64_t>(i),
                        .op_type = nodes[i].op_type};
      check_node(nodes[i], scope, place);
    }
  }

  static void define(const std::string& name, std::string_view what, Scope& scope,
                     const Place& place) {
    if (name.empty()) fail_at(place, "an {} has no name; export the model again", what);
    if (!scope.names.insert(name).second)
      fail_at(place, "{} {} has a name that is taken; names of values must be unique in a graph",
              what, quoted(name));
  }

 private:
  // An input may share its name with an initializer, but not with another input.
  static void check_inputs(const std::vector<ValueInfo>& inputs, Scope& scope, const Place& place) {
    Scope own;
    for (const ValueInfo& input : inputs) define(input.name, "input", own, place);
    scope.names.merge(own.names);
  }

  void check_node(const Node& node, Scope& scope, const Place& place) const {
    if (node.op_type.empty())
      fail_at(place, "the node names no operator (op_type); export the model again");
    if (!context_.knows_domain(node.domain))
      fail_at(place, "operator set {} is not imported; add it to the model's opset_import",
              quoted(node.domain.empty() ? "ai.onnx" : node.domain));
    for (const std::string& input : node.inputs) {
      if (!input.empty() && !scope.sees(input))
        fail_at(place,
                "input {} is produced by no node and is no graph input or initializer; the file is "
                "incomplete, export it again",
                quoted(input));
    }
    check_attributes(node, scope, place);
    for (const std::string& output : node.outputs)
      if (!output.empty()) define(output, "output", scope, place);
  }

  void check_attributes(const Node& node, const Scope& scope, const Place& parent) const {
    NameSet names;
    for (const Attribute& attribute : node.attributes) {
      const Place place{.parent = &parent, .kind = "attribute", .name = attribute.name};
      if (attribute.name.empty()) fail_at(parent, "an attribute has no name");
      if (!names.insert(attribute.name).second)
        fail_at(place, "the node has two attributes of this name; export the model again");
      if (!attribute.ref_attr_name.empty()) check_reference(attribute.ref_attr_name, place);
      for (const Graph* graph : subgraphs(attribute)) check_graph(*graph, &scope, place);
    }
  }

  void check_reference(const std::string& name, const Place& place) const {
    if (!context_.declared_attributes)
      fail_at(place, "ref_attr_name {} stands outside a function, where it refers to nothing",
              quoted(name));
    if (!context_.declared_attributes->contains(name))
      fail_at(place, "ref_attr_name {} is no attribute that the function declares", quoted(name));
  }

  const Context& context_;
};

NameSet declared_attributes(const Function& function) {
  NameSet names(function.attributes.begin(), function.attributes.end());
  for (const Attribute& attribute : function.attribute_defaults) names.insert(attribute.name);
  return names;
}

void check_function(const Function& function, const Model& model, const NameSet& function_domains,
                    const Place& place) {
  if (function.name.empty()) fail_at(place, "the function has no name");
  check_imports(function.opset_import, place);
  // Functions written before imports were per function rely on the model's.
  const bool has_imports = !function.opset_import.empty();
  const Context context{
      .function_domains = function_domains,
      .imported_domains = domains_of(has_imports ? function.opset_import : model.opset_import),
      .declared_attributes = declared_attributes(function)};
  const GraphChecker checker(context);
  Scope scope;
  for (const std::string& input : function.inputs) checker.define(input, "input", scope, place);
  checker.check_nodes(function.nodes, scope, place);
  Scope outputs;
  for (const std::string& output : function.outputs) {
    checker.define(output, "output", outputs, place);
    if (!scope.sees(output))
      fail_at(place, "output {} is produced by no node and is no input of the function",
              quoted(output));
  }
}

void check_functions(const Model& model, const NameSet& function_domains, const Place& file) {
  std::set<std::tuple<std::string_view, std::string_view, std::string_view>> seen;
  for (size_t i = 0; i < model.functions.size(); ++i) {
    const Function& function = model.functions[i];
    const Place place{.parent = &file,
                      .kind = "function",
                      .name = function.name,
                      .index = static_cast<int64_t>(i)};
    if (!seen.insert({function.domain, function.name, function.overload}).second)
      fail_at(place, "the model has two functions of this name, domain and overload");
    check_function(function, model, function_domains, place);
  }
}

}  // namespace

void check_model(const Model& model) {
  const Place file{.name = model.path};
  check_ir_version(model, file);
  if (model.opset_import.empty())
    fail_at(file, "the model imports no operator set (opset_import); export it again");
  check_imports(model.opset_import, file);
  NameSet function_domains;
  for (const Function& function : model.functions) function_domains.insert(function.domain);
  check_functions(model, function_domains, file);
  const Context context{.function_domains = function_domains,
                        .imported_domains = domains_of(model.opset_import)};
  GraphChecker(context).check_graph(model.graph, nullptr, file);
}

}  // namespace onrush::onnx
