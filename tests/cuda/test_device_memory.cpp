#include "backend/cuda/memory.h"
#include "cuda/gpu.h"
#include <onrush/device_memory.h>

namespace onrush {
namespace {

constexpr Device kHost = {}, kGpu = {Device::Kind::cuda, 0};

Tensor counting(int count) {
  std::vector<int32_t> values;
  for (int i = 0; i < count; ++i) values.push_back(i);
  return Tensor::of<int32_t>(DType::i32, {count}, values);
}

std::vector<int32_t> elements(const Tensor& tensor) {
  const Tensor host = moved_to(kHost, tensor);
  return {host.as<int32_t>().begin(), host.as<int32_t>().end()};
}

TEST(DeviceMemory, TheHostNeedsNoGpu) {
  const Tensor tensor = new_tensor(DType::i32, {4}, kHost);
  copy(counting(4), tensor);
  EXPECT_EQ(elements(tensor), (std::vector<int32_t>{0, 1, 2, 3}));
  EXPECT_EQ(moved_to(kHost, tensor).data(), tensor.data());
  synchronize(kHost);
}

TEST(DeviceMemory, SaysWhyThereIsNoGpu) {
  const std::string why = why_no_cuda();
  if (why.empty()) GTEST_SKIP() << "skipped: there is a GPU";
  EXPECT_EQ(why.find('\n'), std::string::npos) << why;
  try {
    new_tensor(DType::f32, {1}, kGpu);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found) << error.what();
  }
}

class DeviceMemoryTest : public cuda::GpuTest {};

TEST_F(DeviceMemoryTest, TensorsGoThereAndBack) {
  const Tensor there = moved_to(kGpu, counting(1000));
  EXPECT_EQ(there.device(), kGpu);
  EXPECT_EQ(device_of(there.data()), kGpu);
  EXPECT_EQ(moved_to(kGpu, there).data(), there.data());
  const Tensor other = new_tensor(DType::i32, {1000}, kGpu);
  copy(there, other);
  EXPECT_EQ(elements(other), elements(counting(1000)));
}

TEST_F(DeviceMemoryTest, EmptyTensorsAndStrings) {
  EXPECT_EQ(moved_to(kGpu, Tensor(DType::f32, {0, 3})).shape(), (Shape{0, 3}));
  EXPECT_EQ(new_tensor(DType::string, {2}, kGpu).device(), kHost);
}

TEST_F(DeviceMemoryTest, MemoryIsUsedAgain) {
  const auto pool = cuda::MemoryPool::of_device(0);  // kept while it is looked at
  const void* first = pool->tensor(DType::f32, {1 << 20}).data();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(pool->tensor(DType::f32, {1 << 20}).data(), first);
}

TEST_F(DeviceMemoryTest, OutOfMemoryIsClearAndHarmless) {
  try {
    new_tensor(DType::u8, {static_cast<int64_t>(context_->device().memory_bytes) * 2}, kGpu);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory) << error.what();
  }
  EXPECT_EQ(elements(moved_to(kGpu, counting(3))), elements(counting(3)));
}

TEST_F(DeviceMemoryTest, AStreamFollowsAnother) {
  const Tensor tensor = new_tensor(DType::i32, {1 << 24}, kGpu);
  cuda::fill(cuda::device_address(tensor.data()), std::byte(1), tensor.bytes(), stream());
  stream_follows(kGpu, nullptr, stream().handle());
  EXPECT_EQ(elements(tensor).back(), 0x01010101);  // copied on the default stream
}

TEST_F(DeviceMemoryTest, HostMemoryIsNoDevices) {
  const Tensor tensor = counting(1);
  EXPECT_EQ(device_of(tensor.data()), kHost);
}

}  // namespace
}  // namespace onrush
