#include "backend/cpu/cpu_executable.h"

#include <algorithm>

#include "backend/cpu/contraction_kernel.h"
#include "backend/cpu/cpu_binding.h"
#include "base/check.h"
#include "plan/placement.h"

namespace onrush::cpu {
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
  std::vector<Step> steps;
  for (const Group& group : schedule_.groups) steps.push_back(make_step(schedule_, group));
  // Kernels have expressions of their own: their values are there once all are made.
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  for (Step& step : steps) {
    if (step.group->time == Time::prepare) {
      prepare(step, sizes);
      continue;
    }
    packed_.push_back(pack(step, sizes));
    steps_.push_back(std::move(step));
  }
}

void CpuExecutable::prepare(const Step& step, const SizeTable& sizes) {
  const auto key = [&](NodeId node) { return keys_[node.index]; };
  // All outputs at once; the store keeps each by itself.
  std::vector<Tensor> results;
  const auto compute = [&] {
    if (results.empty()) results = run_once(*this, step, sizes);
  };
  for (size_t i = 0; i < step.group->outputs.size(); ++i) {
    const NodeId output = step.group->outputs[i];
    internal_check(!key(output).empty(), "a prepared value has a key");
    prepared_[output.index] = shared_->weights.get(key(output), [&] {
      compute();
      return results[i];
    });
  }
}

// The right operand of a contraction, if all that it reads is known.
Tensor CpuExecutable::pack(const Step& step, const SizeTable& sizes) const {
  const auto* contraction = std::get_if<Contraction>(&step.kernel);
  if (!contraction) return {};
  std::string key;
  std::vector<void*> buffers;
  for (const LoopBuffer& buffer : contraction->rhs.buffers) {
    const Tensor& tensor = prepared(buffer.node);
    if (!tensor) return {};
    buffers.push_back(tensor.data());
    key += keys_[buffer.node.index];
  }
  for (const LoopValue& value : contraction->rhs.body)
    if (std::holds_alternative<SizeValue>(value.data)) return {};
  for (size_t i = 0; i < contraction->rhs.axes.size(); ++i) {
    const auto at = static_cast<int>(i);
    const bool is_m =
        at >= contraction->batch_axes && at < contraction->batch_axes + contraction->m_axes;
    if (!is_m && !contraction->rhs.axes[i].extent.is_constant()) return {};
  }
  const ContractionKernel kernel(*contraction, sizes, shared_->gemm);
  // The operand's own description stands for how its buffers are read; m plays no part in it.
  Loops rhs = contraction->rhs;
  for (int i = 0; i < contraction->m_axes; ++i)
    rhs.axes[static_cast<size_t>(contraction->batch_axes + i)].extent = 1;
  key += kernel.packed_layout() + to_string(rhs);
  return shared_->weights.get(key, [&] {
    Tensor packed(DType::u8, {kernel.packed_bytes()});
    kernel.pack_rhs(shared_->pool, buffers.data(), packed.data());
    return packed;
  });
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
