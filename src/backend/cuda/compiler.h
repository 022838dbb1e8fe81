// CUDA C++ to machine code through NVRTC. Works on machines without a GPU.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/cuda/libraries.h"
#include "base/disk_cache.h"

namespace onrush::cuda {

using Cubin = std::vector<std::byte>;

// A file that sources may #include by this name. There are no others: neither the toolkit's headers
// nor any on disk are searched.
struct Header {
  std::string name;
  std::string text;
};

struct Source {
  std::string name;  // for messages: "matmul_f16_128x64.cu"
  std::string text;
  std::vector<std::string> options;  // beyond the compiler's own: {"-lineinfo"}
};

// Thread safe.
class Compiler {
 public:
  // `cache` may be null and must outlive the compiler.
  Compiler(const NvrtcApi& nvrtc, std::vector<Header> headers, const DiskCache* cache = nullptr);

  Version version() const { return version_; }
  const std::vector<int>& architectures() const { return architectures_; }  // 80, 86, 89, 90 ...

  // What to compile for, so that it runs on a device of this compute capability: "sm_90a" where
  // NVRTC knows it, else the nearest that it knows of the same major version ("sm_80" for 8.7).
  // Throws Error{unsupported} if there is none, with what to install.
  std::string architecture_for(Version capability) const;

  // C++20, IEEE arithmetic (no fast-math; products and sums of one expression may contract to an
  // fma). Throws Error{internal}, since the sources are Onrush's own, with NVRTC's log and the
  // lines of the first error.
  Cubin compile(const Source& source, const std::string& architecture) const;

  // The same for many, by up to `threads` threads (0: one a processor). `progress` is called as
  // they get done, by one thread at a time. If some do not compile, the first of them is thrown.
  using Progress = std::function<void(size_t done, size_t total)>;
  std::vector<Cubin> compile_all(std::span<const Source> sources, const std::string& architecture,
                                 int threads = 0, const Progress& progress = {}) const;

 private:
  std::vector<std::string> options_for(const Source& source, const std::string& architecture) const;
  CacheKey key_of(const Source& source, std::span<const std::string> options) const;
  Cubin run_nvrtc(const Source& source, std::span<const std::string> options) const;

  const NvrtcApi& nvrtc_;
  std::vector<Header> headers_;
  const DiskCache* cache_;
  Version version_;
  std::vector<int> architectures_;
};

}  // namespace onrush::cuda
