#include "backend/cuda/stream.h"

namespace onrush::cuda {
namespace {

CUstream create_stream() {
  CUstream stream;
  check(driver().cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
  return stream;
}

CUevent create_event(Event::Timing timing) {
  CUevent event;
  const unsigned flags = timing == Event::Timing::on ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING;
  check(driver().cuEventCreate(&event, flags), "cuEventCreate");
  return event;
}

}  // namespace

Stream::Stream(ContextPtr context)
    : context_(std::move(context)), handle_(create_stream()), owned_(context_, handle_) {}

Stream Stream::borrow(ContextPtr context, CUstream handle) {
  return Stream(std::move(context), handle);
}

void Stream::synchronize() const {
  check(driver().cuStreamSynchronize(handle_), "cuStreamSynchronize");
}

void Stream::wait(const Event& event) const {
  check(driver().cuStreamWaitEvent(handle_, event.handle(), CU_EVENT_WAIT_DEFAULT),
        "cuStreamWaitEvent");
}

bool Stream::capturing() const {
  CUstreamCaptureStatus status;
  check(driver().cuStreamIsCapturing(handle_, &status), "cuStreamIsCapturing");
  return status != CU_STREAM_CAPTURE_STATUS_NONE;
}

Event::Event(ContextPtr context, Timing timing)
    : handle_(std::move(context), create_event(timing)) {}

void Event::record(const Stream& stream) const {
  check(driver().cuEventRecord(handle(), stream.handle()), "cuEventRecord");
}

bool Event::reached() const {
  const CUresult result = driver().cuEventQuery(handle());
  if (result == CUDA_ERROR_NOT_READY) return false;
  check(result, "cuEventQuery");
  return true;
}

void Event::synchronize() const {
  check(driver().cuEventSynchronize(handle()), "cuEventSynchronize");
}

float milliseconds_between(const Event& start, const Event& end) {
  float milliseconds = 0;
  check(driver().cuEventElapsedTime(&milliseconds, start.handle(), end.handle()),
        "cuEventElapsedTime");
  return milliseconds;
}

void copy_to_device(CUdeviceptr to, const void* from, size_t bytes, const Stream& stream) {
  if (bytes)
    check(driver().cuMemcpyHtoDAsync(to, from, bytes, stream.handle()), "cuMemcpyHtoDAsync");
}

void copy_to_host(void* to, CUdeviceptr from, size_t bytes, const Stream& stream) {
  if (bytes)
    check(driver().cuMemcpyDtoHAsync(to, from, bytes, stream.handle()), "cuMemcpyDtoHAsync");
}

void copy_on_device(CUdeviceptr to, CUdeviceptr from, size_t bytes, const Stream& stream) {
  if (bytes)
    check(driver().cuMemcpyDtoDAsync(to, from, bytes, stream.handle()), "cuMemcpyDtoDAsync");
}

void fill(CUdeviceptr to, std::byte value, size_t bytes, const Stream& stream) {
  if (bytes)
    check(
        driver().cuMemsetD8Async(to, std::to_integer<unsigned char>(value), bytes, stream.handle()),
        "cuMemsetD8Async");
}

}  // namespace onrush::cuda
