// Arbitrary bytes as a model: decoding, inlining and encoding may only end well or with an Error.
#include <cstddef>
#include <cstdint>
#include <span>

#include "onnx/decode.h"
#include "onnx/encode.h"
#include "onnx/inline_functions.h"
#include <onrush/error.h>

namespace {

// Small enough that no input takes the fuzzer's time or memory limit.
constexpr size_t kMaxDenseBytes = size_t{1} << 24;
constexpr onrush::onnx::InlineLimits kInlineLimits = {.nodes = 20'000, .bytes = 1 << 26};

void decode_value_as(onrush::onnx::Type::Kind kind, std::span<const std::byte> bytes) {
  try {
    onrush::onnx::decode_value(bytes, {.kind = kind});
  } catch (const onrush::Error&) {
  }
}

void decode_model(std::span<const std::byte> bytes) {
  onrush::onnx::LoadOptions options;
  options.max_dense_bytes = kMaxDenseBytes;
  options.external_data["w.bin"] = {bytes};
  try {
    onrush::onnx::Model model = onrush::onnx::decode({bytes}, options);
    onrush::onnx::inline_functions(model, kInlineLimits);
    const std::string encoded = onrush::onnx::encode(model);
    onrush::onnx::decode({std::as_bytes(std::span(encoded))});
  } catch (const onrush::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  decode_model(bytes);
  decode_value_as(onrush::onnx::Type::Kind::map, bytes);
  decode_value_as(onrush::onnx::Type::Kind::sequence, bytes);
  return 0;
}
