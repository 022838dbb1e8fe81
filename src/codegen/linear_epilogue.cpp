#include "codegen/linear_epilogue.h"

namespace onrush {
namespace {

class Reader {
 public:
  explicit Reader(const Loops& loops) : loops_(loops) {}

  std::optional<LinearEpilogue> read() && {
    if (loops_.stores.size() != 1) return std::nullopt;
    if (!add_terms(without_relu(loops_.stores[0].value)) || products_ != 1) return std::nullopt;
    return std::move(result_);
  }

 private:
  const LoopValue& value_at(ValueId id) const { return loops_.body[static_cast<size_t>(id)]; }
  const OpValue* as(Op op, ValueId id) const {
    const auto* value = std::get_if<OpValue>(&value_at(id).data);
    return value && value->op == op ? value : nullptr;
  }
  std::optional<double> constant(ValueId id) const {
    const LoopValue& value = value_at(id);
    const auto* constant = std::get_if<ConstantValue>(&value.data);
    if (!constant || !is_float(value.dtype)) return std::nullopt;
    return constant->f;
  }
  bool is_product(ValueId id) const {
    return std::holds_alternative<AccumulatorValue>(value_at(id).data);
  }

  ValueId without_relu(ValueId id) {
    const OpValue* max = as(Op::max, id);
    if (!max) return id;
    for (const size_t side : {0, 1})
      if (constant(max->operands[side]) == 0.0) {
        result_.relu = true;
        return max->operands[1 - side];
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
          result_.scale = *scale;
          return ++products_ == 1;
        }
      return false;
    }
    const auto* load = std::get_if<LoadValue>(&value_at(id).data);
    if (!load || !load->dynamic.empty() || !load->bounds.empty()) return false;
    result_.terms.push_back(load);
    return true;
  }

  const Loops& loops_;
  LinearEpilogue result_;
  int products_ = 0;
};

}  // namespace

std::optional<LinearEpilogue> as_linear(const Loops& epilogue) { return Reader(epilogue).read(); }

}  // namespace onrush
