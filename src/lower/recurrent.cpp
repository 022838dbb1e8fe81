// RNN, GRU and LSTM: the inputs of all time steps are projected by one matrix product before a
// loop that carries the hidden (and cell) state. States and cell arithmetic are at least f32.
#include <algorithm>

#include "lower/helpers.h"
#include "lower/op_table.h"
#include "lower/recurrent_activation.h"
#include "lower/recurrent_loop.h"

namespace onrush {
namespace {

enum Input { kX, kW, kR, kB, kSequenceLens, kInitialH, kInitialC, kP };

// What a cell sees in one time step. Gates lie side by side in the last axis of x.
struct Step {
  Builder& b;
  std::span<const Activation> f;
  float clip;  // 0: none
  Dim hidden;
  NodeId x;                         // [batch, gates * hidden]: projected input and its bias
  std::vector<NodeId> state;        // h, c: [batch, hidden]
  NodeId weights;                   // [gates * hidden, hidden]
  std::optional<NodeId> bias;       // [gates * hidden], where it must not be added to x before
  std::optional<NodeId> peepholes;  // [3 * hidden]

  NodeId activate(size_t function, NodeId value) const {
    if (clip > 0) value = b.min(b.max(value, b.like(value, -clip)), b.like(value, clip));
    return f[function](b, value);
  }
  // Gates [first, first + count) of a value that holds all of them along its last axis.
  NodeId gates(NodeId all, int first, int count = 1) const {
    return b.slice_axis(all, b.rank(all) - 1, hidden * first, hidden * count);
  }
  // h times the transposed weights of some gates.
  NodeId recur(NodeId h, NodeId rows) const {
    return b.dot(b.cast(h, b.dtype(rows)), rows, {{}, {}, {1}, {1}, b.dtype(x)});
  }
};

using CellFunction = std::vector<NodeId> (*)(const Step& s);  // the next state

std::vector<NodeId> rnn_cell(const Step& s) {
  return {s.activate(0, s.b.add(s.x, s.recur(s.state[0], s.weights)))};
}

// h of the next step from the update gate and the candidate.
NodeId gru_mix(const Step& s, NodeId update, NodeId candidate) {
  Builder& b = s.b;
  const NodeId keep = b.sub(b.like(update, 1), update);
  return b.add(b.mul(keep, candidate), b.mul(update, s.state[0]));
}

std::vector<NodeId> gru_cell(const Step& s) {
  Builder& b = s.b;
  const NodeId h = s.state[0];
  const NodeId rows_zr = b.slice_axis(s.weights, 0, 0, s.hidden * 2);
  const NodeId rows_h = b.slice_axis(s.weights, 0, s.hidden * 2, s.hidden);
  const NodeId zr = s.activate(0, b.add(s.gates(s.x, 0, 2), s.recur(h, rows_zr)));
  const NodeId reset = b.mul(s.gates(zr, 1), h);
  const NodeId candidate = s.activate(1, b.add(s.gates(s.x, 2), s.recur(reset, rows_h)));
  return {gru_mix(s, s.gates(zr, 0), candidate)};
}

std::vector<NodeId> gru_cell_linear_before_reset(const Step& s) {
  Builder& b = s.b;
  NodeId recurrent = s.recur(s.state[0], s.weights);
  if (s.bias) recurrent = b.add(recurrent, *s.bias);
  const NodeId zr = s.activate(0, b.add(s.gates(s.x, 0, 2), s.gates(recurrent, 0, 2)));
  const NodeId reset = b.mul(s.gates(zr, 1), s.gates(recurrent, 2));
  const NodeId candidate = s.activate(1, b.add(s.gates(s.x, 2), reset));
  return {gru_mix(s, s.gates(zr, 0), candidate)};
}

std::vector<NodeId> lstm_step(const Step& s, bool couple_input_forget) {
  Builder& b = s.b;
  const NodeId c = s.state[1];
  const NodeId all = b.add(s.x, s.recur(s.state[0], s.weights));
  enum Gate { kInput, kOutput, kForget, kCell };  // the order of peepholes, too
  const auto gate = [&](Gate which, NodeId cell) {
    NodeId value = s.gates(all, which);
    if (s.peepholes) value = b.add(value, b.mul(s.gates(*s.peepholes, which), cell));
    return s.activate(0, value);
  };
  const NodeId input = gate(kInput, c);
  const NodeId forget = couple_input_forget ? b.sub(b.like(input, 1), input) : gate(kForget, c);
  const NodeId candidate = s.activate(1, s.gates(all, kCell));
  const NodeId next = b.add(b.mul(forget, c), b.mul(input, candidate));
  return {b.mul(gate(kOutput, next), s.activate(2, next)), next};
}

std::vector<NodeId> lstm_cell(const Step& s) { return lstm_step(s, false); }
std::vector<NodeId> lstm_cell_coupled(const Step& s) { return lstm_step(s, true); }

struct Cell {
  CellFunction function;
  int gates;
  int states;
  std::vector<std::string_view> activations;  // defaults
  bool separate_bias = false;                 // the recurrent bias is added inside the cell
};

void require_shape(const OpContext& c, int input, const Dims& expected) {
  if (!c.has(input)) return;
  const Dims& shape = c.shape(input);
  const auto agree = [](Dim a, Dim b) { return decide(equal(a, b), "recurrent layer"); };
  if (!std::equal(shape.begin(), shape.end(), expected.begin(), expected.end(), agree))
    c.fail(fmt::format("input {} has shape {} where {} is expected", input,
                       to_string(std::span<const Dim>(shape)),
                       to_string(std::span<const Dim>(expected))));
}

// One recurrent node: the extents and settings that its directions share.
class Layer {
 public:
  Layer(OpContext& c, const Cell& cell);
  Results lower();

 private:
  LoopResults run(int direction);
  LoopResults step(Step s, std::optional<NodeId> active) const;
  NodeId of_direction(NodeId x, int direction) const {
    return c_.b.squeeze(c_.b.slice_axis(x, 0, direction, 1), {0});
  }
  std::optional<NodeId> bias_half(int direction, int half) const;
  NodeId initial_state(Input input, int direction) const;
  void find_active_steps();

  OpContext& c_;
  const Cell& cell_;
  bool batch_first_;
  int directions_ = 1;
  bool first_is_reverse_ = false;
  std::vector<Activation> activations_;
  DType compute_;
  NodeId x_;  // [steps, batch, input]
  Dim steps_, batch_, hidden_;
  std::optional<NodeId> active_;  // [steps, batch]: within the sequence's length; absent: all are
};

Layer::Layer(OpContext& c, const Cell& cell) : c_(c), cell_(cell) {
  batch_first_ = c.attr("layout", 0) != 0;
  const std::string direction = c.attr("direction", "forward");
  c.require(direction == "forward" || direction == "reverse" || direction == "bidirectional",
            "'direction' must be forward, reverse or bidirectional");
  first_is_reverse_ = direction == "reverse";
  directions_ = direction == "bidirectional" ? 2 : 1;
  activations_ = activations_of(c, cell.activations, directions_);
  compute_ = wide(c.dtype(kX));
  c.require(c.rank(kX) == 3 && c.rank(kW) == 3 && c.rank(kR) == 3, "X, W and R must have rank 3");

  x_ = batch_first_ ? c.b.transpose(c.in(kX), {1, 0, 2}) : c.in(kX);
  steps_ = c.b.shape(x_)[0];
  batch_ = c.b.shape(x_)[1];
  hidden_ = c.shape(kR)[2];
  const Dim rows = hidden_ * cell.gates;
  const Dims state =
      batch_first_ ? Dims{batch_, directions_, hidden_} : Dims{directions_, batch_, hidden_};
  require_shape(c, kW, {directions_, rows, c.b.shape(x_)[2]});
  require_shape(c, kR, {directions_, rows, hidden_});
  require_shape(c, kB, {directions_, rows * 2});
  require_shape(c, kSequenceLens, {batch_});
  require_shape(c, kInitialH, state);
  require_shape(c, kInitialC, state);
  require_shape(c, kP, {directions_, hidden_ * 3});
  find_active_steps();
}

void Layer::find_active_steps() {
  if (!c_.has(kSequenceLens)) return;
  Builder& b = c_.b;
  const NodeId lengths = c_.in(kSequenceLens);
  if (const auto known = b.elements(lengths);
      known && std::all_of(known->begin(), known->end(), [&](Dim d) { return same(d, steps_); }))
    return;
  active_ = b.less(b.iota(DType::i32, {steps_, batch_}, 0), b.cast(lengths, DType::i32));
}

std::optional<NodeId> Layer::bias_half(int direction, int half) const {
  if (!c_.has(kB)) return std::nullopt;
  const Dim rows = hidden_ * cell_.gates;
  const NodeId bias = of_direction(c_.in(kB), direction);
  return c_.b.cast(c_.b.slice_axis(bias, 0, rows * half, rows), compute_);
}

NodeId Layer::initial_state(Input input, int direction) const {
  Builder& b = c_.b;
  if (!c_.has(input)) return full(b, compute_, 0, {batch_, hidden_});
  const NodeId state = batch_first_ ? b.transpose(c_.in(input), {1, 0, 2}) : c_.in(input);
  return b.cast(of_direction(state, direction), compute_);
}

// One trip: steps beyond a sequence's length keep its state and give zeros.
LoopResults Layer::step(Step s, std::optional<NodeId> active) const {
  Builder& b = s.b;
  std::vector<NodeId> next = cell_.function(s);
  NodeId output = next[0];
  if (active) {
    const NodeId rows = b.unsqueeze(*active, {1});
    output = b.select(rows, output, b.like(output, 0));
    for (size_t i = 0; i < next.size(); ++i) next[i] = b.select(rows, next[i], s.state[i]);
  }
  return {std::move(next), {output}};
}

LoopResults Layer::run(int direction) {
  Builder& b = c_.b;
  NodeId projected = b.dot(x_, of_direction(c_.in(kW), direction), {{}, {}, {2}, {1}, compute_});
  const std::optional<NodeId> recurrent_bias = bias_half(direction, 1);
  if (const auto bias = bias_half(direction, 0)) projected = b.add(projected, *bias);
  if (recurrent_bias && !cell_.separate_bias) projected = b.add(projected, *recurrent_bias);
  const bool captures_bias = recurrent_bias && cell_.separate_bias;
  const bool has_peepholes = cell_.states == 2 && c_.has(kP);

  LoopValues values;
  for (int i = 0; i < cell_.states; ++i)
    values.carried.push_back(initial_state(i == 0 ? kInitialH : kInitialC, direction));
  values.scanned = {projected};
  if (active_) values.scanned.push_back(*active_);
  values.captured = {of_direction(c_.in(kR), direction)};
  if (captures_bias) values.captured.push_back(*recurrent_bias);
  if (has_peepholes)
    values.captured.push_back(b.cast(of_direction(c_.in(kP), direction), compute_));

  const size_t functions = cell_.activations.size();
  const auto f =
      std::span(activations_).subspan(static_cast<size_t>(direction) * functions, functions);
  const bool reverse = first_is_reverse_ || direction == 1;
  return build_loop(b, steps_, reverse, values, [&](Builder& body, const LoopValues& in) {
    Step s{body, f, c_.attr("clip", 0.0f), hidden_, in.scanned[0], in.carried, in.captured[0],
           {},   {}};
    if (captures_bias) s.bias = in.captured[1];
    if (has_peepholes) s.peepholes = in.captured.back();
    return step(std::move(s), active_ ? std::optional(in.scanned[1]) : std::nullopt);
  });
}

Results Layer::lower() {
  Builder& b = c_.b;
  const DType dtype = c_.dtype(kX);
  std::vector<NodeId> outputs;
  std::vector<std::vector<NodeId>> finals(static_cast<size_t>(cell_.states));
  for (int direction = 0; direction < directions_; ++direction) {
    const LoopResults results = run(direction);
    outputs.push_back(b.unsqueeze(b.cast(results.stacked[0], dtype), {1}));
    for (size_t i = 0; i < finals.size(); ++i)
      finals[i].push_back(b.unsqueeze(b.cast(results.carried[i], dtype), {0}));
  }
  NodeId all = b.concat(outputs, 1);  // [steps, directions, batch, hidden]
  if (batch_first_) all = b.transpose(all, {2, 0, 1, 3});
  std::vector<Lowered> results = {all};
  for (const std::vector<NodeId>& parts : finals) {
    const NodeId final_state = b.concat(parts, 0);
    results.push_back(batch_first_ ? b.transpose(final_state, {1, 0, 2}) : final_state);
  }
  return results;
}

Results rnn(OpContext& c) {
  const Cell cell{rnn_cell, 1, 1, {"tanh"}};
  return Layer(c, cell).lower();
}

Results gru(OpContext& c) {
  const bool linear_first = c.attr("linear_before_reset", 0) != 0;
  const Cell cell{linear_first ? gru_cell_linear_before_reset : gru_cell,
                  3,
                  1,
                  {"sigmoid", "tanh"},
                  linear_first};
  return Layer(c, cell).lower();
}

Results lstm(OpContext& c) {
  const bool coupled = c.attr("input_forget", 0) != 0;
  const Cell cell{coupled ? lstm_cell_coupled : lstm_cell, 4, 2, {"sigmoid", "tanh", "tanh"}};
  return Layer(c, cell).lower();
}

constexpr OpRow kOps[] = {{"RNN", rnn}, {"GRU", gru}, {"LSTM", lstm}};

}  // namespace

std::span<const OpRow> recurrent_ops() { return kOps; }

}  // namespace onrush
