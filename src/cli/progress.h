// What a long command is doing, on standard error and only if that is a terminal.
#pragma once

#include <string_view>

namespace onrush::cli {

class Progress {
 public:
  Progress();
  ~Progress() { clear(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(std::string_view text);  // replaces what was shown before
  void clear();

 private:
  bool terminal_;
  bool shown_ = false;
};

}  // namespace onrush::cli
