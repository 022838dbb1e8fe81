#include "backend/cuda/graph.h"

#include "base/check.h"

namespace onrush::cuda {
namespace {

CUgraphExec instantiate(const CapturedGraph& graph) {
  CUgraphExec exec;
  check(driver().cuGraphInstantiateWithFlags(&exec, graph.handle(), 0),
        "cuGraphInstantiateWithFlags");
  return exec;
}

}  // namespace

size_t CapturedGraph::node_count() const {
  size_t count = 0;
  check(driver().cuGraphGetNodes(handle(), nullptr, &count), "cuGraphGetNodes");
  return count;
}

Capture::Capture(const Stream& stream) : stream_(stream) {
  check(driver().cuStreamBeginCapture(stream.handle(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
        "cuStreamBeginCapture");
}

Capture::~Capture() {
  if (!active_) return;
  CUgraph graph = nullptr;
  driver_api().cuStreamEndCapture(stream_.handle(), &graph);
  if (graph) driver_api().cuGraphDestroy(graph);
}

CUgraphNode Capture::last_node() const {
  CUstreamCaptureStatus status;
  const CUgraphNode* nodes = nullptr;
  size_t count = 0;
  check(driver().cuStreamGetCaptureInfoV2(stream_.handle(), &status, nullptr, nullptr, &nodes,
                                          &count),
        "cuStreamGetCaptureInfo");
  internal_check(status == CU_STREAM_CAPTURE_STATUS_ACTIVE && count == 1,
                 "the latest work of a captured stream is one node");
  return nodes[0];
}

CapturedGraph Capture::end() {
  active_ = false;
  CUgraph graph = nullptr;
  check(driver().cuStreamEndCapture(stream_.handle(), &graph), "cuStreamEndCapture");
  return CapturedGraph(stream_.context(), graph);
}

GraphExec::GraphExec(CapturedGraph graph)
    : graph_(std::move(graph)), handle_(graph_.context(), instantiate(graph_)) {}

void GraphExec::launch(const Stream& stream) const {
  check(driver().cuGraphLaunch(handle_.get(), stream.handle()), "cuGraphLaunch");
}

void GraphExec::upload(const Stream& stream) const {
  check(driver().cuGraphUpload(handle_.get(), stream.handle()), "cuGraphUpload");
}

void GraphExec::set_kernel(CUgraphNode node, Function function, const LaunchShape& shape,
                           std::span<void* const> arguments) {
  CUDA_KERNEL_NODE_PARAMS parameters = {};
  parameters.func = function.handle();
  parameters.gridDimX = shape.grid.x;
  parameters.gridDimY = shape.grid.y;
  parameters.gridDimZ = shape.grid.z;
  parameters.blockDimX = shape.block.x;
  parameters.blockDimY = shape.block.y;
  parameters.blockDimZ = shape.block.z;
  parameters.sharedMemBytes = shape.shared_bytes;
  parameters.kernelParams = const_cast<void**>(arguments.data());
  check(driver().cuGraphExecKernelNodeSetParams(handle_.get(), node, &parameters),
        "cuGraphExecKernelNodeSetParams");
}

bool GraphExec::update(const CapturedGraph& graph) {
  CUgraphExecUpdateResultInfo info = {};
  const CUresult result = driver().cuGraphExecUpdate(handle_.get(), graph.handle(), &info);
  if (result == CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE) return false;
  check(result, "cuGraphExecUpdate");
  return true;
}

}  // namespace onrush::cuda
