// ai.onnx.ml: preparation of features and lookups of categories.
#include <array>
#include <cmath>

#include "base/numeric.h"
#include "lower/family_parts.h"
#include "lower/helpers.h"
#include "lower/ml_scores.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

template <class T>
Tensor vector_of(DType dtype, const std::vector<T>& values) {
  return Tensor::of<T>(dtype, {static_cast<int64_t>(values.size())}, values);
}
Tensor vector_of(const std::vector<std::string>& values) {
  return Tensor::of_strings({static_cast<int64_t>(values.size())}, values);
}

// --- numeric features

// Rows by their norm; rows of norm 0 stay as they are.
Results lower_normalizer(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = b.cast(c.in(0), DType::f32);
  const Axes last = {c.axis(-1, c.rank(0))};
  const std::string norm = c.attr("norm", "MAX");
  c.require(norm == "MAX" || norm == "L1" || norm == "L2", "'norm' must be MAX, L1 or L2");
  const NodeId size = norm == "L2" ? b.mul(x, x) : b.unary(Op::abs, x);
  NodeId divisor = b.reduce(norm == "MAX" ? ReduceKind::max : ReduceKind::sum, size, last);
  if (norm == "L2") divisor = b.sqrt(divisor);
  const NodeId zero = b.like(x, 0);
  return b.div(x, b.select(b.equal(divisor, zero), b.like(x, 1), divisor));
}

Results lower_scaler(OpContext& c) {
  const auto vector = [&](std::string_view name, float otherwise) {
    return c.b.constant(vector_of(DType::f32, c.floats(name).value_or(std::vector{otherwise})));
  };
  const NodeId x = c.b.cast(c.in(0), DType::f32);
  return c.b.mul(c.b.sub(x, vector("offset", 0)), vector("scale", 1));
}

Results lower_binarizer(OpContext& c) {
  const NodeId x = c.in(0);
  const NodeId wide_x = is_float(c.dtype(0)) ? x : c.b.cast(x, DType::f64);
  const NodeId above = c.b.less(c.b.like(wide_x, c.attr("threshold", 0.f)), wide_x);
  return c.b.cast(above, c.dtype(0));
}

// Elements equal to the replaced value, or NaN if that is NaN, take the imputed one.
Results lower_imputer(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = c.in(0);
  const auto floats = c.floats("imputed_value_floats");
  if (floats && !floats->empty()) {
    const float replaced = c.attr("replaced_value_float", 0.f);
    const NodeId imputed = b.cast(b.constant(vector_of(DType::f32, *floats)), c.dtype(0));
    const NodeId found =
        std::isnan(replaced) ? b.unary(Op::is_nan, x) : b.equal(x, b.like(x, replaced));
    return b.select(found, imputed, x);
  }
  const auto ints = c.ints("imputed_value_int64s");
  c.require(ints && !ints->empty(), "one of the attributes imputed_value_... is required");
  const NodeId imputed = b.cast(b.constant(vector_of(DType::i64, *ints)), c.dtype(0));
  const int64_t replaced = c.attr("replaced_value_int64", int64_t{0});
  return b.select(b.equal(x, b.scalar(c.dtype(0), replaced)), imputed, x);
}

// x[..., indices]; a vector counts as one row.
Results lower_array_feature_extractor(OpContext& c) {
  Builder& b = c.b;
  const NodeId x = c.rank(0) == 1 ? b.unsqueeze(c.in(0), {0}) : c.in(0);
  c.require(b.rank(x) >= 1, "the data must not be a scalar");
  const int last = b.rank(x) - 1;
  const Dim count = product(c.shape(1));
  std::vector<int> source = axis_range(0, last);
  source.push_back(~0);
  Dims shape = b.shape(x);
  shape.back() = count;
  return b.gather(x, std::array{b.reshape(c.in(1), {count})}, std::move(source), std::move(shape));
}

// Each input cut or filled with zeros to its number of columns, side by side.
Results lower_feature_vectorizer(OpContext& c) {
  Builder& b = c.b;
  std::vector<NodeId> parts = c.all_inputs();
  const auto widths = c.ints("inputdimensions");
  c.require(!parts.empty() && (!widths || widths->size() >= parts.size()),
            "'inputdimensions' must have a number for each input");
  for (size_t i = 0; i < parts.size(); ++i) {
    NodeId x = b.cast(parts[i], DType::f32);
    if (b.rank(x) == 1) x = b.unsqueeze(x, {0});
    c.require(b.rank(x) == 2, "the inputs must be [N, C] or [C]");
    if (widths) {
      const Dim has = b.shape(x)[1], wants = (*widths)[i];
      x = b.slice_axis(x, 1, 0, min(has, wants));
      x = b.pad(x, b.like(x, 0), {0, 0}, {0, max(wants - has, 0)});
    }
    parts[i] = x;
  }
  return b.concat(parts, 1);
}

// --- lookups

// Where x equals keys[j]: [..., k]. NaN equals NaN.
NodeId matches(const OpContext& c, NodeId x, const Tensor& keys) {
  Builder& b = c.b;
  const NodeId column = b.unsqueeze(x, {b.rank(x)});
  NodeId row = b.constant(keys);
  if (b.dtype(x) == DType::string) {
    const NodeId both[] = {column, row};
    const Dims shape = broadcast_shapes(b.shape(column), b.shape(row));
    return b.get(b.call({"string_equal", {}}, both, {{DType::boolean, shape}}), 0);
  }
  row = b.cast(row, b.dtype(x));
  const NodeId equal = b.equal(column, row);
  if (!is_float(b.dtype(x))) return equal;
  return b.logical_or(equal, b.logical_and(b.unary(Op::is_nan, column), b.unary(Op::is_nan, row)));
}

// The place of the last key that x equals, -1 if there is none.
NodeId place_of(const OpContext& c, NodeId x, const Tensor& keys) {
  Builder& b = c.b;
  if (b.dtype(x) == DType::string) {
    const NodeId operands[] = {x, b.constant(keys)};
    return b.get(b.call({"string_place", {}}, operands, {{DType::i64, b.shape(x)}}), 0);
  }
  const NodeId match = matches(c, x, keys);
  const int last = b.rank(x);
  const NodeId place =
      b.select(match, b.iota(DType::i64, b.shape(match), last), b.scalar(DType::i64, -1));
  return b.squeeze(b.reduce(ReduceKind::max, place, {last}), {last});
}

// values[j] where x equals keys[j], else `otherwise`, which has one element.
NodeId look_up(const OpContext& c, const Tensor& keys, const Tensor& values,
               const Tensor& otherwise) {
  Builder& b = c.b;
  const NodeId x = c.in(0);
  c.require(keys.count() == values.count() && keys.count() > 0,
            "keys and values must be of one length");
  c.require((keys.dtype() == DType::string) == (c.dtype(0) == DType::string),
            "the keys must have the dtype of the input");
  c.require(otherwise.count() == 1 && otherwise.dtype() == values.dtype(),
            "the default must be one element of the values' dtype");
  const NodeId table = b.concat(std::array{b.constant(values.reshaped({values.count()})),
                                           b.constant(otherwise.reshaped({1}))},
                                0);
  const NodeId place = place_of(c, x, keys.reshaped({keys.count()}));
  const NodeId missing = b.less(place, b.like(place, 0));
  const NodeId index = b.select(missing, b.scalar(DType::i64, values.count()), place);
  return b.gather(table, std::array{index}, {~0}, c.shape(0));
}

// The attribute {prefix}_tensor, _strings, _int64s or _floats.
std::optional<Tensor> list_attr(const OpContext& c, const std::string& prefix) {
  if (const auto list = c.tensor(prefix + "_tensor")) return *list;
  if (const auto list = c.strings(prefix + "_strings")) return vector_of(*list);
  if (const auto list = c.ints(prefix + "_int64s")) return vector_of(DType::i64, *list);
  if (const auto list = c.floats(prefix + "_floats")) return vector_of(DType::f32, *list);
  return std::nullopt;
}

Tensor default_string(const OpContext& c) {
  return Tensor::of_strings({1}, {c.attr("default_string", "_Unused")});
}
Tensor default_int64(const OpContext& c) {
  return vector_of(DType::i64, std::vector{c.attr("default_int64", int64_t{-1})});
}

Tensor default_value(const OpContext& c, DType dtype) {
  if (const auto value = c.tensor("default_tensor")) return *value;
  if (dtype == DType::string) return default_string(c);
  const double value = is_float(dtype) ? double{c.attr("default_float", -0.f)}
                                       : static_cast<double>(c.attr("default_int64", int64_t{-1}));
  Tensor tensor(dtype, {1});
  store_f64(dtype, tensor.data(), 0, value);
  return tensor;
}

// Between the strings and their integers, in the direction that the input's dtype says.
Results string_mapping(OpContext& c, const Tensor& strings, const Tensor& ints) {
  if (c.dtype(0) == DType::string) return look_up(c, strings, ints, default_int64(c));
  return look_up(c, ints, strings, default_string(c));
}

// The first version numbers the strings of one list.
Results first_label_encoder(OpContext& c) {
  const std::vector<std::string> classes =
      c.strings("classes_strings").value_or(std::vector<std::string>{});
  std::vector<int64_t> numbers(classes.size());
  for (size_t i = 0; i < numbers.size(); ++i) numbers[i] = static_cast<int64_t>(i);
  return string_mapping(c, vector_of(classes), vector_of(DType::i64, numbers));
}

Results lower_label_encoder(OpContext& c) {
  if (c.opset() < 2) return first_label_encoder(c);
  const auto keys = list_attr(c, "keys"), values = list_attr(c, "values");
  c.require(keys && values, "one of the attributes keys_... and one of values_... is required");
  return look_up(c, *keys, *values, default_value(c, values->dtype()));
}

Results lower_category_mapper(OpContext& c) {
  const auto strings = c.strings("cats_strings");
  const auto ints = c.ints("cats_int64s");
  c.require(strings && ints, "attributes 'cats_strings' and 'cats_int64s' are required");
  return string_mapping(c, vector_of(*strings), vector_of(DType::i64, *ints));
}

// Unknown categories give zeros.
Results lower_one_hot_encoder(OpContext& c) {
  const auto categories = list_attr(c, "cats");
  c.require(categories.has_value(), "'cats_int64s' or 'cats_strings' is required");
  const bool strings = c.dtype(0) == DType::string;
  c.require(strings == (categories->dtype() == DType::string),
            "the categories must have the dtype of the input");
  const NodeId x = strings ? c.in(0) : c.b.cast(c.in(0), DType::i64);
  return c.b.cast(matches(c, x, *categories), DType::f32);
}

constexpr OpRow kOps[] = {
    {"Normalizer", lower_normalizer},
    {"Scaler", lower_scaler},
    {"Binarizer", lower_binarizer},
    {"Imputer", lower_imputer},
    {"ArrayFeatureExtractor", lower_array_feature_extractor},
    {"FeatureVectorizer", lower_feature_vectorizer},
    {"LabelEncoder", lower_label_encoder},
    {"CategoryMapper", lower_category_mapper},
    {"OneHotEncoder", lower_one_hot_encoder},
};

}  // namespace

std::span<const OpRow> ml_ops() {
  static const std::vector<OpRow> rows =
      join_rows({kOps, ml_linear_ops(), ml_svm_ops(), ml_tree_ops()});
  return rows;
}

}  // namespace onrush
