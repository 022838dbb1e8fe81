#include "backend/cuda/cuda_executable.h"

#include <algorithm>

#include "backend/cuda/cuda_binding.h"
#include "backend/cuda/frame.h"
#include "base/check.h"
#include "base/numeric.h"

namespace onrush::cuda {
namespace {

constexpr size_t kPinnedBytes = 4ULL << 30;  // of results; beyond, these are plain memory

std::vector<Header> headers() {
  std::vector<Header> result;
  for (const DeviceHeader& header : cuda_device_headers())
    result.push_back({std::string(header.name), std::string(header.text)});
  return result;
}

}  // namespace

CudaTarget target_of(const DeviceInfo& device) {
  return {device.multiprocessors, device.capability.major >= 9, device.capability == Version{9, 0}};
}

std::string tuned_device(const DeviceInfo& device) {
  return fmt::format("{}, driver {}, NVRTC {}", device.name, to_string(driver_library().version),
                     to_string(nvrtc_library().version));
}

CudaShared::CudaShared(const CudaOptions& options)
    : pool(MemoryPool::of_device(options.device)),
      context(pool->context()),
      setup((ContextScope(*context), Stream(context))),
      cache({options.cache_folder}),
      compiler(nvrtc_api(), headers(), &cache),
      architecture(compiler.architecture_for(context->device().capability)),
      target(target_of(context->device())),
      tuning(cache, tuned_device(context->device()), options.tune),
      progress(options.progress),
      weights(options.memory_limit),
      results(std::make_shared<PinnedPool>(context, kPinnedBytes)),
      limit(options.memory_limit),
      precision(options.precision) {}

const CublasLt* CudaShared::cublaslt() const {
  std::call_once(asked_for_cublaslt_, [&] { cublaslt_ = CublasLt::open(context); });
  return cublaslt_.get();
}

const Cudnn* CudaShared::cudnn() const {
  std::call_once(asked_for_cudnn_, [&] { cudnn_ = Cudnn::open(context); });
  return cudnn_.get();
}

std::string CudaShared::library_version(const LibraryForm& form) const {
  return std::visit(
      [&](const auto& each) {
        const auto* library = library_of(each);
        return library ? library->version() : std::string();
      },
      form);
}

std::vector<std::unique_ptr<LibraryKernel>> CudaShared::library_kernels(const LibraryShape& shape,
                                                                        int count) const {
  return std::visit(
      [&](const auto& each) {
        const auto* library = library_of(each);
        return library ? library->kernels(each, count)
                       : std::vector<std::unique_ptr<LibraryKernel>>();
      },
      shape);
}

std::unique_ptr<LibraryKernel> CudaShared::library_kernel(const LibraryShape& shape,
                                                          const std::string& algorithm) const {
  return std::visit(
      [&](const auto& each) {
        const auto* library = library_of(each);
        return library ? library->kernel(each, algorithm) : nullptr;
      },
      shape);
}

Tensor device_tensor(const ContextPtr& context, DType dtype, Shape shape) {
  const size_t bytes = byte_size(dtype, element_count(shape));
  auto memory = std::make_shared<DeviceBuffer>(context, bytes);
  void* data = as_pointer(memory->pointer());
  return Tensor(dtype, std::move(shape), data, std::move(memory),
                {Device::Kind::cuda, context->device().ordinal});
}

Tensor upload(const ContextPtr& context, const Tensor& tensor, const Stream& stream) {
  Tensor result = device_tensor(context, tensor.dtype(), tensor.shape());
  if (tensor.count())
    copy_to_device(device_address(result.data()), tensor.data(), tensor.bytes(), stream);
  stream.synchronize();
  return result;
}

Tensor download(const Tensor& tensor, const Stream& stream) {
  Tensor result(tensor.dtype(), tensor.shape());
  if (tensor.count())
    copy_to_host(result.data(), device_address(tensor.data()), tensor.bytes(), stream);
  stream.synchronize();
  return result;
}

CudaExecutable::CudaExecutable(std::shared_ptr<CudaPlan> plan, std::shared_ptr<CudaShared> shared)
    : shared_(std::move(shared)),
      plan_(std::move(plan)),
      keys_(expression_keys(graph())),
      functions_(std::make_unique<PlanFunctions>(*plan_, *shared_)),
      frames_(std::make_unique<FramePool>(*shared_)) {
  const ContextScope scope(*shared_->context);
  prepared_.resize(graph().nodes.size());
  std::vector<FunctionRequest> requests;
  for (const size_t text : plan_->texts_at_hand()) requests.push_back({text, false});
  functions_->get(requests);
  for (CudaStep& step : plan_->prepare_steps())
    for (NodeId output : step.step.group->outputs) prepare_step_of_.emplace(output, &step);
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  for (auto* steps : {&plan_->bind_steps(), &plan_->steps()})
    for (CudaStep& step : *steps) {
      for (NodeId node : known_operands(step)) keep(node, sizes);
      pack(step, sizes);
      add_body(step);
    }
  for (const GraphOutput& output : graph().outputs)
    if (prepare_step_of_.contains(output.node)) keep(output.node, sizes);
}

CudaExecutable::~CudaExecutable() = default;

void CudaExecutable::compile_for_other_sizes() const {
  functions_->compile_for_other_sizes();
  for (const auto& [plan, body] : bodies_) body->compile_for_other_sizes();
}

// The values known before the first run that a step's kernels read, or the host in their place;
// not what only its packing reads, nor constants that only the host does.
std::vector<NodeId> CudaExecutable::known_operands(const CudaStep& step) const {
  std::vector<NodeId> nodes;
  const auto add = [&](const Loops& loops) {
    for (const LoopBuffer& buffer : loops.buffers)
      if (buffer.node.valid()) nodes.push_back(buffer.node);
  };
  for (const StepKernel& kernel : step.kernels) {
    if (const auto* all = std::get_if<std::vector<Loops>>(&kernel.form))
      for (const Loops& loops : *all) add(loops);
    if (const auto* c = std::get_if<CudaContraction>(&kernel.form))
      add(c->lhs.loops), add(c->rhs.loops), add(c->epilogue.loops);
    if (const auto* a = std::get_if<CudaAttention>(&kernel.form))
      add(a->query.loops), add(a->key.loops), add(a->value.loops), add(a->score.loops),
          add(a->epilogue.loops);
  }
  const bool by_host = std::holds_alternative<NodeId>(step.step.kernel);
  if (by_host || std::holds_alternative<DevicePrimitive>(step.step.kernel))
    nodes = memory_of(graph(), step.step);
  std::erase_if(nodes, [&](NodeId node) {
    if (prepare_step_of_.contains(node))
      return prepare_step_of_.at(node)->step.group == step.step.group;
    return by_host || graph()[node].op != Op::constant;
  });
  return nodes;
}

// A value that depends on weights only, with all that it depends on; `made` are those that were not
// there yet.
Tensor CudaExecutable::make(NodeId node, const SizeTable& sizes, std::vector<NodeId>& made) {
  Tensor& value = prepared_[node.index];
  if (value) return value;
  if ((value = shared_->weights.find(keys_[node.index]))) return value;
  if (const auto* constant = std::get_if<ConstantAttr>(&graph()[node].attr)) {
    made.push_back(node);
    return value = upload(shared_->context, constant->tensor, shared_->setup);
  }
  internal_check(!keys_[node.index].empty(), "a prepared value has a key");
  CudaStep& step = *prepare_step_of_.at(node);
  for (NodeId operand : known_operands(step)) make(operand, sizes, made);
  pack(step, sizes);
  add_body(step);
  const std::vector<Tensor> results = run_once(*this, step, sizes);
  const std::vector<NodeId>& outputs = step.step.group->outputs;
  for (size_t i = 0; i < outputs.size(); ++i) {
    Tensor& output = prepared_[outputs[i].index];
    if (output) continue;
    output = results[i];
    made.push_back(outputs[i]);
  }
  return value;
}

void CudaExecutable::add_body(const CudaStep& step) {
  if (step.body)
    bodies_.emplace(step.body.get(), std::make_shared<CudaExecutable>(step.body, shared_));
}

// Keeps a value for the session; nothing that was computed on the way stays.
void CudaExecutable::keep(NodeId node, const SizeTable& sizes) {
  if (const auto* constant = std::get_if<ConstantAttr>(&graph()[node].attr))
    shared_->weights.retain(constant->tensor);
  std::vector<NodeId> made;
  const Tensor value = make(node, sizes, made);
  for (NodeId other : made) prepared_[other.index] = {};
  prepared_[node.index] = shared_->weights.get(keys_[node.index], [&] { return value; });
}

Tensor CudaExecutable::weight_as(DType dtype, NodeId node) const {
  const Tensor& weight = prepared_[node.index];
  if (weight.dtype() == dtype) return weight;
  const std::string key = fmt::format("{} of {}", onnx_name(dtype), keys_[node.index]);
  return shared_->weights.get(key, [&] {
    const Stream& stream = shared_->setup;
    const Tensor from = download(weight, stream);
    Tensor to(dtype, from.shape());
    for (int64_t i = 0; i < from.count(); ++i)
      store_f64(dtype, to.data(), i, load_f64(from.dtype(), from.data(), i));
    return upload(shared_->context, to, stream);
  });
}

void CudaExecutable::pack(CudaStep& step, const SizeTable& sizes) {
  for (StepKernel& kernel : step.kernels) {
    const auto* c = std::get_if<CudaContraction>(&kernel.form);
    if (!c || !c->packed) continue;
    std::string key = "packed " + to_string(c->packing);
    for (const LoopBuffer& buffer : c->packing.buffers) {
      if (!buffer.node.valid()) continue;
      key += " " + keys_[buffer.node.index];
      if (const auto* constant = std::get_if<ConstantAttr>(&graph()[buffer.node].attr))
        shared_->weights.retain(constant->tensor);
    }
    if ((kernel.packed = shared_->weights.find(key))) continue;
    std::vector<NodeId> made;
    Tensor copy = device_tensor(shared_->context, c->factor, {c->packed_count});
    const Stream& stream = shared_->setup;
    fill(device_address(copy.data()), std::byte{0}, copy.bytes(), stream);
    std::vector<Tensor> operands;
    for (const LoopBuffer& buffer : c->packing.buffers)
      operands.push_back(buffer.node.valid() ? make(buffer.node, sizes, made) : copy);
    run_kernel(*this, *kernel.packing, sizes, operands, stream);
    kernel.packed = shared_->weights.get(key, [&] { return copy; });
    for (NodeId node : made) prepared_[node.index] = {};
  }
}

std::shared_ptr<const Binding> CudaExecutable::bind(SizeTable sizes) const {
  if (bindings_++ > 0) compile_for_other_sizes();
  return make_binding(shared_from_this(), sizes);
}

std::vector<std::shared_ptr<const ProfiledStep>> CudaExecutable::profiled_steps() const {
  std::vector<std::shared_ptr<const ProfiledStep>> result;
  for (const CudaStep& step : plan_->steps()) result.push_back(step.step.profiled);
  return result;
}

}  // namespace onrush::cuda
