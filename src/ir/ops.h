// The primitives, as data.
#pragma once

#include <cstdint>
#include <string_view>

namespace onrush {

enum class Op : uint8_t {
#define ONRUSH_OP(name, class_, operands) name,
#include "ir/ops.def"
#undef ONRUSH_OP
};

enum class OpClass : uint8_t {
  source,
  unary,
  predicate,
  cast,
  binary,
  comparison,
  select,
  movement,
  reduction,
  ordered,
  indexed,
  contraction,
  other,
};

std::string_view name(Op op);
OpClass class_of(Op op);
int operand_count(Op op);  // -1: any

// One result element depends on the operand elements at the same place only.
inline bool is_elementwise(Op op) {
  const OpClass c = class_of(op);
  return c >= OpClass::unary && c <= OpClass::select && op != Op::bitcast;
}
inline bool is_movement(Op op) { return class_of(op) == OpClass::movement; }

}  // namespace onrush
