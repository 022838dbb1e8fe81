#include "backend/cpu/cpu_executable.h"

#include <algorithm>
#include <unordered_map>

#include "backend/cpu/contraction_kernel.h"
#include "backend/cpu/cpu_binding.h"
#include "backend/cpu/cpu_loop.h"
#include "base/check.h"
#include "base/mapped_file.h"
#include "base/pages.h"
#include "fuse/fuse.h"
#include "ir/time.h"
#include "plan/in_place.h"
#include "plan/loop_body.h"
#include "plan/placement.h"
#include "plan/storage.h"

namespace onrush::cpu {
namespace {

std::vector<NodeId> buffers_of(const Loops& loops) {
  std::vector<NodeId> nodes;
  for (const LoopBuffer& buffer : loops.buffers) nodes.push_back(buffer.node);
  return nodes;
}

void release_pages(const Tensor& tensor) {
  MappedFile::release({static_cast<const std::byte*>(tensor.data()), tensor.bytes()});
}

}  // namespace

GemmKernel CpuShared::kernel_for(const Contraction& contraction) const {
  return contraction.accumulator == DType::i32
             ? gemm_int8(contraction.operand, contraction.rhs_operand)
             : gemm;
}

CpuExecutable::CpuExecutable(Schedule schedule, std::shared_ptr<CpuShared> shared)
    : schedule_(std::move(schedule)),
      shared_(std::move(shared)),
      keys_(expression_keys(schedule_.graph)) {
  prepared_.resize(graph().nodes.size());
  for (size_t i = 0; i < graph().nodes.size(); ++i)
    if (const auto* constant = std::get_if<ConstantAttr>(&graph().nodes[i].attr)) {
      prepared_[i] = constant->tensor;
      shared_->weights.retain(constant->tensor);
    }
  for (const Group& group : schedule_.groups) {
    Step step = make_step(schedule_, group);
    if (group.time == Time::run) {
      if (!does_nothing(step)) steps_.push_back(std::move(step));
      continue;
    }
    for (NodeId output : group.outputs) prepare_step_of_[output.index] = prepare_steps_.size();
    prepare_steps_.push_back(std::move(step));
  }
  choose_storage();
  // Kernels have expressions of their own: their values are there once all are made.
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  for (const Step& step : steps_) packed_.push_back(pack(step, sizes));
  compile_bodies();
  for (size_t i = 0; i < steps_.size(); ++i)
    for (NodeId node : runtime_memory(i)) keep(node, sizes);
  for (const GraphOutput& output : graph().outputs) keep(output.node, sizes);
  list_steps();
}

void CpuExecutable::choose_storage() {
  const DType operand = shared_->gemm.operand;
  storage_ =
      operand == DType::f32 ? plain_storage(graph()) : narrow_products(schedule_, steps_, operand);
  for (Step& step : steps_) {
    if (auto* loops = std::get_if<std::vector<Loops>>(&step.kernel))
      for (Loops& kernel : *loops) store_as(kernel, storage_);
    if (auto* contraction = std::get_if<Contraction>(&step.kernel))
      store_as(*contraction, storage_);
    in_place_.push_back(operand_in_place(step, storage_));
  }
}

void CpuExecutable::compile_bodies() {
  std::vector<Time> times;
  for (Step& step : steps_) {
    const auto* loop = std::get_if<NodeId>(&step.kernel);
    if (!loop || graph()[*loop].op != Op::loop || !can_run_in_place(graph(), graph()[*loop]))
      continue;
    if (times.empty()) times = times_of(graph());
    Graph body = make_loop_body(graph(), *loop, times);
    bodies_[loop->index] = std::make_shared<CpuExecutable>(fuse(std::move(body)), shared_);
    ProfiledStep profiled = *step.profiled;
    profiled.kind = "loop";
    step.profiled = std::make_shared<const ProfiledStep>(std::move(profiled));
  }
}

std::shared_ptr<const CpuExecutable> CpuExecutable::body(NodeId loop) const {
  const auto found = bodies_.find(loop.index);
  return found == bodies_.end() ? nullptr : found->second;
}

// What a step reads from memory in a run: all but an operand that is packed already, and weights
// that a loop's body has.
std::vector<NodeId> CpuExecutable::runtime_memory(size_t step) const {
  if (const auto* host = std::get_if<NodeId>(&steps_[step].kernel); host && body(*host)) {
    std::vector<NodeId> nodes = graph()[*host].inputs;
    const auto& attr = graph()[*host].as<LoopAttr>();
    nodes.resize(static_cast<size_t>(attr.carried + attr.scanned));
    return nodes;
  }
  const auto* contraction = std::get_if<Contraction>(&steps_[step].kernel);
  if (!contraction || !packed_[step]) return memory_of(graph(), steps_[step]);
  std::vector<NodeId> nodes = buffers_of(contraction->lhs);
  for (NodeId node : buffers_of(contraction->epilogue)) nodes.push_back(node);
  return nodes;
}

// A value that depends on weights only, with all that it depends on; `made` are those computed.
const Tensor& CpuExecutable::prepare(NodeId node, const SizeTable& sizes,
                                     std::vector<NodeId>& made) {
  Tensor& value = prepared_[node.index];
  if (value) return value;
  if ((value = shared_->weights.find(keys_[node.index]))) return value;
  const Step& step = prepare_steps_[prepare_step_of_.at(node.index)];
  const std::vector<NodeId>& outputs = step.group->outputs;
  std::vector<NodeId> operands;
  for (NodeId read : memory_of(graph(), step))
    if (is_known(read) && std::ranges::find(outputs, read) == outputs.end())
      operands.push_back(read);
  for (NodeId operand : operands) prepare(operand, sizes, made);
  const std::vector<Tensor> results = run_once(*this, step, sizes);
  for (size_t i = 0; i < outputs.size(); ++i) {
    Tensor& output = prepared_[outputs[i].index];
    if (output) continue;
    output = results[i];
    made.push_back(outputs[i]);
  }
  for (NodeId operand : operands) release_pages(prepared_[operand.index]);
  return value;
}

bool CpuExecutable::is_known(NodeId node) const {
  return graph()[node].op == Op::constant || prepare_step_of_.contains(node.index);
}

// Keeps a prepared value for the session; other values are as they are.
void CpuExecutable::keep(NodeId node, const SizeTable& sizes) {
  if (!prepare_step_of_.contains(node.index)) return;
  const std::string& key = keys_[node.index];
  internal_check(!key.empty(), "a prepared value has a key");
  std::vector<NodeId> made;
  const Tensor value = prepare(node, sizes, made);
  for (NodeId other : made) prepared_[other.index] = {};
  prepared_[node.index] = shared_->weights.get(key, [&] { return value; });
}

// The right operand of a contraction, if all that it reads is known. Nothing that was computed on
// the way stays.
Tensor CpuExecutable::pack(const Step& step, const SizeTable& sizes) {
  const auto* contraction = std::get_if<Contraction>(&step.kernel);
  if (!contraction) return {};
  std::string key;
  const std::vector<NodeId> operands = buffers_of(contraction->rhs);
  for (NodeId operand : operands) {
    if (!is_known(operand)) return {};
    key += keys_[operand.index];
  }
  for (const LoopValue& value : contraction->rhs.body)
    if (std::holds_alternative<SizeValue>(value.data)) return {};
  for (size_t i = 0; i < contraction->rhs.axes.size(); ++i) {
    const auto at = static_cast<int>(i);
    const bool is_m =
        at >= contraction->batch_axes && at < contraction->batch_axes + contraction->m_axes;
    if (!is_m && !contraction->rhs.axes[i].extent.is_constant()) return {};
  }
  const ContractionKernel kernel(*contraction, sizes, shared_->kernel_for(*contraction),
                                 /*packs=*/true);
  // The operand's own description stands for how its buffers are read; m plays no part in it.
  Loops rhs = contraction->rhs;
  for (int i = 0; i < contraction->m_axes; ++i)
    rhs.axes[static_cast<size_t>(contraction->batch_axes + i)].extent = 1;
  key += kernel.packed_layout() + to_string(rhs);
  if (Tensor packed = shared_->weights.find(key)) return packed;
  std::vector<NodeId> made;
  std::vector<void*> buffers;
  for (NodeId operand : operands) buffers.push_back(prepare(operand, sizes, made).data());
  Tensor packed = shared_->weights.get(key, [&] {
    Tensor memory = paged_tensor(DType::u8, {kernel.packed_bytes()});
    kernel.pack_rhs(shared_->pool, buffers.data(), memory.data());
    return memory;
  });
  for (NodeId operand : operands) release_pages(prepared_[operand.index]);
  for (NodeId node : made) prepared_[node.index] = {};
  return packed;
}

// By step: the first one that is equal but for the memory it works on. Layers that repeat are bound
// once.
std::vector<size_t> CpuExecutable::find_twins() const {
  std::vector<size_t> twins;
  std::unordered_map<std::string, size_t> first;
  for (size_t i = 0; i < steps_.size(); ++i) {
    std::string key(1, packed_[i] ? 'p' : '-');
    if (const auto* loops = std::get_if<std::vector<Loops>>(&steps_[i].kernel))
      for (const Loops& kernel : *loops) append_key(key, kernel);
    else if (const auto* contraction = std::get_if<Contraction>(&steps_[i].kernel))
      append_key(key, *contraction);
    else key += fmt::format("host {}", i);
    twins.push_back(first.try_emplace(std::move(key), i).first->second);
  }
  return twins;
}

void CpuExecutable::list_steps() {
  std::vector<const Step*> steps;
  std::vector<const Tensor*> packed;
  for (size_t i = 0; i < steps_.size(); ++i) {
    steps.push_back(&steps_[i]);
    packed.push_back(packed_[i] ? &packed_[i] : nullptr);
  }
  list_.emplace(*this, steps, packed, find_twins(), in_place_);
}

std::shared_ptr<const Binding> CpuExecutable::bind(SizeTable sizes) const {
  return make_binding(shared_from_this(), std::move(sizes));
}

std::vector<std::shared_ptr<const ProfiledStep>> CpuExecutable::profiled_steps() const {
  std::vector<std::shared_ptr<const ProfiledStep>> result;
  for (const Step& step : steps_) result.push_back(step.profiled);
  return result;
}

}  // namespace onrush::cpu
