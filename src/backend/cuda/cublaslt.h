// Matrix products by cuBLASLt, NVIDIA's library, where it is installed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/cublaslt_api.h"
#include "backend/cuda/library_kernel.h"
#include "codegen/cuda_source.h"

namespace onrush::cuda {

// A MatrixProduct (codegen/matrix_product.h) at concrete sizes. Every offset is in bytes from the
// pointer that a launch is given, which is 64-byte aligned.
struct ProductShape {
  struct Matrix {
    DType dtype;
    int64_t offset, leading, batch_stride;  // the last two in elements
    bool across;
  };
  ContractionMath math;
  int64_t batch, m, n, k;
  Matrix lhs, rhs, result, addend;  // without one, the addend is the result
  bool adds;
  CUdeviceptr bias;  // n elements of the result's dtype; 0: none
  float scale;
  bool relu;
};

class CublasLt;

class LibraryProduct final : public LibraryKernel {
 public:
  ~LibraryProduct() override;
  const std::string& library() const override;
  std::string algorithm() const override;

 private:
  friend class CublasLt;
  LibraryProduct(std::shared_ptr<const CublasLt> library, const ProductShape& shape);
  size_t algorithm_bytes() const override { return algorithm_bytes_; }
  void launch_aligned(CUdeviceptr lhs, CUdeviceptr rhs, CUdeviceptr addend, CUdeviceptr result,
                      CUdeviceptr workspace, const Stream& stream) const override;

  std::shared_ptr<const CublasLt> library_;
  ProductShape shape_;
  CublasLtOperation operation_ = nullptr;
  CublasLtLayout a_ = nullptr, b_ = nullptr, c_ = nullptr, d_ = nullptr;
  CublasLtAlgorithm algorithm_ = {};
  size_t algorithm_bytes_ = 0;
};

// Thread safe.
class CublasLt : public std::enable_shared_from_this<CublasLt> {
 public:
  // Null where the library is not installed, lacks a function or does not start.
  static std::shared_ptr<const CublasLt> open(const ContextPtr& context);
  CublasLt(const CublasLt&) = delete;
  CublasLt& operator=(const CublasLt&) = delete;
  ~CublasLt();

  const std::string& version() const { return version_; }  // "cuBLASLt 13.1.0"

  // At most `count` ways to compute it, those that the library finds best first; none where it
  // cannot.
  std::vector<std::unique_ptr<LibraryKernel>> kernels(const ProductShape& shape, int count) const;
  // By a certain algorithm; null where the library does not take it.
  std::unique_ptr<LibraryKernel> kernel(const ProductShape& shape,
                                        const std::string& algorithm) const;

 private:
  friend class LibraryProduct;
  std::unique_ptr<LibraryKernel> kernel(const ProductShape& shape,
                                        const CublasLtAlgorithm& algorithm) const;
  CublasLt(ContextPtr context, const CublasLtApi& api, CublasLtHandle handle);
  void check(int status, const char* call) const;

  ContextPtr context_;
  const CublasLtApi& api_;
  CublasLtHandle handle_;
  std::string version_;
};

}  // namespace onrush::cuda
