#include "backend/cuda/cuda_executable.h"

#include <algorithm>

#include "backend/cuda/cuda_binding.h"
#include "base/check.h"

namespace onrush::cuda {
namespace {

constexpr size_t kPrograms = 16;  // compiled in parallel

void* host_address(CUdeviceptr pointer) { return reinterpret_cast<void*>(pointer); }
CUdeviceptr device_address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

}  // namespace

CudaShared::CudaShared(int device, size_t memory_limit, const std::string& cache_folder)
    : context(Context::open(device)),
      cache({cache_folder}),
      compiler(nvrtc_api(), {{"onrush.cuh", std::string(cuda_device_header())}}, &cache),
      architecture(compiler.architecture_for(context->device().capability)),
      weights(memory_limit),
      limit(memory_limit) {}

Tensor device_tensor(const ContextPtr& context, DType dtype, Shape shape) {
  const size_t bytes = byte_size(dtype, element_count(shape));
  auto memory = std::make_shared<DeviceBuffer>(context, bytes);
  void* data = host_address(memory->pointer());
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

CudaExecutable::CudaExecutable(Schedule schedule, std::shared_ptr<CudaShared> shared)
    : schedule_(std::move(schedule)),
      shared_(std::move(shared)),
      keys_(expression_keys(schedule_.graph)) {
  const ContextScope scope(*shared_->context);
  prepared_.resize(graph().nodes.size());
  for (const Group& group : schedule_.groups)
    (group.time == Time::prepare ? prepare_steps_ : steps_).push_back(compile(group));
  narrow_ = compile_programs(false);
  upload_constants();
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  for (const CudaStep& step : prepare_steps_) prepare(step, sizes);
}

CudaStep CudaExecutable::compile(const Group& group) {
  CudaStep result{make_step(schedule_, group), {}};
  std::vector<CudaKernel> kernels;
  if (const auto* loops = std::get_if<std::vector<Loops>>(&result.step.kernel))
    for (const Loops& kernel : *loops) kernels.push_back(print_cuda(kernel));
  if (const auto* contraction = std::get_if<Contraction>(&result.step.kernel))
    kernels.push_back(print_cuda(*contraction));
  for (CudaKernel& kernel : kernels) {
    auto found = std::find(texts_.begin(), texts_.end(), kernel.text);
    if (found == texts_.end()) found = texts_.insert(texts_.end(), kernel.text);
    const auto text = static_cast<size_t>(found - texts_.begin());
    result.kernels.push_back({std::move(kernel), text});
  }
  return result;
}

CudaExecutable::Programs CudaExecutable::compile_programs(bool wide) const {
  const size_t per_program = (texts_.size() + kPrograms - 1) / kPrograms;
  std::vector<Source> sources;
  for (size_t first = 0; first < texts_.size(); first += per_program) {
    const size_t count = std::min(per_program, texts_.size() - first);
    const std::span<const std::string> part(texts_.data() + first, count);
    sources.push_back({fmt::format("plan_{}.cu", sources.size()), cuda_program(part, wide), {}});
  }
  const std::vector<Cubin> cubins = shared_->compiler.compile_all(sources, shared_->architecture);
  Programs programs;
  for (const Cubin& cubin : cubins) programs.modules.emplace_back(shared_->context, cubin);
  for (size_t text = 0; text < texts_.size(); ++text)
    programs.functions.push_back(programs.modules[text / per_program].function(
        fmt::format("kernel_{}", text % per_program).c_str()));
  return programs;
}

Function CudaExecutable::function(size_t text, bool wide) const {
  if (!wide) return narrow_.functions[text];
  const std::lock_guard lock(mutex_);
  if (!wide_) wide_ = std::make_unique<Programs>(compile_programs(true));
  return wide_->functions[text];
}

// Constants that kernels read; those that only host steps read stay where they are.
void CudaExecutable::upload_constants() {
  const Stream stream(shared_->context);
  for (const auto* steps : {&prepare_steps_, &steps_})
    for (const CudaStep& step : *steps) {
      if (step.kernels.empty()) continue;
      for (NodeId node : memory_of(graph(), step.step)) {
        const auto* constant = std::get_if<ConstantAttr>(&graph()[node].attr);
        if (!constant || prepared_[node.index]) continue;
        shared_->weights.retain(constant->tensor);
        prepared_[node.index] = shared_->weights.get(
            keys_[node.index], [&] { return upload(shared_->context, constant->tensor, stream); });
      }
    }
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

std::shared_ptr<const Binding> CudaExecutable::bind(SizeTable sizes) const {
  return make_binding(shared_from_this(), std::move(sizes));
}

std::vector<std::shared_ptr<const ProfiledStep>> CudaExecutable::profiled_steps() const {
  std::vector<std::shared_ptr<const ProfiledStep>> result;
  for (const CudaStep& step : steps_) result.push_back(step.step.profiled);
  return result;
}

}  // namespace onrush::cuda
