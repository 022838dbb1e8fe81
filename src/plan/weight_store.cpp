#include "plan/weight_store.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/check.h"

namespace onrush {

Tensor WeightStore::get(const std::string& key, const std::function<Tensor()>& make) {
  const std::lock_guard lock(mutex_);
  if (const auto found = tensors_.find(key); found != tensors_.end()) return found->second;
  Tensor tensor = make();
  if (limit_ && bytes_ + tensor.bytes() > limit_)
    fail(ErrorCode::out_of_memory,
         "prepared weights would take {} bytes, above the session's memory limit of {}; raise "
         "memory_limit",
         bytes_ + tensor.bytes(), limit_);
  bytes_ += tensor.bytes();
  return tensors_[key] = std::move(tensor);
}

Tensor WeightStore::find(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  const auto found = tensors_.find(key);
  return found == tensors_.end() ? Tensor() : found->second;
}

void WeightStore::retain(const Tensor& weight) {
  const std::lock_guard lock(mutex_);
  weights_.try_emplace(weight.data(), weight);
}

size_t WeightStore::bytes() const {
  const std::lock_guard lock(mutex_);
  return bytes_;
}

std::vector<std::string> expression_keys(const Graph& graph) {
  std::vector<std::string> keys(graph.nodes.size());
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (node.op == Op::input || node.op == Op::dims || node.op == Op::random_bits) continue;
    std::string text = fmt::format("{}{}|", name(node.op), to_string(node.type));
    append_key(text, node.attr);
    bool known = node.op == Op::constant || node.op == Op::iota || !node.inputs.empty();
    for (NodeId operand : node.inputs) {
      known = known && !keys[operand.index].empty();
      text += keys[operand.index];
    }
    if (!known) continue;
    const XXH128_hash_t hash = XXH3_128bits(text.data(), text.size());
    keys[i] = fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
  }
  return keys;
}

}  // namespace onrush
