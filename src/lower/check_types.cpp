#include "lower/check_types.h"

#include <unordered_map>

#include "base/check.h"
#include "lower/lower.h"

namespace onrush {
namespace {

using GraphPtr = std::shared_ptr<const onnx::Graph>;
using Kind = ValueType::Kind;
using ValueTypes = std::vector<ValueType>;

ValueType tensor_or(const onnx::Node& node, std::string_view attribute, ValueType otherwise) {
  const onnx::Attribute* found = node.find(attribute);
  const int64_t* number = found ? std::get_if<int64_t>(&found->value) : nullptr;
  if (!number) return otherwise;
  if (*number <= 0 || *number >= kDTypeCount) return {};  // lowering refuses it
  return tensor_of(static_cast<DType>(*number));
}

ValueType constant_type(const onnx::Node& node) {
  for (const onnx::Attribute& attribute : node.attributes) {
    if (const auto* tensor = std::get_if<Tensor>(&attribute.value))
      return tensor_of(tensor->dtype());
    if (attribute.name.starts_with("value_float")) return tensor_of(DType::f32);
    if (attribute.name.starts_with("value_int")) return tensor_of(DType::i64);
    if (attribute.name.starts_with("value_string")) return tensor_of(DType::string);
  }
  return {};
}

ValueType in_sequence(ValueType type) {
  return type.kind == Kind::tensor ? ValueType{Kind::sequence, type.element} : ValueType{};
}
ValueType out_of_sequence(ValueType type) {
  return type.kind == Kind::sequence ? tensor_of(type.element) : ValueType{};
}
ValueType in_optional(ValueType type) {
  if (type.kind == Kind::tensor) return {Kind::optional, type.element};
  return type.kind == Kind::sequence ? ValueType{Kind::optional_sequence, type.element}
                                     : ValueType{};
}
ValueType out_of_optional(ValueType type) {
  if (type.kind == Kind::optional) return {Kind::tensor, type.element};
  if (type.kind == Kind::optional_sequence) return {Kind::sequence, type.element};
  return type;
}

// The types of outputs that no type variable tells, from attributes and the types of inputs.
ValueType special_type(const onnx::Node& node, const ValueTypes& inputs) {
  const auto input = [&](size_t i) { return i < inputs.size() ? inputs[i] : ValueType{}; };
  const ValueType f32 = tensor_of(DType::f32);
  const std::string_view op = node.op_type;
  if (op == "Cast" || op == "BitCast") return tensor_or(node, "to", {});
  if (op == "Constant" || op == "ConstantOfShape")
    return node.attributes.empty() ? f32 : constant_type(node);
  if (op == "EyeLike" || op == "Bernoulli" || op == "RandomNormalLike" || op == "RandomUniformLike")
    return tensor_or(node, "dtype", input(0));
  if (op == "RandomNormal" || op == "RandomUniform") return tensor_or(node, "dtype", f32);
  if (op == "Multinomial") return tensor_or(node, "dtype", tensor_of(DType::i32));
  if (op.ends_with("Window") || op == "MelWeightMatrix")
    return tensor_or(node, "output_datatype", f32);
  if (op == "QuantizeLinear")
    return tensor_or(node, "output_dtype", input(2).known() ? input(2) : tensor_of(DType::u8));
  if (op == "DequantizeLinear") return tensor_or(node, "output_dtype", input(1));
  if (op == "SequenceEmpty") return in_sequence(tensor_or(node, "dtype", f32));
  if (op == "SequenceConstruct" || op == "SplitToSequence") return in_sequence(input(0));
  if (op == "SequenceAt" || op == "ConcatFromSequence") return out_of_sequence(input(0));
  if (op == "Optional") return in_optional(input(0));
  if (op == "OptionalGetElement") return out_of_optional(input(0));
  return {};
}

class TypeChecker {
 public:
  explicit TypeChecker(const onnx::Model& model) : model_(model) {}

  // Of the graph's outputs, for inputs of those types, which the declared ones override.
  ValueTypes check(const onnx::Graph& graph, const ValueTypes& inputs, const TypeChecker* outer) {
    outer_ = outer;
    for (size_t i = 0; i < graph.inputs.size(); ++i) {
      const ValueType declared = value_type(graph.inputs[i].type);
      const bool given = !declared.known() && i < inputs.size();
      types_[graph.inputs[i].name] = given ? inputs[i] : declared;
    }
    for (const auto& initializer : graph.initializers)
      types_[initializer.name] = tensor_of(initializer.tensor.dtype());
    for (const auto* values : {&graph.value_info, &graph.outputs})
      for (const onnx::ValueInfo& value : *values) declared_[value.name] = value_type(value.type);
    for (const onnx::Node& node : graph.nodes) check(node);
    ValueTypes outputs;
    for (const onnx::ValueInfo& output : graph.outputs) outputs.push_back(type_of(output.name));
    return outputs;
  }

 private:
  // A type variable's type, and the value that settled it.
  struct Bound {
    ValueType type;
    std::string_view value;
  };

  ValueType type_of(std::string_view name) const {
    const auto found = types_.find(name);
    if (found != types_.end()) return found->second;
    return outer_ ? outer_->type_of(name) : ValueType{};
  }

  template <class... Args>
  [[noreturn]] void refuse(const onnx::Node& node, fmt::format_string<Args...> format,
                           Args&&... args) const {
    fail(ErrorCode::invalid_model, "{}: {}", describe(model_, node),
         fmt::format(format, std::forward<Args>(args)...));
  }

  void check(const onnx::Node& node) {
    const OpSchema& schema = find_schema(node.domain, node.op_type, model_.opset_of(node));
    std::vector<Bound> bound(schema.types.size());
    ValueTypes inputs;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      inputs.push_back(node.inputs[i].empty() ? ValueType{} : type_of(node.inputs[i]));
      if (inputs.back().known()) check_input(node, i, inputs.back(), schema, bound);
    }
    const ValueTypes bodies = check_bodies(node, inputs);
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      if (node.outputs[i].empty()) continue;
      const ValueType type =
          i < bodies.size() ? bodies[i] : output_type(node, i, schema, bound, inputs);
      set_output(node, node.outputs[i], type);
    }
  }

  void check_input(const onnx::Node& node, size_t i, ValueType type, const OpSchema& schema,
                   std::vector<Bound>& bound) const {
    const OpSchema::Parameter* parameter = OpSchema::at(schema.inputs, i);
    if (!parameter) return;  // of an operator that ONNX does not know
    const OpSchema::TypeVariable& variable = schema.types[parameter->type];
    if (!variable.types.contains(type))
      refuse(node,
             "input '{}' ({}) is {}, and {} of opset {} takes {}; cast it, or export the "
             "model again",
             node.inputs[i], parameter->name, to_string(type), node.op_type, model_.opset_of(node),
             variable.types.to_string(type.kind));
    if (!parameter->homogeneous) return;
    Bound& known = bound[parameter->type];
    if (!known.type.known()) known = {type, node.inputs[i]};
    if (known.type != type)
      refuse(node, "inputs '{}' and '{}' must have one type, and are {} and {}; cast one of them",
             known.value, node.inputs[i], to_string(known.type), to_string(type));
  }

  ValueType output_type(const onnx::Node& node, size_t i, const OpSchema& schema,
                        const std::vector<Bound>& bound, const ValueTypes& inputs) const {
    const OpSchema::Parameter* parameter = OpSchema::at(schema.outputs, i);
    if (!parameter || !parameter->homogeneous) return {};
    if (const ValueType type = bound[parameter->type].type; type.known()) return type;
    if (const ValueType type = schema.types[parameter->type].types.only(); type.known())
      return type;
    if (node.op_type == "LayerNormalization")  // mean and deviation
      return tensor_or(node, "stash_type", tensor_of(DType::f32));
    return i == 0 ? special_type(node, inputs) : ValueType{};
  }

  void set_output(const onnx::Node& node, const std::string& name, ValueType type) {
    const auto found = declared_.find(name);
    const ValueType declared = found == declared_.end() ? ValueType{} : found->second;
    if (type.known() && declared.known() && type != declared)
      refuse(node, "output '{}' is {}, and the model declares it as {}; export the model again",
             name, to_string(type), to_string(declared));
    types_[name] = type.known() ? type : declared;
  }

  // The types of the outputs of If and loops, as the bodies tell them.
  ValueTypes check_bodies(const onnx::Node& node, const ValueTypes& inputs) const {
    const bool is_branch = node.op_type == "If";
    ValueTypes results;
    for (const onnx::Attribute& attribute : node.attributes) {
      const auto* body = std::get_if<GraphPtr>(&attribute.value);
      if (!body) continue;
      ValueTypes given = is_branch ? ValueTypes{} : inputs_of_body(node, inputs);
      if (is_loop(node)) check_inputs(node, **body, given);
      results = TypeChecker(model_).check(**body, given, this);
      if (node.op_type == "Loop" && !results.empty()) results.erase(results.begin());  // go on?
      if ((is_branch || is_loop(node)) && node.outputs.size() > results.size())
        refuse(node, "it has {} outputs, and its body '{}' gives {}; export the model again",
               node.outputs.size(), attribute.name, results.size());
    }
    if (node.op_type == "SequenceMap")
      for (ValueType& type : results) type = in_sequence(type);
    return is_branch || is_loop(node) ? results : ValueTypes{};
  }

  // What a trip is given.
  ValueTypes inputs_of_body(const onnx::Node& node, ValueTypes inputs) const {
    if (node.op_type == "Loop" && inputs.size() >= 2) {
      inputs[0] = tensor_of(DType::i64);
      inputs[1] = tensor_of(DType::boolean);
    }
    if (node.op_type == "SequenceMap")
      for (ValueType& type : inputs)
        if (type.kind == Kind::sequence) type = out_of_sequence(type);
    const bool has_lengths = node.op_type == "Scan" && model_.opset_of(node) < 9;
    if (has_lengths && !inputs.empty()) inputs.erase(inputs.begin());
    return inputs;
  }

  void check_inputs(const onnx::Node& node, const onnx::Graph& body,
                    const ValueTypes& given) const {
    if (body.inputs.size() != given.size())
      refuse(node, "its body has {} inputs, and the node gives it {}; export the model again",
             body.inputs.size(), given.size());
    for (size_t i = 0; i < given.size(); ++i) {
      const ValueType declared = value_type(body.inputs[i].type);
      if (declared.known() && given[i].known() && declared != given[i])
        refuse(node,
               "input '{}' of its body is {}, and the node gives it {}; export the model again",
               body.inputs[i].name, to_string(declared), to_string(given[i]));
    }
  }

  const onnx::Model& model_;
  const TypeChecker* outer_ = nullptr;
  std::unordered_map<std::string_view, ValueType> types_, declared_;
};

}  // namespace

void check_types(const onnx::Model& model) { TypeChecker(model).check(model.graph, {}, nullptr); }

}  // namespace onrush
