#include "backend/cuda/frame.h"

#include <cstring>

namespace onrush::cuda {

Frame::Frame(CudaShared& shared, size_t bytes, size_t host_bytes)
    : own(shared.context),
      stream(Stream::borrow(shared.context, own.handle())),
      memory(shared.context, bytes),
      words(shared.context, sizeof(RunWords)),
      host(shared.context, host_bytes + kErrorBytes),
      scratch(shared.scratch, bytes),
      pinned(shared.pinned, host_bytes + kErrorBytes),
      ready(shared.context),
      done(shared.context) {
  const RunWords first{.seed = fresh_seed()};
  std::memcpy(host.data(), &first, sizeof first);
  copy_to_device(words.pointer(), host.data(), sizeof first, own);
  own.synchronize();
  host_error() = 0;
}

RunMemory memory_of_run(const BoundPlan& plan, const Frame& frame, std::span<const Tensor> inputs,
                        std::span<const Tensor> outputs) {
  const auto in_place = [&](const Tensor& tensor) {
    return tensor.device().kind == Device::Kind::cuda &&
           device_address(tensor.data()) % kVectorBytes == 0;
  };
  Addresses result;
  for (size_t i = 0; i < plan.graph().inputs.size(); ++i)
    result.push_back(i < inputs.size() && in_place(inputs[i])
                         ? device_address(inputs[i].data())
                         : frame.memory.pointer() + plan.layout().inputs[i]);
  for (size_t i = 0; i < plan.graph().outputs.size(); ++i)
    result.push_back(i < outputs.size() && in_place(outputs[i])
                         ? device_address(outputs[i].data())
                         : frame.memory.pointer() + plan.layout().outputs[i]);
  return {std::move(result), frame.memory.pointer(), frame.words.pointer()};
}

}  // namespace onrush::cuda
