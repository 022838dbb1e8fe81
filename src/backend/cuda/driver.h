// The CUDA driver: its errors, its devices and their contexts.
//
// In this folder a function that takes or belongs to a Context REQUIRES that it is current on the
// calling thread, see ContextScope; destructors see to that themselves and ignore errors. Failed
// calls throw Error{device}, or Error{out_of_memory}, with the call's name and the driver's text.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/libraries.h"

namespace onrush::cuda {

// Throws Error{device} in a process that was forked from one in which CUDA was in use: what it was
// given is the parent's.
void check_process();
// The driver, initialised, in a process that may use it, see above. Throws Error{not_found} if
// there is none or it finds no device.
const DriverApi& driver();

// Whether $ONRUSH_CHECK_KERNELS asks runs to wait for each of their kernels, so that the error of
// one that fails names it.
bool checks_kernels();

void check(CUresult result, const char* call);

struct DeviceInfo {
  int ordinal = 0;
  std::string name;
  Version capability;  // {9, 0} for Hopper
  size_t memory_bytes = 0;
  size_t l2_bytes = 0;
  int multiprocessors = 0;
  int threads_per_multiprocessor = 0;
  size_t shared_bytes_per_block = 0;  // at most, where a function asks for it
  size_t shared_bytes_per_multiprocessor = 0;
};
// Throws Error{not_found} for an ordinal that is not there.
DeviceInfo device_info(int ordinal);
int device_count();

// The primary context of a device, which CUDA's runtime and other frameworks in the process share.
class Context {
 public:
  // Throws Error{not_found} for an ordinal that is not there.
  static std::shared_ptr<const Context> open(int ordinal);
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  ~Context();

  CUcontext handle() const { return handle_; }
  const DeviceInfo& device() const { return device_; }
  void synchronize() const;  // waits for all work of the context

 private:
  explicit Context(int ordinal);

  DeviceInfo device_;
  CUdevice id_ = 0;
  CUcontext handle_ = nullptr;
};
using ContextPtr = std::shared_ptr<const Context>;

// Makes a context current on this thread for as long as it lives; then what was before.
class ContextScope {
 public:
  explicit ContextScope(const Context& context);
  ContextScope(const ContextScope&) = delete;
  ContextScope& operator=(const ContextScope&) = delete;
  ~ContextScope();
};

// For destructors: makes a context current, or is false where there is nothing left to free, since
// the process is ending or was forked from the one that owns the context.
class CleanupScope {
 public:
  explicit CleanupScope(const Context& context) noexcept;
  CleanupScope(const CleanupScope&) = delete;
  CleanupScope& operator=(const CleanupScope&) = delete;
  ~CleanupScope();

  explicit operator bool() const { return entered_; }
  // REQUIRES that this is true.
  const DriverApi& driver() const { return driver_api(); }

 private:
  bool entered_;
};

// A handle that the driver's function `destroy` frees, with the context current. May be empty.
template <class T, CUresult (*DriverApi::*destroy)(T)>
class Handle {
 public:
  Handle() = default;
  Handle(ContextPtr context, T handle) : context_(std::move(context)), handle_(handle) {}
  Handle(Handle&& other) noexcept
      : context_(std::move(other.context_)), handle_(std::exchange(other.handle_, T())) {}
  Handle& operator=(Handle&& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Handle() {
    if (handle_ == T()) return;
    if (const CleanupScope scope(*context_); scope) (scope.driver().*destroy)(handle_);
  }

  T get() const { return handle_; }
  const ContextPtr& context() const { return context_; }

 private:
  ContextPtr context_;
  T handle_ = T();
};

}  // namespace onrush::cuda
