// Loops of a plan at concrete sizes.
#include "backend/cuda/bound_plan.h"
#include "backend/cuda/cuda_binding.h"
#include "base/check.h"

namespace onrush::cuda {
namespace {

constexpr int64_t kNumbersApart = kVectorBytes / sizeof(int64_t);

}  // namespace

std::optional<BoundLoop> BoundPlan::bind_loop(const CudaStep& step) const {
  if (!step.body) return std::nullopt;
  const auto& attr = graph()[std::get<DevicePrimitive>(step.step.kernel).node].as<LoopAttr>();
  const int64_t trips = sizes_(attr.trips);
  Tensor numbers(DType::i64, {std::max<int64_t>(trips, 1) * kNumbersApart});
  for (int64_t trip = 0; trip < trips; ++trip)
    numbers.as<int64_t>()[static_cast<size_t>(trip * kNumbersApart)] = trip;
  const FunctionRequest copy{executable_.plan().copy_text(), false};
  return BoundLoop{.body = bind_plan(*executable_.body(step), sizes_),
                   .trips = trips,
                   .numbers = upload(context(), numbers, executable_.shared().setup),
                   .copy = executable_.functions().get(copy)};
}

// Gives the bytes of the workspace.
int64_t BoundPlan::lay_out_loop(const CudaStep& step, BoundLoop& loop) const {
  const auto& attr = graph()[std::get<DevicePrimitive>(step.step.kernel).node].as<LoopAttr>();
  size_t end = 0;
  const auto take = [&](size_t bytes) {
    const size_t offset = end;
    end += aligned(bytes);
    return static_cast<int64_t>(offset);
  };
  loop.arena = take(static_cast<size_t>(loop.body->arena_.bytes));
  const BoundPlan& body = *loop.body;
  for (size_t i = 0; i < body.graph().outputs.size(); ++i) {
    const size_t bytes = body.bytes(body.graph().outputs[i].node);
    if (i >= static_cast<size_t>(attr.carried)) loop.stacked.push_back(take(bytes));
    else loop.carried.push_back({take(bytes), take(bytes)});
  }
  for (int i = attr.carried; i < attr.carried + attr.scanned; ++i)
    loop.scanned.push_back(take(body.input_bytes(static_cast<size_t>(i))));
  return static_cast<int64_t>(end);
}

// The same for a loop: see LoopAttr for the order of its operands and results.
void BoundPlan::each_trip(const BoundStep& step, const RunMemory& memory, const Use& use) const {
  const BoundLoop& loop = *step.loop;
  const BoundPlan& body = *loop.body;
  const NodeId id = std::get<DevicePrimitive>(step.step->step.kernel).node;
  const Node& node = graph()[id];
  const auto& attr = node.as<LoopAttr>();
  const auto carried = static_cast<size_t>(attr.carried),
             scanned = static_cast<size_t>(attr.scanned), operands = node.inputs.size(),
             outputs = body.graph().outputs.size();
  std::vector<CUdeviceptr> results(outputs);  // 0: nobody reads it
  for (NodeId output : step.step->step.group->outputs)
    results[static_cast<size_t>(graph()[output].as<GetAttr>().index)] = address(output, memory);
  const auto at = [&](int64_t offset) { return memory.arena + static_cast<CUdeviceptr>(offset); };
  const auto copy = [&](CUdeviceptr from, CUdeviceptr to, size_t bytes) {
    const auto count = static_cast<int64_t>(bytes);
    if (count == 0) return;
    const CudaLaunch shape = copy_launch(count, executable_.plan().target());
    use(KernelLaunch{loop.copy, launch_shape(shape), {from, to}, {&count, 1}});
  };
  const auto bytes_of = [&](size_t i) { return body.bytes(body.graph().outputs[i].node); };
  for (size_t i = 0; loop.trips == 0 && i < carried; ++i)
    if (results[i]) copy(address(node.inputs[i], memory), results[i], bytes_of(i));
  for (int64_t trip = 0; trip < loop.trips; ++trip) {
    const auto number = static_cast<CUdeviceptr>(trip);
    const auto element = attr.reverse ? static_cast<CUdeviceptr>(loop.trips - 1) - number : number;
    RunMemory inner{.addresses = {}, .arena = at(loop.arena), .words = memory.words};
    for (size_t i = 0; i < operands; ++i) {
      CUdeviceptr from = i < carried && trip > 0 ? at(loop.carried[i][(trip + 1) % 2])
                                                 : address(node.inputs[i], memory);
      if (i >= carried && i < carried + scanned) {
        const size_t bytes = body.input_bytes(i);
        from += element * bytes;
        if (bytes % kVectorBytes) {
          copy(from, at(loop.scanned[i - carried]), bytes);
          from = at(loop.scanned[i - carried]);
        }
      }
      inner.addresses.push_back(from);
    }
    inner.addresses.push_back(device_address(loop.numbers.data()) +
                              number * kNumbersApart * sizeof(int64_t));
    for (size_t i = 0; i < outputs; ++i) {
      const bool last = trip == loop.trips - 1;
      if (i < carried)
        inner.addresses.push_back(last && results[i] ? results[i] : at(loop.carried[i][trip % 2]));
      else
        inner.addresses.push_back(results[i] && bytes_of(i) % kVectorBytes == 0
                                      ? results[i] + number * bytes_of(i)
                                      : at(loop.stacked[i - carried]));
    }
    for (const BoundStep& inside : body.steps_) body.each_launch(inside, inner, use);
    for (size_t i = carried; i < outputs; ++i)
      if (results[i] && bytes_of(i) % kVectorBytes)
        copy(at(loop.stacked[i - carried]), results[i] + number * bytes_of(i), bytes_of(i));
  }
}

}  // namespace onrush::cuda
