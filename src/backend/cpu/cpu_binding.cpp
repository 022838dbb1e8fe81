#include "backend/cpu/cpu_binding.h"

#include <cstring>
#include <deque>
#include <mutex>
#include <optional>

#include "backend/cpu/contraction_kernel.h"
#include "backend/cpu/cpu_loop.h"
#include "backend/cpu/tile_kernel.h"
#include "base/check.h"
#include "base/pages.h"
#include "plan/cost.h"
#include "plan/placement.h"
#include "reference/evaluate.h"

namespace onrush::cpu {
namespace {

// A range of the binding's pointers.
struct Pointers {
  size_t begin = 0, end = 0;
};

// The kernels of a step, and of all that are equal to it.
struct Kernels {
  std::vector<TileKernel> loops;
  std::optional<ContractionKernel> contraction;
  std::unique_ptr<CpuLoop> loop;
};

// A step at concrete sizes.
struct BoundStep {
  const Step* step = nullptr;
  const Kernels* kernels = nullptr;
  Pointers pointers;                   // of all its buffers
  std::vector<Pointers> loop_buffers;  // by kernel
  Pointers lhs, rhs, epilogue;
  const Tensor* packed = nullptr;                        // the right operand, if it is known
  Place workspace;                                       // where it is packed in every run, if not
  mutable std::shared_ptr<const ProfiledStep> profiled;  // once a run is profiled
};

// What one run works with; kept for further runs.
struct Frame {
  std::span<const Tensor> inputs;
  std::span<Tensor> outputs;
  std::vector<Tensor> tensors;  // results of host steps
  char* arena = nullptr;        // lent for the run
  std::vector<void*> pointers;  // by CpuBinding::pointer_places_
};

class CpuBinding final : public Binding {
 public:
  CpuBinding(std::shared_ptr<const CpuExecutable> owner, const CpuExecutable& executable,
             SizeTable sizes, std::span<const Step* const> steps,
             std::span<const Tensor* const> packed, std::span<const size_t> twins)
      : owner_(std::move(owner)), executable_(executable), sizes_(std::move(sizes)) {
    places_.resize(graph().nodes.size());
    place_sources();
    steps_.reserve(steps.size());
    for (size_t i = 0; i < steps.size(); ++i)
      steps_.push_back({.step = steps[i],
                        .kernels = twins[i] < i ? steps_[twins[i]].kernels
                                                : &bind(*steps[i], /*packs=*/!packed[i]),
                        .packed = packed[i]});
    place_results(steps);
    for (BoundStep& step : steps_) resolve(step);
  }

  void run(RunState& state, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) const override;

  // The outputs of the last group, for prepared values.
  std::vector<Tensor> run_group() const;

 private:
  const Graph& graph() const { return executable_.graph(); }

  void place_sources();
  const Kernels& bind(const Step& step, bool packs);
  void place_results(std::span<const Step* const> steps);
  void resolve(BoundStep& step);
  Pointers resolve(const Loops& loops);
  std::unique_ptr<Frame> make_frame() const;
  std::unique_ptr<Frame> take_frame() const;
  void* address(const Place& place, const Frame& frame) const;
  Tensor tensor(NodeId node, const Frame& frame) const;
  bool is_written(size_t output) const;  // by a step
  Tensor new_output(size_t index, DType dtype, const Shape& shape) const;
  void prepare_outputs(Frame& frame) const;
  void execute(const BoundStep& step, RunState& state, Frame& frame) const;
  void execute_host(NodeId id, const CpuLoop* loop, RunState& state, Frame& frame) const;
  void copy_output(size_t index, Frame& frame) const;
  void describe_steps() const;

  std::shared_ptr<const CpuExecutable> owner_;  // keeps executable_ alive; null while it is made
  const CpuExecutable& executable_;
  SizeTable sizes_;
  std::vector<Place> places_;          // by node
  std::vector<Tensor> dims_;           // values of dims nodes
  std::vector<Place> pointer_places_;  // of all buffers of all kernels, in the order of the steps
  std::vector<Shape> output_shapes_;   // but for results of host steps
  std::deque<Kernels> kernels_;
  std::vector<BoundStep> steps_;
  int tensors_ = 0;
  int64_t arena_bytes_ = 0;
  std::vector<int64_t> live_bytes_;  // by step
  mutable std::once_flag described_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Frame>> idle_;
};

// --- binding

void CpuBinding::place_sources() {
  for (uint32_t i = 0; i < graph().nodes.size(); ++i) {
    const Node& node = graph().nodes[i];
    Place& place = places_[i];
    if (const Tensor& known = executable_.prepared(NodeId{i}))
      place = {Place::Kind::fixed, 0, 0, known.data()};
    if (node.op != Op::dims) continue;
    const auto& type = std::get<TensorType>(node.type);
    const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
    dims_.push_back(evaluate_node(node, {}, size).at(0));
    place = {Place::Kind::fixed, static_cast<int>(dims_.size()) - 1, 0, dims_.back().data()};
    internal_check(type.dtype == dims_.back().dtype(), "dims evaluate to their dtype");
  }
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
    bound.contraction.emplace(*contraction, sizes_, executable_.shared().gemm, packs);
  return bound;
}

void CpuBinding::place_results(std::span<const Step* const> steps) {
  std::vector<int64_t> workspaces;
  for (const BoundStep& step : steps_)
    workspaces.push_back(
        step.kernels->contraction && !step.packed ? step.kernels->contraction->packed_bytes() : 0);
  // Not where a step runs by itself, for a prepared value.
  const std::span<const std::optional<NodeId>> in_place =
      owner_ ? std::span(executable_.in_place()) : std::span<const std::optional<NodeId>>();
  Placement placement = place(executable_.schedule(), steps, sizes_, executable_.storage(),
                              std::move(places_), workspaces, in_place);
  places_ = std::move(placement.places);
  arena_bytes_ = placement.arena_bytes;
  live_bytes_ = std::move(placement.live_bytes);
  tensors_ = placement.tensors;
  for (size_t i = 0; i < steps_.size(); ++i) steps_[i].workspace = placement.workspaces[i];
  for (const GraphOutput& output : graph().outputs) {
    const bool by_host = places_[output.node.index].kind == Place::Kind::tensor;
    output_shapes_.push_back(by_host ? Shape()
                                     : concrete_shape(graph().shape(output.node), sizes_));
  }
}

Pointers CpuBinding::resolve(const Loops& loops) {
  const size_t begin = pointer_places_.size();
  for (const LoopBuffer& buffer : loops.buffers) {
    pointer_places_.push_back(places_[buffer.node.index]);
    internal_check(pointer_places_.back().kind != Place::Kind::none,
                   "a kernel's buffer has a place");
  }
  return {begin, pointer_places_.size()};
}

void CpuBinding::resolve(BoundStep& bound) {
  const size_t begin = pointer_places_.size();
  if (const auto* loops = std::get_if<std::vector<Loops>>(&bound.step->kernel))
    for (const Loops& kernel : *loops) bound.loop_buffers.push_back(resolve(kernel));
  if (const auto* c = std::get_if<Contraction>(&bound.step->kernel)) {
    bound.lhs = resolve(c->lhs);
    if (!bound.packed) bound.rhs = resolve(c->rhs);
    bound.epilogue = resolve(c->epilogue);
  }
  bound.pointers = {begin, pointer_places_.size()};
}

// --- running

void* CpuBinding::address(const Place& place, const Frame& frame) const {
  switch (place.kind) {
    case Place::Kind::fixed: return place.data;
    case Place::Kind::input: return frame.inputs[static_cast<size_t>(place.index)].data();
    case Place::Kind::output: return frame.outputs[static_cast<size_t>(place.index)].data();
    case Place::Kind::tensor: return frame.tensors[static_cast<size_t>(place.index)].data();
    case Place::Kind::arena: return frame.arena + place.offset;
    case Place::Kind::none: break;
  }
  internal_error("a value without a place");
}

std::unique_ptr<Frame> CpuBinding::make_frame() const {
  const size_t limit = executable_.shared().limit;
  if (limit && static_cast<size_t>(arena_bytes_) + executable_.shared().weights.bytes() > limit)
    fail(ErrorCode::out_of_memory,
         "a run needs {} bytes of scratch memory beside {} bytes of weights, above the session's "
         "limit of {}",
         arena_bytes_, executable_.shared().weights.bytes(), limit);
  auto frame = std::make_unique<Frame>();
  frame->tensors.resize(static_cast<size_t>(tensors_));
  frame->pointers.resize(pointer_places_.size());
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
  const Place& place = places_[node.index];
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
    const bool is_here = !loop || places_[operand.index].kind != Place::Kind::none;
    operands.push_back(is_here ? tensor(operand, frame) : Tensor());
  }
  const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
  const std::vector<Tensor> results =
      loop ? loop->run(state, operands) : evaluate_node(with_fresh_seed(node), operands, size);
  const Group& group =
      executable_.schedule().groups[static_cast<size_t>(executable_.schedule().home[id.index])];
  for (NodeId output : group.outputs) {
    const size_t part = output == id ? 0 : static_cast<size_t>(graph()[output].as<GetAttr>().index);
    frame.tensors[static_cast<size_t>(places_[output.index].index)] = results[part];
  }
}

void CpuBinding::execute(const BoundStep& step, RunState& state, Frame& frame) const {
  ThreadPool& pool = executable_.shared().pool;
  if (const auto* host = std::get_if<NodeId>(&step.step->kernel))
    return execute_host(*host, step.kernels->loop.get(), state, frame);
  for (size_t i = step.pointers.begin; i < step.pointers.end; ++i)
    frame.pointers[i] = address(pointer_places_[i], frame);
  const auto buffers = [&](Pointers range) { return frame.pointers.data() + range.begin; };
  if (const auto& contraction = step.kernels->contraction) {
    void* packed = step.packed ? step.packed->data() : address(step.workspace, frame);
    if (!step.packed) contraction->pack_rhs(pool, buffers(step.rhs), packed);
    contraction->run(pool, buffers(step.lhs), packed, buffers(step.epilogue));
    return;
  }
  for (size_t i = 0; i < step.loop_buffers.size(); ++i) {
    const TileKernel& kernel = step.kernels->loops[i];
    pool.run(kernel.tasks(),
             [&](int64_t task) { kernel.run_task(task, buffers(step.loop_buffers[i])); });
  }
}

bool CpuBinding::is_written(size_t output) const {
  const Place& place = places_[graph().outputs[output].node.index];
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
  const Place& place = places_[node.index];
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
  for (size_t i = 0; i < steps_.size(); ++i)
    steps_[i].profiled = profiled_at(graph(), *steps_[i].step, sizes_, live_bytes_[i]);
}

void CpuBinding::run(RunState& state, std::span<const Tensor> inputs,
                     std::span<Tensor> outputs) const {
  std::unique_ptr<Frame> frame = take_frame();
  const Arenas::Loan arena(executable_.shared().arenas, arena_bytes_);
  frame->arena = static_cast<char*>(arena.memory().data());
  frame->inputs = inputs;
  frame->outputs = outputs;
  prepare_outputs(*frame);
  if (state.profile) std::call_once(described_, [this] { describe_steps(); });
  for (const BoundStep& step : steps_) {
    state.check_cancelled();
    const ProfileTimer timer(state, step.profiled);
    try {
      execute(step, state, *frame);
    } catch (const Error& error) {
      fail(error.code(), "node '{}': {}", fmt::join(step.step->profiled->nodes, "', '"),
           error.what());
    }
  }
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!is_written(i)) copy_output(i, *frame);
  for (Tensor& tensor : frame->tensors) tensor = {};
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(frame));
}

std::vector<Tensor> CpuBinding::run_group() const {
  const Tensor arena = paged_tensor(DType::u8, {arena_bytes_});
  Frame frame;
  frame.arena = static_cast<char*>(arena.data());
  frame.tensors.resize(static_cast<size_t>(tensors_));
  frame.pointers.resize(pointer_places_.size());
  std::vector<Tensor> outputs(graph().outputs.size());
  frame.outputs = outputs;
  std::vector<Tensor> results;
  for (NodeId output : steps_[0].step->group->outputs) {
    const Place& place = places_[output.index];
    if (place.kind != Place::Kind::output) continue;
    const TensorType& type = graph().type(output);
    outputs[static_cast<size_t>(place.index)] =
        paged_tensor(type.dtype, concrete_shape(type.shape, sizes_));
  }
  RunState state;
  execute(steps_[0], state, frame);
  for (NodeId output : steps_[0].step->group->outputs) {
    const Place& place = places_[output.index];
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
  std::vector<const Step*> steps;
  std::vector<const Tensor*> packed;
  for (size_t i = 0; i < executable->steps().size(); ++i) {
    steps.push_back(&executable->steps()[i]);
    const Tensor& operand = executable->packed()[i];
    packed.push_back(operand ? &operand : nullptr);
  }
  const CpuExecutable& reference = *executable;
  return std::make_shared<CpuBinding>(std::move(executable), reference, std::move(sizes), steps,
                                      packed, reference.twins());
}

std::vector<Tensor> run_once(const CpuExecutable& executable, const Step& step,
                             const SizeTable& sizes) {
  const Step* const steps[] = {&step};
  const Tensor* const packed[] = {nullptr};
  const size_t twins[] = {0};
  return CpuBinding(nullptr, executable, sizes, steps, packed, twins).run_group();
}

}  // namespace onrush::cpu
