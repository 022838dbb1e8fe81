#include "backend/cuda/cuda_binding.h"

#include <algorithm>

#include "base/check.h"
#include "reference/evaluate.h"

namespace onrush::cuda {
namespace {

constexpr int64_t kLargestNarrowIndex = INT32_MAX;
constexpr size_t kAlignment = 256;

size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }
CUdeviceptr device_address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

// A kernel at concrete sizes.
struct BoundKernel {
  Function function;
  LaunchShape shape;
  std::vector<Place> buffers;
  std::vector<NodeId> nodes;  // by buffer
  std::vector<int64_t> sizes;
};

struct BoundStep {
  const CudaStep* step;
  std::vector<BoundKernel> kernels;
};

// The memory of one run, reused by later ones.
struct Frame {
  Frame(const ContextPtr& context, size_t bytes)
      : stream(context), memory(context, bytes), error(context, sizeof(uint32_t)) {}
  Stream stream;
  DeviceBuffer memory;  // arena, then inputs, outputs and results of host steps
  DeviceBuffer error;
};

class CudaBinding final : public Binding {
 public:
  CudaBinding(std::shared_ptr<const CudaExecutable> owner, const CudaExecutable& executable,
              SizeTable sizes, std::vector<const CudaStep*> steps)
      : owner_(std::move(owner)), executable_(executable), sizes_(std::move(sizes)) {
    const ContextScope scope(*context());
    place_values(steps);
    lay_out_memory();
    for (const CudaStep* step : steps) bind(*step);
  }

  void run(RunState& state, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) const override;
  std::vector<Tensor> run_group() const;

 private:
  // What one run works with, besides its memory.
  struct Values {
    std::span<const Tensor> inputs;
    std::vector<Tensor> host_results;  // of host steps
  };

  const Graph& graph() const { return executable_.graph(); }
  const ContextPtr& context() const { return executable_.shared().context; }
  const TensorType& type(NodeId node) const { return graph().type(node); }
  Shape shape(NodeId node) const { return concrete_shape(type(node).shape, sizes_); }
  bool known_size(NodeId node) const;
  size_t bytes(NodeId node) const;

  void place_values(const std::vector<const CudaStep*>& steps);
  void lay_out_memory();
  void bind(const CudaStep& step);
  CUdeviceptr address(NodeId node, const Frame& frame, const Values& values) const;
  void execute(const BoundStep& step, Frame& frame, Values& values) const;
  void execute_host(NodeId id, Frame& frame, Values& values) const;
  Tensor host_value(NodeId node, const Frame& frame, const Values& values) const;
  void check_error(Frame& frame) const;
  std::unique_ptr<Frame> take_frame() const;

  std::shared_ptr<const CudaExecutable> owner_;
  const CudaExecutable& executable_;
  SizeTable sizes_;
  std::vector<Place> places_;
  std::vector<Tensor> dims_;  // on the device
  std::vector<size_t> input_offsets_, output_offsets_, result_offsets_;
  size_t frame_bytes_ = 0;
  int results_ = 0;
  int64_t arena_bytes_ = 0;
  std::vector<BoundStep> steps_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Frame>> idle_;
};

bool CudaBinding::known_size(NodeId node) const {
  return std::none_of(type(node).shape.begin(), type(node).shape.end(),
                      [](Dim dim) { return dim.is_unknown(); });
}

// On the device; strings stay on the host.
size_t CudaBinding::bytes(NodeId node) const {
  if (!known_size(node) || type(node).dtype == DType::string) return 0;
  return byte_size(type(node).dtype, element_count(shape(node)));
}

void CudaBinding::place_values(const std::vector<const CudaStep*>& steps) {
  std::vector<Place> places(graph().nodes.size());
  const Stream stream(context());
  const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
  for (uint32_t i = 0; i < graph().nodes.size(); ++i) {
    if (const Tensor& known = executable_.prepared(NodeId{i}))
      places[i] = {Place::Kind::fixed, 0, 0, known.data()};
    else if (graph().nodes[i].op == Op::constant)
      places[i] = {Place::Kind::fixed, 0, 0, nullptr};  // read by the host only
    if (graph().nodes[i].op != Op::dims) continue;
    dims_.push_back(upload(context(), evaluate_node(graph().nodes[i], {}, size).at(0), stream));
    places[i] = {Place::Kind::fixed, 0, 0, dims_.back().data()};
  }
  std::vector<const Step*> plain;
  for (const CudaStep* step : steps) plain.push_back(&step->step);
  const std::vector<int64_t> none(steps.size(), 0);
  Placement placement = place(executable_.schedule(), plain, sizes_, std::move(places), none);
  places_ = std::move(placement.places);
  arena_bytes_ = placement.arena_bytes;
  results_ = placement.tensors;
}

void CudaBinding::lay_out_memory() {
  size_t end = aligned(static_cast<size_t>(arena_bytes_));
  const auto take = [&](size_t bytes) {
    const size_t offset = end;
    end += aligned(bytes);
    return offset;
  };
  for (const GraphInput& input : graph().inputs) {
    const bool host_only = input.type.dtype == DType::string;
    const int64_t count = element_count(concrete_shape(input.type.shape, sizes_));
    input_offsets_.push_back(take(host_only ? 0 : byte_size(input.type.dtype, count)));
  }
  for (const GraphOutput& output : graph().outputs) {
    const bool written = places_[output.node.index].kind == Place::Kind::output;
    output_offsets_.push_back(take(written ? bytes(output.node) : 0));
  }
  result_offsets_.resize(static_cast<size_t>(results_));
  for (uint32_t i = 0; i < places_.size(); ++i)
    if (places_[i].kind == Place::Kind::tensor)
      result_offsets_[static_cast<size_t>(places_[i].index)] = take(bytes(NodeId{i}));
  frame_bytes_ = end;
}

void CudaBinding::bind(const CudaStep& step) {
  BoundStep bound{&step, {}};
  for (const StepKernel& kernel : step.kernels) {
    const int64_t work = sizes_(kernel.kernel.work);
    bool wide = work > kLargestNarrowIndex;
    std::vector<Place> places;
    std::vector<NodeId> nodes;
    for (const LoopBuffer& buffer : kernel.kernel.buffers) {
      places.push_back(places_[buffer.node.index]);
      nodes.push_back(buffer.node);
      wide = wide || element_count(shape(buffer.node)) > kLargestNarrowIndex;
    }
    std::vector<int64_t> sizes;
    for (Dim dim : kernel.kernel.sizes) sizes.push_back(sizes_(dim));
    if (sizes.empty()) sizes.push_back(0);
    const auto threads = static_cast<int64_t>(kernel.kernel.threads);
    const bool rows = kernel.kernel.schedule == CudaSchedule::row;
    const int64_t blocks =
        std::min<int64_t>(rows ? work : (work + threads - 1) / threads, INT32_MAX);
    LaunchShape launch_shape;
    launch_shape.grid.x = static_cast<uint32_t>(blocks);
    launch_shape.block.x = static_cast<uint32_t>(threads);
    bound.kernels.push_back({executable_.function(kernel.text, wide), launch_shape,
                             std::move(places), std::move(nodes), std::move(sizes)});
  }
  steps_.push_back(std::move(bound));
}

CUdeviceptr CudaBinding::address(NodeId node, const Frame& frame, const Values& values) const {
  const Place& place = places_[node.index];
  const auto index = static_cast<size_t>(place.index);
  switch (place.kind) {
    case Place::Kind::fixed: return device_address(place.data);
    case Place::Kind::arena: return frame.memory.pointer() + static_cast<CUdeviceptr>(place.offset);
    case Place::Kind::input:
      if (values.inputs[index].device().kind == Device::Kind::cuda)
        return device_address(values.inputs[index].data());
      return frame.memory.pointer() + input_offsets_[index];
    case Place::Kind::output: return frame.memory.pointer() + output_offsets_[index];
    case Place::Kind::tensor: return frame.memory.pointer() + result_offsets_[index];
    case Place::Kind::none: break;
  }
  internal_error("a value without a place");
}

// The value in host memory; waits for the device if that has it.
Tensor CudaBinding::host_value(NodeId node, const Frame& frame, const Values& values) const {
  const Place& place = places_[node.index];
  if (const auto* constant = std::get_if<ConstantAttr>(&graph()[node].attr))
    return constant->tensor;
  if (place.kind == Place::Kind::tensor)
    return values.host_results[static_cast<size_t>(place.index)];
  if (place.kind == Place::Kind::input) {
    const Tensor& input = values.inputs[static_cast<size_t>(place.index)];
    if (input.device().kind == Device::Kind::cpu) return input;
  }
  Tensor result(type(node).dtype, shape(node));
  if (result.count())
    copy_to_host(result.data(), address(node, frame, values), result.bytes(), frame.stream);
  frame.stream.synchronize();
  return result;
}

void CudaBinding::execute_host(NodeId id, Frame& frame, Values& values) const {
  const Node& node = graph()[id];
  std::vector<Tensor> operands;
  for (NodeId operand : node.inputs) operands.push_back(host_value(operand, frame, values));
  const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
  const std::vector<Tensor> results = evaluate_node(with_fresh_seed(node), operands, size);
  const int home = executable_.schedule().home[id.index];
  for (NodeId output : executable_.schedule().groups[static_cast<size_t>(home)].outputs) {
    const size_t part = output == id ? 0 : static_cast<size_t>(graph()[output].as<GetAttr>().index);
    const auto index = static_cast<size_t>(places_[output.index].index);
    values.host_results[index] = results[part];
    if (bytes(output))
      copy_to_device(frame.memory.pointer() + result_offsets_[index], results[part].data(),
                     results[part].bytes(), frame.stream);
  }
}

void CudaBinding::execute(const BoundStep& step, Frame& frame, Values& values) const {
  if (const auto* host = std::get_if<NodeId>(&step.step->step.kernel))
    return execute_host(*host, frame, values);
  CUdeviceptr error = frame.error.pointer();
  for (const BoundKernel& kernel : step.kernels) {
    std::vector<CUdeviceptr> pointers;
    for (NodeId node : kernel.nodes) pointers.push_back(address(node, frame, values));
    std::vector<void*> arguments;
    for (CUdeviceptr& pointer : pointers) arguments.push_back(&pointer);
    arguments.push_back(const_cast<int64_t*>(kernel.sizes.data()));
    arguments.push_back(&error);
    launch(kernel.function, kernel.shape, frame.stream, arguments);
  }
}

void CudaBinding::check_error(Frame& frame) const {
  uint32_t error = 0;
  copy_to_host(&error, frame.error.pointer(), sizeof error, frame.stream);
  frame.stream.synchronize();
  if (error) fail(ErrorCode::invalid_argument, "an index is outside of its axis");
}

std::unique_ptr<Frame> CudaBinding::take_frame() const {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    const size_t limit = executable_.shared().limit;
    if (limit && frame_bytes_ + executable_.shared().weights.bytes() > limit)
      fail(ErrorCode::out_of_memory,
           "a run needs {} bytes of device memory beside {} bytes of weights, above the session's "
           "limit of {}",
           frame_bytes_, executable_.shared().weights.bytes(), limit);
    return std::make_unique<Frame>(context(), frame_bytes_);
  }
  auto frame = std::move(idle_.back());
  idle_.pop_back();
  return frame;
}

void CudaBinding::run(RunState& state, std::span<const Tensor> inputs,
                      std::span<Tensor> outputs) const {
  const ContextScope scope(*context());
  std::unique_ptr<Frame> frame = take_frame();
  Values values{inputs, std::vector<Tensor>(static_cast<size_t>(results_))};
  fill(frame->error.pointer(), std::byte{0}, sizeof(uint32_t), frame->stream);
  for (size_t i = 0; i < inputs.size(); ++i)
    if (inputs[i].device().kind == Device::Kind::cpu && inputs[i].dtype() != DType::string &&
        inputs[i].count())
      copy_to_device(frame->memory.pointer() + input_offsets_[i], inputs[i].data(),
                     inputs[i].bytes(), frame->stream);
  for (const BoundStep& step : steps_) {
    state.check_cancelled();
    execute(step, *frame, values);
  }
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Tensor result = host_value(graph().outputs[i].node, *frame, values);
    if (!outputs[i]) {
      // Neither an input's memory nor a weight's is given away.
      const Place::Kind kind = places_[graph().outputs[i].node.index].kind;
      if (kind != Place::Kind::input && kind != Place::Kind::fixed) {
        outputs[i] = result;
        continue;
      }
      outputs[i] = Tensor(result.dtype(), result.shape());
    }
    check_given(graph().outputs[i].name, outputs[i], result.dtype(), result.shape());
    copy_elements(result, outputs[i]);
  }
  check_error(*frame);
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(frame));
}

std::vector<Tensor> CudaBinding::run_group() const {
  const ContextScope scope(*context());
  Frame frame(context(), frame_bytes_);
  Values values{{}, std::vector<Tensor>(static_cast<size_t>(results_))};
  execute(steps_[0], frame, values);
  std::vector<Tensor> results;
  for (NodeId output : steps_[0].step->step.group->outputs) {
    Tensor tensor = device_tensor(context(), type(output).dtype, shape(output));
    if (tensor.count())
      copy_on_device(device_address(tensor.data()), address(output, frame, values), tensor.bytes(),
                     frame.stream);
    results.push_back(std::move(tensor));
  }
  frame.stream.synchronize();
  return results;
}

}  // namespace

std::shared_ptr<const Binding> make_binding(std::shared_ptr<const CudaExecutable> executable,
                                            SizeTable sizes) {
  std::vector<const CudaStep*> steps;
  for (const CudaStep& step : executable->steps()) steps.push_back(&step);
  const CudaExecutable& reference = *executable;
  return std::make_shared<CudaBinding>(std::move(executable), reference, std::move(sizes),
                                       std::move(steps));
}

std::vector<Tensor> run_once(const CudaExecutable& executable, const CudaStep& step,
                             const SizeTable& sizes) {
  return CudaBinding(nullptr, executable, sizes, {&step}).run_group();
}

}  // namespace onrush::cuda
