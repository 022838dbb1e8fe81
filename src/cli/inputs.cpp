#include "cli/inputs.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>

#include "base/check.h"
#include "base/numeric.h"
#include "cli/text.h"
#include "npy/npy.h"

namespace onrush::cli {
namespace {

// --- files

// The element type within "seq(tensor(int64))"; undefined where it is no tensor.
DType element_type(std::string_view type) {
  const size_t at = type.find("tensor(");
  if (at == std::string_view::npos) return DType::undefined;
  const std::string_view text = type.substr(at + 7, type.find(')', at) - at - 7);
  for (int i = 1; i < kDTypeCount; ++i)
    if (onnx_name(static_cast<DType>(i)) == text) return static_cast<DType>(i);
  return DType::undefined;
}

Tensor read_tensor(const Argument& input, const std::string& path) {
  const DType expected = element_type(input.type);
  if (path.ends_with(".npy")) return read_npy(path, expected);
  const NpzFile file(path);
  const bool only = file.names().size() == 1 && !file.contains(input.name);
  return file.read(only ? file.names()[0] : input.name, expected);
}

Value read_value(const Argument& input, std::string_view type, const std::string& path) {
  if (type.starts_with("optional("))
    return Optional{std::make_shared<Value>(read_value(input, type.substr(9), path))};
  if (!type.starts_with("seq(")) return read_tensor(input, path);
  if (!path.ends_with(".npz") || !type.starts_with("seq(tensor("))
    fail(ErrorCode::unsupported,
         "input '{}' of type {} can only be read from an .npz file, as a "
         "sequence of tensors",
         input.name, input.type);
  const NpzFile file(path);
  Sequence sequence;
  for (const std::string& name : file.names())
    sequence.elements.emplace_back(file.read(name, element_type(type)));
  return sequence;
}

// --- shapes

using Sizes = std::map<std::string, int64_t>;  // by the name of a dimension

void require_input(std::span<const Argument> inputs, const std::string& name) {
  const auto is_it = [&](const Argument& input) { return input.name == name; };
  if (std::any_of(inputs.begin(), inputs.end(), is_it)) return;
  std::vector<std::string> names;
  for (const Argument& input : inputs) names.push_back("'" + input.name + "'");
  fail(ErrorCode::invalid_argument, "the model has no input '{}'; it has {}", name,
       fmt::join(names, ", "));
}

void require_dims(std::span<const Argument> inputs, const Sizes& dims) {
  for (const auto& [name, size] : dims) {
    const auto has_it = [&, &name = name](const Argument& input) {
      return input.shape && std::any_of(input.shape->begin(), input.shape->end(),
                                        [&](const ArgumentDim& dim) { return dim.name == name; });
    };
    if (std::none_of(inputs.begin(), inputs.end(), has_it))
      fail(ErrorCode::invalid_argument, "no input of the model has a dimension '{}'", name);
  }
}

// Names the sizes of a shape that is known; the first that names a dimension wins.
void name_sizes(const Argument& input, const Shape& shape, Sizes& sizes) {
  if (!input.shape || input.shape->size() != shape.size()) return;
  for (size_t axis = 0; axis < shape.size(); ++axis)
    if (const std::string& name = (*input.shape)[axis].name; !name.empty())
      sizes.emplace(name, shape[axis]);
}

void check_shape(const Argument& input, const Shape& shape) {
  if (!input.shape) return;
  bool fits = input.shape->size() == shape.size();
  for (size_t axis = 0; fits && axis < shape.size(); ++axis)
    fits = (*input.shape)[axis].value.value_or(shape[axis]) == shape[axis];
  if (!fits)
    fail(ErrorCode::invalid_argument, "input '{}' must have shape {}, not {}", input.name,
         declared_shape(input), to_string(shape));
}

struct FoundShape {
  Shape shape;
  bool guessed = false;
};

FoundShape find_shape(const Argument& input, const InputChoices& choices, const Sizes& sizes) {
  if (const auto found = choices.shapes.find(input.name); found != choices.shapes.end()) {
    check_shape(input, found->second);
    return {found->second};
  }
  if (!input.shape)
    fail(ErrorCode::invalid_argument,
         "the model does not say the rank of input '{}': give it with --shape {}=...", input.name,
         input.name);
  FoundShape result;
  for (const ArgumentDim& dim : *input.shape) {
    const auto found = sizes.find(dim.name);
    const bool known = dim.value || found != sizes.end();
    result.guessed |= !known;
    result.shape.push_back(dim.value ? *dim.value : known ? found->second : 1);
  }
  return result;
}

// --- random values

// The distributions of the standard library differ between its implementations; these do not.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}

  int64_t below(uint64_t bound) { return static_cast<int64_t>(engine_() % bound); }
  double unit() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }  // in [0, 1)
  double normal() {                                                         // Box and Muller
    const double radius = std::sqrt(-2 * std::log(1 - unit()));
    return radius * std::cos(2 * std::numbers::pi * unit());
  }

 private:
  std::mt19937_64 engine_;
};

int64_t integer_bound(DType dtype) { return dtype == DType::i8 || dtype == DType::u8 ? 100 : 2; }

void fill_integers(const Tensor& tensor, Random& random) {
  constexpr int64_t kShortVector = 8;
  const bool is_size =
      tensor.rank() <= 1 && tensor.count() <= kShortVector && bits(tensor.dtype()) >= 32;
  const auto bound = static_cast<uint64_t>(integer_bound(tensor.dtype()));
  for (int64_t i = 0; i < tensor.count(); ++i)
    store_i64(tensor.dtype(), tensor.data(), i, is_size ? 1 : random.below(bound));
}

Tensor random_strings(const Shape& shape, Random& random) {
  std::vector<std::string> strings(static_cast<size_t>(element_count(shape)));
  for (std::string& string : strings)
    for (int i = 0; i < 4; ++i) string += static_cast<char>('a' + random.below(26));
  return Tensor::of_strings(shape, std::move(strings));
}

Tensor random_tensor(DType dtype, const Shape& shape, uint64_t seed) {
  Random random(seed);
  if (dtype == DType::string) return random_strings(shape, random);
  Tensor tensor(dtype, shape);
  if (is_sub_byte(dtype)) std::memset(tensor.data(), 0, tensor.bytes());
  if (is_integer(dtype) || dtype == DType::boolean) {
    fill_integers(tensor, random);
  } else if (is_complex(dtype)) {
    const DType part = dtype == DType::c64 ? DType::f32 : DType::f64;
    for (int64_t i = 0; i < 2 * tensor.count(); ++i)
      store_f64(part, tensor.data(), i, random.normal());
  } else {
    for (int64_t i = 0; i < tensor.count(); ++i)
      store_f64(dtype, tensor.data(), i, random.normal());
  }
  return tensor;
}

const ArrayFile* file_of(const InputChoices& choices, const std::string& name) {
  const auto found = choices.sources.find(name);
  return found == choices.sources.end() ? nullptr : std::get_if<ArrayFile>(&found->second);
}

uint64_t seed_of(const InputChoices& choices, const std::string& name, size_t position) {
  const auto found = choices.sources.find(name);
  const uint64_t seed =
      found == choices.sources.end() ? 0 : std::get<RandomValues>(found->second).seed;
  return seed * 1'000'003 + position;
}

void check_names(std::span<const Argument> inputs, const InputChoices& choices) {
  for (const auto& [name, source] : choices.sources) require_input(inputs, name);
  for (const auto& [name, shape] : choices.shapes) {
    require_input(inputs, name);
    if (file_of(choices, name))
      fail(ErrorCode::invalid_argument, "input '{}' has the shape of its file: leave --shape out",
           name);
  }
  require_dims(inputs, choices.dims);
}

}  // namespace

Inputs make_inputs(std::span<const Argument> inputs, const InputChoices& choices) {
  check_names(inputs, choices);
  Inputs result;
  Sizes sizes = choices.dims;
  for (const Argument& input : inputs) {
    if (const auto found = choices.shapes.find(input.name); found != choices.shapes.end())
      name_sizes(input, found->second, sizes);
    const ArrayFile* file = file_of(choices, input.name);
    if (!file) continue;
    const Value& value = result.values[input.name] = read_value(input, input.type, file->path);
    if (value.is_tensor()) name_sizes(input, value.tensor().shape(), sizes);
  }
  for (size_t i = 0; i < inputs.size(); ++i) {
    const Argument& input = inputs[i];
    if (result.values.contains(input.name) || input.type.starts_with("optional(")) continue;
    if (input.dtype == DType::undefined)
      fail(ErrorCode::invalid_argument,
           "input '{}' of type {} has to come from a file: give it with --input {}=FILE.npz",
           input.name, input.type, input.name);
    const FoundShape found = find_shape(input, choices, sizes);
    result.values[input.name] =
        random_tensor(input.dtype, found.shape, seed_of(choices, input.name, i));
    if (found.guessed)
      result.guessed.push_back(fmt::format("{}={}", input.name, fmt::join(found.shape, "x")));
  }
  return result;
}

Error explain(const Error& error, const Inputs& inputs) {
  if (inputs.guessed.empty()) return error;
  return Error(
      error.code(),
      fmt::format("{}\n(sizes that the model leaves open were taken as 1: {}; choose others "
                  "with --shape or --dim)",
                  error.what(), fmt::join(inputs.guessed, ", ")));
}

}  // namespace onrush::cli
