// Which files beside a model hold its weights. The decoded Model does not tell: its tensors are
// bytes, wherever they came from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace onrush::cli {

struct ExternalFile {
  int tensors = 0;
  uint64_t bytes = 0;  // of these tensors
  bool present = false;
};
// By location, relative to the model's folder.
using ExternalFiles = std::map<std::string, ExternalFile>;

// The files of the model at `path`, whose content is `model`. Looks at initializers and at tensors
// in attributes, also of subgraphs and functions. Throws Error{invalid_model} for broken messages.
ExternalFiles external_files(std::span<const std::byte> model, const std::string& path);

}  // namespace onrush::cli
