#include "backend/cuda/cublaslt.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <sstream>

#include "backend/cuda/libraries.h"
#include "backend/cuda/memory.h"
#include "base/check.h"

namespace onrush::cuda {
namespace {

constexpr uint32_t kAlignment = 64;  // of operands without an offset

int type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return cublaslt::r_32f;
    case DType::f16: return cublaslt::r_16f;
    case DType::bf16: return cublaslt::r_16bf;
    default: internal_error("a product of a type that cuBLASLt is not asked for");
  }
}

// "0000000000000042 ...".
std::string text_of(const CublasLtAlgorithm& algorithm) {
  return fmt::format("{:016x}", fmt::join(algorithm, " "));
}
std::optional<CublasLtAlgorithm> algorithm_of(const std::string& text) {
  CublasLtAlgorithm algorithm = {};
  std::istringstream words(text);
  for (uint64_t& word : algorithm)
    if (!(words >> std::hex >> word)) return std::nullopt;
  return algorithm;
}

}  // namespace

const char* fill(CublasLtApi& api, const SharedLibrary& library) {
  SymbolBinder bind(library);
  bind(api.cublasLtGetVersion, "cublasLtGetVersion");
  bind(api.cublasLtGetStatusString, "cublasLtGetStatusString");
  bind(api.cublasLtCreate, "cublasLtCreate");
  bind(api.cublasLtDestroy, "cublasLtDestroy");
  bind(api.cublasLtMatmulDescCreate, "cublasLtMatmulDescCreate");
  bind(api.cublasLtMatmulDescDestroy, "cublasLtMatmulDescDestroy");
  bind(api.cublasLtMatmulDescSetAttribute, "cublasLtMatmulDescSetAttribute");
  bind(api.cublasLtMatrixLayoutCreate, "cublasLtMatrixLayoutCreate");
  bind(api.cublasLtMatrixLayoutDestroy, "cublasLtMatrixLayoutDestroy");
  bind(api.cublasLtMatrixLayoutSetAttribute, "cublasLtMatrixLayoutSetAttribute");
  bind(api.cublasLtMatmulPreferenceCreate, "cublasLtMatmulPreferenceCreate");
  bind(api.cublasLtMatmulPreferenceDestroy, "cublasLtMatmulPreferenceDestroy");
  bind(api.cublasLtMatmulPreferenceSetAttribute, "cublasLtMatmulPreferenceSetAttribute");
  bind(api.cublasLtMatmulAlgoGetHeuristic, "cublasLtMatmulAlgoGetHeuristic");
  bind(api.cublasLtMatmulAlgoCheck, "cublasLtMatmulAlgoCheck");
  bind(api.cublasLtMatmul, "cublasLtMatmul");
  return bind.missing();
}

// The library's matrices are stored by columns, so it computes the transposed product: its first
// factor is our right one, its rows are our n.
LibraryProduct::LibraryProduct(std::shared_ptr<const CublasLt> library, const ProductShape& shape)
    : library_(std::move(library)), shape_(shape) {
  const CublasLtApi& api = library_->api_;
  const auto compute = shape.math == ContractionMath::tf32 ? cublaslt::f32_by_tf32 : cublaslt::f32;
  library_->check(api.cublasLtMatmulDescCreate(&operation_, compute, cublaslt::r_32f),
                  "cublasLtMatmulDescCreate");
  const auto set = [&](int attribute, const auto& value) {
    library_->check(api.cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof value),
                    "cublasLtMatmulDescSetAttribute");
  };
  set(cublaslt::transpose_a, int{shape.rhs.across ? cublaslt::no : cublaslt::yes});
  set(cublaslt::transpose_b, int{shape.lhs.across ? cublaslt::yes : cublaslt::no});
  set(cublaslt::epilogue, int{shape.bias   ? shape.relu ? cublaslt::relu_bias : cublaslt::bias
                              : shape.relu ? cublaslt::relu
                                           : cublaslt::plain});
  if (shape.bias) set(cublaslt::bias_pointer, as_pointer(shape.bias));

  const auto layout = [&](CublasLtLayout& made, const ProductShape::Matrix& matrix, int64_t rows,
                          int64_t columns) {
    const int64_t leading = std::max(matrix.leading, rows);  // of a single column it is arbitrary
    library_->check(
        api.cublasLtMatrixLayoutCreate(&made, type_of(matrix.dtype), static_cast<uint64_t>(rows),
                                       static_cast<uint64_t>(columns), leading),
        "cublasLtMatrixLayoutCreate");
    const auto set_layout = [&](int attribute, const auto& value) {
      library_->check(api.cublasLtMatrixLayoutSetAttribute(made, attribute, &value, sizeof value),
                      "cublasLtMatrixLayoutSetAttribute");
    };
    set_layout(cublaslt::batch_count, static_cast<int32_t>(shape.batch));
    set_layout(cublaslt::batch_stride, matrix.batch_stride);
  };
  const auto factor = [&](CublasLtLayout& made, const ProductShape::Matrix& matrix, int64_t rows) {
    if (matrix.across) layout(made, matrix, rows, shape.k);
    else layout(made, matrix, shape.k, rows);
  };
  factor(a_, shape.rhs, shape.n);
  factor(b_, shape.lhs, shape.m);
  layout(c_, shape.addend, shape.n, shape.m);
  layout(d_, shape.result, shape.n, shape.m);
}

LibraryProduct::~LibraryProduct() {
  const CublasLtApi& api = library_->api_;
  for (const CublasLtLayout layout : {a_, b_, c_, d_})
    if (layout) api.cublasLtMatrixLayoutDestroy(layout);
  if (operation_) api.cublasLtMatmulDescDestroy(operation_);
}

const std::string& LibraryProduct::library() const { return library_->version(); }

std::string LibraryProduct::algorithm() const { return text_of(algorithm_); }

void LibraryProduct::launch_aligned(CUdeviceptr lhs, CUdeviceptr rhs, CUdeviceptr addend,
                                    CUdeviceptr result, CUdeviceptr workspace,
                                    const Stream& stream) const {
  const auto at = [](CUdeviceptr base, const ProductShape::Matrix& matrix) {
    return as_pointer(base + static_cast<CUdeviceptr>(matrix.offset));
  };
  const float beta = shape_.adds ? 1 : 0;
  library_->check(
      library_->api_.cublasLtMatmul(
          library_->handle_, operation_, &shape_.scale, at(rhs, shape_.rhs), a_,
          at(lhs, shape_.lhs), b_, &beta, at(addend, shape_.addend), c_, at(result, shape_.result),
          d_, &algorithm_, as_pointer(workspace), algorithm_bytes_, stream.handle()),
      "cublasLtMatmul");
}

CublasLt::CublasLt(ContextPtr context, const CublasLtApi& api, CublasLtHandle handle)
    : context_(std::move(context)),
      api_(api),
      handle_(handle),
      version_("cuBLASLt " + cublaslt_version(api)) {}

CublasLt::~CublasLt() {
  if (const CleanupScope scope(*context_); scope) api_.cublasLtDestroy(handle_);
}

std::shared_ptr<const CublasLt> CublasLt::open(const ContextPtr& context) {
  const CublasLtLibrary& library = cublaslt_library();
  if (!library.search.library) return nullptr;
  CublasLtHandle handle = nullptr;
  if (library.api.cublasLtCreate(&handle) != 0) return nullptr;
  return std::shared_ptr<const CublasLt>(new CublasLt(context, library.api, handle));
}

void CublasLt::check(int status, const char* call) const {
  if (status != 0)
    fail(ErrorCode::device, "{} failed: {}", call, api_.cublasLtGetStatusString(status));
}

std::unique_ptr<LibraryKernel> CublasLt::kernel(const ProductShape& shape,
                                                const std::string& algorithm) const {
  const std::optional<CublasLtAlgorithm> known = algorithm_of(algorithm);
  return known ? kernel(shape, *known) : nullptr;
}

std::unique_ptr<LibraryKernel> CublasLt::kernel(const ProductShape& shape,
                                                const CublasLtAlgorithm& algorithm) const {
  std::unique_ptr<LibraryProduct> made(new LibraryProduct(shared_from_this(), shape));
  CublasLtResult result = {};
  if (api_.cublasLtMatmulAlgoCheck(handle_, made->operation_, made->a_, made->b_, made->c_,
                                   made->d_, &algorithm, &result) != 0 ||
      result.workspace_bytes > kMostLibraryBytes)
    return nullptr;
  made->algorithm_ = algorithm;
  made->algorithm_bytes_ = result.workspace_bytes;
  return made;
}

std::vector<std::unique_ptr<LibraryKernel>> CublasLt::kernels(const ProductShape& shape,
                                                              int count) const {
  const LibraryProduct question(shared_from_this(), shape);
  CublasLtPreference preference = nullptr;
  check(api_.cublasLtMatmulPreferenceCreate(&preference), "cublasLtMatmulPreferenceCreate");
  const std::unique_ptr<CublasLtPreference, void (*)(CublasLtPreference*)> owner(
      &preference,
      [](CublasLtPreference* p) { cublaslt_library().api.cublasLtMatmulPreferenceDestroy(*p); });
  const auto set = [&](int attribute, const auto& value) {
    check(api_.cublasLtMatmulPreferenceSetAttribute(preference, attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  set(cublaslt::most_workspace_bytes, uint64_t{kMostLibraryBytes});
  set(cublaslt::reduction_schemes, uint32_t{cublaslt::none});  // others are several kernels
  set(cublaslt::alignment_a, alignment_at(shape.rhs.offset, kAlignment));
  set(cublaslt::alignment_b, alignment_at(shape.lhs.offset, kAlignment));
  set(cublaslt::alignment_c, alignment_at(shape.addend.offset, kAlignment));
  set(cublaslt::alignment_d, alignment_at(shape.result.offset, kAlignment));
  std::vector<CublasLtResult> results(static_cast<size_t>(count));
  int found = 0;
  if (api_.cublasLtMatmulAlgoGetHeuristic(handle_, question.operation_, question.a_, question.b_,
                                          question.c_, question.d_, preference, count,
                                          results.data(), &found) != 0)
    return {};
  std::vector<std::unique_ptr<LibraryKernel>> kernels;
  for (int i = 0; i < found; ++i) {
    const CublasLtResult& result = results[static_cast<size_t>(i)];
    if (result.status != 0) continue;
    if (auto made = kernel(shape, result.algorithm)) kernels.push_back(std::move(made));
  }
  return kernels;
}

}  // namespace onrush::cuda
