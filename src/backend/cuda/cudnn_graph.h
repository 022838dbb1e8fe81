// What cuDNN is asked for, as graphs of its objects.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/cuda/cudnn_api.h"
#include "backend/cuda/library_kernel.h"
#include "base/check.h"
#include "codegen/convolution.h"

namespace onrush::cuda {

// Pointers that a launch is given are 64-byte aligned.
struct ConvolutionShape {
  Convolution form;
  CUdeviceptr bias;  // as many as there are channels, of the result's dtype; 0: none
};

// One of the library's objects: attributes first, then final.
class CudnnObject {
 public:
  CudnnObject(const CudnnApi& api, int kind) : api_(&api) {
    check(api.cudnnBackendCreateDescriptor(kind, &handle_), "cudnnBackendCreateDescriptor");
  }
  CudnnObject(CudnnObject&& other) noexcept
      : api_(other.api_), handle_(std::exchange(other.handle_, nullptr)) {}
  CudnnObject& operator=(CudnnObject&&) = delete;
  ~CudnnObject() {
    if (handle_) api_->cudnnBackendDestroyDescriptor(handle_);
  }

  CudnnDescriptor handle() const { return handle_; }

  template <class T>
  void set(int attribute, int type, const T* values, size_t count) {
    check(api_->cudnnBackendSetAttribute(handle_, attribute, type, static_cast<int64_t>(count),
                                         values),
          "cudnnBackendSetAttribute");
  }
  void set(int attribute, int type, const auto& value) { set(attribute, type, &value, 1); }
  void set(int attribute, const CudnnObject& other) {
    set(attribute, cudnn::type_descriptor, other.handle_);
  }
  void set(int attribute, const std::vector<int64_t>& values) {
    set(attribute, cudnn::type_int64, values.data(), values.size());
  }
  void set(int attribute, const std::vector<CudnnObject>& others) {
    std::vector<CudnnDescriptor> handles;
    for (const CudnnObject& other : others) handles.push_back(other.handle_);
    set(attribute, cudnn::type_descriptor, handles.data(), handles.size());
  }
  void finish() { check(api_->cudnnBackendFinalize(handle_), "cudnnBackendFinalize"); }

  template <class T>
  T get(int attribute, int type) const {
    T value = {};
    int64_t count = 0;
    check(api_->cudnnBackendGetAttribute(handle_, attribute, type, 1, &count, &value),
          "cudnnBackendGetAttribute");
    return value;
  }
  // At most `most`.
  template <class T>
  std::vector<T> get_all(int attribute, int type, size_t most) const {
    std::vector<T> values(most);
    values.resize(count_of(attribute, type, most, values.data()));
    return values;
  }
  std::vector<CudnnObject> get_all(int attribute, int kind, size_t most) const {
    std::vector<CudnnObject> all;
    std::vector<CudnnDescriptor> handles;
    for (size_t i = 0; i < most; ++i) handles.push_back(all.emplace_back(*api_, kind).handle_);
    const size_t count = count_of(attribute, cudnn::type_descriptor, most, handles.data());
    while (all.size() > count) all.pop_back();
    return all;
  }

 private:
  size_t count_of(int attribute, int type, size_t most, void* values) const {
    int64_t count = 0;
    check(api_->cudnnBackendGetAttribute(handle_, attribute, type, static_cast<int64_t>(most),
                                         &count, values),
          "cudnnBackendGetAttribute");
    return std::min(static_cast<size_t>(std::max<int64_t>(count, 0)), most);
  }
  void check(int status, const char* call) const {
    if (status != 0)
      fail(ErrorCode::device, "{} failed: {}", call, api_->cudnnGetErrorString(status));
  }

  const CudnnApi* api_;
  CudnnDescriptor handle_ = nullptr;
};

// What a launch gives, by which name.
enum class CudnnId : int64_t { image = 1, filter, addend, bias, result, scale, first_between };

// The operations: a convolution, and then scale, addend, bias and activation, of which there are as
// many as the form has. What passes between them is f32 and never in memory.
class CudnnGraph {
 public:
  // Throws Error{device} where the library has no such graph.
  CudnnGraph(const CudnnApi& api, CudnnHandle handle, const ConvolutionShape& shape);

  const CudnnObject& object() const { return graph_; }
  const std::string& text() const { return text_; }  // equal for graphs that are

 private:
  CudnnObject described(CudnnId id, int type, const std::vector<int64_t>& extents,
                        const std::vector<int64_t>& strides, uint32_t alignment);
  // These give a place in parts_.
  size_t add(CudnnObject made);
  size_t tensor(CudnnId id, const Convolution::Tensor& from, uint32_t alignment);
  size_t tensor(CudnnId id, const Convolution::Tensor& from);
  size_t value(CudnnId id);  // a number that the host gives
  size_t next();             // of an operation: the result, or what the next one takes
  void convolve();
  // By an operation of what the last one gives, and of another tensor.
  void combine(int mode, std::optional<size_t> other);

  const CudnnApi& api_;
  Convolution form_;
  int left_;         // operations that follow
  size_t last_ = 0;  // of the tensors
  std::string text_;
  std::vector<CudnnObject> parts_, operations_;
  CudnnObject graph_;
};

}  // namespace onrush::cuda
