#include "lower/op_schema.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "base/check.h"

namespace onrush {
namespace {

using Kind = ValueType::Kind;
using Option = OpSchema::Parameter::Option;

// Lists are separated by commas:
// - parameters: "X T, bias? T, rest*1 T, more*0~ V": a name, what it is (?: optional; *: variadic,
//   the least number of values, ~: of different types), a type variable or a type;
// - types: "T: f32 f64 seq(f32)": a variable and the types that it may stand for;
// - attributes: "axis int, to! int": a name (!: required) and a type.
struct OpSchemaRow {
  std::string_view domain, op_type;
  int64_t since;
  bool deprecated;
  std::string_view inputs, outputs, types, attributes;
};

// In the order of domain, name, version.
constexpr OpSchemaRow kRows[] = {
#include "lower/onnx_schemas.def"
};

// Takes what stands before the separator off the text.
std::string_view take(std::string_view& text, std::string_view separator) {
  const size_t end = std::min(text.find(separator), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + separator.size(), text.size()));
  return part;
}

template <class Function>
void for_each_part(std::string_view text, const Function& function) {
  while (!text.empty()) function(take(text, ", "));
}

DType dtype_named(std::string_view text) {
  for (int i = 0; i < kDTypeCount; ++i)
    if (name(static_cast<DType>(i)) == text) return static_cast<DType>(i);
  return DType::undefined;
}

// "f32 i64 seq(f32 i64) optional(seq(f32))"; maps are left out.
TypeSet parse_types(std::string_view text) {
  TypeSet set;
  Kind kind = Kind::tensor;
  const auto enter = [&](std::string_view opening, Kind inner) {
    if (!text.starts_with(opening)) return false;
    text.remove_prefix(opening.size());
    kind = inner;
    return true;
  };
  while (!text.empty()) {
    if (enter("optional(seq(", Kind::optional_sequence) || enter("optional(", Kind::optional) ||
        enter("seq(", Kind::sequence))
      continue;
    const size_t end = std::min(text.find_first_of(" )"), text.size());
    if (const DType dtype = dtype_named(text.substr(0, end)); dtype != DType::undefined)
      set.add({kind, dtype});
    text.remove_prefix(end);
    while (!text.empty() && (text.front() == ' ' || text.front() == ')')) {
      if (text.front() == ')') kind = Kind::tensor;
      text.remove_prefix(1);
    }
  }
  return set;
}

std::vector<OpSchema::TypeVariable> parse_variables(std::string_view text) {
  std::vector<OpSchema::TypeVariable> variables;
  for_each_part(text, [&](std::string_view part) {
    const std::string_view name = take(part, ": ");
    variables.push_back({name, parse_types(part)});
  });
  return variables;
}

// A type that is no variable becomes one.
size_t variable(std::vector<OpSchema::TypeVariable>& variables, std::string_view name) {
  const auto found = std::ranges::find(variables, name, &OpSchema::TypeVariable::name);
  const auto index = static_cast<size_t>(found - variables.begin());
  if (found == variables.end()) variables.push_back({name, parse_types(name)});
  return index;
}

std::vector<OpSchema::Parameter> parse_parameters(std::string_view text,
                                                  std::vector<OpSchema::TypeVariable>& variables) {
  std::vector<OpSchema::Parameter> parameters;
  for_each_part(text, [&](std::string_view part) {
    std::string_view name = take(part, " ");
    OpSchema::Parameter parameter{.name = name, .option = Option::single, .type = 0};
    if (name.ends_with('?')) {
      parameter.option = Option::optional;
      parameter.name.remove_suffix(1);
    } else if (name.find('*') != name.npos) {
      parameter.option = Option::variadic;
      parameter.name = take(name, "*");
      parameter.homogeneous = !name.ends_with('~');
      parameter.least = name.front() - '0';
    }
    parameter.type = variable(variables, part);
    parameters.push_back(parameter);
  });
  return parameters;
}

std::vector<OpSchema::Attribute> parse_attributes(std::string_view text) {
  std::vector<OpSchema::Attribute> attributes;
  for_each_part(text, [&](std::string_view part) {
    std::string_view name = take(part, " ");
    const bool required = name.ends_with('!');
    if (required) name.remove_suffix(1);
    attributes.push_back({name, required, part});
  });
  return attributes;
}

OpSchema parse(const OpSchemaRow& row) {
  OpSchema schema{.since = row.since, .deprecated = row.deprecated};
  schema.types = parse_variables(row.types);
  schema.inputs = parse_parameters(row.inputs, schema.types);
  schema.outputs = parse_parameters(row.outputs, schema.types);
  schema.attributes = parse_attributes(row.attributes);
  return schema;
}

size_t index(Kind kind) { return static_cast<size_t>(kind); }
uint32_t bit(DType dtype) { return uint32_t{1} << static_cast<int>(dtype); }

}  // namespace

ValueType tensor_of(DType dtype) {
  return dtype == DType::undefined ? ValueType{} : ValueType{Kind::tensor, dtype};
}

ValueType value_type(const onnx::Type& type) {
  switch (type.kind) {
    case onnx::Type::Kind::tensor: return tensor_of(type.element);
    case onnx::Type::Kind::sequence:
    case onnx::Type::Kind::optional: {
      const ValueType inner = type.nested ? value_type(*type.nested) : ValueType{};
      const bool optional = type.kind == onnx::Type::Kind::optional;
      if (inner.kind == Kind::tensor)
        return {optional ? Kind::optional : Kind::sequence, inner.element};
      if (optional && inner.kind == Kind::sequence) return {Kind::optional_sequence, inner.element};
      return {};
    }
    default: return {};
  }
}

std::string to_string(ValueType type) {
  const std::string tensor = fmt::format("tensor({})", onnx_name(type.element));
  switch (type.kind) {
    case Kind::unknown: break;
    case Kind::tensor: return tensor;
    case Kind::sequence: return fmt::format("seq({})", tensor);
    case Kind::optional: return fmt::format("optional({})", tensor);
    case Kind::optional_sequence: return fmt::format("optional(seq({}))", tensor);
  }
  return "of unknown type";
}

void TypeSet::add(ValueType type) { elements_[index(type.kind)] |= bit(type.element); }

bool TypeSet::contains(ValueType type) const {
  return (elements_[index(type.kind)] & bit(type.element)) != 0;
}

ValueType TypeSet::only() const {
  ValueType found;
  for (size_t kind = 0; kind < elements_.size(); ++kind)
    for (int element = 0; element < kDTypeCount; ++element) {
      const ValueType type = {static_cast<Kind>(kind), static_cast<DType>(element)};
      if (!contains(type)) continue;
      if (found.known()) return {};
      found = type;
    }
  return found;
}

std::string TypeSet::to_string(Kind kind) const {
  const bool has_kind = elements_[index(kind)] != 0;
  std::string text;
  for (size_t of = 0; of < elements_.size(); ++of)
    for (int element = 0; element < kDTypeCount; ++element) {
      const ValueType type = {static_cast<Kind>(of), static_cast<DType>(element)};
      if (contains(type) && (type.kind == kind || !has_kind))
        text += (text.empty() ? "" : ", ") + onrush::to_string(type);
    }
  return text;
}

const OpSchema::Parameter* OpSchema::at(const std::vector<Parameter>& parameters, size_t position) {
  if (position < parameters.size()) return &parameters[position];
  const bool more = !parameters.empty() && parameters.back().option == Option::variadic;
  return more ? &parameters.back() : nullptr;
}

const OpSchema& find_schema(std::string_view domain, std::string_view op_type, int64_t opset) {
  static constexpr OpSchemaRow kNone = {};
  const OpSchemaRow* best = &kNone;
  const auto key = [](const OpSchemaRow& row) { return std::pair(row.domain, row.op_type); };
  for (const OpSchemaRow& row :
       std::ranges::equal_range(kRows, std::pair(domain, op_type), {}, key))
    if (best == &kNone || row.since <= opset) best = &row;

  static std::mutex mutex;
  static std::unordered_map<const OpSchemaRow*, OpSchema> parsed;
  const std::lock_guard lock(mutex);
  const auto [entry, is_new] = parsed.try_emplace(best);
  if (is_new) entry->second = parse(*best);
  return entry->second;
}

}  // namespace onrush
