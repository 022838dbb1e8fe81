// NVIDIA's libraries as found on this machine. None is needed to start; each is looked for on first
// use.
#pragma once

#include <compare>
#include <string>
#include <vector>

#include "backend/cuda/cublaslt_api.h"
#include "backend/cuda/cudnn_api.h"
#include "backend/cuda/driver_api.h"
#include "backend/cuda/shared_library.h"

namespace onrush::cuda {

struct Version {
  int major = 0;
  int minor = 0;
  auto operator<=>(const Version&) const = default;
};
std::string to_string(Version version);  // "13.0"

// A library and how it was looked for.
struct LibraryReport {
  std::string title;  // "NVRTC"
  std::string file;   // "libnvrtc.so"
  std::string path;   // empty: not found
  std::string version;
  std::vector<Attempt> tried;
};
// "libnvrtc.so was not found. Looked for it in:" and a line for each place tried.
std::string explain_missing(const LibraryReport& report);

// `api` is filled exactly if the library was found.
struct DriverLibrary {
  Search search;
  DriverApi api = {};
  Version version;  // the latest CUDA that the driver supports
};
struct NvrtcLibrary {
  Search search;
  NvrtcApi api = {};
  Version version;
};

struct CublasLtLibrary {
  Search search;
  CublasLtApi api = {};
};
struct CudnnLibrary {
  Search search;
  CudnnApi api = {};
};

// Looked for anew at each call; for the process's own, see below.
DriverLibrary open_driver(const Environment& environment);
// An NVRTC no newer than `driver` is preferred. A newer one of the same major version will do: its
// cubins (not its PTX) run on the older driver. {0, 0} stands for no driver: any will do.
NvrtcLibrary open_nvrtc(const Environment& environment, Version driver);
CublasLtLibrary open_cublaslt(const Environment& environment);
CudnnLibrary open_cudnn(const Environment& environment);
std::string cublaslt_version(const CublasLtApi& api);  // "13.1.0"
std::string cudnn_version(const CudnnApi& api);        // "9.19.0"

// What pip installs for a driver: "nvidia-cuda-nvrtc==13.0.*".
std::string nvrtc_requirement(Version driver);

// The process's libraries. Thread safe.
const DriverLibrary& driver_library();
const NvrtcLibrary& nvrtc_library();
const CublasLtLibrary& cublaslt_library();
const CudnnLibrary& cudnn_library();

// The tables of functions. Throw Error{not_found}, which says where the library was looked for and
// how to install it.
const DriverApi& driver_api();
const NvrtcApi& nvrtc_api();

LibraryReport report(const DriverLibrary& library);
LibraryReport report(const NvrtcLibrary& library);
LibraryReport report(const CublasLtLibrary& library);
LibraryReport report(const CudnnLibrary& library);

}  // namespace onrush::cuda
