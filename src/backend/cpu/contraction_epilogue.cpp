// Recognises epilogues that the matrix kernels do in registers.
#include <algorithm>
#include <limits>

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
    if (buffer.dtype != DType::f32 || !side_by_side(result_.output_address)) return std::nullopt;
    ValueId sum = store.value;
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
    int& buffer = by_row ? result_.residual : result_.bias;
    if (buffer >= 0) return false;
    buffer = load->buffer;
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
