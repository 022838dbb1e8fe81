#include "backend/cuda/cuda_executable.h"

#include <algorithm>

#include "backend/cuda/cuda_binding.h"
#include "base/check.h"
#include "base/numeric.h"

namespace onrush::cuda {
namespace {

constexpr size_t kPrograms = 16;             // compiled in parallel
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
  std::call_once(asked_, [&] { cublaslt_ = CublasLt::open(context); });
  return cublaslt_.get();
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
    : shared_(std::move(shared)), plan_(std::move(plan)), keys_(expression_keys(graph())) {
  const ContextScope scope(*shared_->context);
  prepared_.resize(graph().nodes.size());
  std::vector<FunctionRequest> requests;
  for (const size_t text : plan_->texts_at_hand()) requests.push_back({text, false});
  compile(requests);
  upload_constants();
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  for (CudaStep& step : plan_->prepare_steps()) pack(step, sizes), prepare(step, sizes);
  for (auto* steps : {&plan_->bind_steps(), &plan_->steps()})
    for (CudaStep& step : *steps) {
      pack(step, sizes);
      if (step.body)
        bodies_.emplace(step.body.get(), std::make_shared<CudaExecutable>(step.body, shared_));
    }
}

void CudaExecutable::compile(const std::vector<FunctionRequest>& requests) const {
  const std::lock_guard lock(mutex_);
  for (const bool wide : {false, true}) {
    std::vector<size_t> missing;
    for (const FunctionRequest& request : requests)
      if (request.wide == wide && !functions_.contains(request) &&
          std::find(missing.begin(), missing.end(), request.text) == missing.end())
        missing.push_back(request.text);
    if (missing.empty()) continue;
    // The slow ones, which are the long ones, are dealt out first.
    std::stable_sort(missing.begin(), missing.end(), [&](size_t a, size_t b) {
      return plan_->text(a).size() > plan_->text(b).size();
    });
    const size_t programs = std::min(kPrograms, missing.size());
    std::vector<Source> sources;
    for (size_t program = 0; program < programs; ++program) {
      std::vector<std::string> texts;
      for (size_t i = program; i < missing.size(); i += programs)
        texts.push_back(plan_->text(missing[i]));
      sources.push_back({fmt::format("plan_{}.cu", program), cuda_program(texts, wide), {}});
    }
    const std::vector<Cubin> cubins = shared_->compiler.compile_all(sources, shared_->architecture);
    for (size_t program = 0; program < programs; ++program) {
      modules_.emplace_back(shared_->context, cubins[program]);
      size_t kernel = 0;
      for (size_t i = program; i < missing.size(); i += programs, ++kernel)
        functions_.emplace(FunctionRequest{missing[i], wide},
                           modules_.back().function(fmt::format("kernel_{}", kernel).c_str()));
    }
  }
}

Function CudaExecutable::function(const FunctionRequest& request) const {
  const std::lock_guard lock(mutex_);
  return functions_.at(request);
}

Tensor CudaExecutable::device_weight(NodeId node, const Stream& stream) const {
  if (prepared_[node.index]) return prepared_[node.index];
  return upload(shared_->context, graph()[node].as<ConstantAttr>().tensor, stream);
}

// Constants that kernels read; those that only host steps or packings read stay where they are.
void CudaExecutable::upload_constants() {
  const Stream stream(shared_->context);
  for (const auto* steps : {&plan_->prepare_steps(), &plan_->bind_steps(), &plan_->steps()})
    for (const CudaStep& step : *steps) {
      std::vector<NodeId> nodes;
      const auto add = [&](const Loops& loops) {
        for (const LoopBuffer& buffer : loops.buffers)
          if (buffer.node.valid()) nodes.push_back(buffer.node);
      };
      for (const StepKernel& kernel : step.kernels) {
        if (const auto* loops = std::get_if<Loops>(&kernel.form)) add(*loops);
        if (const auto* c = std::get_if<CudaContraction>(&kernel.form))
          add(c->lhs.loops), add(c->rhs.loops), add(c->epilogue.loops);
        if (const auto* a = std::get_if<CudaAttention>(&kernel.form))
          add(a->query.loops), add(a->key.loops), add(a->value.loops), add(a->score.loops),
              add(a->epilogue.loops);
      }
      if (std::holds_alternative<DevicePrimitive>(step.step.kernel))
        nodes = memory_of(graph(), step.step);
      for (NodeId node : nodes) {
        const auto* constant = std::get_if<ConstantAttr>(&graph()[node].attr);
        if (!constant || prepared_[node.index]) continue;
        shared_->weights.retain(constant->tensor);
        prepared_[node.index] = shared_->weights.get(
            keys_[node.index], [&] { return upload(shared_->context, constant->tensor, stream); });
      }
    }
}

Tensor CudaExecutable::weight_as(DType dtype, NodeId node) const {
  const Tensor& weight = prepared_[node.index];
  if (weight.dtype() == dtype) return weight;
  const std::string key = fmt::format("{} of {}", onnx_name(dtype), keys_[node.index]);
  return shared_->weights.get(key, [&] {
    const Stream stream(shared_->context);
    const Tensor from = download(weight, stream);
    Tensor to(dtype, from.shape());
    for (int64_t i = 0; i < from.count(); ++i)
      store_f64(dtype, to.data(), i, load_f64(from.dtype(), from.data(), i));
    return upload(shared_->context, to, stream);
  });
}

void CudaExecutable::prepare(const CudaStep& step, const SizeTable& sizes) {
  std::vector<Tensor> results;
  const std::vector<NodeId>& outputs = step.step.group->outputs;
  for (size_t i = 0; i < outputs.size(); ++i)
    prepared_[outputs[i].index] = shared_->weights.get(keys_[outputs[i].index], [&] {
      if (results.empty()) results = run_once(*this, step, sizes);
      return results[i];
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
    kernel.packed = shared_->weights.get(key, [&] {
      const Stream stream(shared_->context);
      Tensor copy = device_tensor(shared_->context, c->factor, {c->packed_count});
      fill(device_address(copy.data()), std::byte{0}, copy.bytes(), stream);
      std::vector<Tensor> operands;
      for (const LoopBuffer& buffer : c->packing.buffers)
        operands.push_back(buffer.node.valid() ? device_weight(buffer.node, stream) : copy);
      run_kernel(*this, *kernel.packing, sizes, operands, stream);
      return copy;
    });
  }
}

std::shared_ptr<const Binding> CudaExecutable::bind(SizeTable sizes) const {
  return make_binding(shared_from_this(), std::move(sizes));
}

std::vector<std::shared_ptr<const ProfiledStep>> CudaExecutable::profiled_steps() const {
  std::vector<std::shared_ptr<const ProfiledStep>> result;
  for (const CudaStep& step : plan_->steps()) result.push_back(step.step.profiled);
  return result;
}

}  // namespace onrush::cuda
