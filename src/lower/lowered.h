// What an ONNX name stands for while a segment is lowered.
#pragma once

#include <memory>
#include <optional>
#include <variant>
#include <vector>

#include "ir/graph.h"
#include <onrush/dtype.h>

namespace onrush {

// A tensor is a node of the graph; sequences, optionals and maps exist during lowering only, as
// lists of nodes: their structure is fixed by the values at hand and part of the plan's key.
struct Lowered {
  struct Absent {};
  struct Sequence {
    DType element = DType::undefined;  // of an empty sequence made by SequenceEmpty
    std::vector<Lowered> elements;
  };
  struct Optional {
    std::shared_ptr<const Lowered> value;  // null: empty
  };
  std::variant<Absent, NodeId, Sequence, Optional> data;

  Lowered() = default;
  Lowered(NodeId node) : data(node) {}                       // NOLINT: implicit by intent
  Lowered(Sequence sequence) : data(std::move(sequence)) {}  // NOLINT
  Lowered(Optional optional) : data(std::move(optional)) {}  // NOLINT

  bool is_absent() const { return std::holds_alternative<Absent>(data); }
  const NodeId* node() const { return std::get_if<NodeId>(&data); }
  const Sequence* sequence() const { return std::get_if<Sequence>(&data); }
  const Optional* optional() const { return std::get_if<Optional>(&data); }
};

}  // namespace onrush
