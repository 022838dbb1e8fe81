#include "base/check.h"
#include "base/numeric.h"
#include "reference/kernels.h"
#include "reference/philox.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

Tensor dims(const Node& node, const SizeFunction& size) {
  Tensor result = result_of(node, size);
  int64_t at = 0;
  for (const Dim& element : node.as<DimsAttr>().elements)
    store_i64(result.dtype(), result.data(), at++, size(element));
  return result;
}

Tensor iota(const Node& node, const SizeFunction& size) {
  Tensor result = result_of(node, size);
  const Lines lines = lines_along(result.shape(), node.as<IotaAttr>().axis);
  int64_t at = 0;
  for (int64_t o = 0; o < lines.outer; ++o)
    for (int64_t i = 0; i < lines.extent; ++i)
      for (int64_t n = 0; n < lines.inner; ++n) store_i64(result.dtype(), result.data(), at++, i);
  return result;
}

Tensor random(const Node& node, const SizeFunction& size) {
  Tensor result = result_of(node, size);
  const auto& attr = node.as<RandomAttr>();
  uint64_t index = 0;
  for (uint32_t& bits : result.as<uint32_t>()) bits = random_bits(attr.seed, attr.stream, index++);
  return result;
}

}  // namespace

Tensor evaluate_source(const Node& node, const SizeFunction& size) {
  switch (node.op) {
    case Op::constant: return node.as<ConstantAttr>().tensor;
    case Op::dims: return dims(node, size);
    case Op::iota: return iota(node, size);
    case Op::random_bits: return random(node, size);
    default: internal_error("not a source with a value");
  }
}

}  // namespace onrush::reference
