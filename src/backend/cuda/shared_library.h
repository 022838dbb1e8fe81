// Finds a shared library at run time and keeps a record of everywhere it looked.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace onrush::cuda {

// An opened library. It stays in the process: NVIDIA's cannot be unloaded cleanly.
class SharedLibrary {
 public:
  SharedLibrary(void* handle, std::string path) : handle_(handle), path_(std::move(path)) {}

  void* symbol(const char* name) const;              // null if the library has none of that name
  const std::string& path() const { return path_; }  // of the file, symbolic links resolved

 private:
  void* handle_;
  std::string path_;
};

// Looks functions up in a library one by one.
class SymbolBinder {
 public:
  explicit SymbolBinder(const SharedLibrary& library) : library_(library) {}

  template <class Function>
  void operator()(Function& function, const char* name) {
    function = reinterpret_cast<Function>(library_.symbol(name));
    if (!function && !missing_) missing_ = name;
  }
  const char* missing() const { return missing_; }  // the first that it lacks; null if none

 private:
  const SharedLibrary& library_;
  const char* missing_ = nullptr;
};

// What is looked for.
struct LibraryName {
  std::string_view title;         // for messages: "NVRTC"
  std::string_view file;          // "libnvrtc.so"
  std::span<const int> versions;  // of the file's name, best first: 13 for libnvrtc.so.13
  std::string_view variable;      // of the environment, may name the file: "ONRUSH_NVRTC"
};

// One place where a library was looked for, and what came of it.
struct Attempt {
  std::string place;    // a file, a folder, or a name that the system's loader resolves
  std::string outcome;  // "used", or why not
};

struct Search {
  std::optional<SharedLibrary> library;
  std::vector<Attempt> tried;
};

// The value of a variable; empty if unset.
using Environment = std::function<std::string(const std::string& name)>;
std::string process_environment(const std::string& name);

// Why an opened library will not do; empty to take it.
using Reject = std::function<std::string(const SharedLibrary& library)>;

// Opens the first library that `reject` takes. If the environment variable of `name` is set, only
// the file it names is tried, so that an override that does not work is seen. Else, in this order:
// - what this process has loaded already, as by PyTorch;
// - $ONRUSH_CUDA_PATH and its lib64 and lib;
// - nvidia/*/lib of Python wheels: next to or above the running library or program, and in
//   further_wheel_folders(), $ONRUSH_PYTHON_SITE (folders separated by colons: site-packages or a
//   prefix that holds lib/python3*/site-packages) and $VIRTUAL_ENV;
// - the system: by name through its loader, then $CUDA_HOME, $CUDA_PATH and the folders in which
//   toolkits and drivers are installed.
Search search(const LibraryName& name, const Environment& environment, const Reject& reject);

// Those of the Python that runs this process; empty in other programs. To be set before searches.
std::vector<std::string>& further_wheel_folders();

}  // namespace onrush::cuda
