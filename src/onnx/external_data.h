// Tensor data in files beside the model.
//
// A model is data from strangers: its `location` must not reach a file outside the model's folder.
// So a location is relative and without "..", no component of it may be a symbolic link, and the
// file must be regular with a link count of at most one, since a hard link would alias a file from
// elsewhere (CVE-2022-25882, CVE-2024-27318, CVE-2026-27489, CVE-2026-34446, CVE-2026-34447). The
// descriptor that is examined is the one that gets mapped.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/mapped_file.h"
#include "onnx/decode.h"
#include "onnx/place.h"

namespace onrush::onnx {

// The `external_data` entries of a TensorProto. Keys other than these four are ignored.
struct ExternalLocation {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;  // empty: to the end of the file
  std::string checksum;            // SHA1 of the whole file in hexadecimal; empty: none

  // Takes one entry over; throws at `place` if its value is no number where one is due.
  void set(std::string_view key, std::string_view value, const Place& place);
};

enum class OpenMethod {
  automatic,    // openat2 with RESOLVE_BENEATH where the kernel has it, else as below
  by_component  // openat with O_NOFOLLOW, one path component after the other
};

// Opens `location` below `directory` (which itself is trusted and may be reached through links;
// empty: the working directory) under the rules above. Returns no descriptor if no such file
// exists; any other refusal throws Error{invalid_model} at `place`.
FileDescriptor open_beneath(const std::string& directory, const std::string& location,
                            const Place& place, OpenMethod method = OpenMethod::automatic);

// The external files of one model, each mapped once. `options` must outlive it.
class ExternalData {
 public:
  // `directory`: where the files lie; none: only LoadOptions::external_data is consulted.
  ExternalData(std::optional<std::string> directory, const LoadOptions& options)
      : directory_(std::move(directory)), options_(options) {}

  // The tensor's `size` bytes; throws at `place` if they are not in the file or `length` is another
  // size. Empty if the file is absent and the options allow that.
  std::optional<Bytes> find(const ExternalLocation& where, size_t size, const Place& place);

 private:
  struct File {
    Bytes bytes;
    std::string sha1;  // computed when a checksum first asks for it
  };

  File* open(const std::string& location, const Place& place);

  std::optional<std::string> directory_;
  const LoadOptions& options_;
  std::map<std::string, File> files_;
};

}  // namespace onrush::onnx
