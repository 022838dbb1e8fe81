#include "engines/peer_profile.h"
#include "engines/peers.h"
#include "support.h"
#include <onrush/error.h>

namespace onrush::engines {
namespace {

using Names = std::vector<std::string>;

TEST(Peers, names) {
  EXPECT_EQ(peer_names("onnxruntime"), Names{"onnxruntime"});
  EXPECT_EQ(peer_names("openvino:bf16"), Names{"openvino:bf16"});
  EXPECT_EQ(peer_names("openvino:all"), (Names{"openvino", "openvino:bf16"}));
  EXPECT_EQ(peer_names("pytorch:half+channels_last+graph"),
            Names{"pytorch:half+channels_last+graph"});
  EXPECT_GE(peer_names("all").size(), 12u);
  EXPECT_THROW(peer_names("tensorrt"), Error);
  for (const char* wrong : {"openvino:fast", "openvino:", "pytorch:half+", "pytorch:half+fast"})
    EXPECT_THROW(peer_names(wrong), Error) << wrong;
}

TEST(Peers, interpreters_that_will_not_do) {
  EXPECT_EQ(python_interpreters({"a", "b"}), (Names{"a", "b"}));
  EXPECT_EQ(python_interpreters({}).back(), "python3");
  try {
    find_python("openvino", {"/no/python", "/bin/false"});
    FAIL();
  } catch (const WorkerError& error) {
    EXPECT_EQ(std::string(error.what()),
              "not installed: /no/python cannot be started, /bin/false cannot be started; --python "
              "names another");
  }
}

TEST(Peers, scripts_are_complete) {
  const TemporaryFolder folder;
  EXPECT_EQ(write_worker_scripts(folder.path("")), folder.path("") + "/worker.py");
  for (const char* name :
       {"worker.py", "onnxruntime_engine.py", "openvino_engine.py", "pytorch_engine.py"}) {
    std::ifstream file(folder.path(name));
    std::string line;
    EXPECT_TRUE(std::getline(file, line) && line.starts_with("\"\"\"")) << name;
  }
  EXPECT_THROW(write_worker_scripts(folder.path("absent")), Error);
}

TEST(Peers, kernels_have_short_names) {
  EXPECT_EQ(kernel_title("relu"), "relu");
  EXPECT_EQ(kernel_title("_ZN5cudnn3ops16nchwToNhwcKernelIffEEvPKf"), "nchwToNhwcKernel");
  EXPECT_EQ(kernel_title("void at::native::(anonymous namespace)::CatArrayBatchedCopy<float, "
                         "unsigned int, 3, 64>(float*, int)"),
            "CatArrayBatchedCopy");
  EXPECT_EQ(kernel_title("void cutlass::Kernel2<cutlass_80_tensorop_s1688gemm_128x128_16x5_nn>("
                         "cutlass_80_tensorop_s1688gemm_128x128_16x5_nn::Params)"),
            "cutlass_80_tensorop_s1688gemm_128x128_16x5_nn");
  EXPECT_EQ(kernel_title("void at::native::vectorized_elementwise_kernel<4, "
                         "at::native::AbsFunctor<float>, std::array<char*, 2ul> >(int)"),
            "vectorized_elementwise_kernel");
  EXPECT_EQ(kernel_title("std::enable_if<!(false), void>::type internal::gemvx::kernel<int, int, "
                         "float, false, cublasGemvParamsEx<int>>(cublasGemvParamsEx<int>)"),
            "gemvx::kernel");
  EXPECT_EQ(kernel_title("void cutlass::device_kernel<a::gemm::Universal<b::C, 3>, 2>(int)"),
            "Universal");
  EXPECT_EQ(kernel_title("Memcpy DtoD"), "Memcpy DtoD");
  EXPECT_EQ(kernel_title("kernel"), "kernel");
  EXPECT_EQ(kernel_title(""), "");
}

}  // namespace
}  // namespace onrush::engines
