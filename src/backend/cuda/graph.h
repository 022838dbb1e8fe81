// CUDA graphs: work recorded from a stream once and launched as a whole.
#pragma once

#include <span>

#include "backend/cuda/module.h"

namespace onrush::cuda {

// What was recorded. Immutable.
class CapturedGraph {
 public:
  CUgraph handle() const { return handle_.get(); }
  const ContextPtr& context() const { return handle_.context(); }
  size_t node_count() const;

 private:
  friend class Capture;
  CapturedGraph(ContextPtr context, CUgraph graph) : handle_(std::move(context), graph) {}
  Handle<CUgraph, &DriverApi::cuGraphDestroy> handle_;
};

// From construction to end(), work put on the stream is recorded and not done; so is that of other
// streams which wait for an event recorded on it, and they must be waited for before end().
// Meanwhile this thread must not allocate or synchronise; other threads may. If end() is not
// reached, the destructor drops what was recorded.
class Capture {
 public:
  explicit Capture(const Stream& stream);
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;
  ~Capture();

  // The node that the launch just made has become, for GraphExec::set_kernel(). REQUIRES that the
  // latest work on the stream was one kernel launch.
  CUgraphNode last_node() const;
  CapturedGraph end();

 private:
  const Stream& stream_;
  bool active_ = true;
};

// A graph ready to launch. One launch of it runs at a time: later ones wait for it. Launching is
// thread safe, changing it is the caller's to order with launches; a change holds from the next
// launch on and does not disturb those in flight.
class GraphExec {
 public:
  explicit GraphExec(CapturedGraph graph);

  void launch(const Stream& stream) const;
  // Sends it to the device, which the first launch would do otherwise.
  void upload(const Stream& stream) const;

  // Gives the kernel at `node` (of the recording this was made from) other sizes and parameters.
  // The cluster and the programmatic launch stay as recorded; REQUIRES a grid without a 0.
  void set_kernel(CUgraphNode node, Function function, const LaunchShape& shape,
                  std::span<void* const> arguments);
  // Takes over the parameters of another recording. False, and unchanged, if it is not the same
  // nodes in the same order: then make a new GraphExec.
  bool update(const CapturedGraph& graph);

 private:
  CapturedGraph graph_;  // owns the nodes that set_kernel() names
  Handle<CUgraphExec, &DriverApi::cuGraphExecDestroy> handle_;
};

// Lets this thread allocate and compile while one of its streams captures, which CUDA forbids where
// a capture might swallow it: nothing here does that on the caller's stream.
class RelaxedCapture {
 public:
  RelaxedCapture() { exchange(); }
  ~RelaxedCapture() { exchange(); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  void exchange() { driver_api().cuThreadExchangeStreamCaptureMode(&mode_); }
  CUstreamCaptureMode mode_ = CU_STREAM_CAPTURE_MODE_RELAXED;
};

}  // namespace onrush::cuda
