// The files of worker/, which travel inside the library.
#pragma once

#include <span>
#include <string_view>

namespace onrush::engines {

struct WorkerScript {
  std::string_view name, text;
};
std::span<const WorkerScript> worker_scripts();

}  // namespace onrush::engines
