// What the public API throws. Every error of the library is an onrush::Error.
#pragma once

#include <stdexcept>
#include <string>

namespace onrush {

enum class ErrorCode {
  invalid_model,     // the file is broken or breaks the ONNX specification
  invalid_argument,  // the call is wrong: a name, a dtype, a rank, a shape, an option
  not_found,         // a file, a device or a library that is not there
  unsupported,       // valid ONNX that this build cannot run
  out_of_memory,     // the system or the session's memory limit refused
  cancelled,         // RunOptions asked the run to stop
  device,            // the GPU or its driver reported an error; the message holds its text
  internal,          // a defect in Onrush; please report it
};

const char* to_string(ErrorCode code);

// The message names the place (file, ONNX node, input) and, where there is one, the remedy.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace onrush
