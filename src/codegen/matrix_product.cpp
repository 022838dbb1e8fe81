#include "codegen/matrix_product.h"

#include <algorithm>

#include "codegen/cuda_operand.h"

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

// Reads what follows the product as a sum.
class EpilogueReader {
 public:
  EpilogueReader(const Part& part, MatrixProduct& product) : part_(part), product_(product) {}

  bool read() {
    const std::vector<Store>& stores = part_.loops.stores;
    if (stores.size() != 1 || !one_axis_each(part_, {Kind::batch, Kind::m, Kind::n})) return false;
    const std::optional<Matrix> result =
        matrix_at(part_, stores[0].buffer, stores[0].address, axis_of(part_, Kind::m),
                  axis_of(part_, Kind::n));
    if (!result || result->across) return false;
    product_.result = *result;
    return add_terms(without_relu(stores[0].value)) && products_ == 1 &&
           (!product_.addend || product_.addend->dtype == result->dtype);
  }

 private:
  const OpValue* as(Op op, ValueId id) const {
    const auto* value = std::get_if<OpValue>(&value_at(part_, id).data);
    return value && value->op == op ? value : nullptr;
  }
  std::optional<double> constant(ValueId id) const {
    const LoopValue& value = value_at(part_, id);
    const auto* constant = std::get_if<ConstantValue>(&value.data);
    if (!constant || !is_float(value.dtype)) return std::nullopt;
    return constant->f;
  }
  bool is_product(ValueId id) const {
    return std::holds_alternative<AccumulatorValue>(value_at(part_, id).data);
  }

  ValueId without_relu(ValueId id) {
    const OpValue* max = as(Op::max, id);
    if (!max) return id;
    for (const int side : {0, 1})
      if (constant(max->operands[static_cast<size_t>(side)]) == 0.0) {
        product_.relu = true;
        return max->operands[static_cast<size_t>(1 - side)];
      }
    return id;
  }

  bool add_terms(ValueId id) {
    if (is_product(id)) return ++products_ == 1;
    if (const OpValue* add = as(Op::add, id))
      return add_terms(add->operands[0]) && add_terms(add->operands[1]);
    if (const OpValue* mul = as(Op::mul, id)) {
      for (const size_t side : {0, 1})
        if (const auto scale = constant(mul->operands[side]);
            scale && is_product(mul->operands[1 - side])) {
          product_.scale = *scale;
          return ++products_ == 1;
        }
      return false;
    }
    const auto* load = std::get_if<LoadValue>(&value_at(part_, id).data);
    return load && is_plain(*load) && add_load(*load);
  }

  bool add_load(const LoadValue& load) {
    const int m = axis_of(part_, Kind::m), n = axis_of(part_, Kind::n);
    const LoopBuffer& memory = buffer_at(part_, load.buffer);
    const bool along_n = load.address.terms.size() == 1 && load.address.terms[0].first == n &&
                         same(load.address.terms[0].second, 1);
    const bool row = along_n && m >= 0;
    if (row && !product_.bias && is_float(memory.dtype)) {
      product_.bias = {memory.node, memory.dtype, load.address.offset};
      return true;
    }
    if (row || product_.addend) return false;
    product_.addend = matrix_at(part_, load.buffer, load.address, m, n);
    return product_.addend && !product_.addend->across;
  }

  const Part& part_;
  MatrixProduct& product_;
  int products_ = 0;
};

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
  if (!EpilogueReader(c.epilogue, product).read()) return std::nullopt;
  const DType result = product.result.dtype;
  if (result != c.factor && result != DType::f32) return std::nullopt;
  return product;
}

}  // namespace onrush
