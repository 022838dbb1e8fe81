// Convolutions by cuDNN, NVIDIA's library, where it is installed.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/cuda/cudnn_graph.h"

namespace onrush::cuda {

// Thread safe. A handle of the library's has one stream at a time, so what uses it takes turns.
class Cudnn : public std::enable_shared_from_this<Cudnn> {
 public:
  // Null where the library is not installed, is too old or does not start.
  static std::shared_ptr<const Cudnn> open(const ContextPtr& context);
  Cudnn(const Cudnn&) = delete;
  Cudnn& operator=(const Cudnn&) = delete;
  ~Cudnn();

  const std::string& version() const { return version_; }  // "cuDNN 9.19.0"

  // At most `count` ways to compute it with the accuracy that its math has, those that the library
  // finds best first; none where it cannot. Some take the library a second to compile.
  std::vector<std::unique_ptr<LibraryKernel>> kernels(const ConvolutionShape& shape,
                                                      int count) const;
  // By a certain algorithm; null where the library does not take it.
  std::unique_ptr<LibraryKernel> kernel(const ConvolutionShape& shape,
                                        const std::string& algorithm) const;

 private:
  friend class LibraryConvolution;
  struct Plan;
  Cudnn(ContextPtr context, const CudnnApi& api, CudnnHandle handle);
  void check(int status, const char* call) const;
  std::shared_ptr<const Plan> plan(const std::shared_ptr<const CudnnGraph>& graph,
                                   const std::string& algorithm) const;  // REQUIRES mutex_
  std::unique_ptr<LibraryKernel> make(const ConvolutionShape& shape,
                                      std::shared_ptr<const Plan> plan) const;

  ContextPtr context_;
  const CudnnApi& api_;
  CudnnHandle handle_;
  std::string version_;
  mutable std::mutex mutex_;                                        // of the handle and the plans
  mutable std::map<std::string, std::weak_ptr<const Plan>> plans_;  // by graph and algorithm
};

}  // namespace onrush::cuda
