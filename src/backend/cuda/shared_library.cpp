#include "backend/cuda/shared_library.h"

#include <algorithm>
#include <cstdlib>
#include <dlfcn.h>
#include <filesystem>
#include <fmt/format.h>
#include <link.h>
#include <sstream>

namespace onrush::cuda {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> subfolders(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  fs::directory_iterator it(folder, error);
  for (; !error && it != fs::directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) found.push_back(it->path());
  }
  std::sort(found.begin(), found.end());
  return found;
}

// nvidia/*/lib of the wheels installed in a site-packages folder or under a prefix.
std::vector<fs::path> wheel_folders(const fs::path& root) {
  std::vector<fs::path> sites = {root};
  for (const fs::path& python : subfolders(root / "lib"))
    if (python.filename().string().starts_with("python3"))
      sites.push_back(python / "site-packages");
  std::vector<fs::path> folders;
  for (const fs::path& site : sites)
    for (const fs::path& package : subfolders(site / "nvidia"))
      if (fs::is_directory(package / "lib")) folders.push_back(package / "lib");
  return folders;
}

// The file this code was loaded from: a shared library or the program.
fs::path own_file() {
  Dl_info info = {};
  std::error_code error;
  if (::dladdr(reinterpret_cast<void*>(&own_file), &info) && info.dli_fname) {
    fs::path file = fs::canonical(info.dli_fname, error);
    if (!error) return file;
  }
  return fs::read_symlink("/proc/self/exe", error);
}

// `folder` and the three above it: an extension module lies in site-packages/package, a program in
// prefix/bin.
std::vector<fs::path> with_parents(fs::path folder) {
  std::vector<fs::path> folders;
  for (int level = 0; level < 4 && folder.has_relative_path(); ++level) {
    folders.push_back(folder);
    folder = folder.parent_path();
  }
  return folders;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, separator);)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

std::string file_of(void* handle, const std::string& fallback) {
  link_map* map = nullptr;
  if (::dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0 || !map || !*map->l_name) return fallback;
  std::error_code error;
  const fs::path file = fs::canonical(map->l_name, error);
  return error ? map->l_name : file.string();
}

class Finder {
 public:
  Finder(const LibraryName& name, const Environment& environment, const Reject& reject)
      : name_(name), environment_(environment), reject_(reject) {}

  Search run() && {
    const std::string file = environment_(std::string(name_.variable));
    if (file.empty()) {
      in_process() || in_toolkit("ONRUSH_CUDA_PATH") || in_wheels() || in_system();
    } else {
      open(file, RTLD_NOW, fmt::format("${}={}", name_.variable, file));
    }
    return std::move(search_);
  }

 private:
  bool in_process() {
    return std::any_of(name_.versions.begin(), name_.versions.end(), [&](int version) {
      const std::string file = versioned(version);
      return open(file, RTLD_NOW | RTLD_NOLOAD, file + " in this process");
    });
  }

  bool in_toolkit(const std::string& variable) {
    const fs::path root = environment_(variable);
    if (root.empty()) return false;
    bool any = false;
    for (const fs::path& folder : {root, root / "lib64", root / "lib"}) {
      const std::vector<fs::path> files = files_in(folder);
      any = any || !files.empty();
      if (open_first(files)) return true;
    }
    if (!any) missed(fmt::format("${}={}", variable, root.string()), no_such_file());
    return false;
  }

  bool in_wheels() {
    const fs::path own = own_file();
    if (in_wheels_of(with_parents(own.parent_path()), "next to or above " + own.string()))
      return true;
    for (const std::string& root : further_wheel_folders())
      if (in_wheels_of({root}, "in " + root)) return true;
    for (const char* variable : {"ONRUSH_PYTHON_SITE", "VIRTUAL_ENV"})
      for (const std::string& root : split(environment_(variable), ':'))
        if (in_wheels_of({root}, fmt::format("in ${}={}", variable, root))) return true;
    return false;
  }

  bool in_wheels_of(const std::vector<fs::path>& roots, const std::string& where) {
    bool any = false;
    for (const fs::path& root : roots) {
      for (const fs::path& folder : wheel_folders(root)) {
        const std::vector<fs::path> files = files_in(folder);
        any = any || !files.empty();
        if (open_first(files)) return true;
      }
    }
    if (!any) missed("nvidia/*/lib " + where, no_such_file());
    return false;
  }

  bool in_system() {
    for (int version : name_.versions)
      if (open(versioned(version), RTLD_NOW, versioned(version))) return true;
    for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
      if (in_toolkit(variable)) return true;
    for (const char* folder :
         {"/usr/local/cuda/lib64", "/usr/local/nvidia/lib64", "/usr/lib/wsl/lib"}) {
      const std::vector<fs::path> files = files_in(folder);
      if (files.empty()) missed(folder, no_such_file());
      if (open_first(files)) return true;
    }
    return false;
  }

  // Files named with a version, the versions asked for first and in their order.
  std::vector<fs::path> files_in(const fs::path& folder) const {
    std::vector<fs::path> files;
    for (int version : name_.versions) {
      std::error_code error;
      if (fs::exists(folder / versioned(version), error))
        files.push_back(folder / versioned(version));
    }
    return files;
  }

  bool open_first(const std::vector<fs::path>& files) {
    return std::any_of(files.begin(), files.end(), [&](const fs::path& file) {
      return open(file.string(), RTLD_NOW, file.string());
    });
  }

  bool open(const std::string& file, int flags, const std::string& place) {
    void* handle = ::dlopen(file.c_str(), flags | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle) {
      const char* error = ::dlerror();
      return missed(place, (flags & RTLD_NOLOAD) || !error ? "not loaded" : error);
    }
    SharedLibrary library(handle, file_of(handle, file));
    if (const std::string why = reject_(library); !why.empty()) return missed(place, why);
    search_.tried.push_back({place, "used"});
    search_.library = std::move(library);
    return true;
  }

  bool missed(const std::string& place, const std::string& why) {
    search_.tried.push_back({place, why});
    return false;
  }

  std::string versioned(int version) const { return fmt::format("{}.{}", name_.file, version); }

  std::string no_such_file() const {
    std::string names;
    for (int version : name_.versions) names += (names.empty() ? "" : " or ") + versioned(version);
    return "no " + names;
  }

  const LibraryName& name_;
  const Environment& environment_;
  const Reject& reject_;
  Search search_;
};

}  // namespace

void* SharedLibrary::symbol(const char* name) const { return ::dlsym(handle_, name); }

std::string process_environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value ? value : "";
}

Search search(const LibraryName& name, const Environment& environment, const Reject& reject) {
  return Finder(name, environment, reject).run();
}

std::vector<std::string>& further_wheel_folders() {
  static std::vector<std::string> folders;
  return folders;
}

}  // namespace onrush::cuda
