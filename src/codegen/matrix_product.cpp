#include "codegen/matrix_product.h"

#include <algorithm>

#include "codegen/cuda_operand.h"
#include "codegen/linear_epilogue.h"

namespace onrush {
namespace {

using Kind = CudaContraction::Kind;
using Part = CudaContraction::Part;
using Matrix = MatrixProduct::Matrix;

// The only axis of a kind; -1 if there is none. REQUIRES one_axis_each().
int axis_of(const Part& part, int kind) {
  const std::vector<int> axes = axes_of(part, kind);
  return axes.empty() ? -1 : axes[0];
}
bool one_axis_each(const Part& part, std::initializer_list<int> kinds) {
  return std::all_of(kinds.begin(), kinds.end(),
                     [&](int kind) { return axes_of(part, kind).size() <= 1; });
}

const LoopValue& value_at(const Part& part, ValueId id) {
  return part.loops.body[static_cast<size_t>(id)];
}
const LoopBuffer& buffer_at(const Part& part, int buffer) {
  return part.loops.buffers[static_cast<size_t>(buffer)];
}

// What lies at `address`, its rows along axis `row` and its columns along axis `column`.
std::optional<Matrix> matrix_at(const Part& part, int buffer, const Affine& address, int row,
                                int column) {
  const auto stride = [&](int axis) { return axis < 0 ? Dim(0) : stride_of(address, axis); };
  const LoopBuffer& memory = buffer_at(part, buffer);
  Matrix matrix{
      memory.node, memory.dtype, address.offset, stride(row), stride(axis_of(part, Kind::batch)),
      false};
  if (same(stride(column), 1)) return matrix;
  if (!same(stride(row), 1)) return std::nullopt;
  matrix.leading = stride(column);
  matrix.across = true;
  return matrix;
}

bool is_plain(const LoadValue& load) { return load.dynamic.empty() && load.bounds.empty(); }

std::optional<Matrix> factor_matrix(const Part& part, int rows, DType factor) {
  if (!one_axis_each(part, {Kind::batch, rows, Kind::k})) return std::nullopt;
  const auto* load = std::get_if<LoadValue>(&value_at(part, part.loops.stores[0].value).data);
  if (!load || !is_plain(*load) || buffer_at(part, load->buffer).dtype != factor)
    return std::nullopt;
  return matrix_at(part, load->buffer, load->address, axis_of(part, rows), axis_of(part, Kind::k));
}

// What is added: a vector along the columns is a bias, anything else the addend.
bool add_term(MatrixProduct& product, const Part& part, const LoadValue& load) {
  const int m = axis_of(part, Kind::m), n = axis_of(part, Kind::n);
  const LoopBuffer& memory = buffer_at(part, load.buffer);
  const bool along_n = load.address.terms.size() == 1 && load.address.terms[0].first == n &&
                       same(load.address.terms[0].second, 1);
  const bool row = along_n && m >= 0;
  if (row && !product.bias && is_float(memory.dtype)) {
    product.bias = {memory.node, memory.dtype, load.address.offset};
    return true;
  }
  if (row || product.addend) return false;
  product.addend = matrix_at(part, load.buffer, load.address, m, n);
  return product.addend && !product.addend->across;
}

bool add_epilogue(MatrixProduct& product, const Part& part) {
  const std::optional<LinearEpilogue> linear = as_linear(part.loops);
  if (!linear || !one_axis_each(part, {Kind::batch, Kind::m, Kind::n})) return false;
  const Store& store = part.loops.stores[0];
  const std::optional<Matrix> result =
      matrix_at(part, store.buffer, store.address, axis_of(part, Kind::m), axis_of(part, Kind::n));
  if (!result || result->across) return false;
  product.result = *result;
  product.scale = linear->scale;
  product.relu = linear->relu;
  return std::all_of(linear->terms.begin(), linear->terms.end(),
                     [&](const LoadValue* load) { return add_term(product, part, *load); }) &&
         (!product.addend || product.addend->dtype == result->dtype);
}

}  // namespace

std::optional<MatrixProduct> as_matrix_product(const CudaContraction& c) {
  if (c.direct || c.padded_k || c.sum != DType::f32) return std::nullopt;
  const std::optional<Matrix> lhs = factor_matrix(c.lhs, Kind::m, c.factor),
                              rhs = factor_matrix(c.rhs, Kind::n, c.factor);
  if (!lhs || !rhs) return std::nullopt;
  MatrixProduct product{.math = c.math,
                        .batch = extent_of(c.epilogue, Kind::batch),
                        .m = extent_of(c.epilogue, Kind::m),
                        .n = extent_of(c.epilogue, Kind::n),
                        .k = extent_of(c.lhs, Kind::k),
                        .lhs = *lhs,
                        .rhs = *rhs,
                        .result = {},
                        .addend = {},
                        .bias = {}};
  if (!add_epilogue(product, c.epilogue)) return std::nullopt;
  const DType result = product.result.dtype;
  if (result != c.factor && result != DType::f32) return std::nullopt;
  return product;
}

}  // namespace onrush
