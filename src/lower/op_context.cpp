#include "lower/op_context.h"

#include <algorithm>

#include "base/numeric.h"
#include "lower/op_table.h"

namespace onrush {

void OpContext::fail(std::string_view what) const {
  throw Error(ErrorCode::invalid_model, std::string(what));
}

bool OpContext::wants_output(int i) const {
  return i < output_count() && !node_.outputs[static_cast<size_t>(i)].empty();
}

bool OpContext::has(int i) const {
  return i < input_count() && !inputs_[static_cast<size_t>(i)].is_absent();
}

NodeId OpContext::in(int i) const {
  if (!has(i)) fail(fmt::format("input {} is missing", i));
  if (const NodeId* node = inputs_[static_cast<size_t>(i)].node()) return *node;
  fail(fmt::format("input {} must be a tensor", i));
}

std::optional<NodeId> OpContext::maybe(int i) const {
  return has(i) ? std::optional(in(i)) : std::nullopt;
}

const Lowered& OpContext::lowered(int i) const {
  static const Lowered absent;
  return has(i) ? inputs_[static_cast<size_t>(i)] : absent;
}

std::vector<NodeId> OpContext::all_inputs() const {
  std::vector<NodeId> nodes;
  for (int i = 0; i < input_count(); ++i) nodes.push_back(in(i));
  return nodes;
}

Dims OpContext::dims_of(NodeId node) const {
  if (auto dims = values_.dims_of(node)) return std::move(*dims);
  throw NotYetKnown{node};
}

std::vector<int64_t> OpContext::ints_of(NodeId node) const {
  std::vector<int64_t> ints;
  for (Dim dim : dims_of(node)) ints.push_back(fix(dim, node_.op_type));
  return ints;
}

Tensor OpContext::value_of(NodeId node) const {
  if (auto tensor = values_.value_of(node)) return std::move(*tensor);
  throw NotYetKnown{node};
}

double OpContext::number_of(NodeId node) const {
  const Tensor tensor = value_of(node);
  require(tensor.count() == 1, "a single number is expected");
  return load_f64(tensor.dtype(), tensor.data(), 0);
}

std::optional<std::vector<int64_t>> OpContext::ints_input_or_attr(int i,
                                                                  std::string_view name) const {
  if (has(i)) return ints_of(in(i));
  return ints(name);
}

namespace {

template <class T>
const T& held(const OpContext& c, const onnx::Attribute& attribute, const char* kind) {
  if (const T* value = std::get_if<T>(&attribute.value)) return *value;
  c.fail(fmt::format("attribute '{}' must be {}", attribute.name, kind));
}

template <class T>
std::optional<T> optional_attr(const OpContext& c, std::string_view name, const char* kind) {
  const onnx::Attribute* attribute = c.node().find(name);
  return attribute ? std::optional<T>(held<T>(c, *attribute, kind)) : std::nullopt;
}

// An empty list carries no element type in some files and decodes as another empty list.
template <class T>
std::optional<std::vector<T>> list_attr(const OpContext& c, std::string_view name,
                                        const char* kind) {
  const onnx::Attribute* attribute = c.node().find(name);
  if (!attribute) return std::nullopt;
  if (const auto* list = std::get_if<std::vector<T>>(&attribute->value)) return *list;
  const bool empty = std::visit(
      [](const auto& value) {
        if constexpr (requires { value.empty(); }) return value.empty();
        else return std::is_same_v<std::decay_t<decltype(value)>, std::monostate>;
      },
      attribute->value);
  if (empty) return std::vector<T>{};
  c.fail(fmt::format("attribute '{}' must be {}", attribute->name, kind));
}

}  // namespace

int64_t OpContext::attr(std::string_view name, int64_t otherwise) const {
  return optional_attr<int64_t>(*this, name, "an integer").value_or(otherwise);
}
float OpContext::attr(std::string_view name, float otherwise) const {
  return optional_attr<float>(*this, name, "a float").value_or(otherwise);
}
std::string OpContext::attr(std::string_view name, const char* otherwise) const {
  return optional_attr<std::string>(*this, name, "a string").value_or(otherwise);
}
std::optional<std::vector<int64_t>> OpContext::ints(std::string_view name) const {
  return list_attr<int64_t>(*this, name, "a list of integers");
}
std::optional<std::vector<float>> OpContext::floats(std::string_view name) const {
  return list_attr<float>(*this, name, "a list of floats");
}
std::optional<std::vector<std::string>> OpContext::strings(std::string_view name) const {
  return list_attr<std::string>(*this, name, "a list of strings");
}
std::optional<Tensor> OpContext::tensor(std::string_view name) const {
  return optional_attr<Tensor>(*this, name, "a tensor");
}

int OpContext::axis(int64_t axis, int rank) const {
  if (axis < -rank || axis >= rank)
    fail(fmt::format("axis {} is outside [-{}, {})", axis, rank, rank));
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

Axes OpContext::axes(std::span<const int64_t> axes, int rank) const {
  Axes result;
  for (int64_t a : axes) result.push_back(axis(a, rank));
  std::sort(result.begin(), result.end());
  if (std::adjacent_find(result.begin(), result.end()) != result.end())
    fail("an axis is named twice");
  return result;
}

const OpRow* find_op(std::string_view domain, std::string_view op_type) {
  static const auto core = {
      elementwise_ops(),  tensor_ops(),     generator_ops(),     reduction_ops(),
      contraction_ops(),  pooling_ops(),    normalization_ops(), attention_ops(),
      quantization_ops(), resampling_ops(), recurrent_ops(),     signal_ops(),
      structure_ops(),    string_ops(),     selection_ops(),     training_ops()};
  const auto find_in = [&](const auto& tables) -> const OpRow* {
    for (std::span<const OpRow> table : tables)
      for (const OpRow& row : table)
        if (row.op_type == op_type) return &row;
    return nullptr;
  };
  if (domain == "ai.onnx.ml") return find_in(std::initializer_list{ml_ops()});
  if (domain == "com.microsoft") return find_in(std::initializer_list{microsoft_ops()});
  if (domain == "ai.onnx.preview.training") return find_in(std::initializer_list{training_ops()});
  if (domain == "ai.onnx.preview") return find_in(std::initializer_list{attention_ops()});
  return domain.empty() ? find_in(core) : nullptr;
}

}  // namespace onrush
