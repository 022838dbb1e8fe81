#include "backend/cuda/libraries.h"

#include "base/check.h"

namespace onrush::cuda {
namespace {

constexpr int kDriverVersions[] = {1};
constexpr int kCudaVersions[] = {13, 12};

constexpr LibraryName kDriver = {"CUDA driver", "libcuda.so", kDriverVersions, "ONRUSH_LIBCUDA"};
constexpr LibraryName kNvrtc = {"NVRTC", "libnvrtc.so", kCudaVersions, "ONRUSH_NVRTC"};
constexpr LibraryName kCublasLt = {"cuBLASLt", "libcublasLt.so", kCudaVersions, "ONRUSH_CUBLASLT"};
constexpr int kCudnnVersions[] = {9};
constexpr LibraryName kCudnn = {"cuDNN", "libcudnn.so", kCudnnVersions, "ONRUSH_CUDNN"};

template <class Api>
std::string reject_incomplete(Api& api, const SharedLibrary& library) {
  const char* missing = fill(api, library);
  return missing ? fmt::format("too old: it lacks {}", missing) : "";
}

LibraryReport report_of(const LibraryName& name, const Search& search, const std::string& version) {
  return {std::string(name.title), std::string(name.file),
          search.library ? search.library->path() : "", version, search.tried};
}

// 91900 is 9.19.0.
std::string version_text(size_t number) {
  return fmt::format("{}.{}.{}", number / 10000, number / 100 % 100, number % 100);
}

}  // namespace

std::string to_string(Version version) {
  return fmt::format("{}.{}", version.major, version.minor);
}

std::string explain_missing(const LibraryReport& report) {
  std::string text = fmt::format("{} was not found. Looked for it in:", report.file);
  for (const Attempt& attempt : report.tried)
    text += fmt::format("\n  {}: {}", attempt.place, attempt.outcome);
  return text;
}

DriverLibrary open_driver(const Environment& environment) {
  DriverLibrary driver;
  driver.search = search(kDriver, environment, [&](const SharedLibrary& library) -> std::string {
    if (std::string why = reject_incomplete(driver.api, library); !why.empty())
      return why + " (CUDA 12.0 is the oldest that will do)";
    int version = 0;
    if (driver.api.cuDriverGetVersion(&version) != CUDA_SUCCESS)
      return "not a driver: it cannot say its version (a toolkit's stub?)";
    driver.version = {version / 1000, version % 1000 / 10};
    return {};
  });
  if (!driver.search.library) driver.api = {};
  return driver;
}

NvrtcLibrary open_nvrtc(const Environment& environment, Version driver) {
  NvrtcLibrary nvrtc;
  bool same_major_only = false;
  const auto reject = [&](const SharedLibrary& library) -> std::string {
    if (std::string why = reject_incomplete(nvrtc.api, library); !why.empty()) return why;
    nvrtc.api.nvrtcVersion(&nvrtc.version.major, &nvrtc.version.minor);
    const bool newer =
        same_major_only ? nvrtc.version.major > driver.major : nvrtc.version > driver;
    if (driver == Version() || !newer) return {};
    return fmt::format("{} is newer than the driver, which supports CUDA {}",
                       to_string(nvrtc.version), to_string(driver));
  };
  nvrtc.search = search(kNvrtc, environment, reject);
  if (!nvrtc.search.library) {
    same_major_only = true;
    Search second = search(kNvrtc, environment, reject);
    if (second.library) nvrtc.search = std::move(second);
  }
  if (!nvrtc.search.library) nvrtc = {.search = std::move(nvrtc.search)};
  return nvrtc;
}

CublasLtLibrary open_cublaslt(const Environment& environment) {
  CublasLtLibrary cublaslt;
  cublaslt.search = search(kCublasLt, environment, [&](const SharedLibrary& library) {
    return reject_incomplete(cublaslt.api, library);
  });
  if (!cublaslt.search.library) cublaslt.api = {};
  return cublaslt;
}

CudnnLibrary open_cudnn(const Environment& environment) {
  constexpr size_t kOldest = 90000;
  CudnnLibrary cudnn;
  cudnn.search = search(kCudnn, environment, [&](const SharedLibrary& library) -> std::string {
    if (std::string why = reject_incomplete(cudnn.api, library); !why.empty()) return why;
    if (cudnn.api.cudnnGetVersion() >= kOldest) return {};
    return fmt::format("too old: it is {}, and 9.0 the oldest that will do",
                       cudnn_version(cudnn.api));
  });
  if (!cudnn.search.library) cudnn.api = {};
  return cudnn;
}

std::string cublaslt_version(const CublasLtApi& api) {
  return version_text(api.cublasLtGetVersion());
}

std::string cudnn_version(const CudnnApi& api) { return version_text(api.cudnnGetVersion()); }

std::string nvrtc_requirement(Version driver) {
  if (driver == Version()) return "nvidia-cuda-nvrtc";
  const char* package = driver.major == 12 ? "nvidia-cuda-nvrtc-cu12" : "nvidia-cuda-nvrtc";
  return fmt::format("{}=={}.*", package, to_string(driver));
}

const DriverLibrary& driver_library() {
  // Never destroyed: objects with static storage may free GPU memory after it would be.
  static const auto* const library = new DriverLibrary(open_driver(process_environment));
  return *library;
}

const NvrtcLibrary& nvrtc_library() {
  static const auto* const library =
      new NvrtcLibrary(open_nvrtc(process_environment, driver_library().version));
  return *library;
}

const CublasLtLibrary& cublaslt_library() {
  static const auto* const library = new CublasLtLibrary(open_cublaslt(process_environment));
  return *library;
}

const CudnnLibrary& cudnn_library() {
  static const auto* const library = new CudnnLibrary(open_cudnn(process_environment));
  return *library;
}

const DriverApi& driver_api() {
  const DriverLibrary& library = driver_library();
  if (!library.search.library)
    fail(ErrorCode::not_found,
         "CUDA is not available: {}\nInstall NVIDIA's driver; in a container, start it with access "
         "to the GPU (docker run --gpus all).",
         explain_missing(report(library)));
  return library.api;
}

const NvrtcApi& nvrtc_api() {
  const NvrtcLibrary& library = nvrtc_library();
  if (!library.search.library) {
    fail(ErrorCode::not_found,
         "CUDA kernels cannot be compiled: {}\nInstall it with: pip install '{}'",
         explain_missing(report(library)), nvrtc_requirement(driver_library().version));
  }
  return library.api;
}

LibraryReport report(const DriverLibrary& library) {
  const bool found = library.search.library.has_value();
  return report_of(kDriver, library.search, found ? "CUDA " + to_string(library.version) : "");
}

LibraryReport report(const NvrtcLibrary& library) {
  const bool found = library.search.library.has_value();
  return report_of(kNvrtc, library.search, found ? to_string(library.version) : "");
}

LibraryReport report(const CublasLtLibrary& library) {
  const bool found = library.search.library.has_value();
  return report_of(kCublasLt, library.search, found ? cublaslt_version(library.api) : "");
}

LibraryReport report(const CudnnLibrary& library) {
  const bool found = library.search.library.has_value();
  return report_of(kCudnn, library.search, found ? cudnn_version(library.api) : "");
}

}  // namespace onrush::cuda
