#include <algorithm>
#include <map>

#include "backend/cuda/libraries.h"
#include "cuda/support.h"

namespace onrush::cuda {
namespace {

namespace fs = std::filesystem;

// libm stands for the library that is sought: it is everywhere and has a version.
const char* const kRealLibrary = "/lib/x86_64-linux-gnu/libm.so.6";
constexpr int kNowhereVersions[] = {2, 1}, kMathVersions[] = {6};
constexpr LibraryName kNowhere = {"Test", "libonrush_test.so", kNowhereVersions, "ONRUSH_TEST"};
constexpr LibraryName kMath = {"Test", "libm.so", kMathVersions, "ONRUSH_TEST"};

Environment environment(std::map<std::string, std::string> variables) {
  return [variables](const std::string& name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  };
}

std::string take(const SharedLibrary&) { return {}; }

const Attempt* attempt_at(const Search& search, std::string_view place) {
  const auto found = std::find_if(
      search.tried.begin(), search.tried.end(),
      [&](const Attempt& attempt) { return attempt.place.find(place) != std::string::npos; });
  return found == search.tried.end() ? nullptr : &*found;
}

class LibrarySearchTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!fs::exists(kRealLibrary)) GTEST_SKIP() << "skipped: no " << kRealLibrary;
  }
  // A library that can be opened, under a name of ours.
  fs::path install(std::string_view at) {
    const fs::path file = folder_ / at;
    fs::create_directories(file.parent_path());
    fs::copy_file(kRealLibrary, file);
    return fs::canonical(file);
  }
  TemporaryFolder folder_;
};

TEST_F(LibrarySearchTest, LooksInFurtherWheelFolders) {
  const fs::path file = install("nvidia/test/lib/libonrush_test.so.2");
  further_wheel_folders() = {"/nowhere", folder_.path().string()};
  const Search found = search(kNowhere, environment({}), take);
  further_wheel_folders().clear();
  ASSERT_TRUE(found.library);
  EXPECT_EQ(found.library->path(), file);
}

TEST_F(LibrarySearchTest, RecordsWhereItLooked) {
  const Search found = search(kNowhere, environment({{"CUDA_HOME", "/nowhere"}}), take);
  EXPECT_FALSE(found.library);
  for (const char* place :
       {"libonrush_test.so.2 in this process", "nvidia/*/lib next to or above /",
        "libonrush_test.so.1", "$CUDA_HOME=/nowhere", "/usr/local/cuda/lib64"})
    EXPECT_TRUE(attempt_at(found, place)) << place;
  for (const Attempt& attempt : found.tried) EXPECT_FALSE(attempt.outcome.empty()) << attempt.place;
  EXPECT_EQ(attempt_at(found, "/usr/local/cuda/lib64")->outcome,
            "no libonrush_test.so.2 or libonrush_test.so.1");
}

TEST_F(LibrarySearchTest, FindsPythonWheels) {
  const fs::path file = install("lib/python3.12/site-packages/nvidia/cu13/lib/libonrush_test.so.1");
  const fs::path site = folder_ / "lib/python3.12/site-packages";
  for (const fs::path& root : {folder_.path(), site}) {
    const Search found =
        search(kNowhere, environment({{"ONRUSH_PYTHON_SITE", "/nowhere:" + root.string()}}), take);
    ASSERT_TRUE(found.library);
    EXPECT_EQ(found.library->path(), file);
    EXPECT_EQ(found.tried.back().outcome, "used");
    EXPECT_TRUE(found.library->symbol("cos"));
    EXPECT_FALSE(found.library->symbol("no_such_function"));
  }
  EXPECT_TRUE(search(kNowhere, environment({{"VIRTUAL_ENV", folder_.path()}}), take).library);
}

TEST_F(LibrarySearchTest, PrefersTheLaterVersionAndTheToolkitNamed) {
  install("wheels/nvidia/cu13/lib/libonrush_test.so.2");
  install("toolkit/lib64/libonrush_test.so.1");
  const fs::path best = install("toolkit/lib64/libonrush_test.so.2");
  const Search found = search(kNowhere,
                              environment({{"ONRUSH_PYTHON_SITE", folder_ / "wheels"},
                                           {"ONRUSH_CUDA_PATH", folder_ / "toolkit"}}),
                              take);
  ASSERT_TRUE(found.library);
  EXPECT_EQ(found.library->path(), best);
}

TEST_F(LibrarySearchTest, FindsWhatTheProcessHasLoaded) {
  const Search found = search(kMath, environment({}), take);
  ASSERT_TRUE(found.library);
  EXPECT_EQ(found.tried.size(), 1u);
  EXPECT_EQ(found.tried[0].place, "libm.so.6 in this process");
  EXPECT_EQ(found.library->path(), fs::canonical(kRealLibrary));
}

TEST_F(LibrarySearchTest, PassesOverBrokenAndRejectedFiles) {
  write_file(folder_ / "nvidia/a/lib/libonrush_test.so.2", std::string(4096, 'x'));
  install("nvidia/b/lib/libonrush_test.so.2");
  const fs::path good = install("nvidia/c/lib/libonrush_test.so.2");
  const Search found = search(kNowhere, environment({{"ONRUSH_PYTHON_SITE", folder_.path()}}),
                              [&](const SharedLibrary& library) {
                                return library.path() == good ? std::string() : "it is not the one";
                              });
  ASSERT_TRUE(found.library);
  EXPECT_EQ(found.library->path(), good);
  EXPECT_NE(attempt_at(found, "/a/lib")->outcome.find("invalid ELF header"), std::string::npos)
      << attempt_at(found, "/a/lib")->outcome;
  EXPECT_EQ(attempt_at(found, "/b/lib")->outcome, "it is not the one");
}

TEST_F(LibrarySearchTest, AnOverrideIsTheOnlyPlace) {
  install("nvidia/cu13/lib/libonrush_test.so.2");
  const Search found = search(
      kNowhere,
      environment({{"ONRUSH_TEST", "/nowhere/lib.so"}, {"ONRUSH_PYTHON_SITE", folder_.path()}}),
      take);
  EXPECT_FALSE(found.library);
  ASSERT_EQ(found.tried.size(), 1u);
  EXPECT_EQ(found.tried[0].place, "$ONRUSH_TEST=/nowhere/lib.so");
}

// The stub that toolkits give to linkers has every function and does nothing.
TEST(Libraries, RefusesTheToolkitsStubOfTheDriver) {
  const char* stub = "/usr/local/cuda/lib64/stubs/libcuda.so";
  if (!fs::exists(stub)) GTEST_SKIP() << "skipped: no " << stub;
  const DriverLibrary driver = open_driver(environment({{"ONRUSH_LIBCUDA", stub}}));
  EXPECT_FALSE(driver.search.library);
  EXPECT_FALSE(driver.api.cuInit);
  ASSERT_EQ(driver.search.tried.size(), 1u);
  EXPECT_NE(driver.search.tried[0].outcome.find("stub"), std::string::npos)
      << driver.search.tried[0].outcome;
}

TEST(Libraries, RefusesALibraryThatLacksFunctions) {
  if (!fs::exists(kRealLibrary)) GTEST_SKIP() << "skipped: no " << kRealLibrary;
  const DriverLibrary driver = open_driver(environment({{"ONRUSH_LIBCUDA", kRealLibrary}}));
  EXPECT_FALSE(driver.search.library);
  EXPECT_NE(explain_missing(report(driver)).find("lacks cuInit"), std::string::npos)
      << explain_missing(report(driver));
}

TEST(Libraries, AnNvrtcIsNoNewerThanTheDriver) {
  const NvrtcLibrary any = open_nvrtc(process_environment, {});
  if (!any.search.library) GTEST_SKIP() << "skipped: no NVRTC";
  const auto [major, minor] = any.version;
  EXPECT_TRUE(open_nvrtc(process_environment, {major, minor}).search.library);
  EXPECT_TRUE(open_nvrtc(process_environment, {major, minor + 1}).search.library);
  // Machine code of the same major version runs on older drivers.
  EXPECT_TRUE(minor == 0 || open_nvrtc(process_environment, {major, minor - 1}).search.library);

  const NvrtcLibrary none =
      open_nvrtc(environment({{"ONRUSH_NVRTC", any.search.library->path()}}), {major - 1, 9});
  EXPECT_FALSE(none.search.library);
  EXPECT_FALSE(none.api.nvrtcVersion);
  EXPECT_NE(explain_missing(report(none)).find("newer than the driver"), std::string::npos);
}

TEST(Libraries, NamesTheWheelForADriver) {
  EXPECT_EQ(nvrtc_requirement({}), "nvidia-cuda-nvrtc");
  EXPECT_EQ(nvrtc_requirement({13, 0}), "nvidia-cuda-nvrtc==13.0.*");
  EXPECT_EQ(nvrtc_requirement({12, 4}), "nvidia-cuda-nvrtc-cu12==12.4.*");
}

}  // namespace
}  // namespace onrush::cuda
