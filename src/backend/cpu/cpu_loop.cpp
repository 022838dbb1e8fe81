#include "backend/cpu/cpu_loop.h"

#include <algorithm>

#include "plan/placement.h"

namespace onrush::cpu {
namespace {

// Element `trip` along axis 0, where it lies.
Tensor element_at(const Tensor& x, int64_t trip) {
  Shape shape(x.shape().begin() + 1, x.shape().end());
  const auto bytes = static_cast<int64_t>(byte_size(x.dtype(), element_count(shape)));
  return Tensor(x.dtype(), std::move(shape), static_cast<char*>(x.data()) + trip * bytes);
}

}  // namespace

CpuLoop::CpuLoop(const Node& loop, std::shared_ptr<const Binding> body, const SizeTable& sizes)
    : body_(std::move(body)) {
  const auto& attr = loop.as<LoopAttr>();
  trips_ = sizes(attr.trips);
  carried_ = static_cast<size_t>(attr.carried), scanned_ = static_cast<size_t>(attr.scanned);
  reverse_ = attr.reverse;
  for (const TensorType& part : std::get<TupleType>(loop.type).parts)
    parts_.push_back({part.dtype, concrete_shape(part.shape, sizes)});
}

std::vector<Tensor> CpuLoop::run(RunState& state, std::span<const Tensor> operands) const {
  std::vector<Tensor> results, spare;
  for (const Part& part : parts_) results.emplace_back(part.dtype, part.shape);
  for (size_t i = 0; i < carried_; ++i) spare.emplace_back(parts_[i].dtype, parts_[i].shape);
  if (trips_ == 0)
    for (size_t i = 0; i < carried_; ++i) copy_elements(operands[i], results[i]);

  int64_t trip = 0;
  std::vector<Tensor> inputs(operands.begin(), operands.end()), outputs(parts_.size());
  inputs.emplace_back(DType::i64, Shape{}, &trip);
  RunState body_state;  // profiles know the loop as one step
  for (; trip < trips_; ++trip) {
    state.check_cancelled();
    for (size_t i = carried_; i < carried_ + scanned_; ++i)
      inputs[i] = element_at(operands[i], reverse_ ? trips_ - 1 - trip : trip);
    // Carried values change places, so that the last trip leaves them among the results.
    for (size_t i = 0; i < carried_; ++i)
      outputs[i] = (trips_ - trip) % 2 == 1 ? results[i] : spare[i];
    for (size_t i = carried_; i < parts_.size(); ++i) outputs[i] = element_at(results[i], trip);
    body_->run(body_state, inputs, outputs);
    std::copy_n(outputs.begin(), carried_, inputs.begin());
  }
  return results;
}

bool can_run_in_place(const Graph& graph, const Node& loop) {
  const auto plain = [](DType dtype) { return dtype != DType::string && !is_sub_byte(dtype); };
  return std::ranges::all_of(loop.inputs,
                             [&](NodeId operand) { return plain(graph.dtype(operand)); }) &&
         std::ranges::all_of(std::get<TupleType>(loop.type).parts,
                             [&](const TensorType& part) { return plain(part.dtype); });
}

}  // namespace onrush::cpu
