#include <algorithm>
#include <fmt/format.h>

#include "backend/cuda/compiler.h"
#include "cuda/support.h"
#include <onrush/error.h>

namespace onrush::cuda {
namespace {

const char* const kScale = R"(
extern "C" __global__ void scale(float* values, float by, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) values[i] *= by;
}
)";

std::string error_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != text.npos; }

class CompilerTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!nvrtc_library().search.library) GTEST_SKIP() << "skipped: no NVRTC";
  }
};

TEST_F(CompilerTest, CompilesForEveryArchitecture) {
  const Compiler compiler(nvrtc_api(), {});
  const std::vector<int>& known = compiler.architectures();
  const std::string_view elf = "\x7f\x45\x4c\x46";
  for (const char* architecture :
       {"sm_80", "sm_86", "sm_89", "sm_90", "sm_90a", "sm_100", "sm_120"}) {
    // An NVRTC before 12.8 knows nothing after Hopper.
    if (std::find(known.begin(), known.end(), std::atoi(architecture + 3)) == known.end()) continue;
    const Cubin cubin = compiler.compile({"scale.cu", kScale, {}}, architecture);
    ASSERT_GT(cubin.size(), elf.size()) << architecture;
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(cubin.data()), elf.size()), elf);
  }
}

TEST_F(CompilerTest, PicksTheArchitecture) {
  const Compiler compiler(nvrtc_api(), {});
  EXPECT_EQ(compiler.architecture_for({8, 0}), "sm_80");
  EXPECT_EQ(compiler.architecture_for({8, 9}), "sm_89");
  EXPECT_EQ(compiler.architecture_for({9, 0}), "sm_90a");
  EXPECT_EQ(compiler.architecture_for({9, 9}), "sm_90");
  for (const Version unknown : {Version{3, 5}, Version{99, 0}}) {
    const std::string error = error_of([&] { compiler.architecture_for(unknown); });
    EXPECT_TRUE(has(error, "compute capability " + to_string(unknown))) << error;
  }
}

TEST_F(CompilerTest, IncludesNamedHeaders) {
  const std::string source =
      "#include \"twice.cuh\"\n"
      "extern \"C\" __global__ void f(float* x) { *x = twice(*x); }\n";
  const Header header = {"twice.cuh", "__device__ float twice(float x) { return 2 * x; }\n"};
  EXPECT_FALSE(Compiler(nvrtc_api(), {header}).compile({"f.cu", source, {}}, "sm_80").empty());
  const std::string error = error_of([&] {
    Compiler(nvrtc_api(), {}).compile({"f.cu", source, {}}, "sm_80");
  });
  EXPECT_TRUE(has(error, "twice.cuh")) << error;
}

TEST_F(CompilerTest, AnErrorShowsTheLogAndTheLine) {
  const std::string source =
      "// one\n// two\nextern \"C\" __global__ void f(float* x) {\n  *x = y;\n}\n";
  const std::string error = error_of([&] {
    Compiler(nvrtc_api(), {}).compile({"f.cu", source, {}}, "sm_80");
  });
  EXPECT_TRUE(has(error, "'f.cu' does not compile with NVRTC")) << error;
  EXPECT_TRUE(has(error, "identifier \"y\" is undefined")) << error;
  EXPECT_TRUE(has(error, ">    4 |   *x = y;")) << error;
  EXPECT_TRUE(has(error, "     2 | // two")) << error;
}

TEST_F(CompilerTest, AnErrorInAHeaderShowsTheHeader) {
  const Header header = {"broken.cuh", "__device__ int three() { return 3 }\n"};
  const std::string source = "#include \"broken.cuh\"\n";
  const std::string error = error_of([&] {
    Compiler(nvrtc_api(), {header}).compile({"f.cu", source, {}}, "sm_80");
  });
  EXPECT_TRUE(has(error, "broken.cuh:\n>    1 | __device__ int three()")) << error;
}

TEST_F(CompilerTest, AnUnknownOptionIsAnError) {
  const Compiler compiler(nvrtc_api(), {});
  const std::string error = error_of([&] {
    compiler.compile({"f.cu", kScale, {"--no-such-option"}}, "sm_80");
  });
  EXPECT_TRUE(has(error, "--no-such-option")) << error;
}

TEST_F(CompilerTest, CompilesManyInParallel) {
  const Compiler compiler(nvrtc_api(), {});
  std::vector<Source> sources;
  for (int i = 0; i < 6; ++i)
    sources.push_back(
        {"f.cu", fmt::format("extern \"C\" __global__ void f{}(int* x) {{ *x = {}; }}", i, i), {}});
  std::vector<size_t> progress;
  const std::vector<Cubin> cubins =
      compiler.compile_all(sources, "sm_80", 3, [&](size_t done, size_t total) {
        EXPECT_EQ(total, 6u);
        progress.push_back(done);
      });
  EXPECT_EQ(progress, (std::vector<size_t>{1, 2, 3, 4, 5, 6}));
  for (size_t i = 0; i < sources.size(); ++i)
    EXPECT_EQ(cubins[i], compiler.compile(sources[i], "sm_80")) << i;
  EXPECT_TRUE(compiler.compile_all({}, "sm_80").empty());

  sources[2].text = "this is not C++";
  EXPECT_THROW(compiler.compile_all(sources, "sm_80", 2), Error);
}

TEST_F(CompilerTest, KeepsCubinsOnDisk) {
  const TemporaryFolder folder;
  const DiskCache cache({.folder = folder.path().string()});
  const Compiler compiler(nvrtc_api(), {}, &cache);
  const Source source = {"scale.cu", kScale, {}};
  const Cubin cubin = compiler.compile(source, "sm_80");
  ASSERT_EQ(cache.list().size(), 1u);

  // What the cache holds is taken: put something else there under the same key.
  const CacheKey key = cache.list()[0].key;
  const Cubin other(10, std::byte(1));
  cache.store(key, "cubin", other);
  EXPECT_EQ(compiler.compile(source, "sm_80"), other);
  std::filesystem::resize_file(folder / (to_string(key) + ".cubin"), 50);
  EXPECT_EQ(compiler.compile(source, "sm_80"), cubin);
  EXPECT_EQ(cache.load(key, "cubin"), cubin);
}

TEST_F(CompilerTest, TheKeyHoldsAllThatMatters) {
  const TemporaryFolder folder;
  const DiskCache cache({.folder = folder.path().string()});
  const Compiler compiler(nvrtc_api(), {}, &cache);
  compiler.compile({"scale.cu", kScale, {}}, "sm_80");
  compiler.compile({"scale.cu", kScale, {}}, "sm_86");
  compiler.compile({"scale.cu", kScale, {"-DX"}}, "sm_80");
  compiler.compile({"scale.cu", kScale + std::string("//"), {}}, "sm_80");
  Compiler(nvrtc_api(), {{"x.cuh", ""}}, &cache).compile({"scale.cu", kScale, {}}, "sm_80");
  EXPECT_EQ(cache.list().size(), 5u);
}

}  // namespace
}  // namespace onrush::cuda
