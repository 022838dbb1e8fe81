#include <algorithm>
#include <cstring>
#include <optional>

#include "onnx/decode_parts.h"
#include "onnx/proto.h"
#include "onnx/wire.h"

namespace onrush::onnx {
namespace {

// Tensors whose data is absent are limited so that no later size computation overflows.
constexpr int64_t kMaxAbsentElements = int64_t{1} << 40;

// A stretch of a typed data field: encoded numbers.
struct Run {
  uint32_t field;
  std::string_view encoded;
};

// A TensorProto before its data is interpreted, which takes shape and dtype.
struct RawTensor {
  Shape dims;
  int32_t data_type = 0;
  std::string_view raw;
  std::vector<Run> runs;
  std::vector<std::string_view> strings;
  ExternalLocation external;
  bool is_external = false;
};

// The field that holds a dtype's elements when they are not raw.
uint32_t typed_field(DType dtype) {
  switch (dtype) {
    case DType::f32:
    case DType::c64: return proto::tensor_float_data;
    case DType::f64:
    case DType::c128: return proto::tensor_double_data;
    case DType::i64: return proto::tensor_int64_data;
    case DType::u32:
    case DType::u64: return proto::tensor_uint64_data;
    case DType::string: return proto::tensor_string_data;
    default: return proto::tensor_int32_data;
  }
}

std::string_view field_name(uint32_t field) {
  switch (field) {
    case proto::tensor_float_data: return "float_data";
    case proto::tensor_double_data: return "double_data";
    case proto::tensor_int32_data: return "int32_data";
    case proto::tensor_int64_data: return "int64_data";
    case proto::tensor_uint64_data: return "uint64_data";
    default: return "string_data";
  }
}

WireType element_wire_type(uint32_t field) {
  switch (field) {
    case proto::tensor_float_data: return WireType::fixed32;
    case proto::tensor_double_data: return WireType::fixed64;
    default: return WireType::varint;
  }
}

void read_field(MessageReader& reader, RawTensor& tensor, Place& place) {
  switch (reader.field()) {
    case proto::tensor_dims:
      append_varints(reader.run(WireType::varint), tensor.dims, place);
      break;
    case proto::tensor_data_type: tensor.data_type = reader.int32(); break;
    case proto::tensor_segment:
      fail_at(ErrorCode::unsupported, place,
              "the tensor is stored in segments; store it whole or as external data");
    case proto::tensor_name: place.name = reader.bytes(); break;
    case proto::tensor_raw_data: tensor.raw = reader.bytes(); break;
    case proto::tensor_string_data: tensor.strings.push_back(reader.bytes()); break;
    case proto::tensor_float_data:
    case proto::tensor_double_data:
    case proto::tensor_int32_data:
    case proto::tensor_int64_data:
    case proto::tensor_uint64_data:
      if (const std::string_view run = reader.run(element_wire_type(reader.field())); !run.empty())
        tensor.runs.push_back({reader.field(), run});
      break;
    case proto::tensor_external_data: {
      const auto [key, value] = decode_entry(reader.bytes(), place);
      tensor.external.set(key, value, place);
      break;
    }
    case proto::tensor_data_location:
      tensor.is_external = reader.int32() == proto::kDataLocationExternal;
      break;
    default: break;
  }
}

size_t alignment(DType dtype) {
  const int parts = is_complex(dtype) ? 2 : 1;
  return std::max<size_t>(1, static_cast<size_t>(bits(dtype) / parts / 8));
}

// A boolean byte may hold more than 0 or 1 in a file, but not in memory.
bool is_clean(DType dtype, std::span<const std::byte> bytes) {
  return dtype != DType::boolean ||
         std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b <= std::byte{1}; });
}

// Copies of weights of this size would count. They are views even where they lie unaligned in the
// file: who reads elements of large constants (loads of kernels, load_f64 and load_i64) does so in
// a way that needs no alignment.
constexpr size_t kLargeWeight = size_t{256} * 1024;

// A view of `bytes` where they have an owner and are fit to be used as they lie, else a copy.
Tensor from_raw(DType dtype, Shape shape, const Bytes& bytes) {
  const auto address = reinterpret_cast<uintptr_t>(bytes.data.data());
  const bool aligned = address % alignment(dtype) == 0 || bytes.data.size() >= kLargeWeight;
  if (bytes.owner && aligned && !bytes.data.empty() && is_clean(dtype, bytes.data))
    return {dtype, std::move(shape), const_cast<std::byte*>(bytes.data.data()), bytes.owner};
  Tensor tensor(dtype, std::move(shape));
  if (!bytes.data.empty()) std::memcpy(tensor.data(), bytes.data.data(), bytes.data.size());
  if (!is_clean(dtype, bytes.data))
    for (uint8_t& value : tensor.as<uint8_t>()) value = value != 0;
  return tensor;
}

// How many numbers a typed field must hold: complex elements take two, and sub-byte elements share
// one number per byte.
size_t typed_numbers(DType dtype, int64_t count) {
  if (is_sub_byte(dtype)) return byte_size(dtype, count);
  return static_cast<size_t>(count) * (is_complex(dtype) ? 2 : 1);
}

void decode_fixed(const std::vector<Run>& runs, Tensor& tensor) {
  auto* out = static_cast<char*>(tensor.data());
  for (const Run& run : runs) out = std::copy(run.encoded.begin(), run.encoded.end(), out);
}

// Varints keep their low bytes, as many as an element has: float formats are stored as bits.
void decode_varints(const std::vector<Run>& runs, Tensor& tensor, const Place& place) {
  auto* out = static_cast<char*>(tensor.data());
  const size_t width = std::max<size_t>(1, static_cast<size_t>(bits(tensor.dtype())) / 8);
  std::vector<int64_t> numbers;
  for (const Run& run : runs) {
    numbers.clear();
    append_varints(run.encoded, numbers, place);
    for (const int64_t number : numbers) {
      const int64_t value = tensor.dtype() == DType::boolean ? number != 0 : number;
      std::memcpy(out, &value, width);
      out += width;
    }
  }
}

size_t stored_numbers(const std::vector<Run>& runs, WireType type) {
  size_t total = 0;
  for (const Run& run : runs) {
    if (type == WireType::varint) total += count_varints(run.encoded);
    if (type == WireType::fixed32) total += run.encoded.size() / 4;
    if (type == WireType::fixed64) total += run.encoded.size() / 8;
  }
  return total;
}

Tensor from_typed(DType dtype, const RawTensor& raw, int64_t count, const Place& place) {
  const uint32_t field = typed_field(dtype);
  const WireType wire_type = element_wire_type(field);
  for (const Run& run : raw.runs) {
    if (run.field != field)
      fail_at(place,
              "a tensor of dtype {} has its data in {} instead of {}; export the model again",
              onnx_name(dtype), field_name(run.field), field_name(field));
    const size_t width = wire_type == WireType::fixed32   ? 4
                         : wire_type == WireType::fixed64 ? 8
                                                          : 1;
    if (run.encoded.size() % width != 0)
      fail_at(place, "{} ends within a number; the file is damaged, fetch or export it again",
              field_name(field));
  }
  if (raw.runs.empty() && count > 0)
    fail_at(place, "the tensor of shape {} has no data; export the model again",
            to_string(raw.dims));
  const size_t stored = stored_numbers(raw.runs, wire_type);
  const size_t needed = typed_numbers(dtype, count);
  if (stored != needed)
    fail_at(place, "{} holds {} numbers where shape {} of {} needs {}; export the model again",
            field_name(field), stored, to_string(raw.dims), onnx_name(dtype), needed);
  Tensor tensor(dtype, raw.dims);
  if (wire_type == WireType::varint) decode_varints(raw.runs, tensor, place);
  else decode_fixed(raw.runs, tensor);
  return tensor;
}

Tensor from_strings(const RawTensor& raw, int64_t count, const Place& place) {
  if (!raw.raw.empty() || !raw.runs.empty() || raw.is_external)
    fail_at(place, "a tensor of strings has its data outside string_data; export the model again");
  if (static_cast<int64_t>(raw.strings.size()) != count)
    fail_at(place, "string_data holds {} strings where shape {} needs {}; export the model again",
            raw.strings.size(), to_string(raw.dims), count);
  return Tensor::of_strings(raw.dims,
                            std::vector<std::string>(raw.strings.begin(), raw.strings.end()));
}

Tensor from_external(DType dtype, const RawTensor& raw, int64_t count, const Place& place,
                     DecodeContext& context) {
  const std::optional<Bytes> bytes =
      context.external.find(raw.external, byte_size(dtype, count), place);
  if (bytes) return from_raw(dtype, raw.dims, *bytes);
  if (count > kMaxAbsentElements)
    fail_at(place, "shape {} has more than 2^40 elements and no data", to_string(raw.dims));
  return {dtype, raw.dims, nullptr};
}

Tensor interpret(const RawTensor& raw, const Place& place, DecodeContext& context) {
  const DType dtype = decode_dtype(raw.data_type, place);
  const int64_t count = checked_count(dtype, raw.dims, place);
  if (dtype == DType::string) return from_strings(raw, count, place);
  if (raw.is_external) return from_external(dtype, raw, count, place, context);
  if (!raw.strings.empty())
    fail_at(place, "a tensor of dtype {} has its data in string_data; export the model again",
            onnx_name(dtype));
  if (raw.raw.empty()) return from_typed(dtype, raw, count, place);
  if (!raw.runs.empty())
    fail_at(place, "the tensor has data both in raw_data and in {}; export the model again",
            field_name(raw.runs.front().field));
  const size_t needed = byte_size(dtype, count);
  if (raw.raw.size() != needed)
    fail_at(place, "raw_data has {} bytes where shape {} of {} needs {}; export the model again",
            raw.raw.size(), to_string(raw.dims), onnx_name(dtype), needed);
  return from_raw(dtype, raw.dims, {std::as_bytes(std::span(raw.raw)), context.owner});
}

}  // namespace

DecodeContext::DecodeContext(const LoadOptions& load_options,
                             std::shared_ptr<const void> bytes_owner,
                             std::optional<std::string> external_directory)
    : options(load_options),
      owner(std::move(bytes_owner)),
      external(std::move(external_directory), load_options),
      dense_bytes_left(load_options.max_dense_bytes) {}

int64_t checked_count(DType dtype, const Shape& shape, const Place& place) {
  int64_t count = 1;
  int64_t size = 0;
  for (const int64_t dim : shape) {
    if (dim < 0)
      fail_at(place, "shape {} has a negative dimension; export the model again", to_string(shape));
    if (__builtin_mul_overflow(count, dim, &count))
      fail_at(place, "shape {} has more elements than 64 bits count", to_string(shape));
  }
  if (__builtin_mul_overflow(count, int64_t{bits(dtype)}, &size))
    fail_at(place, "shape {} of {} is larger than any memory", to_string(shape), onnx_name(dtype));
  return count;
}

DType decode_dtype(int32_t number, const Place& place) {
  if (number <= 0 || number >= kDTypeCount)
    fail_at(place, "data type {} is unknown; ONNX has 1 to {}", number, kDTypeCount - 1);
  return static_cast<DType>(number);
}

Initializer decode_tensor(std::string_view message, const Place& parent, int64_t index,
                          DecodeContext& context) {
  Place place{.parent = &parent, .kind = "tensor", .index = index};
  RawTensor raw;
  MessageReader reader(message, place);
  while (reader.next()) read_field(reader, raw, place);
  return {std::string(place.name), interpret(raw, place, context)};
}

}  // namespace onrush::onnx
