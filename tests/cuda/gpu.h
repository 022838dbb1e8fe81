// A fixture for tests that need a GPU: they are skipped on machines without one.
#pragma once

#include <gtest/gtest.h>
#include <optional>

#include "backend/cuda/compiler.h"
#include "backend/cuda/graph.h"
#include "backend/cuda/memory.h"
#include <onrush/error.h>

namespace onrush::cuda {

class GpuTest : public testing::Test {
 protected:
  void SetUp() override {
    try {
      context_ = Context::open(0);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found) throw;
      GTEST_SKIP() << "skipped: no GPU";
    }
    scope_.emplace(*context_);
    stream_.emplace(context_);
  }

  const Stream& stream() const { return *stream_; }

  // The module of one source, compiled for the GPU.
  Module compile(const std::string& text) const {
    const Compiler compiler(nvrtc_api(), {});
    return Module(context_,
                  compiler.compile({"test.cu", text, {}},
                                   compiler.architecture_for(context_->device().capability)));
  }

  template <class T>
  DeviceBuffer upload(const std::vector<T>& values) const {
    DeviceBuffer buffer(context_, values.size() * sizeof(T));
    copy_to_device(buffer.pointer(), values.data(), buffer.bytes(), stream());
    stream().synchronize();
    return buffer;
  }

  template <class T>
  std::vector<T> download(CUdeviceptr from, size_t count) const {
    std::vector<T> values(count);
    copy_to_host(values.data(), from, count * sizeof(T), stream());
    stream().synchronize();
    return values;
  }

  ContextPtr context_;
  std::optional<ContextScope> scope_;
  std::optional<Stream> stream_;
};

}  // namespace onrush::cuda
