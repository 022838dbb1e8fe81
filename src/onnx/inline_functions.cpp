#include "onnx/inline_functions.h"

#include <optional>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "onnx/function_table.h"
#include "onnx/place.h"
#include "onnx/sort_nodes.h"

namespace onrush::onnx {
namespace {

constexpr int kMaxDepth = kMaxCallDepth;  // of calls and graphs within each other

using GraphPtr = std::shared_ptr<const Graph>;

// Hands out names that nothing in the model has.
class UniqueNames {
 public:
  void add(const Graph& graph) {
    for (const Initializer& initializer : graph.initializers) used_.try_emplace(initializer.name);
    for (const ValueInfo& input : graph.inputs) used_.try_emplace(input.name);
    for (const Node& node : graph.nodes) {
      for (const std::string& output : node.outputs) used_.try_emplace(output);
      for (const Attribute& attribute : node.attributes)
        for (const Graph* nested : subgraphs(attribute)) add(*nested);
    }
  }
  std::string make(const std::string& wish) {
    if (used_.try_emplace(wish).second) return wish;
    for (;;) {
      std::string name = fmt::format("{}_{}", wish, ++used_[wish]);
      if (used_.try_emplace(name).second) return name;
    }
  }

 private:
  std::unordered_map<std::string, int64_t> used_;  // and the last suffix given to it
};

// What all calls share.
struct Shared {
  std::unordered_map<std::string_view, int64_t> opsets;  // of the model, by domain
  const Place& file;
  InlineLimits limits;
  UniqueNames names;
  int64_t nodes = 0;
  int64_t bytes = 0;

  void charge_node() {
    if (++nodes > limits.nodes)
      fail_at(ErrorCode::unsupported, file,
              "inlining the model's functions gives more than {} nodes; export the model with less "
              "nesting",
              limits.nodes);
  }
  void charge_bytes(size_t size) {
    bytes += static_cast<int64_t>(size);
    if (bytes > limits.bytes)
      fail_at(ErrorCode::unsupported, file,
              "inlining the model's functions copies more than {} bytes of names and attributes",
              limits.bytes);
  }
};

// About the memory that a copy takes.
size_t heap_bytes(const std::vector<std::pair<std::string, std::string>>& entries) {
  size_t total = 0;
  for (const auto& entry : entries)
    total += sizeof entry + entry.first.size() + entry.second.size();
  return total;
}

size_t heap_bytes(const ValueInfo& info) {
  const size_t rank = info.type.shape ? info.type.shape->size() : 0;
  return sizeof info + info.doc_string.size() + heap_bytes(info.metadata) +
         rank * sizeof(Dimension);
}

size_t heap_bytes(const Node& node) {
  return sizeof node + node.name.size() + node.op_type.size() + node.domain.size() +
         node.overload.size() + node.doc_string.size() + heap_bytes(node.metadata);
}

size_t heap_bytes(const Attribute& attribute) {
  const auto size = [](const auto& value) -> size_t {
    if constexpr (requires { value.size() * sizeof(value[0]); })
      return value.size() * sizeof(value[0]);
    else return 0;
  };
  size_t total = attribute.name.size() + std::visit(size, attribute.value);
  if (const auto* strings = std::get_if<std::vector<std::string>>(&attribute.value))
    for (const std::string& text : *strings) total += text.size();
  return total;
}

// One call: copies nodes of the function's body with the caller's names and attributes in place.
class Instance {
 public:
  Instance(const Function& function, const Node& call, Shared& shared)
      : function_(function), call_(call), shared_(shared), prefix_(prefix(call, shared)) {
    check_arity();
    for (const Attribute& given : call.attributes) attributes_.emplace(given.name, &given);
    for (const Attribute& preset : function.attribute_defaults)
      attributes_.emplace(preset.name, &preset);
    scopes_.emplace_back();
    for (size_t i = 0; i < function.inputs.size(); ++i)
      bind(function.inputs[i], i < call.inputs.size() ? call.inputs[i] : "");
    for (size_t i = 0; i < function.outputs.size(); ++i) {
      const std::string& formal = function.outputs[i];
      const bool is_used = i < call.outputs.size() && !call.outputs[i].empty();
      if (const auto input = scopes_.back().find(formal); input != scopes_.back().end()) {
        if (is_used) pass_through_.push_back(identity(input->second, call.outputs[i]));
      } else {
        bind(formal, is_used ? call.outputs[i] : fresh(formal));
      }
    }
  }

  // To be called for the body's nodes in order.
  Node copy(const Node& node) {
    shared_.charge_node();
    shared_.charge_bytes(prefix_.size() + heap_bytes(node));
    Node result;
    result.name = prefix_ + "/" + (node.name.empty() ? node.op_type : node.name);
    result.op_type = node.op_type;
    result.domain = node.domain;
    result.overload = node.overload;
    result.doc_string = node.doc_string;
    result.metadata = node.metadata;
    result.opset_version = opset_version(node.domain);
    for (const std::string& input : node.inputs) result.inputs.push_back(renamed(input));
    for (const Attribute& attribute : node.attributes)
      if (std::optional<Attribute> value = resolve(attribute))
        result.attributes.push_back(std::move(*value));
    for (const std::string& output : node.outputs) result.outputs.push_back(defined(output));
    return result;
  }

  // Identities for outputs of the function that are its inputs.
  const std::vector<Node>& pass_through() const { return pass_through_; }

 private:
  static std::string prefix(const Node& call, Shared& shared) {
    return shared.names.make(call.name.empty() ? call.op_type : call.name);
  }

  void check_arity() const {
    const auto check = [&](std::string_view what, size_t given, size_t declared) {
      if (given > declared)
        fail_at(place(), "the call has {} {} where the function declares {}", given, what,
                declared);
    };
    check("inputs", call_.inputs.size(), function_.inputs.size());
    check("outputs", call_.outputs.size(), function_.outputs.size());
  }

  Place place() const {
    return {.parent = &shared_.file, .kind = "node", .name = call_.name, .op_type = call_.op_type};
  }

  std::string fresh(std::string_view name) {
    shared_.charge_bytes(2 * (prefix_.size() + name.size()));
    return shared_.names.make(fmt::format("{}/{}", prefix_, name));
  }

  void bind(std::string_view name, std::string actual) {
    scopes_.back().insert_or_assign(name, std::move(actual));
  }

  const std::string* find(std::string_view name) const {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->find(name); found != scope->end()) return &found->second;
    return nullptr;
  }

  std::string renamed(const std::string& name) {
    if (name.empty()) return name;
    const std::string* actual = find(name);
    if (!actual) fail_at(place(), "the function uses {}, which it does not define", quoted(name));
    shared_.charge_bytes(actual->size());
    return *actual;
  }

  // The new name of a value that a node of the innermost graph produces.
  std::string defined(const std::string& name) {
    if (name.empty()) return name;
    if (const auto output = scopes_.back().find(name); output != scopes_.back().end())
      return output->second;
    bind(name, fresh(name));
    return scopes_.back().at(name);
  }

  // 0 where the model's own version holds.
  int64_t opset_version(const std::string& domain) const {
    for (const auto& [imported, version] : function_.opset_import)
      if (imported == domain) return version == shared_.opsets.at(domain) ? 0 : version;
    return 0;
  }

  Node identity(const std::string& input, const std::string& output) const {
    if (input.empty())
      fail_at(place(), "the function returns an optional input that the call leaves out");
    Node node;
    node.name = prefix_ + "/Identity";
    node.op_type = "Identity";
    node.inputs = {input};
    node.outputs = {output};
    node.opset_version = opset_version("");
    return node;
  }

  std::optional<Attribute> resolve(const Attribute& attribute) {
    const Attribute* source = &attribute;
    if (!attribute.ref_attr_name.empty()) {
      const auto given = attributes_.find(attribute.ref_attr_name);
      if (given == attributes_.end()) return std::nullopt;
      source = given->second;
    }
    shared_.charge_bytes(heap_bytes(*source));
    Attribute result = *source;
    result.name = attribute.name;
    // Graphs of the caller keep the caller's names; those of the body are the body's.
    if (source == &attribute) copy_graphs(result);
    return result;
  }

  void copy_graphs(Attribute& attribute) {
    if (auto* graph = std::get_if<GraphPtr>(&attribute.value)) *graph = copy_graph(**graph);
    if (auto* graphs = std::get_if<std::vector<GraphPtr>>(&attribute.value))
      for (GraphPtr& graph : *graphs) graph = copy_graph(*graph);
  }

  GraphPtr copy_graph(const Graph& graph) {
    auto result = std::make_shared<Graph>();
    result->name = graph.name;
    result->doc_string = graph.doc_string;
    result->metadata = graph.metadata;
    scopes_.emplace_back();
    for (const ValueInfo& input : graph.inputs)
      result->inputs.push_back(copy_info(input, defined(input.name)));
    for (const Initializer& initializer : graph.initializers)
      result->initializers.push_back({defined(initializer.name), initializer.tensor});
    for (const Node& node : graph.nodes) result->nodes.push_back(copy(node));
    for (const ValueInfo& output : graph.outputs)
      result->outputs.push_back(copy_info(output, renamed(output.name)));
    for (const ValueInfo& info : graph.value_info)
      if (const std::string* actual = find(info.name))
        result->value_info.push_back(copy_info(info, *actual));
    scopes_.pop_back();
    return result;
  }

  ValueInfo copy_info(const ValueInfo& info, const std::string& name) {
    shared_.charge_bytes(name.size() + heap_bytes(info));
    ValueInfo result = info;
    result.name = name;
    return result;
  }

  const Function& function_;
  const Node& call_;
  Shared& shared_;
  std::string prefix_;
  std::unordered_map<std::string_view, const Attribute*> attributes_;  // the call's, else defaults
  std::vector<std::unordered_map<std::string_view, std::string>> scopes_;  // innermost last
  std::vector<Node> pass_through_;
};

class Inliner {
 public:
  Inliner(const FunctionTable& table, Shared& shared) : table_(table), shared_(shared) {}

  std::vector<Node> expand(const std::vector<Node>& nodes, int depth) {
    std::vector<Node> result;
    for (const Node& node : nodes) expand_node(node, result, depth);
    return result;
  }

 private:
  // Appends what takes the place of `node`. REQUIRES: no references to attributes left in it.
  void expand_node(Node node, std::vector<Node>& result, int depth) {
    if (depth > kMaxDepth)
      fail_at(ErrorCode::unsupported, shared_.file,
              "calls of functions and graphs nest more than {} levels deep", kMaxDepth);
    for (Attribute& attribute : node.attributes) expand_graphs(attribute, depth);
    const Function* callee = table_.callee(node);
    if (!callee) {
      result.push_back(std::move(node));
      return;
    }
    Instance instance(*callee, node, shared_);
    for (const Node& inner : callee->nodes) expand_node(instance.copy(inner), result, depth + 1);
    for (const Node& identity : instance.pass_through()) result.push_back(identity);
  }

  void expand_graphs(Attribute& attribute, int depth) {
    if (auto* graph = std::get_if<GraphPtr>(&attribute.value)) expand_graph(*graph, depth);
    if (auto* graphs = std::get_if<std::vector<GraphPtr>>(&attribute.value))
      for (GraphPtr& graph : *graphs) expand_graph(graph, depth);
  }

  // Graphs without calls stay shared.
  void expand_graph(GraphPtr& graph, int depth) {
    if (!has_calls(*graph)) return;
    auto result = std::make_shared<Graph>(*graph);
    result->nodes = expand(graph->nodes, depth + 1);
    graph = std::move(result);
  }

  bool has_calls(const Graph& graph) {
    for (const Node& node : graph.nodes) {
      shared_.charge_node();
      if (table_.callee(node)) return true;
      for (const Attribute& attribute : node.attributes)
        for (const Graph* nested : subgraphs(attribute))
          if (has_calls(*nested)) return true;
    }
    return false;
  }

  const FunctionTable& table_;
  Shared& shared_;
};

// The model's imports and, of domains it does not import, the first function's that does.
std::vector<std::pair<std::string, int64_t>> all_imports(const Model& model) {
  auto imports = model.opset_import;
  std::unordered_set<std::string_view> domains;
  for (const auto& import : model.opset_import) domains.insert(import.first);
  for (const Function& function : model.functions)
    for (const auto& import : function.opset_import)
      if (domains.insert(import.first).second) imports.push_back(import);
  return imports;
}

}  // namespace

void inline_functions(Model& model, const InlineLimits& limits) {
  if (model.functions.empty()) return;
  const Place file{.name = model.path};
  const FunctionTable table(model.functions);
  check_calls(model.functions, table, file);

  Model result = model;
  result.opset_import = all_imports(model);
  Shared shared{.opsets = {result.opset_import.begin(), result.opset_import.end()},
                .file = file,
                .limits = limits};
  shared.names.add(model.graph);
  result.graph.nodes = Inliner(table, shared).expand(model.graph.nodes, 0);
  result.functions.clear();
  model = std::move(result);
}

}  // namespace onrush::onnx
