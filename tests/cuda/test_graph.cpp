#include "backend/cuda/graph.h"
#include "cuda/gpu.h"

namespace onrush::cuda {
namespace {

const char* const kAdd = R"(
extern "C" __global__ void add(int* values, int by, int count) {
  asm volatile("griddepcontrol.wait;" ::: "memory");
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] += by;
  asm volatile("griddepcontrol.launch_dependents;");
}
)";

class GraphTest : public GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    if (context_->device().capability < Version{9, 0})
      GTEST_SKIP() << "skipped: griddepcontrol needs compute capability 9.0";
    module_.emplace(compile(kAdd));
    values_.emplace(upload(std::vector<int>(1000)));
  }

  Function add() const { return module_->function("add"); }
  CUdeviceptr values() const { return values_->pointer(); }
  int sum() const {
    int sum = 0;
    for (int value : download<int>(values(), 1000)) sum += value;
    return sum;
  }
  void add_some(int by, bool programmatic = false) const {
    launch_with(add(), {.grid = {1}, .block = {256}, .programmatic = programmatic}, stream(),
                values(), by, 10);
  }

  std::optional<Module> module_;
  std::optional<DeviceBuffer> values_;
};

TEST_F(GraphTest, ReplaysWhatWasCaptured) {
  Capture capture(stream());
  EXPECT_TRUE(stream().capturing());
  add_some(1);
  add_some(2);
  CapturedGraph graph = capture.end();
  EXPECT_FALSE(stream().capturing());
  EXPECT_EQ(graph.node_count(), 2u);
  EXPECT_EQ(sum(), 0);

  const GraphExec exec(std::move(graph));
  exec.upload(stream());
  for (int i = 0; i < 5; ++i) exec.launch(stream());
  EXPECT_EQ(sum(), 5 * 10 * 3);
}

TEST_F(GraphTest, UpdatesOneKernel) {
  Capture capture(stream());
  add_some(1);
  const CUgraphNode first = capture.last_node();
  add_some(100, true);
  const CUgraphNode second = capture.last_node();
  EXPECT_NE(first, second);
  GraphExec exec(capture.end());
  exec.launch(stream());
  EXPECT_EQ(sum(), 10 * 101);

  // Another size and another buffer; the launches before are not disturbed.
  const DeviceBuffer other = upload(std::vector<int>(1000));
  CUdeviceptr pointer = other.pointer();
  int by = 7, count = 1000;
  const std::array<void*, 3> arguments = {&pointer, &by, &count};
  exec.set_kernel(second, add(), {.grid = {4}, .block = {256}}, arguments);
  exec.launch(stream());
  EXPECT_EQ(sum(), 10 * 102);
  EXPECT_EQ(download<int>(pointer, 1000), std::vector<int>(1000, 7));
}

TEST_F(GraphTest, ProgrammaticLaunchesKeepTheirOrder) {
  const auto record = [&] {
    Capture capture(stream());
    for (int i = 0; i < 20; ++i) {
      add_some(i, true);
      EXPECT_TRUE(capture.last_node());
    }
    return capture.end();
  };
  const GraphExec exec(record());
  for (int i = 0; i < 10; ++i) exec.launch(stream());
  EXPECT_EQ(sum(), 10 * 10 * 190);
}

TEST_F(GraphTest, UpdatesFromAnotherRecording) {
  const auto record = [&](int kernels, int by) {
    Capture capture(stream());
    for (int i = 0; i < kernels; ++i) add_some(by);
    return capture.end();
  };
  GraphExec exec(record(2, 1));
  EXPECT_TRUE(exec.update(record(2, 5)));
  EXPECT_FALSE(exec.update(record(3, 9)));
  exec.launch(stream());
  EXPECT_EQ(sum(), 10 * 10);
}

TEST_F(GraphTest, CapturesCopiesAndOtherStreams) {
  const Stream side(context_);
  const Event fork(context_), join(context_);
  PinnedBuffer pinned(context_, 4);
  Capture capture(stream());
  fork.record(stream());
  side.wait(fork);
  add_some(1);
  fill(values() + 400, std::byte(0), 4, side);
  join.record(side);
  stream().wait(join);
  copy_to_host(pinned.data(), values(), 4, stream());
  const GraphExec exec(capture.end());
  exec.launch(stream());
  exec.launch(stream());
  stream().synchronize();
  EXPECT_EQ(*reinterpret_cast<int*>(pinned.data()), 2);
}

TEST_F(GraphTest, AnAbandonedCaptureIsDropped) {
  {
    const Capture capture(stream());
    add_some(1);
  }
  EXPECT_FALSE(stream().capturing());
  EXPECT_EQ(sum(), 0);
  add_some(1);
  EXPECT_EQ(sum(), 10);
}

}  // namespace
}  // namespace onrush::cuda
