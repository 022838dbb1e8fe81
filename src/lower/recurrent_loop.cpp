#include "lower/recurrent_loop.h"

#include "base/check.h"

namespace onrush {
namespace {

void require_equal(Dim a, Dim b, const char* what) {
  if (!decide(equal(a, b), "recurrence"))
    fail(ErrorCode::invalid_model, "{}: {} and {}", what, to_string(a), to_string(b));
}

void require_same_type(const TensorType& before, const TensorType& after) {
  internal_check(before.dtype == after.dtype, "a carried value keeps its dtype");
  if (before.rank() != after.rank())
    fail(ErrorCode::invalid_model, "a state of a recurrence changes its rank");
  for (size_t i = 0; i < before.shape.size(); ++i)
    require_equal(before.shape[i], after.shape[i], "a state of a recurrence changes its shape");
}

// A loop of one trip is its body.
LoopResults single_trip(Builder& b, LoopValues values, const LoopBody& write_body) {
  for (NodeId& sequence : values.scanned) sequence = b.squeeze(sequence, {0});
  LoopResults results = write_body(b, values);
  for (size_t i = 0; i < results.carried.size(); ++i)
    require_same_type(b.type(values.carried[i]), b.type(results.carried[i]));
  for (NodeId& element : results.stacked) element = b.unsqueeze(element, {0});
  return results;
}

}  // namespace

LoopResults build_loop(Builder& b, Dim trips, bool reverse, const LoopValues& values,
                       const LoopBody& write_body) {
  for (NodeId sequence : values.scanned)
    require_equal(b.shape(sequence)[0], trips, "sequences of a recurrence differ in length");
  if (same(trips, 1)) return single_trip(b, values, write_body);
  Builder body = b.for_body();
  LoopValues inside;
  std::vector<NodeId> operands;
  const auto declare = [&](const char* kind, const std::vector<NodeId>& outer, bool scan) {
    std::vector<NodeId> inner;
    for (NodeId operand : outer) {
      TensorType type = b.type(operand);
      if (scan) type.shape.erase(type.shape.begin());
      inner.push_back(body.input(fmt::format("{}{}", kind, inner.size()), std::move(type)));
      operands.push_back(operand);
    }
    return inner;
  };
  inside.carried = declare("carried", values.carried, false);
  inside.scanned = declare("scanned", values.scanned, true);
  inside.captured = declare("captured", values.captured, false);
  body.input("trip", {DType::i64, {}});

  const LoopResults trip = write_body(body, inside);
  for (size_t i = 0; i < trip.carried.size(); ++i) {
    require_same_type(b.type(values.carried[i]), body.type(trip.carried[i]));
    body.output("carried", trip.carried[i]);
  }
  for (NodeId node : trip.stacked) body.output("stacked", node);
  LoopAttr attr{std::make_shared<const Graph>(body.finish()), trips,
                static_cast<int>(values.carried.size()), static_cast<int>(values.scanned.size()),
                reverse};
  const NodeId loop = b.loop(std::move(attr), operands);

  LoopResults results;
  int index = 0;
  for (size_t i = 0; i < trip.carried.size(); ++i) results.carried.push_back(b.get(loop, index++));
  for (size_t i = 0; i < trip.stacked.size(); ++i) {
    const NodeId stacked = b.get(loop, index++);
    results.stacked.push_back(reverse ? b.slice_axis(stacked, 0, trips - 1, trips, -1) : stacked);
  }
  return results;
}

}  // namespace onrush
