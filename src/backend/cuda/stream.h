// Streams, events, and what moves bytes on a stream.
#pragma once

#include <cstddef>

#include "backend/cuda/driver.h"

namespace onrush::cuda {

class Event;

// An order in which the device does its work. Calls put work on it and return.
class Stream {
 public:
  // A new stream, which does not wait for the default stream.
  explicit Stream(ContextPtr context);
  // The caller's stream, which must outlive the object; it is not destroyed with it.
  static Stream borrow(ContextPtr context, CUstream handle);

  CUstream handle() const { return handle_; }
  const ContextPtr& context() const { return context_; }

  void synchronize() const;             // waits on the host; throws what earlier work failed with
  void wait(const Event& event) const;  // later work waits for the event, the host does not
  bool capturing() const;

 private:
  Stream(ContextPtr context, CUstream handle) : context_(std::move(context)), handle_(handle) {}

  ContextPtr context_;
  CUstream handle_;
  Handle<CUstream, &DriverApi::cuStreamDestroy> owned_;  // empty if borrowed
};

class Event {
 public:
  enum class Timing { off, on };
  explicit Event(ContextPtr context, Timing timing = Timing::off);

  CUevent handle() const { return handle_.get(); }
  void record(const Stream& stream) const;  // after all work on the stream so far
  bool reached() const;                     // true also if it was never recorded
  void synchronize() const;

 private:
  Handle<CUevent, &DriverApi::cuEventDestroy> handle_;
};
// Both recorded with timing on, and reached.
float milliseconds_between(const Event& start, const Event& end);

// The host side must be pinned for the copy to overlap with other work, and must stay untouched
// until the stream is past it.
void copy_to_device(CUdeviceptr to, const void* from, size_t bytes, const Stream& stream);
void copy_to_host(void* to, CUdeviceptr from, size_t bytes, const Stream& stream);
void copy_on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, const Stream& stream);
void fill(CUdeviceptr to, std::byte value, size_t bytes, const Stream& stream);

}  // namespace onrush::cuda
