// A folder for the time of a measurement.
#pragma once

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "base/check.h"

namespace onrush::engines {

// Removed with what it holds.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::error_code error;
    const std::filesystem::path place = std::filesystem::temp_directory_path(error);
    std::string name = (place / "onrush-XXXXXX").string();
    if (error || !mkdtemp(name.data()))
      fail(ErrorCode::invalid_argument,
           "cannot make a temporary folder in {}: {}; TMPDIR may name another place",
           error ? "$TMPDIR" : place.string(), error ? error.message() : std::strerror(errno));
    path_ = name;
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
