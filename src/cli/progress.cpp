#include "cli/progress.h"

#include <cstdio>
#include <fmt/format.h>
#include <unistd.h>

namespace onrush::cli {
namespace {
constexpr std::string_view kEraseLine = "\r\x1b[K";
constexpr size_t kShownCharacters = 79;
}  // namespace

Progress::Progress() : terminal_(isatty(STDERR_FILENO) == 1) {}

void Progress::show(std::string_view text) {
  if (!terminal_) return;
  // A line that wraps could not be erased.
  fmt::print(stderr, "{}{}", kEraseLine, text.substr(0, kShownCharacters));
  std::fflush(stderr);
  shown_ = true;
}

void Progress::clear() {
  if (shown_) fmt::print(stderr, "{}", kEraseLine);
  shown_ = false;
}

}  // namespace onrush::cli
