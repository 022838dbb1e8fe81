#include "backend/cpu/cpu_binding.h"

#include <cstring>
#include <deque>
#include <mutex>
#include <optional>

#include "backend/cpu/contraction_kernel.h"
#include "backend/cpu/cpu_loop.h"
#include "backend/cpu/step_list.h"
#include "backend/cpu/tile_kernel.h"
#include "base/check.h"
#include "base/pages.h"
#include "plan/cost.h"
#include "plan/placement.h"
#include "reference/evaluate.h"

namespace onrush::cpu {
namespace {

// The kernels of a step, and of all that are equal to it.
struct Kernels {
  std::vector<TileKernel> loops;
  std::optional<ContractionKernel> contraction;
  std::unique_ptr<CpuLoop> loop;
};

// What one run works with; kept for further runs.
struct Frame {
  std::span<const Tensor> inputs;
  std::span<Tensor> outputs;
  std::vector<Tensor> tensors;  // results of host steps
  char* arena = nullptr;        // lent for the run
  std::vector<void*> pointers;  // by StepList::memory
};

class CpuBinding final : public Binding {
 public:
  // `steps` belongs to the executable, or outlives the binding.
  CpuBinding(std::shared_ptr<const CpuExecutable> owner, const CpuExecutable& executable,
             const StepList& steps, SizeTable sizes)
      : owner_(std::move(owner)),
        executable_(executable),
        steps_(steps),
        sizes_(std::move(sizes)),
        profiled_(steps.entries.size()) {
    const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
    for (NodeId node : steps_.sizes) dims_.push_back(evaluate_node(graph()[node], {}, size).at(0));
    bind_kernels();
    for (const GraphOutput& output : graph().outputs) {
      const bool by_host = place(output.node).kind == Place::Kind::tensor;
      output_shapes_.push_back(by_host ? Shape()
                                       : concrete_shape(graph().shape(output.node), sizes_));
    }
  }

  void run(RunState& state, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) const override;

  // The outputs of the last group, for prepared values.
  std::vector<Tensor> run_group() const;

 private:
  const Graph& graph() const { return executable_.graph(); }
  const Place& place(NodeId node) const { return steps_.placement[node]; }

  void bind_kernels();
  const Kernels& bind(const Step& step, bool packs);
  std::unique_ptr<Frame> make_frame() const;
  std::unique_ptr<Frame> take_frame() const;
  void* address(const Place& place, const Frame& frame) const;
  Tensor tensor(NodeId node, const Frame& frame) const;
  bool is_written(size_t output) const;  // by a step
  Tensor new_output(size_t index, DType dtype, const Shape& shape) const;
  void prepare_outputs(Frame& frame) const;
  void execute(size_t step, RunState& state, Frame& frame) const;
  void execute_host(NodeId id, const CpuLoop* loop, RunState& state, Frame& frame) const;
  void copy_output(size_t index, Frame& frame) const;
  void describe_steps() const;

  std::shared_ptr<const CpuExecutable> owner_;  // keeps executable_ alive; null while it is made
  const CpuExecutable& executable_;
  const StepList& steps_;
  SizeTable sizes_;
  std::vector<Tensor> dims_;  // by StepList::sizes
  std::deque<Kernels> kernels_;
  std::vector<const Kernels*> kernels_of_;  // by step
  ArenaLayout arena_;                 // workspaces: where right operands are packed in every run
  std::vector<Shape> output_shapes_;  // but for results of host steps
  mutable std::once_flag described_;
  mutable std::vector<std::shared_ptr<const ProfiledStep>> profiled_;  // by step, once described
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Frame>> idle_;
};

// --- binding

void CpuBinding::bind_kernels() {
  const size_t count = steps_.entries.size();
  steps_.prefetch();
  kernels_of_.reserve(count);
  std::vector<int64_t> workspaces(count);
  for (size_t i = 0; i < count; ++i) {
    const StepList::Entry& entry = steps_.entries[i];
    kernels_of_.push_back(entry.twin < i ? kernels_of_[entry.twin]
                                         : &bind(*entry.step, /*packs=*/!entry.packed));
    const auto& contraction = kernels_of_[i]->contraction;
    if (contraction && !entry.packed) workspaces[i] = contraction->packed_bytes();
  }
  arena_ = steps_.placement.arena(sizes_, workspaces);
}

const Kernels& CpuBinding::bind(const Step& step, bool packs) {
  Kernels& bound = kernels_.emplace_back();
  if (const auto* host = std::get_if<NodeId>(&step.kernel))
    if (const auto body = executable_.body(*host))
      bound.loop = std::make_unique<CpuLoop>(graph()[*host], body->bind(sizes_), sizes_);
  if (const auto* loops = std::get_if<std::vector<Loops>>(&step.kernel)) {
    bound.loops.reserve(loops->size());
    for (const Loops& kernel : *loops) bound.loops.emplace_back(kernel, sizes_);
  }
  if (const auto* contraction = std::get_if<Contraction>(&step.kernel))
    bound.contraction.emplace(*contraction, sizes_, executable_.shared().kernel_for(*contraction),
                              packs);
  return bound;
}

// --- running

void* CpuBinding::address(const Place& place, const Frame& frame) const {
  switch (place.kind) {
    case Place::Kind::fixed: return place.data;
    case Place::Kind::sizes: return dims_[static_cast<size_t>(place.index)].data();
    case Place::Kind::input: return frame.inputs[static_cast<size_t>(place.index)].data();
    case Place::Kind::output: return frame.outputs[static_cast<size_t>(place.index)].data();
    case Place::Kind::tensor: return frame.tensors[static_cast<size_t>(place.index)].data();
    case Place::Kind::arena:
      return frame.arena + arena_.lives[static_cast<size_t>(place.index)].offset;
    case Place::Kind::none: break;
  }
  internal_error("a value without a place");
}

std::unique_ptr<Frame> CpuBinding::make_frame() const {
  const size_t limit = executable_.shared().limit;
  if (limit && static_cast<size_t>(arena_.bytes) + executable_.shared().weights.bytes() > limit)
    fail(ErrorCode::out_of_memory,
         "a run needs {} bytes of scratch memory beside {} bytes of weights, above the session's "
         "limit of {}",
         arena_.bytes, executable_.shared().weights.bytes(), limit);
  auto frame = std::make_unique<Frame>();
  frame->tensors.resize(static_cast<size_t>(steps_.placement.tensors()));
  frame->pointers.resize(steps_.memory.size());
  return frame;
}

std::unique_ptr<Frame> CpuBinding::take_frame() const {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto frame = std::move(idle_.back());
      idle_.pop_back();
      return frame;
    }
  }
  return make_frame();
}

Tensor CpuBinding::tensor(NodeId node, const Frame& frame) const {
  const Place& place = this->place(node);
  if (place.kind == Place::Kind::tensor) return frame.tensors[static_cast<size_t>(place.index)];
  if (const Tensor& known = executable_.prepared(node)) return known;
  const TensorType& type = graph().type(node);
  return Tensor(type.dtype, concrete_shape(type.shape, sizes_), address(place, frame));
}

void CpuBinding::execute_host(NodeId id, const CpuLoop* loop, RunState& state, Frame& frame) const {
  const Node& node = graph()[id];
  std::vector<Tensor> operands;
  for (NodeId operand : node.inputs) {
    // Weights that a loop's body has need not be here.
    const bool is_here = !loop || place(operand).kind != Place::Kind::none;
    operands.push_back(is_here ? tensor(operand, frame) : Tensor());
  }
  const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
  const std::vector<Tensor> results =
      loop ? loop->run(state, operands) : evaluate_node(with_fresh_seed(node), operands, size);
  const Group& group =
      executable_.schedule().groups[static_cast<size_t>(executable_.schedule().home[id.index])];
  for (NodeId output : group.outputs) {
    const size_t part = output == id ? 0 : static_cast<size_t>(graph()[output].as<GetAttr>().index);
    frame.tensors[static_cast<size_t>(place(output).index)] = results[part];
  }
}

void CpuBinding::execute(size_t step, RunState& state, Frame& frame) const {
  const StepList::Entry& entry = steps_.entries[step];
  const Kernels& kernels = *kernels_of_[step];
  ThreadPool& pool = executable_.shared().pool;
  if (const auto* host = std::get_if<NodeId>(&entry.step->kernel))
    return execute_host(*host, kernels.loop.get(), state, frame);
  for (size_t i = entry.memory.begin; i < entry.memory.end; ++i)
    frame.pointers[i] = address(steps_.memory[i], frame);
  const auto buffers = [&](StepList::Range range) { return frame.pointers.data() + range.begin; };
  if (const auto& contraction = kernels.contraction) {
    void* packed = entry.packed ? entry.packed->data() : frame.arena + arena_.workspaces[step];
    if (!entry.packed) contraction->pack_rhs(pool, buffers(entry.rhs), packed);
    contraction->run(pool, buffers(entry.lhs), packed, buffers(entry.epilogue));
    return;
  }
  for (size_t i = 0; i < kernels.loops.size(); ++i)
    kernels.loops[i].run(pool, buffers(entry.kernels[i]));
}

bool CpuBinding::is_written(size_t output) const {
  const Place& place = this->place(graph().outputs[output].node);
  return place.kind == Place::Kind::output && place.index == static_cast<int>(output);
}

Tensor CpuBinding::new_output(size_t index, DType dtype, const Shape& shape) const {
  try {
    return Tensor(dtype, shape);
  } catch (const Error& error) {
    fail(error.code(), "output '{}' of shape {}: {}", graph().outputs[index].name, to_string(shape),
         error.what());
  }
}

void CpuBinding::prepare_outputs(Frame& frame) const {
  for (size_t i = 0; i < frame.outputs.size(); ++i) {
    if (!is_written(i)) continue;
    const DType dtype = graph().dtype(graph().outputs[i].node);
    if (frame.outputs[i])
      check_given(graph().outputs[i].name, frame.outputs[i], dtype, output_shapes_[i]);
    else frame.outputs[i] = new_output(i, dtype, output_shapes_[i]);
  }
}

// An output that no kernel writes: an input, a weight, another output's value, or a host step's.
void CpuBinding::copy_output(size_t index, Frame& frame) const {
  const NodeId node = graph().outputs[index].node;
  const std::string& name = graph().outputs[index].name;
  const Place& place = this->place(node);
  Tensor& to = frame.outputs[index];
  if (place.kind == Place::Kind::tensor || place.kind == Place::Kind::input) {
    const Tensor& from = place.kind == Place::Kind::input
                             ? frame.inputs[static_cast<size_t>(place.index)]
                             : frame.tensors[static_cast<size_t>(place.index)];
    if (!to && place.kind == Place::Kind::tensor) return void(to = from);
    if (!to) to = new_output(index, from.dtype(), from.shape());
    check_given(name, to, from.dtype(), from.shape());
    return copy_elements(from, to);
  }
  if (const Tensor& known = executable_.prepared(node); known && known.dtype() == DType::string) {
    if (!to) to = new_output(index, known.dtype(), known.shape());
    check_given(name, to, known.dtype(), known.shape());
    return copy_elements(known, to);
  }
  const DType dtype = graph().dtype(node);
  if (!to) to = new_output(index, dtype, output_shapes_[index]);
  check_given(name, to, dtype, output_shapes_[index]);
  if (to.count()) std::memcpy(to.data(), address(place, frame), to.bytes());
}

void CpuBinding::describe_steps() const {
  const std::vector<int64_t> live_bytes = arena_.live_bytes();
  for (size_t i = 0; i < live_bytes.size(); ++i)
    profiled_[i] = profiled_at(graph(), *steps_.entries[i].step, sizes_, live_bytes[i]);
}

void CpuBinding::run(RunState& state, std::span<const Tensor> inputs,
                     std::span<Tensor> outputs) const {
  std::unique_ptr<Frame> frame = take_frame();
  const Arenas::Loan arena(executable_.shared().arenas, arena_.bytes);
  frame->arena = arena.address();
  frame->inputs = inputs;
  frame->outputs = outputs;
  prepare_outputs(*frame);
  if (state.profile) std::call_once(described_, [this] { describe_steps(); });
  for (size_t i = 0; i < steps_.entries.size(); ++i) {
    state.check_cancelled();
    const ProfileTimer timer(state, profiled_[i]);
    try {
      execute(i, state, *frame);
    } catch (const Error& error) {
      const std::vector<std::string>& nodes = steps_.entries[i].step->profiled->nodes;
      fail(error.code(), "node '{}': {}", fmt::join(nodes, "', '"), error.what());
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!is_written(i)) copy_output(i, *frame);
  for (Tensor& tensor : frame->tensors) tensor = {};
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(frame));
}

std::vector<Tensor> CpuBinding::run_group() const {
  const Tensor arena = paged_tensor(DType::u8, {arena_.bytes});
  Frame frame;
  frame.arena = static_cast<char*>(arena.data());
  frame.tensors.resize(static_cast<size_t>(steps_.placement.tensors()));
  frame.pointers.resize(steps_.memory.size());
  std::vector<Tensor> outputs(graph().outputs.size());
  frame.outputs = outputs;
  const std::vector<NodeId>& group_outputs = steps_.entries[0].step->group->outputs;
  std::vector<Tensor> results;
  for (NodeId output : group_outputs) {
    const Place& place = this->place(output);
    if (place.kind != Place::Kind::output) continue;
    const TensorType& type = graph().type(output);
    outputs[static_cast<size_t>(place.index)] =
        paged_tensor(type.dtype, concrete_shape(type.shape, sizes_));
  }
  RunState state;
  execute(0, state, frame);
  for (NodeId output : group_outputs) {
    const Place& place = this->place(output);
    if (place.kind == Place::Kind::output) {
      results.push_back(outputs[static_cast<size_t>(place.index)]);
      continue;
    }
    const Tensor from = tensor(output, frame);
    Tensor copy = paged_tensor(from.dtype(), from.shape());
    copy_elements(from, copy);
    results.push_back(std::move(copy));
  }
  return results;
}

}  // namespace

std::shared_ptr<const Binding> make_binding(std::shared_ptr<const CpuExecutable> executable,
                                            SizeTable sizes) {
  const CpuExecutable& reference = *executable;
  return std::make_shared<CpuBinding>(std::move(executable), reference, reference.steps(),
                                      std::move(sizes));
}

std::vector<Tensor> run_once(const CpuExecutable& executable, const Step& step,
                             const SizeTable& sizes) {
  const Step* const steps[] = {&step};
  const Tensor* const packed[] = {nullptr};
  const size_t twins[] = {0};
  const StepList list(executable, steps, packed, twins, /*in_place=*/{});
  return CpuBinding(nullptr, executable, list, sizes).run_group();
}

}  // namespace onrush::cpu
