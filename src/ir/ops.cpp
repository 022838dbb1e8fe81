#include "ir/ops.h"

#include <array>

namespace onrush {
namespace {

struct Row {
  std::string_view name;
  OpClass op_class;
  int operands;
};

constexpr std::array kRows = {
#define ONRUSH_OP(name, class_, operands) Row{#name, OpClass::class_, operands},
#include "ir/ops.def"
#undef ONRUSH_OP
};

const Row& row(Op op) { return kRows[static_cast<size_t>(op)]; }

}  // namespace

std::string_view name(Op op) { return row(op).name; }
OpClass class_of(Op op) { return row(op).op_class; }
int operand_count(Op op) { return row(op).operands; }

}  // namespace onrush
