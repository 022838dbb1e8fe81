#include <cstring>

#include "base/numeric.h"
#include "onnx/decode_parts.h"
#include "onnx/proto.h"
#include "onnx/wire.h"

namespace onrush::onnx {
namespace {

struct SparseTensor {
  Initializer values;   // [NNZ]
  Initializer indices;  // [NNZ]: row-major positions, or [NNZ, rank]: coordinates
  Shape dims;
};

bool has_coordinates(const SparseTensor& sparse) { return sparse.indices.tensor.rank() == 2; }

void check_shapes(const SparseTensor& sparse, const Place& place) {
  const Tensor& values = sparse.values.tensor;
  const Tensor& indices = sparse.indices.tensor;
  if (values.dtype() == DType::undefined || values.rank() != 1 || values.dtype() == DType::string)
    fail_at(place, "the values of a sparse tensor must be numbers of shape [NNZ], not {} {}",
            onnx_name(values.dtype()), to_string(values.shape()));
  const Shape flat = {values.count()};
  const Shape coordinates = {values.count(), static_cast<int64_t>(sparse.dims.size())};
  if (indices.dtype() != DType::i64 || (indices.shape() != flat && indices.shape() != coordinates))
    fail_at(place, "the indices of a sparse tensor must be int64 {} or {}, not {} {}",
            to_string(flat), to_string(coordinates), onnx_name(indices.dtype()),
            to_string(indices.shape()));
}

// Row-major position of the value number `i`.
int64_t position(const SparseTensor& sparse, int64_t i, int64_t count, const Place& place) {
  const std::span<const int64_t> indices = sparse.indices.tensor.as<const int64_t>();
  if (!has_coordinates(sparse)) {
    const int64_t index = indices[static_cast<size_t>(i)];
    if (index < 0 || index >= count)
      fail_at(place, "sparse index {} lies outside the {} elements of shape {}", index, count,
              to_string(sparse.dims));
    return index;
  }
  const size_t rank = sparse.dims.size();
  const auto coordinates = indices.subspan(static_cast<size_t>(i) * rank, rank);
  int64_t result = 0;
  for (size_t axis = 0; axis < rank; ++axis) {
    if (coordinates[axis] < 0 || coordinates[axis] >= sparse.dims[axis])
      fail_at(place, "sparse index {} lies outside shape {}", to_string(coordinates),
              to_string(sparse.dims));
    result = result * sparse.dims[axis] + coordinates[axis];
  }
  return result;
}

void copy_element(const Tensor& from, int64_t i, Tensor& to, int64_t j) {
  const DType dtype = from.dtype();
  if (is_sub_byte(dtype)) {  // as unsigned integers, so that float4 keeps its bits
    const DType raw = bits(dtype) == 4 ? DType::u4 : DType::u2;
    return store_i64(raw, to.data(), j, load_i64(raw, from.data(), i));
  }
  const auto width = static_cast<size_t>(bits(dtype)) / 8;
  std::memcpy(static_cast<char*>(to.data()) + static_cast<size_t>(j) * width,
              static_cast<const char*>(from.data()) + static_cast<size_t>(i) * width, width);
}

Tensor make_dense(const SparseTensor& sparse, const Place& place, DecodeContext& context) {
  const Tensor& values = sparse.values.tensor;
  const int64_t count = checked_count(values.dtype(), sparse.dims, place);
  const size_t size = byte_size(values.dtype(), count);
  if (size > context.dense_bytes_left)
    fail_at(ErrorCode::unsupported, place,
            "a sparse tensor of shape {} takes {} bytes when made dense, {} are left of "
            "LoadOptions::max_dense_bytes ({}); raise it",
            to_string(sparse.dims), size, context.dense_bytes_left,
            context.options.max_dense_bytes);
  context.dense_bytes_left -= size;
  const bool absent = values.count() > 0 && (!values.data() || !sparse.indices.tensor.data());
  if (absent) return {values.dtype(), sparse.dims, nullptr};  // external data that is not there

  Tensor dense(values.dtype(), sparse.dims);
  std::memset(dense.data(), 0, size);
  int64_t last = -1;
  for (int64_t i = 0; i < values.count(); ++i) {
    const int64_t next = position(sparse, i, count, place);
    if (next <= last)
      fail_at(
          place,
          "sparse indices must ascend without repetition, but value {} lies at element {} after "
          "element {}; export the model again",
          i, next, last);
    copy_element(values, i, dense, next);
    last = next;
  }
  return dense;
}

}  // namespace

Initializer decode_sparse_tensor(std::string_view message, const Place& parent, int64_t index,
                                 DecodeContext& context) {
  Place place{.parent = &parent, .kind = "sparse tensor", .index = index};
  SparseTensor sparse;
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::sparse_values:
        sparse.values = decode_tensor(reader.bytes(), place, 0, context);
        break;
      case proto::sparse_indices:
        sparse.indices = decode_tensor(reader.bytes(), place, 1, context);
        break;
      case proto::sparse_dims:
        append_varints(reader.run(WireType::varint), sparse.dims, place);
        break;
      default: break;
    }
  }
  place.name = sparse.values.name;
  check_shapes(sparse, place);
  return {sparse.values.name, make_dense(sparse, place, context)};
}

}  // namespace onrush::onnx
