#include "backend/cuda/doctor.h"

#include <fmt/format.h>
#include <vector>

#include "backend/cuda/compiler.h"
#include "backend/cuda/cupti.h"
#include "backend/cuda/memory.h"
#include <onrush/error.h>

namespace onrush::cuda {
namespace {

struct Part {
  LibraryReport library;
  std::string cost;    // of not having it
  std::string remedy;  // the same
};

std::string pip_install(const std::string& requirement) {
  return fmt::format("pip install '{}'", requirement);
}

std::vector<Part> look_up_all() {
  const Version version = driver_library().version;
  const bool cuda12 = version.major == 12;
  return {
      {report(driver_library()), "no GPU can be used; the CPU is not affected",
       "install NVIDIA's driver 525 or later; in a container, start it with access to the GPU "
       "(docker run --gpus all)"},
      {report(nvrtc_library()), "kernels cannot be compiled, so no model runs on a GPU",
       pip_install(nvrtc_requirement(version))},
      {report(cublaslt_library()),
       "none for correctness; tuning has only Onrush's own kernels to choose from",
       pip_install(cuda12 ? "nvidia-cublas-cu12" : "nvidia-cublas") + " (optional)"},
      {report(cudnn_library()),
       "none for correctness; tuning has only Onrush's own kernels to choose from for convolutions",
       pip_install(cuda12 ? "nvidia-cudnn-cu12" : "nvidia-cudnn-cu13") + " (optional)"},
      {cupti_report(),
       "profiles time kernels by events, which keep them from overlapping; no comparison with "
       "onnxruntime's kernels",
       pip_install(cuda12 ? "nvidia-cuda-cupti-cu12" : "nvidia-cuda-cupti") + " (optional)"},
  };
}

std::string libraries_text(const std::vector<Part>& parts) {
  std::string text = "Libraries\n";
  for (const Part& part : parts) {
    const LibraryReport& library = part.library;
    text += fmt::format("  {:<12} {:<10} {}\n", library.title, library.version,
                        library.path.empty() ? "not found" : library.path);
  }
  return text;
}

// "sm_90a", or why there is none.
std::string target(const DeviceInfo& device) {
  if (!nvrtc_library().search.library) return "no compiler";
  try {
    return Compiler(nvrtc_api(), {}).architecture_for(device.capability);
  } catch (const Error& error) {
    return error.what();
  }
}

std::string device_text(const DeviceInfo& device) {
  return fmt::format(
      "  cuda:{}  {}, compute capability {}, {} multiprocessors, {:.0f} MiB, L2 {:.0f} MiB; "
      "compiles for: {}\n",
      device.ordinal, device.name, to_string(device.capability), device.multiprocessors,
      mebibytes(device.memory_bytes), mebibytes(device.l2_bytes), target(device));
}

std::string devices_text() {
  std::string text = "Devices\n";
  if (!driver_library().search.library) return text + "  none: no driver\n";
  try {
    const int count = device_count();
    for (int ordinal = 0; ordinal < count; ++ordinal) text += device_text(device_info(ordinal));
    return text;
  } catch (const Error& error) {
    return text + fmt::format("  none: {}\n", error.what());
  }
}

std::string cache_text(const CacheOptions& options) {
  const DiskCache cache(options);
  if (cache.folder().empty())
    return "Cache\n  none: set ONRUSH_CACHE to a folder; every start compiles anew\n";
  uint64_t bytes = 0;
  const std::vector<CacheEntry> entries = cache.list();
  for (const CacheEntry& entry : entries) bytes += entry.bytes;
  return fmt::format("Cache\n  {}: {} entries, {:.1f} of {:.0f} MiB\n", cache.folder(),
                     entries.size(), mebibytes(bytes), mebibytes(cache.limit()));
}

std::string missing_text(const std::vector<Part>& parts) {
  std::string text;
  for (const Part& part : parts)
    if (part.library.path.empty())
      text += fmt::format("  {}\n    costs:  {}\n    remedy: {}\n", part.library.title, part.cost,
                          part.remedy);
  return "Missing\n" + (text.empty() ? "  nothing\n" : text);
}

std::string tried_text(const std::vector<Part>& parts) {
  std::string text = "Looked for\n";
  for (const Part& part : parts) {
    text += fmt::format("  {}\n", part.library.file);
    for (const Attempt& attempt : part.library.tried)
      text += fmt::format("    {}: {}\n", attempt.place, attempt.outcome);
  }
  return text;
}

}  // namespace

std::string doctor_report(const CacheOptions& cache) {
  const std::vector<Part> parts = look_up_all();
  return libraries_text(parts) + devices_text() + cache_text(cache) + missing_text(parts) +
         tried_text(parts);
}

std::string cupti_path() { return cupti_report().path; }

std::string device_name(int ordinal) { return device_info(ordinal).name; }

}  // namespace onrush::cuda
