#include "plan/cost.h"

#include <algorithm>
#include <map>

#include "plan/placement.h"

namespace onrush {
namespace {

// Counts what one kernel does; operands and results of a step's kernels add up by buffer.
class Counter {
 public:
  Counter(const Graph& graph, const SizeTable& sizes) : graph_(graph), sizes_(sizes) {}

  // `axes`: those that the kernel ranges over.
  void add(const Loops& loops, uint64_t axes = ~uint64_t{0}) {
    for (const LoopValue& value : loops.body) {
      if (const auto* load = std::get_if<LoadValue>(&value.data)) add_load(loops, *load);
      const bool counts = std::holds_alternative<OpValue>(value.data);
      if (counts && is_float(value.dtype)) cost_.flops += positions(loops, value.axes & axes);
      if (const auto* reduce = std::get_if<ReduceValue>(&value.data);
          reduce && is_float(value.dtype))
        cost_.flops += positions(loops, operand(loops, reduce->operand).axes);
    }
    for (const Store& store : loops.stores)
      if (store.buffer >= 0) add_store(loops, store);
  }

  void add_epilogue(const Contraction& c) { add(c.epilogue, axes_of_results(c)); }
  int64_t results(const Contraction& c) const { return positions(c.lhs, axes_of_results(c)); }
  void add_products(const Loops& part) {
    const int64_t flops = 2 * positions(part, ~uint64_t{0});
    cost_.flops += flops;
    cost_.product_flops += flops;
  }
  void add_flops(int64_t flops) { cost_.flops += flops; }

  int64_t positions(const Loops& loops, uint64_t axes) const {
    int64_t count = 1;
    for (size_t i = 0; i < loops.axes.size(); ++i)
      if (axes >> i & 1) count *= sizes_(loops.axes[i].extent);
    return count;
  }

  StepCost total() const {
    StepCost total = cost_;
    for (const auto& [node, elements] : read_) total.bytes_read += bytes(node, elements);
    for (const auto& [node, elements] : written_) total.bytes_written += bytes(node, elements);
    return total;
  }

 private:
  struct Elements {
    DType dtype;
    int64_t count;
  };
  using ByNode = std::map<uint32_t, Elements>;

  static const LoopValue& operand(const Loops& loops, ValueId id) {
    return loops.body[static_cast<size_t>(id)];
  }

  static uint64_t axes_of_results(const Contraction& c) {
    return (uint64_t{1} << (c.batch_axes + c.m_axes + c.n_axes)) - 1;
  }

  static uint64_t axes_of(const Affine& address) {
    uint64_t axes = 0;
    for (const auto& [axis, stride] : address.terms) axes |= uint64_t{1} << axis;
    return axes;
  }

  void add_load(const Loops& loops, const LoadValue& load) {
    uint64_t axes = axes_of(load.address);
    for (const DynamicTerm& term : load.dynamic) axes |= operand(loops, term.value).axes;
    add_elements(read_, loops, load.buffer, positions(loops, axes));
  }

  void add_store(const Loops& loops, const Store& store) {
    add_elements(written_, loops, store.buffer, positions(loops, axes_of(store.address)));
  }

  static void add_elements(ByNode& to, const Loops& loops, int buffer, int64_t count) {
    const LoopBuffer& of = loops.buffers[static_cast<size_t>(buffer)];
    to.try_emplace(of.node.index, Elements{of.dtype, 0}).first->second.count += count;
  }

  // No more than the buffer has.
  int64_t bytes(uint32_t node, const Elements& elements) const {
    const Shape shape = concrete_shape(graph_.shape(NodeId{node}), sizes_);
    return static_cast<int64_t>(
        byte_size(elements.dtype, std::min(elements.count, element_count(shape))));
  }

  const Graph& graph_;
  const SizeTable& sizes_;
  StepCost cost_;
  ByNode read_, written_;
};

// 0 where only the run tells.
int64_t bytes_of(const Graph& graph, NodeId node, const SizeTable& sizes) {
  const auto* type = std::get_if<TensorType>(&graph[node].type);
  if (!type || type->dtype == DType::string) return 0;
  for (Dim dim : type->shape)
    if (dim.is_unknown()) return 0;
  return static_cast<int64_t>(
      byte_size(type->dtype, element_count(concrete_shape(type->shape, sizes))));
}

}  // namespace

StepCost cost_of(const Graph& graph, const Step& step, const SizeTable& sizes) {
  Counter counter(graph, sizes);
  if (const auto* loops = std::get_if<std::vector<Loops>>(&step.kernel))
    for (const Loops& kernel : *loops) counter.add(kernel);
  if (const auto* c = std::get_if<Contraction>(&step.kernel)) {
    for (const Loops* part : {&c->lhs, &c->rhs}) counter.add(*part);
    counter.add_epilogue(*c);
    counter.add_products(c->lhs);
  }
  if (const auto* a = std::get_if<Attention>(&step.kernel)) {
    constexpr int kSoftmax = 5;  // maximum, difference, exponential, sum, quotient
    for (const Loops* part : {&a->scores.lhs, &a->scores.rhs, &a->values.rhs}) counter.add(*part);
    for (const Contraction* part : {&a->scores, &a->values}) counter.add_epilogue(*part);
    counter.add_products(a->scores.lhs);
    counter.add_products(a->values.rhs);
    counter.add_flops(kSoftmax * counter.results(a->scores));
  }
  StepCost cost = counter.total();
  if (const auto* host = std::get_if<NodeId>(&step.kernel)) {
    for (NodeId input : graph[*host].inputs) cost.bytes_read += bytes_of(graph, input, sizes);
    for (NodeId output : step.group->outputs) cost.bytes_written += bytes_of(graph, output, sizes);
  }
  return cost;
}

std::shared_ptr<const ProfiledStep> profiled_at(const Graph& graph, const Step& step,
                                                const SizeTable& sizes, int64_t scratch_bytes,
                                                int kernels, std::string way) {
  auto profiled = std::make_shared<ProfiledStep>(*step.profiled);
  const StepCost cost = cost_of(graph, step, sizes);
  profiled->bytes_read = cost.bytes_read;
  profiled->bytes_written = cost.bytes_written;
  profiled->flops = cost.flops;
  profiled->product_flops = cost.product_flops;
  profiled->scratch_bytes = scratch_bytes;
  profiled->kernels = kernels;
  profiled->way = std::move(way);
  return profiled;
}

}  // namespace onrush
