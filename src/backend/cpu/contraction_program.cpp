// Recognises epilogues of integer sums that are done in registers: corrections by zero points,
// scales, biases, residuals, activations, and quantisation, also of what is dequantised after it.
#include <algorithm>
#include <bit>
#include <cmath>
#include <map>
#include <set>

#include "backend/cpu/contraction_epilogue.h"
#include "base/check.h"

namespace onrush::cpu {
namespace {

using Stage = IntegerProgram::Stage;
using Side = IntegerProgram::Side;
using Kind = IntegerStage::Kind;

class ProgramReader : EpilogueReader {
 public:
  using EpilogueReader::EpilogueReader;

  std::optional<IntegerProgram> read() {
    if (loops_.stores.size() != 1 || !is_matrix()) return std::nullopt;
    const Store& store = loops_.stores[0];
    result_.output = store.buffer;
    result_.output_address = address(store.address);
    result_.output_dtype = buffer(store.buffer).dtype;
    const DType dtype = value(store.value).dtype;
    const bool known = dtype == DType::i32 || dtype == DType::f32 || is_byte(dtype);
    if (!known || result_.output_dtype != dtype || !side_by_side(result_.output_address))
      return std::nullopt;
    for (const LoopValue& v : loops_.body) contains_.push_back(find_sum(v));
    if (!read(store.value)) return std::nullopt;
    return std::move(result_);
  }

 private:
  static bool is_byte(DType dtype) { return dtype == DType::u8 || dtype == DType::i8; }

  // Whether the value depends on the sums.
  bool contains(ValueId id) const { return contains_[static_cast<size_t>(id)]; }
  bool find_sum(const LoopValue& v) const {
    if (std::holds_alternative<AccumulatorValue>(v.data)) return true;
    if (const auto* convert = std::get_if<ConvertValue>(&v.data)) return contains(convert->operand);
    if (const auto* op = std::get_if<OpValue>(&v.data))
      return std::ranges::any_of(op->operands, [&](ValueId id) { return contains(id); });
    return false;
  }

  Stage& push(Kind kind) {
    result_.stages.push_back({.stage = {.kind = kind}});
    return result_.stages.back();
  }

  const OpValue* as(Op op, ValueId id) const {
    const auto* v = std::get_if<OpValue>(&value(id).data);
    return v && v->op == op ? v : nullptr;
  }
  std::optional<float> constant(ValueId id) const {
    const auto* c = std::get_if<ConstantValue>(&value(id).data);
    if (!c || value(id).dtype != DType::f32) return std::nullopt;
    return static_cast<float>(c->f);
  }
  // The other operand of an operation with a constant.
  struct WithConstant {
    ValueId operand;
    float constant;
  };
  std::optional<WithConstant> with_constant(Op op, ValueId id) const {
    const OpValue* v = as(op, id);
    if (!v) return std::nullopt;
    if (const auto c = constant(v->operands[1])) return WithConstant{v->operands[0], *c};
    if (const auto c = constant(v->operands[0]); c && (op != Op::sub && op != Op::div))
      return WithConstant{v->operands[1], *c};
    return std::nullopt;
  }

  // Emits the stages that compute the value.
  bool read(ValueId id) {
    const LoopValue& v = value(id);
    if (std::holds_alternative<AccumulatorValue>(v.data)) return v.dtype == DType::i32;
    if (const auto found = activation_of(id)) {
      if (!read(found->second)) return false;
      push(Kind::activate).stage.activation = found->first;
      return true;
    }
    if (const auto* convert = std::get_if<ConvertValue>(&v.data))
      return read_function(id) || read_conversion(convert->operand, v.dtype);
    const auto* op = std::get_if<OpValue>(&v.data);
    if (!op || op->operands.size() != 2) return false;
    if (read_quantisation(id)) return true;
    const bool left = contains(op->operands[0]), right = contains(op->operands[1]);
    if (left == right) return false;
    const ValueId chain = op->operands[left ? 0 : 1], other = op->operands[left ? 1 : 0];
    if (!left && op->op == Op::sub) return false;
    if (!read(chain)) return false;
    return v.dtype == DType::i32 ? apply_i32(op->op, other)
                                 : v.dtype == DType::f32 && apply_f32(op->op, other);
  }

  // --- functions of what was quantised before, from 8 bits to 8 bits

  using Table = IntegerProgram::Table;

  // Elements of the value for each of the 256 arguments, all f32.
  const Table* tabulate(ValueId id, ValueId argument, std::map<ValueId, Table>& known) const {
    const auto [entry, is_new] = known.try_emplace(id);
    Table& table = entry->second;
    const LoopValue& v = value(id);
    if (!is_new) return &table;
    if (id == argument) {
      for (size_t i = 0; i < table.size(); ++i)
        table[i] = static_cast<float>(i) + (v.dtype == DType::i8 ? -128.0f : 0.0f);
      return &table;
    }
    if (const auto c = constant(id)) {
      table.fill(*c);
      return &table;
    }
    if (const auto* convert = std::get_if<ConvertValue>(&v.data)) {
      const DType from = value(convert->operand).dtype;
      if (!(v.dtype == DType::f32 && is_byte(from)) && !(is_byte(v.dtype) && from == DType::f32))
        return nullptr;
      const Table* operand = tabulate(convert->operand, argument, known);
      if (operand) table = *operand;
      return operand ? &table : nullptr;
    }
    const auto* op = std::get_if<OpValue>(&v.data);
    if (!op || v.dtype != DType::f32 || op->operands.size() > 2) return nullptr;
    const Table* a = tabulate(op->operands[0], argument, known);
    if (!a) return nullptr;
    if (op->operands.size() == 1) {
      const UnaryKernel kernel = unary_kernel(op->op, Compute::f32);
      if (kernel) kernel(table.data(), a->data(), table.size());
      return kernel ? &table : nullptr;
    }
    const Table* b = tabulate(op->operands[1], argument, known);
    const BinaryKernel kernel =
        class_of(op->op) == OpClass::binary ? binary_kernel(op->op, Compute::f32) : nullptr;
    if (!b || !kernel) return nullptr;
    kernel(table.data(), a->data(), b->data(), table.size());
    return &table;
  }

  // Finds the one 8-bit value through which `id` depends on the sums, and all that lies between;
  // false if there are several.
  bool find_argument(ValueId id, ValueId& argument, std::set<ValueId>& seen) const {
    if (!contains(id) || !seen.insert(id).second) return true;
    const LoopValue& v = value(id);
    if (is_byte(v.dtype) && seen.size() > 1) {
      if (argument >= 0 && argument != id) return false;
      argument = id;
      return true;
    }
    if (const auto* convert = std::get_if<ConvertValue>(&v.data))
      return find_argument(convert->operand, argument, seen);
    const auto* op = std::get_if<OpValue>(&v.data);
    return op && std::ranges::all_of(op->operands, [&](ValueId operand) {
             return find_argument(operand, argument, seen);
           });
  }

  // Worth a table where it is more than another scale and zero point.
  bool read_function(ValueId id) {
    constexpr size_t kFewOperations = 9;
    if (!is_byte(value(id).dtype)) return false;
    ValueId argument = -1;
    std::set<ValueId> seen;
    if (!find_argument(id, argument, seen) || argument < 0 || seen.size() <= kFewOperations)
      return false;
    std::map<ValueId, Table> known;
    const Table* table = tabulate(id, argument, known);
    if (!table || !read(argument)) return false;
    Stage& stage = push(Kind::look_up);
    stage.table = static_cast<int>(result_.tables.size());
    stage.stage.zero = value(argument).dtype == DType::i8 ? -128 : 0;
    result_.tables.push_back(*table);
    return true;
  }

  // Whole numbers in range of 8 bits stay f32.
  bool read_conversion(ValueId from, DType to) {
    const DType dtype = value(from).dtype;
    if (to == DType::f32 && is_byte(dtype)) return read(from);
    if (to == DType::f32 && dtype == DType::i32) {
      if (!read(from)) return false;
      push(Kind::to_f32);
      return true;
    }
    if (!is_byte(to) || dtype != DType::f32 || !read_quantisation(from)) return false;
    return to == DType::u8 ? range_.low >= 0 && range_.high <= 255
                           : range_.low >= -128 && range_.high <= 127;
  }

  // round(x / scale) + zero between bounds, without the division or the zero where they change
  // nothing.
  bool read_quantisation(ValueId id) {
    const bool low_first = as(Op::min, id);
    const auto outer = with_constant(low_first ? Op::min : Op::max, id);
    const auto inner =
        outer ? with_constant(low_first ? Op::max : Op::min, outer->operand) : std::nullopt;
    if (!inner) return false;
    const auto low = low_first ? inner : outer, high = low_first ? outer : inner;
    if (low->constant > high->constant) return false;
    const auto zero = with_constant(Op::add, inner->operand);
    const OpValue* round = as(Op::round, zero ? zero->operand : inner->operand);
    if (!round) return false;
    const auto scale = with_constant(Op::div, round->operands[0]);
    if (scale && !(std::isnormal(scale->constant) && std::isnormal(1 / scale->constant) &&
                   scale->constant > 0))
      return false;
    if (!read(scale ? scale->operand : round->operands[0])) return false;
    push(Kind::quantise).stage = quantise_stage(
        scale ? scale->constant : 1, zero ? zero->constant : 0, low->constant, high->constant);
    range_ = {low->constant, high->constant};
    return true;
  }

  bool push_columns(Kind kind, ValueId other) {
    const auto columns = side(other);
    if (columns) push(kind).columns = *columns;
    return columns.has_value();
  }

  bool apply_i32(Op op, ValueId other) {
    if (op == Op::add) return push_columns(Kind::add_columns_i32, other);
    if (op != Op::sub) return false;
    if (const auto columns = side(other)) {
      const int zero = add_side({.kind = Side::Kind::constant});
      push(Kind::add_columns_i32).columns =
          add_side({.kind = Side::Kind::binary,
                    .binary = binary_kernel(Op::sub, Compute::i32),
                    .a = zero,
                    .b = *columns});
      return true;
    }
    const OpValue* product = as(Op::mul, other);
    for (size_t i = 0; i < 2; ++i) {
      const auto rows = row_operand(product ? product->operands[i] : other, DType::i32);
      if (!rows) continue;
      const auto columns =
          product ? side(product->operands[1 - i])
                  : std::optional(add_side({.kind = Side::Kind::constant, .constant = 1}));
      if (!columns) return false;
      Stage& stage = push(Kind::subtract_outer_i32);
      stage.columns = *columns;
      stage.rows = *rows;
      stage.stage.row_stride = row_stride(rows->address);
      return true;
    }
    return false;
  }

  bool apply_f32(Op op, ValueId other) {
    const auto number = constant(other);
    switch (op) {
      case Op::max:
        if (number) push(Kind::maximum).stage.low = *number;
        return number.has_value();
      case Op::min:
        if (number) push(Kind::minimum).stage.high = *number;
        return number.has_value();
      case Op::add:
        if (!number) return push_columns(Kind::add_columns, other) || push_all(other);
        push(Kind::dequantise).stage.zero = -*number;
        return true;
      case Op::sub:
        if (!number) return push_columns(Kind::subtract_columns, other);
        push(Kind::dequantise).stage.zero = *number;
        return true;
      case Op::mul: {
        if (number) return multiply(*number);
        if (push_columns(Kind::multiply_columns, other)) return true;
        const auto rows = row_operand(other, DType::f32);
        if (!rows) return false;
        Stage& stage = push(Kind::multiply_rows);
        stage.rows = *rows;
        stage.stage.row_stride = row_stride(rows->address);
        return true;
      }
      default: return false;
    }
  }

  bool multiply(float factor) {
    const bool joins = !result_.stages.empty() &&
                       result_.stages.back().stage.kind == Kind::dequantise &&
                       result_.stages.back().stage.scale == 1;
    (joins ? result_.stages.back() : push(Kind::dequantise)).stage.scale = factor;
    return true;
  }

  // An element for each of the result's, dequantised perhaps.
  bool push_all(ValueId id) {
    float scale = 1, zero = 0;
    if (const auto scaled = with_constant(Op::mul, id))
      scale = scaled->constant, id = scaled->operand;
    if (const auto shifted = with_constant(Op::sub, id))
      zero = shifted->constant, id = shifted->operand;
    else if (const auto added = with_constant(Op::add, id))
      zero = -added->constant, id = added->operand;
    if (const auto* convert = std::get_if<ConvertValue>(&value(id).data)) {
      id = convert->operand;
      if (!is_byte(value(id).dtype)) return false;
    } else if (value(id).dtype != DType::f32) {
      return false;
    }
    const auto all = operand(id);
    if (!all || !side_by_side(all->address)) return false;
    const DType dtype = buffer(all->buffer).dtype;
    if (dtype != DType::f32 && dtype != DType::bf16 && !is_byte(dtype)) return false;
    Stage& stage = push(Kind::add_all);
    stage.all = *all;
    stage.stage.dtype = dtype;
    stage.stage.scale = scale;
    stage.stage.zero = zero;
    stage.stage.row_stride = row_stride(all->address);
    return true;
  }

  std::optional<IntegerProgram::Operand> operand(ValueId id) const {
    const auto* load = std::get_if<LoadValue>(&value(id).data);
    if (!load || !load->dynamic.empty() || !load->bounds.empty()) return std::nullopt;
    return IntegerProgram::Operand{load->buffer, address(load->address)};
  }
  int64_t column_stride(const ConcreteAffine& a) const {
    return part_.axes[column_].empty() ? 0 : a.stride[static_cast<size_t>(part_.axes[column_][0])];
  }
  // One element a row, as it lies in memory.
  std::optional<IntegerProgram::Operand> row_operand(ValueId id, DType dtype) const {
    const auto from = operand(id);
    if (!from || buffer(from->buffer).dtype != dtype || column_stride(from->address) != 0)
      return std::nullopt;
    return from;
  }

  // --- what depends on columns alone

  int add_side(Side side) {
    result_.sides.push_back(side);
    return static_cast<int>(result_.sides.size()) - 1;
  }

  std::optional<int> side(ValueId id) {
    const LoopValue& v = value(id);
    if (contains(id) || (!is_byte(v.dtype) && v.dtype != DType::f32 && v.dtype != DType::i32))
      return std::nullopt;
    const Compute compute = compute_of(v.dtype);
    if (const auto* c = std::get_if<ConstantValue>(&v.data))
      return add_side({.kind = Side::Kind::constant,
                       .constant = compute == Compute::f32
                                       ? std::bit_cast<uint32_t>(static_cast<float>(c->f))
                                       : static_cast<uint32_t>(c->i)});
    if (std::holds_alternative<LoadValue>(v.data)) {
      const auto from = operand(id);
      if (!from || row_stride(from->address) != 0) return std::nullopt;
      const DType dtype = buffer(from->buffer).dtype;
      return add_side(
          {.kind = Side::Kind::load, .from = *from, .dtype = dtype, .load = load_kernel(dtype)});
    }
    if (const auto* convert = std::get_if<ConvertValue>(&v.data)) {
      const auto a = side(convert->operand);
      const Compute from = compute_of(value(convert->operand).dtype);
      if (!a || is_byte(v.dtype) || (from == Compute::f32 && compute == Compute::i32))
        return std::nullopt;
      if (from == compute) return a;
      return add_side({.kind = Side::Kind::unary, .unary = convert_kernel(from, compute), .a = *a});
    }
    const auto* op = std::get_if<OpValue>(&v.data);
    if (!op || op->operands.size() != 2 || is_byte(v.dtype)) return std::nullopt;
    const BinaryKernel kernel =
        class_of(op->op) == OpClass::binary ? binary_kernel(op->op, compute) : nullptr;
    const auto a = kernel ? side(op->operands[0]) : std::nullopt;
    const auto b = a ? side(op->operands[1]) : std::nullopt;
    if (!b) return std::nullopt;
    return add_side({.kind = Side::Kind::binary, .binary = kernel, .a = *a, .b = *b});
  }

  struct Range {
    float low, high;
  };

  IntegerProgram result_;
  std::vector<bool> contains_;
  Range range_{};  // of the latest quantisation
};

}  // namespace

std::optional<IntegerProgram> integer_program(const Loops& epilogue, const SizeTable& sizes,
                                              const ContractionPart& part, AxisKind column) {
  return ProgramReader(epilogue, sizes, part, column).read();
}

IntegerEpilogue ContractionKernel::Impl::integer_stages(const int64_t* index, int64_t columns,
                                                        void* const* buffers) const {
  const IntegerProgram& p = *program;
  const int axes = epilogue.kernel.axes().count;
  constexpr size_t kBytes = IntegerProgram::kColumns * 4;
  const size_t side_bytes = p.sides.size() * kBytes;
  auto* memory = static_cast<char*>(
      thread_scratch(ScratchSlot::columns, side_bytes + p.stages.size() * sizeof(IntegerStage)));
  const auto at = [&](int side) { return memory + static_cast<size_t>(side) * kBytes; };
  const auto count = static_cast<size_t>(columns);
  const AxisList& along = epilogue.axes[depthwise ? kBatch : kN];
  const int column = along.empty() ? -1 : along[0];
  for (size_t i = 0; i < p.sides.size(); ++i) {
    const Side& side = p.sides[i];
    char* out = at(static_cast<int>(i));
    switch (side.kind) {
      case Side::Kind::constant:
        std::fill_n(reinterpret_cast<uint32_t*>(out), IntegerProgram::kColumns, side.constant);
        break;
      case Side::Kind::load:
        side.load(out, buffers[side.from.buffer], dot(side.from.address, index, axes),
                  column < 0 ? 0 : side.from.address.stride[static_cast<size_t>(column)], count);
        break;
      case Side::Kind::unary: side.unary(out, at(side.a), count); break;
      case Side::Kind::binary: side.binary(out, at(side.a), at(side.b), count); break;
    }
  }
  auto* stages = reinterpret_cast<IntegerStage*>(memory + side_bytes);
  const auto address = [&](const IntegerProgram::Operand& from, DType dtype) -> const void* {
    if (from.buffer < 0) return nullptr;
    return advance(buffers[from.buffer], dtype, dot(from.address, index, axes));
  };
  for (size_t i = 0; i < p.stages.size(); ++i) {
    const Stage& from = p.stages[i];
    stages[i] = from.stage;
    if (from.columns >= 0) stages[i].columns = at(from.columns);
    if (from.table >= 0) stages[i].columns = p.tables[static_cast<size_t>(from.table)].data();
    stages[i].rows = address(from.rows, DType::f32);  // or i32
    stages[i].all = address(from.all, from.stage.dtype);
  }
  return {stages, p.stages.size()};
}

}  // namespace onrush::cpu
