// Reads the epilogue of a contraction to find forms that are done in registers.
#pragma once

#include <initializer_list>
#include <optional>
#include <utility>

#include "backend/cpu/contraction_impl.h"

namespace onrush::cpu {

class EpilogueReader {
 public:
  // column: the axis kind whose elements lie side by side.
  EpilogueReader(const Loops& loops, const SizeTable& sizes, const ContractionPart& part,
                 AxisKind column)
      : loops_(loops), sizes_(sizes), part_(part), column_(column) {}

 protected:
  const LoopValue& value(ValueId id) const { return loops_.body[static_cast<size_t>(id)]; }
  const LoopBuffer& buffer(int index) const { return loops_.buffers[static_cast<size_t>(index)]; }

  // Addresses with merged axes: each original axis's stride counts for the axis it became if it is
  // the innermost of those.
  ConcreteAffine address(const Affine& a) const;
  bool side_by_side(const ConcreteAffine& a) const;
  int64_t row_stride(const ConcreteAffine& a) const {
    return part_.axes[kM].empty() ? 0 : a.stride[static_cast<size_t>(part_.axes[kM][0])];
  }
  // Rows and columns are one axis each at most.
  bool is_matrix() const { return part_.axes[kM].size() <= 1 && part_.axes[column_].size() <= 1; }

  // An activation of f32 as the optimizer writes it, and its argument.
  std::optional<std::pair<Activation, ValueId>> activation_of(ValueId id) const;

  const Loops& loops_;
  const SizeTable& sizes_;
  const ContractionPart& part_;
  AxisKind column_;

 private:
  // The operand of an operation with a constant, whatever their order; of a unary one without.
  std::optional<ValueId> operand_of(ValueId id, Op op, std::optional<double> constant = {}) const;
  // The innermost operand of a chain of such operations, outer first.
  using Link = std::pair<Op, std::optional<double>>;
  std::optional<ValueId> operand_of(ValueId id, std::initializer_list<Link> chain) const;
  // x in x + 0.044715 x^3.
  std::optional<ValueId> cubic_operand(ValueId id) const;
};

}  // namespace onrush::cpu
