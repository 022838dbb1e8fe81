#include "lower/lower.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "base/numeric.h"
#include "ir/fold_elements.h"
#include "ir/fold_floats.h"
#include "lower/op_context.h"
#include "lower/op_table.h"
#include "reference/evaluate.h"

namespace onrush {

Value& Environment::entry(std::string_view name) {
  Entry& entry = values_[name];
  entry.is_set = true;
  return entry.value;
}

void Environment::clear() {
  static const Tensor nothing;
  for (auto& [name, entry] : values_) {
    if (entry.is_set) entry.value = nothing;
    entry.is_set = false;
  }
}

const Value* Environment::find(std::string_view name) const {
  for (const Environment* scope = this; scope; scope = scope->outer_) {
    if (const auto found = scope->values_.find(name);
        found != scope->values_.end() && found->second.is_set)
      return &found->second.value;
    if (scope->constants_.contains(name)) return nullptr;
  }
  return nullptr;
}

const Tensor* Environment::find_constant(std::string_view name) const {
  for (const Environment* scope = this; scope; scope = scope->outer_) {
    if (const auto found = scope->values_.find(name);
        found != scope->values_.end() && found->second.is_set)
      return nullptr;
    if (const auto found = scope->constants_.find(name); found != scope->constants_.end())
      return &found->second;
  }
  return nullptr;
}

bool is_loop(const onnx::Node& node) {
  return node.domain.empty() &&
         (node.op_type == "Loop" || node.op_type == "Scan" || node.op_type == "SequenceMap");
}

std::string describe(const onnx::Model& model, const onnx::Node& node) {
  const std::string file = model.path.empty() ? "model" : model.path;
  const std::string& label =
      !node.name.empty() || node.outputs.empty() ? node.name : node.outputs[0];
  const std::string domain = node.domain.empty() ? "" : node.domain + ".";
  return fmt::format("{}: node '{}' ({}{})", file, label, domain, node.op_type);
}

namespace {

enum SignatureToken { kTensor, kSequence, kOptional, kEmptyOptional, kMap };

// Gives the tokens of a value's signature to `take`, which may stop it by returning false.
template <class Take>
bool walk_signature(const Value& value, Take& take) {
  if (value.is_tensor())
    return take(kTensor) && take(static_cast<int>(value.tensor().dtype())) &&
           take(value.tensor().rank());
  if (value.is_sequence()) {
    const auto& elements = value.sequence().elements;
    if (!take(kSequence) || !take(static_cast<int>(elements.size()))) return false;
    return std::ranges::all_of(elements,
                               [&](const Value& element) { return walk_signature(element, take); });
  }
  if (!value.is_optional()) return take(kMap);
  const auto& held = value.optional().value;
  return held ? take(kOptional) && walk_signature(*held, take) : take(kEmptyOptional);
}

}  // namespace

Signature signature(const Value& value) {
  Signature tokens;
  const auto take = [&](int token) {
    tokens.push_back(token);
    return true;
  };
  walk_signature(value, take);
  return tokens;
}

bool has_signature(const Value& value, const Signature& signature) {
  size_t next = 0;
  const auto take = [&](int token) {
    return next < signature.size() && signature[next++] == token;
  };
  return walk_signature(value, take) && next == signature.size();
}

const Tensor& tensor_at(const Environment& environment, const ValuePath& path) {
  const Value* value = environment.find(path.name);
  internal_check(value != nullptr, "a segment input is there");
  return tensor_at(*value, path);
}

const Tensor& tensor_at(const Value& outermost, const ValuePath& path) {
  const Value* value = &outermost;
  for (int step : path.steps)
    value = value->is_sequence() ? &value->sequence().elements[static_cast<size_t>(step)]
                                 : value->optional().value.get();
  return value->tensor();
}

namespace {

constexpr int64_t kMaxInputElements = 64;  // of an integer input whose elements may become dims

int64_t opset_of(const onnx::Model& model, const onnx::Node& node) {
  return node.opset_version ? node.opset_version : model.opset(node.domain);
}

class SegmentLowering final : public ValueResolver {
 public:
  SegmentLowering(const SegmentRequest& request, const Environment& environment)
      : model_(*request.model),
        request_(request),
        environment_(environment),
        b_(constant_folder()) {
    for (const auto& input : model_.graph.inputs) declared_[input.name] = &input.type;
  }

  LoweredSegment run();

  std::optional<Dims> dims_of(NodeId node) override;
  std::optional<Tensor> value_of(NodeId node) override;
  std::vector<Lowered> inline_graph(const onnx::Graph& graph, std::vector<Lowered> inputs) override;

 private:
  void lower_node(const NodePtr& node);
  void lower_now(const onnx::Node& node);
  void lower_if(const onnx::Node& node);
  void defer(const NodePtr& node);
  bool is_deferred(const onnx::Node& node) const;
  std::vector<Lowered> operands(const onnx::Node& node);
  Lowered resolve(const std::string& name);
  Lowered input(const std::string& name, const Value& value, std::vector<int> steps);
  NodeId tensor_input(const std::string& name, const Tensor& tensor, std::vector<int> steps);
  TensorType input_type(const std::string& name, const Tensor& tensor, bool nested, int input);
  void define(const onnx::Node& node, Results results);
  void collect_results();
  Skeleton skeleton(const std::string& name, const Lowered& value);
  const Tensor& input_tensor(const Node& node) const;
  Tensor input_value(const Node& node) const;

  const onnx::Model& model_;
  const SegmentRequest& request_;
  const Environment& environment_;
  Builder b_;
  LoweredSegment result_;
  std::unordered_map<std::string, const onnx::Type*> declared_;
  std::unordered_map<std::string, Lowered> known_;
  std::unordered_set<std::string> deferred_names_;
  std::unordered_map<std::string, Dim> dim_params_;
  std::unordered_map<uint32_t, Dims> input_elements_;
  std::unordered_map<uint32_t, Tensor> values_;
  Origins origins_;             // of the node being lowered
  std::vector<NodePtr> queue_;  // remaining nodes, last first
  int branches_ = 0;
};

// --- values at lowering time

const Tensor& SegmentLowering::input_tensor(const Node& node) const {
  const auto index = static_cast<size_t>(node.as<InputAttr>().index);
  return tensor_at(environment_, result_.inputs[index]);
}

// The same with elements that can be read.
Tensor SegmentLowering::input_value(const Node& node) const {
  const Tensor& tensor = input_tensor(node);
  return request_.on_host ? request_.on_host(tensor) : tensor;
}

std::optional<Dims> SegmentLowering::dims_of(NodeId id) {
  if (auto known = b_.elements(id)) return known;
  if (const auto found = input_elements_.find(id.index); found != input_elements_.end())
    return found->second;
  const Node node = b_.node(id);
  const auto* type = std::get_if<TensorType>(&node.type);
  if (!type || !(is_integer(type->dtype) || type->dtype == DType::boolean)) {
    auto value = value_of(id);
    if (!value) return std::nullopt;
    Dims dims;
    for (int64_t i = 0; i < value->count(); ++i)
      dims.push_back(load_i64(value->dtype(), value->data(), i));
    return dims;
  }
  Shape shape;
  for (Dim dim : type->shape) {
    if (dim.is_unknown()) return std::nullopt;
    if (dim.value() > kMaxFoldedElements) return std::nullopt;
    shape.push_back(fix(dim, "a tensor of sizes"));
  }
  if (node.op == Op::input) {
    if (input_tensor(node).count() > kMaxInputElements) return std::nullopt;
    const Tensor tensor = input_value(node);
    Dims dims;
    for (int64_t i = 0; i < tensor.count(); ++i) {
      const int index = node.as<InputAttr>().index;
      dims.push_back(b_.shapes().symbol(
          fmt::format("{}[{}]", b_.graph().inputs[static_cast<size_t>(index)].name, i),
          {SymbolSource::Kind::element, index, i}, load_i64(tensor.dtype(), tensor.data(), i),
          type->dtype == DType::boolean ? 0 : INT64_MIN / 4));
    }
    input_elements_[id.index] = dims;
    return dims;
  }
  if (node.op == Op::cast && is_float(b_.dtype(node.inputs[0])))
    if (auto sizes = fold_float_cast(b_.graph(), node, [this](NodeId x) { return dims_of(x); })) {
      input_elements_[id.index] = *sizes;
      return sizes;
    }
  std::vector<ElementTensor> operands;
  for (NodeId operand : node.inputs) {
    if (!std::holds_alternative<TensorType>(b_.node(operand).type)) break;
    auto elements = dims_of(operand);
    if (!elements) return std::nullopt;
    Shape operand_shape;
    for (Dim dim : b_.shape(operand)) operand_shape.push_back(dim.value());
    operands.push_back({std::move(*elements), std::move(operand_shape)});
  }
  std::optional<Dims> folded;
  if (operands.size() == node.inputs.size() && element_count(shape) <= kMaxFoldedElements)
    folded = fold_elements(node, operands, shape);
  if (!folded) {
    const auto value = value_of(id);
    if (!value) return std::nullopt;
    folded.emplace();
    for (int64_t i = 0; i < value->count(); ++i)
      folded->push_back(load_i64(value->dtype(), value->data(), i));
  }
  input_elements_[id.index] = *folded;
  return folded;
}

std::optional<Tensor> SegmentLowering::value_of(NodeId id) {
  if (const Tensor* constant = b_.constant_tensor(id)) return *constant;
  if (const auto found = values_.find(id.index); found != values_.end()) return found->second;
  const Node node = b_.node(id);
  if (node.op == Op::random_bits || !std::holds_alternative<TensorType>(node.type))
    return std::nullopt;
  Tensor tensor;
  if (node.op == Op::input) {
    tensor = input_value(node);
    for (Dim dim : std::get<TensorType>(node.type).shape) fix(dim, "a value needed for compiling");
    result_.contents.push_back({node.as<InputAttr>().index, tensor});
  } else {
    std::vector<Tensor> operands;
    for (NodeId operand : node.inputs) {
      const Node& producer = b_.node(operand);
      if (!std::holds_alternative<TensorType>(producer.type)) return std::nullopt;
      auto value = value_of(operand);
      if (!value) return std::nullopt;
      operands.push_back(std::move(*value));
    }
    const auto size = [](Dim dim) { return fix(dim, "a value needed for compiling"); };
    tensor = evaluate_node(node, operands, size).at(0);
  }
  values_[id.index] = tensor;
  return tensor;
}

// --- inputs

TensorType SegmentLowering::input_type(const std::string& name, const Tensor& tensor, bool nested,
                                       int input) {
  TensorType type{tensor.dtype(), {}};
  const auto declared = declared_.find(name);
  const bool has_shape = !nested && declared != declared_.end() && declared->second->shape &&
                         declared->second->shape->size() == tensor.shape().size();
  for (size_t axis = 0; axis < tensor.shape().size(); ++axis) {
    const int64_t extent = tensor.shape()[axis];
    const onnx::Dimension dimension =
        has_shape ? (*declared->second->shape)[axis] : onnx::Dimension{};
    if (dimension.value == extent) {
      type.shape.emplace_back(extent);
      continue;
    }
    const auto shared = dim_params_.find(dimension.param);
    if (!dimension.param.empty() && shared != dim_params_.end() &&
        shared->second.value() == extent) {
      type.shape.push_back(shared->second);
      continue;
    }
    const Dim symbol = b_.shapes().symbol(
        dimension.param.empty() ? fmt::format("{}.{}", name, axis) : dimension.param,
        {SymbolSource::Kind::extent, input, static_cast<int64_t>(axis)}, extent);
    if (!dimension.param.empty()) dim_params_.emplace(dimension.param, symbol);
    type.shape.push_back(symbol);
  }
  return type;
}

NodeId SegmentLowering::tensor_input(const std::string& name, const Tensor& tensor,
                                     std::vector<int> steps) {
  const bool nested = !steps.empty();
  const int index = static_cast<int>(result_.inputs.size());
  TensorType type = input_type(name, tensor, nested, index);
  result_.inputs.push_back({name, std::move(steps)});
  return b_.input(name, std::move(type));
}

Lowered SegmentLowering::input(const std::string& name, const Value& value,
                               std::vector<int> steps) {
  const auto step = [&](int next) {
    std::vector<int> longer = steps;
    longer.push_back(next);
    return longer;
  };
  if (value.is_tensor()) return tensor_input(name, value.tensor(), std::move(steps));
  if (value.is_sequence()) {
    Lowered::Sequence sequence;
    const auto& elements = value.sequence().elements;
    for (size_t i = 0; i < elements.size(); ++i)
      sequence.elements.push_back(input(name, elements[i], step(static_cast<int>(i))));
    return sequence;
  }
  if (value.is_optional()) {
    Lowered::Optional optional;
    if (value.optional().value)
      optional.value = std::make_shared<Lowered>(input(name, *value.optional().value, step(0)));
    return optional;
  }
  fail(ErrorCode::unsupported, "{}: '{}' is a map, which no operator here reads", model_.path,
       name);
}

Lowered SegmentLowering::resolve(const std::string& name) {
  if (name.empty()) return {};
  if (const auto found = known_.find(name); found != known_.end()) return found->second;
  if (const Tensor* constant = environment_.find_constant(name))
    return known_[name] = Lowered(b_.constant(*constant));
  if (const Value* value = environment_.find(name)) {
    result_.signatures.emplace_back(name, signature(*value));
    return known_[name] = input(name, *value, {});
  }
  fail(ErrorCode::invalid_model, "{}: no value named '{}' is there", model_.path, name);
}

std::vector<Lowered> SegmentLowering::operands(const onnx::Node& node) {
  std::vector<Lowered> operands;
  for (const std::string& name : node.inputs) operands.push_back(resolve(name));
  return operands;
}

// --- nodes

// A tensor whose size only the run will tell: whoever reads it waits for the next segment.
bool has_unknown_size(const Builder& b, const Lowered& value) {
  if (const NodeId* node = value.node()) {
    for (Dim dim : b.shape(*node))
      if (dim.is_unknown()) return true;
  }
  if (const auto* sequence = value.sequence())
    return std::any_of(sequence->elements.begin(), sequence->elements.end(),
                       [&](const Lowered& element) { return has_unknown_size(b, element); });
  return false;
}

bool SegmentLowering::is_deferred(const onnx::Node& node) const {
  for (const std::string& name : names_read(node)) {
    if (deferred_names_.contains(name)) return true;
    if (const auto found = known_.find(name);
        found != known_.end() && has_unknown_size(b_, found->second))
      return true;
  }
  return false;
}

void SegmentLowering::defer(const NodePtr& node) {
  result_.rest.push_back(node);
  for (const std::string& output : node->outputs) deferred_names_.insert(output);
}

void SegmentLowering::define(const onnx::Node& node, Results results) {
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    if (node.outputs[i].empty()) continue;
    if (i >= results.values.size() || results.values[i].is_absent())
      fail(ErrorCode::unsupported, "output {} is not supported", i);
    known_[node.outputs[i]] = std::move(results.values[i]);
  }
}

void SegmentLowering::lower_if(const onnx::Node& node) {
  const OpContext c(b_, *this, node, opset_of(model_, node), operands(node));
  const Dims condition = c.dims_of(c.in(0));
  c.require(condition.size() == 1, "the condition must have one element");
  const bool truth = !decide(equal(condition[0], 0), describe(model_, node));
  const auto* attribute = node.find(truth ? "then_branch" : "else_branch");
  c.require(
      attribute && std::holds_alternative<std::shared_ptr<const onnx::Graph>>(attribute->value),
      "a branch is missing");
  const auto& branch = *std::get<std::shared_ptr<const onnx::Graph>>(attribute->value);
  c.require(branch.outputs.size() == node.outputs.size(),
            "a branch gives another number of outputs");
  const std::string prefix =
      fmt::format("{}/{}{}/", node.outputs.empty() ? node.name : node.outputs[0],
                  truth ? "then" : "else", branches_++);
  std::vector<NodePtr> nodes = splice(branch, prefix, {}, node.outputs);
  queue_.insert(queue_.end(), nodes.rbegin(), nodes.rend());
}

std::vector<Lowered> SegmentLowering::inline_graph(const onnx::Graph& graph,
                                                   std::vector<Lowered> inputs) {
  const std::string prefix = fmt::format("inline{}/", branches_++);
  std::vector<std::string> from, to;
  for (size_t i = 0; i < inputs.size(); ++i) {
    from.push_back(prefix + graph.inputs[i].name);
    known_[from.back()] = std::move(inputs[i]);
  }
  for (const auto& output : graph.outputs) to.push_back(prefix + "/" + output.name);
  const std::vector<NodePtr> nodes = splice(graph, prefix, from, to);

  const size_t outer = queue_.size();
  const Origins origins = origins_;
  try {
    queue_.insert(queue_.end(), nodes.rbegin(), nodes.rend());
    while (queue_.size() > outer) {
      const NodePtr node = queue_.back();
      queue_.pop_back();
      if (is_loop(*node) || is_deferred(*node)) throw NotYetKnown{};
      lower_now(*node);
    }
  } catch (const NotYetKnown&) {
    queue_.resize(outer);
    throw;
  }
  b_.set_origins(origins_ = origins);
  std::vector<Lowered> results;
  for (const std::string& name : to) results.push_back(known_.at(name));
  return results;
}

// Throws NotYetKnown where the node has to wait for the next segment.
void SegmentLowering::lower_now(const onnx::Node& node) {
  try {
    origins_ = {
        b_.add_origin(node.name.empty() && !node.outputs.empty() ? node.outputs[0] : node.name)};
    b_.set_origins(origins_);
    if (node.op_type == "If" && node.domain.empty()) return lower_if(node);
    const OpRow* row = find_op(node.domain, node.op_type);
    internal_check(row != nullptr, "operators are checked when a model is loaded");
    OpContext context(b_, *this, node, opset_of(model_, node), operands(node));
    define(node, row->function(context));
  } catch (const Error& error) {
    throw Error(error.code(), describe(model_, node) + ": " + error.what());
  }
}

void SegmentLowering::lower_node(const NodePtr& node) {
  if (is_loop(*node) || is_deferred(*node)) return defer(node);
  const size_t checkpoint = b_.shapes().checkpoint();
  try {
    lower_now(*node);
  } catch (const NotYetKnown&) {
    b_.shapes().roll_back(checkpoint);
    defer(node);
  }
}

// --- results

Skeleton SegmentLowering::skeleton(const std::string& name, const Lowered& value) {
  Skeleton result;
  if (const NodeId* node = value.node()) {
    result.kind = Skeleton::Kind::tensor;
    result.output = static_cast<int>(b_.graph().outputs.size());
    b_.output(name, *node);
  } else if (const auto* sequence = value.sequence()) {
    result.kind = Skeleton::Kind::sequence;
    for (const Lowered& element : sequence->elements)
      result.children.push_back(skeleton(name, element));
  } else if (const auto* optional = value.optional()) {
    result.kind = optional->value ? Skeleton::Kind::optional : Skeleton::Kind::empty_optional;
    if (optional->value) result.children.push_back(skeleton(name, *optional->value));
  }
  return result;
}

void SegmentLowering::collect_results() {
  std::set<std::string> needed(request_.wanted.begin(), request_.wanted.end());
  for (const NodePtr& node : result_.rest) needed.merge(names_read(*node));
  // Graph outputs first and in the model's order, then what the rest reads.
  std::vector<std::string> names = request_.wanted;
  for (const std::string& name : needed)
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  for (const std::string& name : names) {
    const bool wanted =
        std::find(request_.wanted.begin(), request_.wanted.end(), name) != request_.wanted.end();
    if (deferred_names_.contains(name) || (!known_.contains(name) && !wanted)) continue;
    if (environment_.find(name)) continue;  // there already
    if (!wanted && environment_.find_constant(name)) continue;
    result_.results.emplace_back(name, skeleton(name, resolve(name)));
  }
}

LoweredSegment SegmentLowering::run() {
  queue_.assign(request_.nodes.rbegin(), request_.nodes.rend());
  while (!queue_.empty()) {
    const NodePtr node = queue_.back();
    queue_.pop_back();
    lower_node(node);
  }
  collect_results();
  result_.graph = b_.finish();
  return std::move(result_);
}

}  // namespace

LoweredSegment lower(const SegmentRequest& request, const Environment& environment) {
  return SegmentLowering(request, environment).run();
}

}  // namespace onrush
