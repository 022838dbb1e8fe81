// Values computed from weights once a session, shared by all of its plans.
#pragma once

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "ir/graph.h"
#include <onrush/tensor.h>

namespace onrush {

// Thread safe.
class WeightStore {
 public:
  explicit WeightStore(size_t limit) : limit_(limit) {}

  // The tensor kept under `key`, made on first use. Throws Error{out_of_memory} beyond the limit.
  Tensor get(const std::string& key, const std::function<Tensor()>& make);
  // The same if it was made already, else a null tensor.
  Tensor find(const std::string& key) const;
  size_t bytes() const;
  // Keeps a weight alive as long as the store, since keys name it by its address.
  void retain(const Tensor& weight);

 private:
  mutable std::mutex mutex_;
  size_t limit_;
  size_t bytes_ = 0;
  std::map<std::string, Tensor> tensors_;
  std::map<const void*, Tensor> weights_;
};

// Keys that are equal for two nodes, also of different graphs, exactly if they compute the same
// from the same weights (weights are identified by their address). For nodes that depend on
// constants only; empty for others.
std::vector<std::string> expression_keys(const Graph& graph);

}  // namespace onrush
