// Loop, Scan and SequenceMap: the body is a scope of its own, run once an iteration.
#include <algorithm>
#include <cstring>

#include "base/check.h"
#include "base/numeric.h"
#include "runtime/scope.h"

namespace onrush {
namespace {

const onnx::Graph& body_of(const onnx::Node& node) {
  const onnx::Attribute* attribute = node.find("body");
  const auto* graph =
      attribute ? std::get_if<std::shared_ptr<const onnx::Graph>>(&attribute->value) : nullptr;
  if (!graph || !*graph) fail(ErrorCode::invalid_model, "the body is missing");
  return **graph;
}

// In host memory, where loops take slices and put results together.
Value value_of(const Environment& environment, const std::string& name) {
  if (const Value* value = environment.find(name)) return on_host(*value);
  if (const Tensor* constant = environment.find_constant(name)) return *constant;
  internal_error("a loop operand is there");
}

std::vector<int64_t> ints(const onnx::Node& node, std::string_view name) {
  const onnx::Attribute* attribute = node.find(name);
  const auto* values = attribute ? std::get_if<std::vector<int64_t>>(&attribute->value) : nullptr;
  return values ? *values : std::vector<int64_t>{};
}

Tensor scalar_i64(int64_t value) {
  return Tensor::of<int64_t>(DType::i64, {}, std::span(&value, 1));
}
Tensor scalar_bool(bool value) {
  const uint8_t byte = value;
  return Tensor::of<uint8_t>(DType::boolean, {}, std::span(&byte, 1));
}

bool truth(const Value& value) {
  const Tensor& tensor = value.tensor();
  if (tensor.count() != 1)
    fail(ErrorCode::invalid_model, "the loop condition must have one element");
  return load_i64(tensor.dtype(), tensor.data(), 0) != 0;
}

// One execution of the body; gives its outputs in order.
class Body {
 public:
  Body(ScopeShared& shared, const onnx::Node& node, const Environment& outer)
      : scope_(shared.body(body_of(node))), outer_(outer) {}

  const onnx::Graph& graph() const { return scope_.graph(); }

  std::vector<Value> run(RunState& state, std::span<const Value> inputs) {
    Environment inner = environment(inputs);
    scope_.run(state, inner, {});
    std::vector<Value> outputs;
    for (const auto& output : graph().outputs) outputs.push_back(value_of(inner, output.name));
    return outputs;
  }

  // What a scan output is if nothing was run: no elements, of the type that is declared or that the
  // output would have for the inputs.
  Tensor none(size_t output, std::span<const Value> inputs) const {
    const onnx::ValueInfo& declared = graph().outputs[output];
    Shape shape = {0};
    if (declared.type.element != DType::undefined) {
      if (declared.type.shape)
        for (const auto& dim : *declared.type.shape) shape.push_back(dim.value.value_or(0));
      return Tensor(declared.type.element, shape);
    }
    const TensorType type = scope_.type_of(environment(inputs), declared.name);
    for (Dim dim : type.shape) shape.push_back(dim.is_unknown() ? 0 : dim.value());
    return Tensor(type.dtype, shape);
  }

 private:
  Environment environment(std::span<const Value> inputs) const {
    Environment inner(&outer_);
    for (const auto& initializer : graph().initializers)
      inner.set_constant(initializer.name, initializer.tensor);
    for (size_t i = 0; i < inputs.size(); ++i) inner.set(graph().inputs[i].name, inputs[i]);
    return inner;
  }

  Scope& scope_;
  const Environment& outer_;
};

// --- strided copies between a tensor and one of its slices

struct SliceGeometry {
  int64_t outer = 1, inner_bytes = 0, extent = 0;
};

SliceGeometry geometry(const Tensor& tensor, int axis) {
  if (is_sub_byte(tensor.dtype()) || tensor.dtype() == DType::string)
    fail(ErrorCode::unsupported, "loops over tensors of {}", onnx_name(tensor.dtype()));
  SliceGeometry g;
  g.extent = tensor.shape()[static_cast<size_t>(axis)];
  int64_t inner = 1;
  for (int i = 0; i < tensor.rank(); ++i)
    (i < axis   ? g.outer
     : i > axis ? inner
                : g.extent) *= i == axis ? 1 : tensor.shape()[static_cast<size_t>(i)];
  g.inner_bytes = inner * bits(tensor.dtype()) / 8;
  return g;
}

// Zeros if there is no slice.
Tensor slice_at(const Tensor& tensor, int axis, int64_t index) {
  Shape shape = tensor.shape();
  shape.erase(shape.begin() + axis);
  Tensor result(tensor.dtype(), shape);
  const SliceGeometry g = geometry(tensor, axis);
  if (g.extent == 0) {
    std::memset(result.data(), 0, result.bytes());
    return result;
  }
  const auto* from = static_cast<const char*>(tensor.data());
  auto* to = static_cast<char*>(result.data());
  for (int64_t i = 0; i < g.outer; ++i)
    std::memcpy(to + i * g.inner_bytes, from + (i * g.extent + index) * g.inner_bytes,
                static_cast<size_t>(g.inner_bytes));
  return result;
}

// REQUIRES a part.
Tensor stack(const std::vector<Value>& parts, int axis, bool reverse) {
  const Tensor& first = parts[0].tensor();
  Shape shape = first.shape();
  shape.insert(shape.begin() + axis, static_cast<int64_t>(parts.size()));
  Tensor result(first.dtype(), shape);
  const SliceGeometry g = geometry(result, axis);
  auto* to = static_cast<char*>(result.data());
  for (size_t index = 0; index < parts.size(); ++index) {
    const Tensor& part = parts[index].tensor();
    if (part.shape() != first.shape())
      fail(ErrorCode::invalid_argument, "a scan output changes its shape from {} to {}",
           to_string(first.shape()), to_string(part.shape()));
    const auto place = static_cast<int64_t>(reverse ? parts.size() - 1 - index : index);
    for (int64_t i = 0; i < g.outer; ++i)
      std::memcpy(to + (i * g.extent + place) * g.inner_bytes,
                  static_cast<const char*>(part.data()) + i * g.inner_bytes,
                  static_cast<size_t>(g.inner_bytes));
  }
  return result;
}

int normalised(int64_t axis, int rank) { return static_cast<int>(axis < 0 ? axis + rank : axis); }

void set_outputs(const onnx::Node& node, std::vector<Value> values, Environment& environment) {
  for (size_t i = 0; i < node.outputs.size(); ++i)
    if (!node.outputs[i].empty()) environment.set(node.outputs[i], std::move(values[i]));
}

// --- the operators

void run_onnx_loop(ScopeShared& shared, const onnx::Node& node, RunState& state,
                   Environment& environment) {
  Body body(shared, node, environment);
  const auto given = [&](size_t i) { return i < node.inputs.size() && !node.inputs[i].empty(); };
  int64_t trips = INT64_MAX;
  if (given(0)) {
    const Value limit = value_of(environment, node.inputs[0]);
    if (limit.tensor().count() != 1)
      fail(ErrorCode::invalid_model, "the trip count must have one element");
    trips = load_i64(limit.tensor().dtype(), limit.tensor().data(), 0);
  }
  bool proceed = !given(1) || truth(value_of(environment, node.inputs[1]));
  std::vector<Value> carried;
  for (size_t i = 2; i < node.inputs.size(); ++i)
    carried.push_back(value_of(environment, node.inputs[i]));
  if (body.graph().inputs.size() != carried.size() + 2 ||
      body.graph().outputs.size() < carried.size() + 1)
    fail(ErrorCode::invalid_model, "the body must take {} inputs and give at least {} outputs",
         carried.size() + 2, carried.size() + 1);
  const size_t scans = body.graph().outputs.size() - carried.size() - 1;
  std::vector<std::vector<Value>> scanned(scans);
  for (int64_t trip = 0; proceed && trip < trips; ++trip) {
    std::vector<Value> inputs = {scalar_i64(trip), scalar_bool(proceed)};
    inputs.insert(inputs.end(), carried.begin(), carried.end());
    std::vector<Value> outputs = body.run(state, inputs);
    proceed = truth(outputs[0]);
    for (size_t i = 0; i < carried.size(); ++i) carried[i] = std::move(outputs[i + 1]);
    for (size_t i = 0; i < scans; ++i)
      scanned[i].push_back(std::move(outputs[i + 1 + carried.size()]));
  }
  std::vector<Value> results = std::move(carried);
  const size_t first_scan = results.size() + 1;
  std::vector<Value> inputs = {scalar_i64(0), scalar_bool(true)};
  inputs.insert(inputs.end(), results.begin(), results.end());
  for (size_t i = 0; i < scans; ++i)
    results.push_back(scanned[i].empty() ? body.none(first_scan + i, inputs)
                                         : stack(scanned[i], 0, false));
  set_outputs(node, std::move(results), environment);
}

// Scan over `inputs` (states, then scanned tensors); the batch dimension of opset 8 is the
// caller's.
std::vector<Value> scan_once(Body& body, const onnx::Node& node, RunState& state,
                             std::vector<Value> inputs, size_t scanned_inputs, bool opset8,
                             int64_t trips) {
  const size_t states = inputs.size() - scanned_inputs;
  const size_t scans = body.graph().outputs.size() - states;
  auto input_axes = ints(node, "scan_input_axes"), output_axes = ints(node, "scan_output_axes");
  auto input_directions = ints(node, opset8 ? "directions" : "scan_input_directions");
  auto output_directions = ints(node, "scan_output_directions");
  input_axes.resize(scanned_inputs), input_directions.resize(scanned_inputs);
  output_axes.resize(scans), output_directions.resize(scans);
  std::vector<std::vector<Value>> stacked(scans);
  const auto step_at = [&](int64_t trip) {
    std::vector<Value> step(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(states));
    for (size_t i = 0; i < scanned_inputs; ++i) {
      const Tensor& whole = inputs[states + i].tensor();
      const int64_t extent =
          whole.shape()[static_cast<size_t>(normalised(input_axes[i], whole.rank()))];
      step.push_back(slice_at(whole, normalised(input_axes[i], whole.rank()),
                              input_directions[i] ? extent - 1 - trip : trip));
    }
    return step;
  };
  for (int64_t trip = 0; trip < trips; ++trip) {
    std::vector<Value> outputs = body.run(state, step_at(trip));
    for (size_t i = 0; i < states; ++i) inputs[i] = outputs[i];
    for (size_t i = 0; i < scans; ++i) stacked[i].push_back(outputs[states + i]);
  }
  std::vector<Value> results(inputs.begin(), inputs.begin() + static_cast<std::ptrdiff_t>(states));
  for (size_t i = 0; i < scans; ++i) {
    if (stacked[i].empty()) {
      results.push_back(body.none(states + i, step_at(0)));
      continue;
    }
    const int rank = stacked[i][0].tensor().rank() + 1;
    results.push_back(
        stack(stacked[i], normalised(output_axes[i], rank), output_directions[i] != 0));
  }
  return results;
}

void run_scan(ScopeShared& shared, const onnx::Node& node, RunState& state,
              Environment& environment) {
  Body body(shared, node, environment);
  const onnx::Attribute* attribute = node.find("num_scan_inputs");
  const auto* count = attribute ? std::get_if<int64_t>(&attribute->value) : nullptr;
  if (!count || *count < 1) fail(ErrorCode::invalid_model, "num_scan_inputs must be at least 1");
  const auto scanned = static_cast<size_t>(*count);
  const int64_t opset = node.opset_version ? node.opset_version : shared.model->opset("");
  const bool opset8 = opset < 9;
  std::vector<Value> inputs;
  for (size_t i = opset8 ? 1 : 0; i < node.inputs.size(); ++i)
    inputs.push_back(value_of(environment, node.inputs[i]));
  if (inputs.size() < scanned || body.graph().inputs.size() != inputs.size())
    fail(ErrorCode::invalid_model, "the body must take {} inputs", inputs.size());
  if (!opset8) {
    const Tensor& first = inputs[inputs.size() - scanned].tensor();
    auto axes = ints(node, "scan_input_axes");
    const int axis = axes.empty() ? 0 : normalised(axes[0], first.rank());
    return set_outputs(node,
                       scan_once(body, node, state, inputs, scanned, false,
                                 first.shape()[static_cast<size_t>(axis)]),
                       environment);
  }
  const int64_t batch = inputs.back().tensor().shape()[0];
  if (batch == 0) fail(ErrorCode::unsupported, "a batch of 0 sequences");
  std::vector<std::vector<Value>> by_output;
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<Value> one;
    for (const Value& input : inputs) one.push_back(slice_at(input.tensor(), 0, b));
    int64_t trips = one.back().tensor().shape()[0];
    if (!node.inputs[0].empty()) {
      const Value lengths = value_of(environment, node.inputs[0]);
      trips = load_i64(lengths.tensor().dtype(), lengths.tensor().data(), b);
    }
    const auto results = scan_once(body, node, state, std::move(one), scanned, true, trips);
    by_output.resize(results.size());
    for (size_t i = 0; i < results.size(); ++i) by_output[i].push_back(results[i]);
  }
  std::vector<Value> results;
  for (size_t i = 0; i < by_output.size(); ++i) results.push_back(stack(by_output[i], 0, false));
  set_outputs(node, std::move(results), environment);
}

void run_sequence_map(ScopeShared& shared, const onnx::Node& node, RunState& state,
                      Environment& environment) {
  Body body(shared, node, environment);
  std::vector<Value> inputs;
  for (const std::string& name : node.inputs) inputs.push_back(value_of(environment, name));
  const size_t length = inputs[0].sequence().elements.size();
  std::vector<Sequence> results(node.outputs.size());
  for (size_t i = 0; i < length; ++i) {
    std::vector<Value> step;
    for (const Value& input : inputs) {
      if (!input.is_sequence()) {
        step.push_back(input);
        continue;
      }
      if (input.sequence().elements.size() != length)
        fail(ErrorCode::invalid_argument, "the sequences differ in length");
      step.push_back(input.sequence().elements[i]);
    }
    std::vector<Value> outputs = body.run(state, step);
    for (size_t o = 0; o < results.size(); ++o)
      results[o].elements.push_back(std::move(outputs[o]));
  }
  set_outputs(node, {results.begin(), results.end()}, environment);
}

}  // namespace

void run_loop(ScopeShared& shared, const onnx::Node& node, RunState& state,
              Environment& environment) {
  const auto run = node.op_type == "Loop"   ? run_onnx_loop
                   : node.op_type == "Scan" ? run_scan
                                            : run_sequence_map;
  try {
    run(shared, node, state, environment);
  } catch (const Error& error) {
    throw Error(error.code(), describe(*shared.model, node) + ": " + error.what());
  }
}

}  // namespace onrush
