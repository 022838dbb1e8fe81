#include "backend/cpu/cpu_binding.h"

#include <algorithm>
#include <map>

#include "backend/cpu/contraction_kernel.h"
#include "backend/cpu/tile_kernel.h"
#include "base/check.h"
#include "plan/placement.h"
#include "reference/evaluate.h"

namespace onrush::cpu {
namespace {

// A step at concrete sizes.
struct BoundStep {
  const Step* step = nullptr;
  std::vector<TileKernel> loops;
  std::vector<std::vector<Place>> loop_buffers;  // by kernel
  std::unique_ptr<ContractionKernel> contraction;
  std::vector<Place> lhs, rhs, epilogue;
  const Tensor* packed = nullptr;  // the right operand, if it is known
  Place workspace;                 // where it is packed in every run, if not
};

class CpuBinding final : public Binding {
 public:
  CpuBinding(std::shared_ptr<const CpuExecutable> owner, const CpuExecutable& executable,
             SizeTable sizes, std::vector<const Step*> steps, std::vector<const Tensor*> packed)
      : owner_(std::move(owner)), executable_(executable), sizes_(std::move(sizes)) {
    places_.resize(graph().nodes.size());
    place_sources();
    for (size_t i = 0; i < steps.size(); ++i) bind(*steps[i], packed[i]);
    place_results(steps);
    for (BoundStep& step : steps_) resolve(step);
  }

  std::vector<Tensor> run(RunState& state, std::span<const Tensor> inputs,
                          std::span<const Tensor> preset) const override;

  // The outputs of the last group, for prepared values.
  std::vector<Tensor> run_group() const;

 private:
  const Graph& graph() const { return executable_.graph(); }

  // What one run works with.
  struct Frame {
    std::span<const Tensor> inputs;
    std::vector<Tensor> outputs;
    std::vector<Tensor> tensors;  // results of host steps
    char* arena = nullptr;
  };

  void place_sources();
  void bind(const Step& step, const Tensor* packed);
  void place_results(std::span<const Step* const> steps);
  void resolve(BoundStep& step);
  std::vector<Place> resolve(const Loops& loops) const;
  void* address(const Place& place, const Frame& frame) const;
  std::vector<void*> addresses(const std::vector<Place>& places, const Frame& frame) const;
  Tensor tensor(NodeId node, const Frame& frame) const;
  void execute(const BoundStep& step, Frame& frame) const;
  void execute_host(NodeId id, Frame& frame) const;
  void copy_output(size_t index, Frame& frame) const;

  std::shared_ptr<const CpuExecutable> owner_;  // keeps executable_ alive; null while it is made
  const CpuExecutable& executable_;
  SizeTable sizes_;
  std::vector<Place> places_;  // by node
  std::vector<Tensor> dims_;   // values of dims nodes
  std::vector<BoundStep> steps_;
  int tensors_ = 0;
  int64_t arena_bytes_ = 0;
  // Arenas of past runs, for the next ones.
  struct Arena {
    explicit Arena(int64_t bytes) : memory(DType::u8, {bytes}) {}
    Tensor memory;
  };
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Arena>> idle_;
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

void CpuBinding::bind(const Step& step, const Tensor* packed) {
  BoundStep bound;
  bound.step = &step;
  bound.packed = packed;
  if (const auto* loops = std::get_if<std::vector<Loops>>(&step.kernel))
    for (const Loops& kernel : *loops) bound.loops.emplace_back(kernel, sizes_);
  if (const auto* contraction = std::get_if<Contraction>(&step.kernel))
    bound.contraction =
        std::make_unique<ContractionKernel>(*contraction, sizes_, executable_.shared().gemm);
  steps_.push_back(std::move(bound));
}

void CpuBinding::place_results(std::span<const Step* const> steps) {
  std::vector<int64_t> workspaces;
  for (const BoundStep& step : steps_)
    workspaces.push_back(step.contraction && !step.packed ? step.contraction->packed_bytes() : 0);
  Placement placement =
      place(executable_.schedule(), steps, sizes_, std::move(places_), workspaces);
  places_ = std::move(placement.places);
  arena_bytes_ = placement.arena_bytes;
  tensors_ = placement.tensors;
  for (size_t i = 0; i < steps_.size(); ++i) steps_[i].workspace = placement.workspaces[i];
}

std::vector<Place> CpuBinding::resolve(const Loops& loops) const {
  std::vector<Place> places;
  for (const LoopBuffer& buffer : loops.buffers) {
    places.push_back(places_[buffer.node.index]);
    internal_check(places.back().kind != Place::Kind::none, "a kernel's buffer has a place");
  }
  return places;
}

void CpuBinding::resolve(BoundStep& bound) {
  if (const auto* loops = std::get_if<std::vector<Loops>>(&bound.step->kernel))
    for (const Loops& kernel : *loops) bound.loop_buffers.push_back(resolve(kernel));
  if (const auto* c = std::get_if<Contraction>(&bound.step->kernel)) {
    bound.lhs = resolve(c->lhs);
    bound.rhs = resolve(c->rhs);
    bound.epilogue = resolve(c->epilogue);
  }
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

std::vector<void*> CpuBinding::addresses(const std::vector<Place>& places,
                                         const Frame& frame) const {
  std::vector<void*> result;
  result.reserve(places.size());
  for (const Place& place : places) result.push_back(address(place, frame));
  return result;
}

Tensor CpuBinding::tensor(NodeId node, const Frame& frame) const {
  const Place& place = places_[node.index];
  if (place.kind == Place::Kind::tensor) return frame.tensors[static_cast<size_t>(place.index)];
  if (const Tensor& known = executable_.prepared(node)) return known;
  const TensorType& type = graph().type(node);
  return Tensor(type.dtype, concrete_shape(type.shape, sizes_), address(place, frame));
}

void CpuBinding::execute_host(NodeId id, Frame& frame) const {
  const Node& node = graph()[id];
  std::vector<Tensor> operands;
  for (NodeId operand : node.inputs) operands.push_back(tensor(operand, frame));
  const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
  const std::vector<Tensor> results = evaluate_node(with_fresh_seed(node), operands, size);
  const Group& group =
      executable_.schedule().groups[static_cast<size_t>(executable_.schedule().home[id.index])];
  for (NodeId output : group.outputs) {
    const size_t part = output == id ? 0 : static_cast<size_t>(graph()[output].as<GetAttr>().index);
    frame.tensors[static_cast<size_t>(places_[output.index].index)] = results[part];
  }
}

void CpuBinding::execute(const BoundStep& step, Frame& frame) const {
  ThreadPool& pool = executable_.shared().pool;
  if (const auto* host = std::get_if<NodeId>(&step.step->kernel)) return execute_host(*host, frame);
  if (step.contraction) {
    void* packed = step.packed ? step.packed->data() : address(step.workspace, frame);
    if (!step.packed) step.contraction->pack_rhs(pool, addresses(step.rhs, frame).data(), packed);
    step.contraction->run(pool, addresses(step.lhs, frame).data(), packed,
                          addresses(step.epilogue, frame).data());
    return;
  }
  for (size_t i = 0; i < step.loops.size(); ++i) {
    const std::vector<void*> buffers = addresses(step.loop_buffers[i], frame);
    pool.run(step.loops[i].tasks(),
             [&](int64_t task) { step.loops[i].run_task(task, buffers.data()); });
  }
}

// An output that no step writes: an input, a weight, or another output's value.
void CpuBinding::copy_output(size_t index, Frame& frame) const {
  const NodeId node = graph().outputs[index].node;
  const Tensor from = tensor(node, frame);
  Tensor& to = frame.outputs[index];
  if (!to) {
    if (places_[node.index].kind == Place::Kind::tensor) return void(to = from);
    to = Tensor(from.dtype(), from.shape());
  }
  copy_elements(from, to);
}

std::vector<Tensor> CpuBinding::run(RunState& state, std::span<const Tensor> inputs,
                                    std::span<const Tensor> preset) const {
  std::unique_ptr<Arena> arena;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      arena = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  const size_t limit = executable_.shared().limit;
  if (limit && static_cast<size_t>(arena_bytes_) + executable_.shared().weights.bytes() > limit)
    fail(ErrorCode::out_of_memory,
         "a run needs {} bytes of scratch memory beside {} bytes of weights, above the session's "
         "limit of {}",
         arena_bytes_, executable_.shared().weights.bytes(), limit);
  if (!arena) arena = std::make_unique<Arena>(arena_bytes_);
  Frame frame{inputs, {}, {}, static_cast<char*>(arena->memory.data())};
  frame.tensors.resize(static_cast<size_t>(tensors_));
  frame.outputs.assign(preset.begin(), preset.end());
  frame.outputs.resize(graph().outputs.size());
  for (size_t i = 0; i < graph().outputs.size(); ++i) {
    const NodeId node = graph().outputs[i].node;
    const Place& place = places_[node.index];
    const bool written = place.kind == Place::Kind::output && place.index == static_cast<int>(i);
    if (!written) continue;
    const TensorType& type = graph().type(node);
    Shape shape = concrete_shape(type.shape, sizes_);
    if (!frame.outputs[i]) frame.outputs[i] = Tensor(type.dtype, std::move(shape));
    else if (frame.outputs[i].dtype() != type.dtype || frame.outputs[i].shape() != shape)
      fail(ErrorCode::invalid_argument, "the memory given for output '{}' must be {}{}, not {}{}",
           graph().outputs[i].name, name(type.dtype), to_string(shape),
           name(frame.outputs[i].dtype()), to_string(frame.outputs[i].shape()));
  }
  for (const BoundStep& step : steps_) {
    state.check_cancelled();
    execute(step, frame);
  }
  for (size_t i = 0; i < graph().outputs.size(); ++i) {
    const Place& place = places_[graph().outputs[i].node.index];
    if (place.kind != Place::Kind::output || place.index != static_cast<int>(i))
      copy_output(i, frame);
  }
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(arena));
  return std::move(frame.outputs);
}

std::vector<Tensor> CpuBinding::run_group() const {
  const Tensor memory(DType::u8, {arena_bytes_});
  Frame frame{{}, {}, {}, static_cast<char*>(memory.data())};
  frame.tensors.resize(static_cast<size_t>(tensors_));
  frame.outputs.resize(graph().outputs.size());
  std::vector<Tensor> results;
  for (NodeId output : steps_[0].step->group->outputs) {
    const Place& place = places_[output.index];
    if (place.kind != Place::Kind::output) continue;
    const TensorType& type = graph().type(output);
    frame.outputs[static_cast<size_t>(place.index)] =
        Tensor(type.dtype, concrete_shape(type.shape, sizes_));
  }
  execute(steps_[0], frame);
  for (NodeId output : steps_[0].step->group->outputs) {
    const Tensor from = tensor(output, frame);
    Tensor copy(from.dtype(), from.shape());
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
  return std::make_shared<CpuBinding>(std::move(executable), reference, std::move(sizes),
                                      std::move(steps), std::move(packed));
}

std::vector<Tensor> run_once(const CpuExecutable& executable, const Step& step,
                             const SizeTable& sizes) {
  return CpuBinding(nullptr, executable, sizes, {&step}, {nullptr}).run_group();
}

}  // namespace onrush::cpu
