#include "backend/cuda/cuda_executable.h"

#include <algorithm>

#include "backend/cuda/cuda_binding.h"
#include "base/check.h"
#include "codegen/merge_axes.h"
#include "plan/attention.h"

namespace onrush::cuda {
namespace {

constexpr size_t kPrograms = 16;  // compiled in parallel

void* host_address(CUdeviceptr pointer) { return reinterpret_cast<void*>(pointer); }
CUdeviceptr device_address(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

std::vector<Header> headers() {
  std::vector<Header> result;
  for (const DeviceHeader& header : cuda_device_headers())
    result.push_back({std::string(header.name), std::string(header.text)});
  return result;
}

ContractionMath f32_math(Precision precision) {
  switch (precision) {
    case Precision::fp32: return ContractionMath::scalar;
    case Precision::fp16: return ContractionMath::f16;
    case Precision::bf16: return ContractionMath::bf16;
    default: return ContractionMath::tf32;
  }
}

Loops merged(Loops loops) {
  std::vector<int> kinds;
  for (const Axis& axis : loops.axes) kinds.push_back(axis.reduce);
  merge_axes(loops, kinds);
  return loops;
}

}  // namespace

CudaShared::CudaShared(int device, size_t memory_limit, const std::string& cache_folder,
                       Precision wanted)
    : context(Context::open(device)),
      cache({cache_folder}),
      compiler(nvrtc_api(), headers(), &cache),
      architecture(compiler.architecture_for(context->device().capability)),
      target{context->device().multiprocessors, context->device().capability.major >= 9,
             architecture == "sm_90a"},
      weights(memory_limit),
      limit(memory_limit),
      precision(wanted) {}

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
  choose_storage();
  const SizeTable at_hand = sizes_at_hand(*graph().shapes);
  prepared_.resize(graph().nodes.size());
  for (const Group& group : schedule_.groups)
    if (group.time == Time::prepare)
      prepare_steps_.push_back(make_cuda_step(make_step(schedule_, group), at_hand));
  const std::vector<Time> times = node_times();
  for (Step& step : fused_steps()) {
    const std::vector<NodeId>& outputs = step.group->outputs;
    const bool bind = std::all_of(outputs.begin(), outputs.end(),
                                  [&](NodeId node) { return times[node.index] != Time::run; });
    (bind ? bind_steps_ : steps_).push_back(make_cuda_step(std::move(step), at_hand));
  }
  // New sizes may have come up while the steps were made.
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  std::vector<FunctionRequest> requests;
  for (const auto* steps : {&prepare_steps_, &bind_steps_, &steps_})
    for (const CudaStep& step : *steps)
      for (const StepKernel& kernel : step.kernels) add_requests(kernel, sizes, requests);
  compile(requests);
  upload_constants();
  for (CudaStep& step : prepare_steps_) pack(step, sizes), prepare(step, sizes);
  for (auto* steps : {&bind_steps_, &steps_})
    for (CudaStep& step : *steps) pack(step, sizes);
}

// With a narrow precision, f32 values that only kernels write and read lie in memory as f16 or
// bf16.
void CudaExecutable::choose_storage() {
  for (const Node& node : graph().nodes) {
    const auto* type = std::get_if<TensorType>(&node.type);
    storage_.push_back(type ? type->dtype : DType::undefined);
  }
  const Precision precision = shared_->precision;
  if (precision != Precision::fp16 && precision != Precision::bf16) return;
  const DType narrow = precision == Precision::fp16 ? DType::f16 : DType::bf16;
  for (const Group& group : schedule_.groups) {
    if (group.kind == Group::Kind::host || group.time == Time::prepare) continue;
    for (NodeId output : group.outputs)
      if (graph().dtype(output) == DType::f32) storage_[output.index] = narrow;
  }
  for (const Group& group : schedule_.groups)
    if (group.kind == Group::Kind::host)
      for (NodeId input : graph()[group.anchor].inputs)
        storage_[input.index] = graph().dtype(input);
  for (const GraphOutput& output : graph().outputs)
    storage_[output.node.index] = graph().dtype(output.node);
}

void CudaExecutable::store_narrow(Loops& loops) const {
  for (LoopBuffer& buffer : loops.buffers) buffer.dtype = storage(buffer.node);
}

// Known before the first run.
bool CudaExecutable::is_weight(NodeId node) const {
  const int home = schedule_.home[node.index];
  return graph()[node].op == Op::constant ||
         (home >= 0 && schedule_.groups[static_cast<size_t>(home)].time == Time::prepare);
}

void CudaExecutable::add_requests(const StepKernel& kernel, const SizeTable& sizes,
                                  std::vector<FunctionRequest>& requests) const {
  requests.push_back({variant(kernel, sizes).text, false});
  if (kernel.packing) add_requests(*kernel.packing, sizes, requests);
}

std::vector<Time> CudaExecutable::node_times() const {
  std::vector<Time> times;
  for (const Node& node : graph().nodes) {
    Time operands = Time::prepare;
    for (NodeId operand : node.inputs) operands = std::max(operands, times[operand.index]);
    times.push_back(time_of(node, operands));
  }
  return times;
}

// The steps of a run, with attention as one step where there is a kernel for it.
std::vector<Step> CudaExecutable::fused_steps() const {
  std::vector<Step> steps;
  for (const Group& group : schedule_.groups)
    if (group.time == Time::run) steps.push_back(make_step(schedule_, group));
  std::vector<bool> gone(steps.size());
  for (AttentionSteps& found : find_attention(schedule_, steps)) {
    if (!make_cuda_attention(found.attention.scores, found.attention.values, false,
                             f32_math(shared_->precision)))
      continue;
    gone[found.scores] = gone[found.softmax] = true;
    steps[found.values].kernel = std::move(found.attention);
  }
  std::vector<Step> left;
  for (size_t i = 0; i < steps.size(); ++i)
    if (!gone[i]) left.push_back(std::move(steps[i]));
  return left;
}

CudaStep CudaExecutable::make_cuda_step(Step step, const SizeTable& sizes) const {
  CudaStep result{std::move(step), {}};
  const auto narrow = [&](Contraction& contraction) {
    for (Loops* part : {&contraction.lhs, &contraction.rhs, &contraction.epilogue})
      store_narrow(*part);
  };
  if (auto* loops = std::get_if<std::vector<Loops>>(&result.step.kernel))
    for (Loops& kernel : *loops) {
      store_narrow(kernel);
      result.kernels.push_back({merged(kernel), {}, {}, {}});
    }
  if (auto* contraction = std::get_if<Contraction>(&result.step.kernel)) {
    narrow(*contraction);
    const auto& buffers = contraction->rhs.buffers;
    const bool weights =
        !buffers.empty() && std::all_of(buffers.begin(), buffers.end(),
                                        [&](const LoopBuffer& b) { return is_weight(b.node); });
    CudaContraction form =
        make_cuda_contraction(*contraction, weights, f32_math(shared_->precision), sizes);
    std::unique_ptr<StepKernel> packing;
    if (form.packed) packing.reset(new StepKernel{merged(form.packing), {}, {}, {}});
    result.kernels.push_back({std::move(form), std::move(packing), {}, {}});
  }
  if (auto* attention = std::get_if<Attention>(&result.step.kernel)) {
    narrow(attention->scores);
    narrow(attention->values);
    result.kernels.push_back(
        {*make_cuda_attention(attention->scores, attention->values, attention->nan_to_zero,
                              f32_math(shared_->precision)),
         {},
         {},
         {}});
  }
  return result;
}

const KernelVariant& CudaExecutable::variant(const StepKernel& kernel,
                                             const SizeTable& sizes) const {
  const std::lock_guard lock(mutex_);
  for (const auto& known : kernel.variants)
    if (serves(known->kernel, sizes, shared_->target)) return *known;
  CudaKernel printed;
  if (const auto* loops = std::get_if<Loops>(&kernel.form)) printed = print_cuda(*loops, sizes);
  else if (const auto* c = std::get_if<CudaContraction>(&kernel.form))
    printed = print_cuda(*c, sizes, shared_->target);
  else printed = print_cuda(std::get<CudaAttention>(kernel.form), sizes, shared_->target);
  auto found = std::find(texts_.begin(), texts_.end(), printed.text);
  if (found == texts_.end()) found = texts_.insert(texts_.end(), printed.text);
  const auto text = static_cast<size_t>(found - texts_.begin());
  kernel.variants.push_back(std::make_unique<KernelVariant>(std::move(printed), text));
  return *kernel.variants.back();
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
    std::stable_sort(missing.begin(), missing.end(),
                     [&](size_t a, size_t b) { return texts_[a].size() > texts_[b].size(); });
    const size_t programs = std::min(kPrograms, missing.size());
    std::vector<Source> sources;
    for (size_t program = 0; program < programs; ++program) {
      std::vector<std::string> texts;
      for (size_t i = program; i < missing.size(); i += programs)
        texts.push_back(texts_[missing[i]]);
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
  for (const auto* steps : {&prepare_steps_, &bind_steps_, &steps_})
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
      for (NodeId node : nodes) {
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
  for (const CudaStep& step : steps_) result.push_back(step.step.profiled);
  return result;
}

}  // namespace onrush::cuda
