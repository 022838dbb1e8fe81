// Recognises epilogues that the matrix kernels do in registers.
#include "backend/cpu/contraction_epilogue.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <tuple>

namespace onrush::cpu {

ConcreteAffine EpilogueReader::address(const Affine& a) const {
  ConcreteAffine result;
  result.offset = sizes_(a.offset);
  const TileAxes& axes = part_.kernel.axes();
  for (const auto& [axis, stride] : a.terms)
    for (int i = 0; i < axes.count; ++i)
      if (axes.origin[static_cast<size_t>(i)] == axis)
        result.stride[static_cast<size_t>(i)] = sizes_(stride);
  return result;
}

bool EpilogueReader::side_by_side(const ConcreteAffine& a) const {
  return part_.axes[column_].empty() || part_.inner_extent(column_) == 1 ||
         a.stride[static_cast<size_t>(part_.axes[column_][0])] == 1;
}

std::optional<ValueId> EpilogueReader::operand_of(ValueId id, Op op,
                                                  std::optional<double> constant) const {
  const auto* v = std::get_if<OpValue>(&value(id).data);
  if (!v || v->op != op) return std::nullopt;
  if (!constant) return v->operands[0];
  for (size_t i = 0; i < 2; ++i) {
    const auto* c = std::get_if<ConstantValue>(&value(v->operands[i]).data);
    if (c && std::abs(c->f - *constant) <= 1e-6 * std::abs(*constant)) return v->operands[1 - i];
  }
  return std::nullopt;
}

std::optional<ValueId> EpilogueReader::operand_of(ValueId id,
                                                  std::initializer_list<Link> chain) const {
  std::optional<ValueId> at = id;
  for (const auto& [op, constant] : chain)
    if (at) at = operand_of(*at, op, constant);
  return at;
}

std::optional<ValueId> EpilogueReader::cubic_operand(ValueId id) const {
  const auto* sum = std::get_if<OpValue>(&value(id).data);
  if (!sum || sum->op != Op::add) return std::nullopt;
  const ValueId x = sum->operands[0];
  const auto cube = operand_of(sum->operands[1], Op::mul, 0.044715);
  const auto is_product = [&](ValueId p, ValueId a, auto b) {
    const auto* v = std::get_if<OpValue>(&value(p).data);
    return v && v->op == Op::mul && v->operands[0] == a && b(v->operands[1]);
  };
  const auto is_x = [&](ValueId v) { return v == x; };
  const auto is_square = [&](ValueId v) { return is_product(v, x, is_x); };
  return cube && is_product(*cube, x, is_square) ? std::optional(x) : std::nullopt;
}

std::optional<std::pair<Activation, ValueId>> EpilogueReader::activation_of(ValueId id) const {
  const auto* product = std::get_if<OpValue>(&value(id).data);
  if (!product || product->op != Op::mul || value(id).dtype != DType::f32) return std::nullopt;
  const ValueId x = product->operands[0], gate = product->operands[1];
  if (operand_of(gate, Op::sigmoid) == x) return std::pair(Activation::silu, x);
  if (operand_of(gate, {{Op::max, 0.0}, {Op::min, 1.0}, {Op::add, 0.5}, {Op::mul, 1.0 / 6}}) == x)
    return std::pair(Activation::hard_swish, x);
  const auto half = operand_of(x, Op::mul, 0.5);
  if (!half) return std::nullopt;
  if (operand_of(gate, {{Op::add, 1.0}, {Op::erf, {}}, {Op::mul, std::numbers::sqrt2 / 2}}) == half)
    return std::pair(Activation::gelu, *half);
  const auto inner = operand_of(
      gate, {{Op::add, 1.0}, {Op::tanh, {}}, {Op::mul, std::sqrt(2 / std::numbers::pi)}});
  if (inner && cubic_operand(*inner) == half) return std::pair(Activation::gelu_tanh, *half);
  return std::nullopt;
}

namespace {

class Matcher : EpilogueReader {
 public:
  using EpilogueReader::EpilogueReader;

  std::optional<SimpleEpilogue> match() {
    if (loops_.stores.size() != 1 || !is_matrix()) return std::nullopt;
    const Store& store = loops_.stores[0];
    result_.low = -std::numeric_limits<float>::infinity();
    result_.high = std::numeric_limits<float>::infinity();
    result_.output = store.buffer;
    result_.output_address = address(store.address);
    result_.output_dtype = buffer(store.buffer).dtype;
    if (!is_activation(result_.output_dtype) || value(store.value).dtype != DType::f32 ||
        !side_by_side(result_.output_address))
      return std::nullopt;
    ValueId sum = store.value;
    if (const auto found = activation_of(sum)) std::tie(result_.activation, sum) = *found;
    else
      while (const OpValue* op = clamp(sum)) sum = op->operands[0];
    return match_sum(sum) ? std::optional(result_) : std::nullopt;
  }

 private:
  // A bound on the value from below or above by a constant; the outermost one counts last, so a
  // lower bound outside an upper one keeps its order.
  const OpValue* clamp(ValueId id) {
    const auto* op = std::get_if<OpValue>(&value(id).data);
    if (!op || (op->op != Op::max && op->op != Op::min)) return nullptr;
    const auto* limit = std::get_if<ConstantValue>(&value(op->operands[1]).data);
    if (!limit) return nullptr;
    const auto f = static_cast<float>(limit->f);
    if (op->op == Op::max) {
      if (f > result_.high) return nullptr;
      result_.low = std::max(result_.low, f);
    } else {
      if (f < result_.low) return nullptr;
      result_.high = std::min(result_.high, f);
    }
    return op;
  }

  bool match_sum(ValueId id) {
    if (std::holds_alternative<AccumulatorValue>(value(id).data))
      return value(id).dtype == DType::f32;
    const auto* op = std::get_if<OpValue>(&value(id).data);
    if (!op || op->op != Op::add) return false;
    for (size_t i = 0; i < 2; ++i)
      if (match_term(op->operands[i]) && match_sum(op->operands[1 - i])) return true;
    return false;
  }

  // A bias (the same for all rows) or a residual (one element for each of the result's).
  bool match_term(ValueId id) {
    const auto* load = std::get_if<LoadValue>(&value(id).data);
    if (!load || !load->dynamic.empty() || !load->bounds.empty() || value(id).dtype != DType::f32)
      return false;
    const ConcreteAffine a = address(load->address);
    if (!side_by_side(a)) return false;
    const bool by_row = row_stride(a) != 0;
    const DType dtype = buffer(load->buffer).dtype;
    int& operand = by_row ? result_.residual : result_.bias;
    if (operand >= 0 || !(dtype == DType::f32 || (by_row && dtype == DType::bf16))) return false;
    operand = load->buffer;
    if (by_row) result_.residual_dtype = dtype;
    (by_row ? result_.residual_address : result_.bias_address) = a;
    return true;
  }

  SimpleEpilogue result_;
};

}  // namespace

std::optional<SimpleEpilogue> simple_epilogue(const Loops& epilogue, const SizeTable& sizes,
                                              const ContractionPart& part, AxisKind column) {
  return Matcher(epilogue, sizes, part, column).match();
}

}  // namespace onrush::cpu
