#include "backend/cuda/cuda_binding.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <fmt/ranges.h>
#include <mutex>
#include <optional>

#include "backend/cuda/cuda_profiler.h"
#include "backend/cuda/frame.h"
#include "backend/cuda/tune_plan.h"
#include "base/check.h"
#include "plan/cost.h"
#include "reference/evaluate.h"
#include <onrush/device_memory.h>

namespace onrush::cuda {
namespace {

constexpr int64_t kLargestNarrowIndex = INT32_MAX;

bool is_on_gpu(const Tensor& tensor) { return tensor.device().kind == Device::Kind::cuda; }

class CudaBinding final : public Binding {
 public:
  CudaBinding(std::shared_ptr<const CudaExecutable> owner, std::shared_ptr<const BoundPlan> plan)
      : owner_(std::move(owner)),
        bound_(std::move(plan)),
        plan_(*bound_),
        host_values_(cuda::host_values(plan_)) {}

  void run(RunState& state, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) const override;
  // Runs the steps once, into memory that is there for what they compute. The context is current.
  void run_into(const std::map<NodeId, Tensor>& results, Frame& frame) const;
  const BoundPlan& plan() const { return plan_; }

 private:
  // What one run works with, besides its frame.
  struct Values {
    std::span<const Tensor> inputs;
    RunMemory memory;
    std::vector<Tensor> host_results;  // of host steps
    CudaProfiler* profiler = nullptr;  // null: nobody wants to know
    bool capturing = false;
  };

  const CudaExecutable& executable() const { return plan_.executable(); }
  const Graph& graph() const { return plan_.graph(); }
  const ContextPtr& context() const { return plan_.context(); }

  void send_inputs(Frame& frame, const Values& values) const;
  void execute(size_t at, Frame& frame, Values& values, bool& after_kernel) const;
  std::string step_text(size_t at) const;
  void execute_host(NodeId id, Frame& frame, Values& values) const;
  void launch_all(RunState& state, Frame& frame, Values& values) const;
  void tell_profiler(const Recording& recording, const Frame& frame, const Values& values) const;
  Tensor host_value(NodeId node, const Frame& frame, const Values& values) const;
  bool needs_waiting(const RunState& state, std::span<const Tensor> outputs) const;
  bool make_outputs_on_device(std::span<Tensor> outputs) const;
  void follow_default_stream(const Frame& frame) const;
  void send_outputs(Frame& frame, const Values& values, std::span<Tensor> outputs) const;
  void finish(Frame& frame, const Values& values, Device results_on,
              std::span<Tensor> outputs) const;
  [[noreturn]] void report_index(std::unique_ptr<Frame> frame) const;
  void describe_steps(const RunMemory& memory) const;
  void check_capture(std::span<const Tensor> inputs, std::span<const Tensor> outputs) const;

  std::shared_ptr<const CudaExecutable> owner_;  // keeps the plan's alive; null while that is made
  std::shared_ptr<const BoundPlan> bound_;
  const BoundPlan& plan_;
  const HostValues host_values_;
  mutable std::once_flag described_;
  mutable std::vector<std::shared_ptr<const ProfiledStep>> profiled_;  // by step, once described
  mutable std::atomic<int64_t> runs_ = 0;
};

// Brings inputs that are not used in place into the frame: those on the host by way of pinned
// memory, small ones side by side as one copy, large ones in pieces so that the two copies overlap.
void CudaBinding::send_inputs(Frame& frame, const Values& values) const {
  constexpr size_t kPiece = size_t{1} << 20, kSmall = size_t{16} << 10;
  frame.staged = false;
  struct {
    CUdeviceptr to = 0;
    const std::byte* from = nullptr;
    size_t bytes = 0;
  } sent;  // to the pinned memory, but not from there
  const auto send = [&] {
    if (!sent.bytes) return;
    copy_to_device(sent.to, sent.from, sent.bytes, frame.stream);
    if (values.profiler) values.profiler->copied(frame.stream);
    sent = {};
  };
  for (size_t i = 0; i < values.inputs.size(); ++i) {
    const Tensor& input = values.inputs[i];
    const size_t bytes = plan_.input_bytes(i);
    if (!bytes) continue;
    const CUdeviceptr to = values.memory.addresses[i];
    if (is_on_gpu(input)) {
      if (to == device_address(input.data())) continue;
      copy_on_device(to, device_address(input.data()), bytes, frame.stream);
      if (values.profiler) values.profiler->copied(frame.stream);
      continue;
    }
    frame.staged = true;
    std::byte* staging = frame.host.data() + plan_.layout().host_inputs[i];
    const auto* source = static_cast<const std::byte*>(input.data());
    for (size_t at = 0; at < bytes; at += kPiece) {
      const size_t piece = std::min(kPiece, bytes - at);
      std::memcpy(staging + at, source + at, piece);
      if (to == device_address(staging)) continue;
      const size_t gap = aligned(sent.bytes);  // from what is there to what follows it
      if (sent.from + gap == staging + at && sent.to + gap == to + at) {
        sent.bytes = gap + piece;
      } else {
        send();
        sent = {to + at, staging + at, piece};
      }
      if (sent.bytes > kSmall) send();
    }
  }
  send();
}

// The value in host memory; waits for the device if that has it.
Tensor CudaBinding::host_value(NodeId node, const Frame& frame, const Values& values) const {
  const Place& place = plan_.place_of(node);
  if (const auto* constant = std::get_if<ConstantAttr>(&graph()[node].attr))
    return constant->tensor;
  if (place.kind == Place::Kind::tensor)
    return values.host_results[static_cast<size_t>(place.index)];
  if (place.kind == Place::Kind::input) {
    const Tensor& input = values.inputs[static_cast<size_t>(place.index)];
    if (input.device().kind == Device::Kind::cpu) return input;
  }
  Tensor result(plan_.type(node).dtype, plan_.shape(node));
  if (result.count()) {
    copy_to_host(result.data(), plan_.address(node, values.memory), result.bytes(), frame.stream);
    if (values.profiler) values.profiler->copied(frame.stream);
  }
  frame.stream.synchronize();
  return result;
}

void CudaBinding::execute_host(NodeId id, Frame& frame, Values& values) const {
  const Node& node = graph()[id];
  std::vector<Tensor> operands;
  for (NodeId operand : node.inputs) operands.push_back(host_value(operand, frame, values));
  const SizeFunction size = [this](Dim dim) { return plan_.sizes()(dim); };
  const std::vector<Tensor> results = evaluate_node(with_fresh_seed(node), operands, size);
  const int home = executable().plan().schedule().home[id.index];
  for (NodeId output : executable().plan().schedule().groups[static_cast<size_t>(home)].outputs) {
    const size_t part = output == id ? 0 : static_cast<size_t>(graph()[output].as<GetAttr>().index);
    const auto index = static_cast<size_t>(plan_.place_of(output).index);
    values.host_results[index] = results[part];
    if (!plan_.bytes(output)) continue;
    copy_to_device(frame.memory.pointer() + plan_.layout().results[index], results[part].data(),
                   results[part].bytes(), frame.stream);
    if (values.profiler) values.profiler->copied(frame.stream);
  }
}

void CudaBinding::execute(size_t at, Frame& frame, Values& values, bool& after_kernel) const {
  const BoundStep& step = plan_.steps()[at];
  if (const auto* host = std::get_if<NodeId>(&step.step->step.kernel)) {
    after_kernel = false;
    return execute_host(*host, frame, values);
  }
  const bool checks = executable().shared().waits_for_kernels && !values.capturing;
  try {
    plan_.each_launch(step, values.memory, [&](const KernelLaunch& kernel) {
      put_on_stream(kernel, after_kernel && executable().plan().target().clusters,
                    values.memory.words, frame.stream);
      if (values.profiler) values.profiler->launched(profiled_[at], frame.stream);
      after_kernel = !checks && (!values.profiler || values.profiler->sees_graphs());
    });
    if (checks) frame.stream.synchronize();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::device) throw;
    fail(ErrorCode::device, "{}: {}", step_text(at), error.what());
  }
}

// "step 3 of 12, contraction dot+add (tiles of 64 x 64), ONNX nodes 'a', 'b'"
std::string CudaBinding::step_text(size_t at) const {
  const BoundStep& step = plan_.steps()[at];
  const ProfiledStep& profiled = *step.step->step.profiled;
  const std::string way = plan_.way_of(step);
  return fmt::format("step {} of {}, {} {}{}, ONNX nodes '{}'", at + 1, plan_.steps().size(),
                     profiled.kind, profiled.name, way.empty() ? "" : " (" + way + ")",
                     fmt::join(profiled.nodes, "', '"));
}

// What a captured run reads from the host is read once, when it is captured.
void CudaBinding::check_capture(std::span<const Tensor> inputs,
                                std::span<const Tensor> outputs) const {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!is_on_gpu(inputs[i]) && plan_.input_bytes(i))
      fail(ErrorCode::invalid_argument,
           "input '{}' is on the host: a stream that captures needs it on the device",
           graph().inputs[i].name);
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!is_on_gpu(outputs[i]) || !plan_.on_device(graph().outputs[i].node))
      fail(ErrorCode::invalid_argument,
           "output '{}' is not written to memory given on the device: a stream that captures needs "
           "that",
           graph().outputs[i].name);
  if (plan_.has_host_steps())
    fail(ErrorCode::invalid_argument,
         "this model cannot be captured: some of its steps run on the host");
}

void CudaBinding::tell_profiler(const Recording& recording, const Frame& frame,
                                const Values& values) const {
  for (size_t i = 0; i < plan_.steps().size(); ++i)
    for (size_t n = recording.launches(i); n > 0; --n)
      values.profiler->launched(profiled_[i], frame.stream);
}

void CudaBinding::launch_all(RunState& state, Frame& frame, Values& values) const {
  const ProfileTimer timer(state, launch_step());
  // A run that is captured becomes part of the caller's graph.
  const int64_t earlier_runs = runs_++;
  if (earlier_runs == 1) executable().compile_for_other_sizes();
  const bool may_be_graph = !plan_.has_host_steps() && !values.capturing &&
                            !executable().shared().waits_for_kernels &&
                            (!values.profiler || values.profiler->sees_graphs());
  if (may_be_graph)
    if (Recording* recording =
            frame.recording_for(bound_, values.memory, earlier_runs, values.profiler != nullptr)) {
      recording->launch(frame.stream);
      if (values.profiler) tell_profiler(*recording, frame, values);
      return;
    }
  bool after_kernel = false;
  for (size_t i = 0; i < plan_.steps().size(); ++i) {
    if (plan_.has_host_steps()) state.check_cancelled();
    execute(i, frame, values, after_kernel);
  }
}

// Makes those that kernels write and that have no memory; true if there are any.
bool CudaBinding::make_outputs_on_device(std::span<Tensor> outputs) const {
  bool any = false;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NodeId node = graph().outputs[i].node;
    if (outputs[i] || !plan_.on_device(node)) continue;
    outputs[i] = executable().shared().pool->tensor(plan_.type(node).dtype, plan_.shape(node));
    any = true;
  }
  return any;
}

// Until the default stream has come this far, others may use the memory of inputs and outputs.
void CudaBinding::follow_default_stream(const Frame& frame) const {
  frame.ready.record(Stream::borrow(context(), CU_STREAM_LEGACY));
  frame.stream.wait(frame.ready);
}

// What profiles say of the steps at the sizes of the binding.
void CudaBinding::describe_steps(const RunMemory& memory) const {
  const std::vector<int64_t> live_bytes = plan_.live_bytes();
  for (size_t i = 0; i < plan_.steps().size(); ++i) {
    const BoundStep& step = plan_.steps()[i];
    int launches = 0;
    plan_.each_launch(step, memory, [&](const KernelLaunch&) { ++launches; });
    profiled_.push_back(profiled_at(graph(), step.step->step, plan_.sizes(), live_bytes[i],
                                    std::max(1, launches), plan_.way_of(step)));
  }
}

void CudaBinding::run(RunState& state, std::span<const Tensor> inputs,
                      std::span<Tensor> outputs) const {
  const ContextScope scope(*context());
  const bool capturing =
      state.stream && Stream::borrow(context(), static_cast<CUstream>(state.stream)).capturing();
  std::optional<RelaxedCapture> relaxed;
  if (capturing) relaxed.emplace();
  if (capturing) check_capture(inputs, outputs);
  state.check_cancelled();
  const bool waits = needs_waiting(state, outputs);
  const bool given =
      std::ranges::any_of(inputs, is_on_gpu) || std::ranges::any_of(outputs, is_on_gpu);
  const bool made = state.results_on.kind == Device::Kind::cuda && make_outputs_on_device(outputs);
  std::unique_ptr<Frame> frame =
      executable().frames().take(plan_, static_cast<CUstream>(state.stream), capturing);
  Values values{inputs, memory_of_run(plan_, *frame, inputs, outputs, host_values_),
                std::vector<Tensor>(static_cast<size_t>(plan_.results())),
                static_cast<CudaProfiler*>(state.profiler), capturing};
  if (frame->pending && !capturing) {
    if (frame->host_error()) report_index(std::move(frame));  // of an earlier run
    // That may still read its inputs from the frame.
    if (frame->staged) frame->done.synchronize();
  }
  if (made || (given && !state.stream)) follow_default_stream(*frame);
  if (state.profile) std::call_once(described_, [&] { describe_steps(values.memory); });
  if (values.profiler) values.profiler->begin(frame->stream);
  {
    const ProfileTimer timer(state, send_step());
    send_inputs(*frame, values);
  }
  launch_all(state, *frame, values);
  ++frame->runs;
  {
    const ProfileTimer timer(state, send_step());
    send_outputs(*frame, values, outputs);
  }
  if (capturing) return executable().frames().keep(std::move(frame));
  frame->pending = !waits;
  if (frame->pending) {
    frame->done.record(frame->stream);
  } else {
    const ProfileTimer timer(state, wait_step());
    frame->stream.synchronize();
  }
  if (values.profiler) values.profiler->end();
  if (!frame->pending) {
    if (frame->host_error()) report_index(std::move(frame));
    finish(*frame, values, state.results_on, outputs);
  }
  executable().frames().give_back(std::move(frame));
}

void CudaBinding::report_index(std::unique_ptr<Frame> frame) const {
  frame->stream.synchronize();
  fill(frame->words.pointer(), std::byte{0}, sizeof(uint32_t), frame->own);
  frame->own.synchronize();
  frame->host_error() = 0;
  frame->pending = false;
  executable().frames().give_back(std::move(frame));
  fail(ErrorCode::invalid_argument, "an index is outside of its axis");
}

bool CudaBinding::needs_waiting(const RunState& state, std::span<const Tensor> outputs) const {
  if (!state.stream || state.profiler || plan_.has_host_steps()) return true;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!plan_.on_device(graph().outputs[i].node) || !is_on_gpu(outputs[i])) return true;
  return false;
}

// Puts the copies of what kernels wrote on the stream: to the caller's memory where there is some,
// else to new memory on the host, small ones by way of the frame.
void CudaBinding::send_outputs(Frame& frame, const Values& values,
                               std::span<Tensor> outputs) const {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NodeId node = graph().outputs[i].node;
    if (!plan_.on_device(node)) continue;
    Tensor& target = outputs[i];
    if (target)
      check_given(graph().outputs[i].name, target, plan_.type(node).dtype, plan_.shape(node));
    const CUdeviceptr from = plan_.address(node, values.memory);
    std::byte* staging = frame.host.data() + plan_.layout().host_outputs[i];
    if (is_on_gpu(target)) {
      if (device_address(target.data()) == from) continue;
      copy_on_device(device_address(target.data()), from, plan_.bytes(node), frame.stream);
    } else if (plan_.bytes(node) <= kSmallOutput) {
      if (device_address(staging) == from) continue;  // a kernel has written it there
      copy_to_host(staging, from, plan_.bytes(node), frame.stream);
    } else {
      if (!target)
        target = executable().shared().results->tensor(plan_.type(node).dtype, plan_.shape(node));
      if (!target) target = Tensor(plan_.type(node).dtype, plan_.shape(node));
      copy_to_host(target.data(), from, plan_.bytes(node), frame.stream);
    }
    if (values.profiler) values.profiler->copied(frame.stream);
  }
  if (!plan_.checks_indices() || values.capturing) return;
  copy_to_host(&frame.host_error(), frame.words.pointer(), sizeof(uint32_t), frame.stream);
  if (values.profiler) values.profiler->copied(frame.stream);
}

// Sets the outputs that send_outputs() has not, when the stream is past it.
void CudaBinding::finish(Frame& frame, const Values& values, Device results_on,
                         std::span<Tensor> outputs) const {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NodeId node = graph().outputs[i].node;
    Tensor& target = outputs[i];
    if (plan_.on_device(node)) {
      if (!target) target = Tensor(plan_.type(node).dtype, plan_.shape(node));
      if (target.device().kind == Device::Kind::cpu && plan_.bytes(node) <= kSmallOutput)
        std::memcpy(target.data(), frame.host.data() + plan_.layout().host_outputs[i],
                    plan_.bytes(node));
      continue;
    }
    // Results of host steps are new; neither an input's memory nor a weight's is given away.
    const Tensor result = host_value(node, frame, values);
    if (!target && plan_.place_of(node).kind == Place::Kind::tensor) {
      target = moved_to(results_on, result);
      continue;
    }
    if (!target) target = new_tensor(result.dtype(), result.shape(), results_on);
    check_given(graph().outputs[i].name, target, result.dtype(), result.shape());
    copy(result, target);
  }
}

void CudaBinding::run_into(const std::map<NodeId, Tensor>& results, Frame& frame) const {
  Values values{
      {}, memory_of_run(plan_, frame), std::vector<Tensor>(static_cast<size_t>(plan_.results()))};
  bool after_kernel = false;
  for (size_t i = 0; i < plan_.steps().size(); ++i) {
    execute(i, frame, values, after_kernel);
    for (NodeId output : plan_.steps()[i].step->step.group->outputs) {
      const CUdeviceptr to = device_address(results.at(output).data());
      if (const CUdeviceptr from = plan_.address(output, values.memory); from != to)
        copy_on_device(to, from, plan_.bytes(output), frame.stream);
    }
  }
  frame.stream.synchronize();
}

// What is known before a run at these sizes, in one piece of memory: sizes that are values, and
// what is computed from nothing else.
std::map<NodeId, Tensor> bind_known(const CudaExecutable& executable, const SizeTable& sizes) {
  const Graph& graph = executable.graph();
  const Stream& stream = executable.shared().setup;
  std::vector<const CudaStep*> steps;
  std::vector<NodeId> nodes;
  for (uint32_t i = 0; i < graph.nodes.size(); ++i)
    if (graph.nodes[i].op == Op::dims) nodes.push_back({i});
  const size_t dims = nodes.size();
  for (const CudaStep& step : executable.plan().bind_steps()) {
    steps.push_back(&step);
    nodes.insert(nodes.end(), step.step.group->outputs.begin(), step.step.group->outputs.end());
  }
  if (nodes.empty()) return {};

  std::map<NodeId, Tensor> known;
  std::vector<size_t> offsets;
  size_t bytes = 0;
  for (NodeId node : nodes) {
    offsets.push_back(bytes);
    const Shape shape = concrete_shape(graph.type(node).shape, sizes);
    bytes += aligned(byte_size(graph.type(node).dtype, element_count(shape)));
  }
  const auto memory = std::make_shared<DeviceBuffer>(executable.shared().context, bytes);
  const Device device{Device::Kind::cuda, executable.shared().context->device().ordinal};
  for (size_t i = 0; i < nodes.size(); ++i)
    known[nodes[i]] =
        Tensor(graph.type(nodes[i]).dtype, concrete_shape(graph.type(nodes[i]).shape, sizes),
               as_pointer(memory->pointer() + offsets[i]), memory, device);
  std::vector<std::byte> values(dims < nodes.size() ? offsets[dims] : bytes);
  for (size_t i = 0; i < dims; ++i) {
    const Tensor value = evaluate_node(graph[nodes[i]], {}, [&](Dim dim) { return sizes(dim); })[0];
    if (value.count()) std::memcpy(values.data() + offsets[i], value.data(), value.bytes());
  }
  copy_to_device(memory->pointer(), values.data(), values.size(), stream);
  if (steps.empty()) {
    stream.synchronize();
    return known;
  }
  const CudaBinding binding(nullptr, std::make_shared<BoundPlan>(executable, sizes, steps, known));
  std::unique_ptr<Frame> frame = executable.frames().take(binding.plan(), stream.handle());
  binding.run_into(known, *frame);
  executable.frames().give_back(std::move(frame));
  return known;
}

// Has kernels that stand in for others until these are compiled.
class StandInBinding final : public Binding {
 public:
  StandInBinding(std::shared_ptr<const CudaExecutable> owner, std::shared_ptr<const BoundPlan> plan)
      : owner_(std::move(owner)), now_(std::make_shared<CudaBinding>(owner_, std::move(plan))) {}

  void run(RunState& state, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) const override {
    newest()->run(state, inputs, outputs);
  }

 private:
  std::shared_ptr<const CudaBinding> newest() const {
    const std::lock_guard lock(mutex_);
    if (now_->plan().may_improve()) {
      const RelaxedCapture relaxed;
      now_ = std::make_shared<CudaBinding>(owner_, bind_plan(*owner_, now_->plan().sizes()));
    }
    return now_;
  }

  std::shared_ptr<const CudaExecutable> owner_;
  mutable std::mutex mutex_;
  mutable std::shared_ptr<const CudaBinding> now_;
};

}  // namespace

std::shared_ptr<const BoundPlan> bind_plan(const CudaExecutable& executable,
                                           const SizeTable& sizes) {
  const ContextScope scope(*executable.shared().context);
  std::vector<const CudaStep*> steps;
  for (const CudaStep& step : executable.plan().steps()) steps.push_back(&step);
  const std::map<NodeId, Tensor> known = bind_known(executable, sizes);
  const auto bind = [&] { return std::make_shared<BoundPlan>(executable, sizes, steps, known); };
  std::shared_ptr<const BoundPlan> plan = bind();
  if (executable.shared().tuning.measures() && tune(*plan)) plan = bind();
  return plan;
}

std::shared_ptr<const Binding> make_binding(std::shared_ptr<const CudaExecutable> executable,
                                            const SizeTable& sizes) {
  const RelaxedCapture relaxed;
  auto plan = bind_plan(*executable, sizes);
  if (plan->stands_in())
    return std::make_shared<StandInBinding>(std::move(executable), std::move(plan));
  return std::make_shared<CudaBinding>(std::move(executable), std::move(plan));
}

void run_kernel(const CudaExecutable& executable, const StepKernel& kernel, const SizeTable& sizes,
                std::span<const Tensor> buffers, const Stream& stream) {
  const KernelVariant& variant = executable.plan().variant(kernel, sizes);
  const bool wide = std::any_of(buffers.begin(), buffers.end(), [](const Tensor& tensor) {
    return tensor.count() > kLargestNarrowIndex;
  });
  const LaunchShape shape =
      launch_shape(launch_of(variant.kernel, sizes, executable.plan().target()));
  std::vector<CUdeviceptr> pointers;
  for (const Tensor& buffer : buffers) pointers.push_back(device_address(buffer.data()));
  std::vector<int64_t> size_values = size_arguments(variant.kernel, sizes);
  const DeviceBuffer words(executable.shared().context, sizeof(RunWords));
  CUdeviceptr words_pointer = words.pointer();
  std::vector<void*> arguments;
  for (CUdeviceptr& pointer : pointers) arguments.push_back(&pointer);
  arguments.push_back(size_values.data());
  arguments.push_back(&words_pointer);
  launch(executable.functions().get({variant.text, wide}), shape, stream, arguments);
  stream.synchronize();
}

std::vector<Tensor> run_once(const CudaExecutable& executable, const CudaStep& step,
                             const SizeTable& sizes) {
  const ContextScope scope(*executable.shared().context);
  std::vector<Tensor> made;
  std::map<NodeId, Tensor> results;
  for (NodeId output : step.step.group->outputs) {
    const TensorType& type = executable.graph().type(output);
    made.push_back(
        device_tensor(executable.shared().context, type.dtype, concrete_shape(type.shape, sizes)));
    results[output] = made.back();
  }
  const std::vector<const CudaStep*> steps = {&step};
  const CudaBinding binding(nullptr,
                            std::make_shared<BoundPlan>(executable, sizes, steps, results));
  Frame frame(executable.shared());  // of its own: runs may need far less
  frame.reserve(binding.plan().layout());
  binding.run_into(results, frame);
  return made;
}

}  // namespace onrush::cuda
