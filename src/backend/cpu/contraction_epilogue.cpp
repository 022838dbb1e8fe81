// Recognises epilogues that the matrix kernels do in registers.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "backend/cpu/contraction_impl.h"

namespace onrush::cpu {
namespace {

class Matcher {
 public:
  Matcher(const Loops& loops, const SizeTable& sizes, const ContractionPart& part, AxisKind column)
      : loops_(loops), sizes_(sizes), part_(part), column_(column) {}

  std::optional<SimpleEpilogue> match() {
    if (loops_.stores.size() != 1 || part_.axes[kM].size() > 1 || part_.axes[column_].size() > 1)
      return std::nullopt;
    const Store& store = loops_.stores[0];
    const LoopBuffer& buffer = loops_.buffers[static_cast<size_t>(store.buffer)];
    result_.low = -std::numeric_limits<float>::infinity();
    result_.high = std::numeric_limits<float>::infinity();
    result_.output = store.buffer;
    result_.output_address = address(store.address);
    result_.output_dtype = buffer.dtype;
    if (!is_activation(buffer.dtype) || value(store.value).dtype != DType::f32 ||
        !side_by_side(result_.output_address))
      return std::nullopt;
    ValueId sum = match_activation(store.value);
    if (result_.activation == Activation::none)
      while (const OpValue* op = clamp(sum)) sum = op->operands[0];
    return match_sum(sum) ? std::optional(result_) : std::nullopt;
  }

 private:
  const LoopValue& value(ValueId id) const { return loops_.body[static_cast<size_t>(id)]; }

  // Addresses with merged axes: each original axis's stride counts for the axis it became if it is
  // the innermost of those.
  ConcreteAffine address(const Affine& a) const {
    ConcreteAffine result;
    result.offset = sizes_(a.offset);
    const TileAxes& axes = part_.kernel.axes();
    for (const auto& [axis, stride] : a.terms)
      for (int i = 0; i < axes.count; ++i)
        if (axes.origin[static_cast<size_t>(i)] == axis)
          result.stride[static_cast<size_t>(i)] = sizes_(stride);
    return result;
  }

  bool side_by_side(const ConcreteAffine& a) const {
    return part_.axes[column_].empty() || part_.inner_extent(column_) == 1 ||
           a.stride[static_cast<size_t>(part_.axes[column_][0])] == 1;
  }

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

  // The operand of an operation with a constant, whatever their order; of a unary one without.
  std::optional<ValueId> operand_of(ValueId id, Op op, std::optional<double> constant = {}) const {
    const auto* v = std::get_if<OpValue>(&value(id).data);
    if (!v || v->op != op) return std::nullopt;
    if (!constant) return v->operands[0];
    for (size_t i = 0; i < 2; ++i) {
      const auto* c = std::get_if<ConstantValue>(&value(v->operands[i]).data);
      if (c && std::abs(c->f - *constant) <= 1e-6 * std::abs(*constant)) return v->operands[1 - i];
    }
    return std::nullopt;
  }
  // The innermost operand of a chain of such operations, outer first.
  using Link = std::pair<Op, std::optional<double>>;
  std::optional<ValueId> operand_of(ValueId id, std::initializer_list<Link> chain) const {
    std::optional<ValueId> at = id;
    for (const auto& [op, constant] : chain)
      if (at) at = operand_of(*at, op, constant);
    return at;
  }

  // x in x + 0.044715 x^3.
  std::optional<ValueId> cubic_operand(ValueId id) const {
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

  // As the optimizer writes them. The argument, with the activation noted; else `id` itself.
  ValueId match_activation(ValueId id) {
    const auto* product = std::get_if<OpValue>(&value(id).data);
    if (!product || product->op != Op::mul || value(id).dtype != DType::f32) return id;
    const auto found = [&](Activation activation, ValueId argument) {
      result_.activation = activation;
      return argument;
    };
    const ValueId x = product->operands[0], gate = product->operands[1];
    if (operand_of(gate, Op::sigmoid) == x) return found(Activation::silu, x);
    if (operand_of(gate, {{Op::max, 0.0}, {Op::min, 1.0}, {Op::add, 0.5}, {Op::mul, 1.0 / 6}}) == x)
      return found(Activation::hard_swish, x);
    const auto half = operand_of(x, Op::mul, 0.5);
    if (!half) return id;
    if (operand_of(gate, {{Op::add, 1.0}, {Op::erf, {}}, {Op::mul, std::numbers::sqrt2 / 2}}) ==
        half)
      return found(Activation::gelu, *half);
    const auto inner = operand_of(
        gate, {{Op::add, 1.0}, {Op::tanh, {}}, {Op::mul, std::sqrt(2 / std::numbers::pi)}});
    if (inner && cubic_operand(*inner) == half) return found(Activation::gelu_tanh, *half);
    return id;
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
    const bool by_row =
        !part_.axes[kM].empty() && a.stride[static_cast<size_t>(part_.axes[kM][0])] != 0;
    const DType dtype = loops_.buffers[static_cast<size_t>(load->buffer)].dtype;
    int& buffer = by_row ? result_.residual : result_.bias;
    if (buffer >= 0 || !(dtype == DType::f32 || (by_row && dtype == DType::bf16))) return false;
    buffer = load->buffer;
    if (by_row) result_.residual_dtype = dtype;
    (by_row ? result_.residual_address : result_.bias_address) = a;
    return true;
  }

  const Loops& loops_;
  const SizeTable& sizes_;
  const ContractionPart& part_;
  AxisKind column_;
  SimpleEpilogue result_;
};

}  // namespace

std::optional<SimpleEpilogue> simple_epilogue(const Loops& epilogue, const SizeTable& sizes,
                                              const ContractionPart& part, AxisKind column) {
  return Matcher(epilogue, sizes, part, column).match();
}

}  // namespace onrush::cpu
