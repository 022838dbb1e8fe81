// A folder for the time of a measurement.
#pragma once

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "base/check.h"

namespace onrush::engines {

// In the first of some places where there can be one, removed with what it holds.
class TemporaryFolder {
 public:
  using Places = std::vector<std::filesystem::path>;

  explicit TemporaryFolder(const Places& places = usual_places()) {
    std::string tried;
    for (const std::filesystem::path& place : places) {
      std::string name = (place / "onrush-XXXXXX").string();
      if (mkdtemp(name.data())) {
        path_ = name;
        return;
      }
      tried +=
          fmt::format("{}{}: {}", tried.empty() ? "" : ", ", place.string(), std::strerror(errno));
    }
    fail(ErrorCode::invalid_argument,
         "cannot make a temporary folder ({}); TMPDIR may name another place", tried);
  }
  // $TMPDIR where it is set; else /tmp, and memory where that cannot be written, as in a read-only
  // container.
  static Places usual_places() {
    const char* chosen = std::getenv("TMPDIR");
    return chosen && *chosen ? Places{chosen} : Places{"/tmp", "/dev/shm"};
  }

  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  std::string path(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace onrush::engines
