#include "backend/cuda/doctor.h"
#include "backend/cuda/libraries.h"
#include "cuda/support.h"

namespace onrush::cuda {
namespace {

TEST(Doctor, SaysWhatIsThereAndWhatIsMissing) {
  const TemporaryFolder folder;
  const std::string report = doctor_report({.folder = folder.path().string()});
  SCOPED_TRACE(report);
  for (const char* part :
       {"CUDA driver", "NVRTC", "cuBLASLt", "cuDNN", "CUPTI", "Devices\n", "Missing\n",
        "Looked for\n  libcuda.so\n    libcuda.so.1 in this process: "})
    EXPECT_NE(report.find(part), std::string::npos) << part;
  EXPECT_NE(report.find(folder.path().string() + ": 0 entries, 0.0 of 1024 MiB"),
            std::string::npos);
  EXPECT_EQ(report.find("install NVIDIA's driver") == std::string::npos,
            driver_library().search.library.has_value());
  EXPECT_EQ(report.find("pip install 'nvidia-cuda-nvrtc") == std::string::npos,
            nvrtc_library().search.library.has_value());
}

}  // namespace
}  // namespace onrush::cuda
