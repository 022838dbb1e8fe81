#include <iostream>
#include <numeric>

#include "backend/cuda/driver.h"
#include "cuda/gpu.h"

namespace onrush::cuda {
namespace {

const char* const kScale = R"(
extern "C" __global__ void scale(float* values, float by, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] *= by;
}
extern "C" __global__ void wild(int* at) { *at = 1; }
)";

std::vector<float> iota(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

TEST(Driver, WithoutAGpuTheErrorSaysWhatWasTried) {
  if (driver_library().search.library) GTEST_SKIP() << "skipped: there is a driver";
  try {
    Context::open(0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::not_found);
    const std::string text = error.what();
    for (const char* part : {"CUDA is not available", "libcuda.so.1", "/usr/local/nvidia/lib64",
                             "Install NVIDIA's driver"})
      EXPECT_NE(text.find(part), std::string::npos) << text;
  }
}

class DriverTest : public GpuTest {};

TEST_F(DriverTest, DescribesTheDevice) {
  const DeviceInfo& device = context_->device();
  EXPECT_FALSE(device.name.empty());
  EXPECT_GE(device.capability.major, 5);
  EXPECT_GT(device.multiprocessors, 0);
  EXPECT_GT(device.memory_bytes, size_t{1} << 30);
  EXPECT_GT(device.l2_bytes, 0u);
  EXPECT_GE(device.shared_bytes_per_block, 48u << 10);
  EXPECT_THROW(Context::open(1000), Error);
}

TEST_F(DriverTest, LaunchesAKernel) {
  const Module module = compile(kScale);
  const Function scale = module.function("scale");
  EXPECT_GT(scale.registers(), 0);
  EXPECT_EQ(scale.static_shared_bytes(), 0u);
  EXPECT_GT(scale.blocks_per_multiprocessor(256, 0), 0);
  EXPECT_THROW(module.function("no_such_kernel"), Error);

  const int count = 1000;
  const DeviceBuffer buffer = upload(iota(count));
  const LaunchShape shape = {.grid = {4}, .block = {256}};
  launch_with(scale, shape, stream(), buffer.pointer(), 3.0f, count);
  launch_with(scale, {.grid = {0}, .block = {256}}, stream(), buffer.pointer(), 3.0f, count);
  const std::vector<float> result = download<float>(buffer.pointer(), count);
  for (int i = 0; i < count; ++i) ASSERT_EQ(result[i], 3.0f * i);
}

TEST_F(DriverTest, LaunchesWithSharedMemoryAndClusters) {
  if (context_->device().capability < Version{9, 0}) GTEST_SKIP() << "skipped: no clusters";
  const Module module = compile(R"(
extern "C" __global__ void ranks(unsigned* out) {
  extern __shared__ unsigned slots[];
  const unsigned last = 16384 - 1;  // beyond 48 KiB
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(slots[last]));
  out[blockIdx.x] = slots[last];
}
)");
  const Function ranks = module.function("ranks");
  ranks.allow_shared_bytes(64 << 10);
  const DeviceBuffer out(context_, 8 * sizeof(unsigned));
  launch_with(ranks, {.grid = {8}, .cluster = {4}, .shared_bytes = 64 << 10}, stream(),
              out.pointer());
  EXPECT_EQ(download<unsigned>(out.pointer(), 8), (std::vector<unsigned>{0, 1, 2, 3, 0, 1, 2, 3}));
}

TEST_F(DriverTest, EventsOrderStreamsAndMeasure) {
  const Stream other(context_);
  const Module module = compile(kScale);
  const int count = 1 << 20;
  const DeviceBuffer buffer(context_, count * sizeof(float));
  PinnedBuffer pinned(context_, buffer.bytes());
  const std::vector<float> values = iota(count);
  std::copy(values.begin(), values.end(), reinterpret_cast<float*>(pinned.data()));

  const Event start(context_, Event::Timing::on), end(context_, Event::Timing::on);
  const Event copied(context_);
  start.record(other);
  copy_to_device(buffer.pointer(), pinned.data(), pinned.bytes(), other);
  copied.record(other);
  stream().wait(copied);
  launch_with(module.function("scale"), {.grid = {count / 256}, .block = {256}}, stream(),
              buffer.pointer(), 2.0f, count);
  end.record(stream());
  end.synchronize();
  EXPECT_TRUE(end.reached());
  EXPECT_GT(milliseconds_between(start, end), 0.0f);
  const std::vector<float> result = download<float>(buffer.pointer(), count);
  for (int i = 0; i < count; i += 999) ASSERT_EQ(result[i], 2.0f * i);
}

TEST_F(DriverTest, RefusesForeignMachineCode) {
  const Compiler compiler(nvrtc_api(), {});
  const int major = context_->device().capability.major;
  const Cubin cubin = compiler.compile({"scale.cu", kScale, {}}, major == 8 ? "sm_90" : "sm_80");
  try {
    const Module module(context_, cubin);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::device);
    EXPECT_NE(std::string(error.what()).find("cuModuleLoadData: CUDA_ERROR_"), std::string::npos)
        << error.what();
  }
}

// In a new process, since its context is lost afterwards; a plain fork could not use CUDA.
TEST_F(DriverTest, AnIllegalAddressIsReported) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        const Module module = compile(kScale);
        launch_with(module.function("wild"), {}, stream(), CUdeviceptr{64});
        try {
          stream().synchronize();
        } catch (const Error& error) {
          std::cerr << to_string(error.code()) << ": " << error.what() << std::endl;
          ::_exit(3);
        }
        ::_exit(0);
      },
      testing::ExitedWithCode(3), "device error: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS");
}

}  // namespace
}  // namespace onrush::cuda
