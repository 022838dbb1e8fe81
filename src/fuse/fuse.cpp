#include "fuse/fuse.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "base/check.h"
#include "codegen/coordinates.h"

namespace onrush {
namespace {

constexpr int kMaxDuplicatedWork =
    3;  // elementwise operations worth repeating in each of several kernels

bool is_byte(DType dtype) { return dtype == DType::u8 || dtype == DType::i8; }

// f32 and what accumulates in it, and sums of products of 8-bit integers.
bool is_generated_contraction(const Graph& graph, const Node& node) {
  const DType dtype = std::get<TensorType>(node.type).dtype;
  if (dtype == DType::i32)
    return is_byte(graph.dtype(node.inputs[0])) && is_byte(graph.dtype(node.inputs[1]));
  return dtype == DType::f32 || dtype == DType::f16 || dtype == DType::bf16;
}

// Evaluated by itself, not generated.
bool is_host(const Graph& graph, const Node& node) {
  switch (node.op) {
    case Op::scan:
    case Op::sort:
    case Op::scatter:
    case Op::random_bits:
    case Op::bitcast:
    case Op::call:
    case Op::loop: return true;
    default: break;
  }
  const auto* type = std::get_if<TensorType>(&node.type);
  if (!type) return true;
  if (class_of(node.op) == OpClass::source || node.op == Op::get) return false;
  if (class_of(node.op) == OpClass::contraction) return !is_generated_contraction(graph, node);
  return type->dtype == DType::string || is_complex(type->dtype);
}

class Fuser {
 public:
  explicit Fuser(Graph graph) {
    schedule_.graph = std::move(graph);
    uses_ = uses_of(schedule_.graph);
    schedule_.home.assign(graph_.nodes.size(), -1);
    schedule_.materialised.assign(graph_.nodes.size(), false);
  }

  Schedule run() {
    assign_times();
    for (uint32_t i = 0; i < graph_.nodes.size(); ++i) place(NodeId{i});
    materialise();
    prepare_indices();
    sort_groups();
    schedule_.inside.resize(graph_.nodes.size());
    for (size_t i = 0; i < schedule_.groups.size(); ++i)
      if (group(static_cast<int>(i)).kind == Group::Kind::concat) place_parts(static_cast<int>(i));
    return std::move(schedule_);
  }

 private:
  using GroupSet = std::vector<bool>;

  void assign_times();
  void place(NodeId id);
  void place_elementwise(NodeId id);
  void place_reduce(NodeId id);
  int new_group(Group::Kind kind, NodeId anchor, Apart apart);
  void join(NodeId id, int group);
  bool may_join(NodeId id, int group) const;
  bool fits(NodeId id, int group) const;
  bool fits_contraction(NodeId id, int group) const;
  bool fits_rows(NodeId id, const Node& reduce) const;
  std::optional<std::string> path(NodeId id, int group) const;
  void collect_homes(NodeId id, std::vector<int>& homes) const;
  std::vector<int> operand_homes(const Node& node) const;
  void depend(int group, int on);

  void materialise();
  void prepare_indices();
  void require(NodeId id, Apart apart);
  int group_around(NodeId id) const;
  void require_operand(NodeId user, NodeId operand, int kernel, bool repeats);
  void visit_operands(NodeId id, int kernel, bool repeats = false);
  bool is_free(NodeId id) const;
  bool is_dequantised(NodeId id) const;
  int work(NodeId id) const;
  bool used_by_several_kernels(NodeId id) const;
  void sort_groups();
  void place_parts(int concat);
  bool may_lie_inside(NodeId part, int concat) const;

  Group& group(int index) { return schedule_.groups[static_cast<size_t>(index)]; }
  const Group& group(int index) const { return schedule_.groups[static_cast<size_t>(index)]; }

  Schedule schedule_;
  const Graph& graph_ = schedule_.graph;
  Uses uses_;
  std::vector<Time> time_;         // prepare or run: of the group
  std::vector<Time> exact_time_;   // bind as well
  std::vector<GroupSet> reaches_;  // by group: the groups it depends on, transitively
  std::vector<std::map<uint32_t, std::string>>
      paths_;  // by group: movement from the anchor to a member
  std::set<std::tuple<uint32_t, int, bool>> visited_;  // node, kernel it is computed in, repeated
  mutable std::map<uint32_t, int> work_;
  std::map<uint32_t, Unfit> unfit_;  // by elementwise node that joined no group
};

void Fuser::assign_times() {
  for (const Node& node : graph_.nodes) {
    Time operands = Time::prepare, exact = Time::prepare;
    for (NodeId operand : node.inputs) {
      operands = std::max(operands, time_[operand.index]);
      exact = std::max(exact, exact_time_[operand.index]);
    }
    exact_time_.push_back(time_of(node, exact));
    const bool prepare =
        time_of(node, operands) == Time::prepare && node.op != Op::iota;  // computed in its users
    time_.push_back(prepare ? Time::prepare : Time::run);
  }
}

// --- dependencies between groups

void Fuser::collect_homes(NodeId id, std::vector<int>& homes) const {
  const int home = schedule_.home[id.index];
  if (home >= 0) {
    if (std::find(homes.begin(), homes.end(), home) == homes.end()) homes.push_back(home);
    return;
  }
  for (NodeId operand : graph_[id].inputs) collect_homes(operand, homes);
}

std::vector<int> Fuser::operand_homes(const Node& node) const {
  std::vector<int> homes;
  for (NodeId operand : node.inputs) collect_homes(operand, homes);
  std::sort(homes.begin(), homes.end());
  return homes;
}

void Fuser::depend(int group, int on) {
  if (group == on) return;
  const auto add = [&](size_t g) {
    GroupSet& set = reaches_[g];
    const GroupSet& more = reaches_[static_cast<size_t>(on)];
    set.resize(std::max({set.size(), more.size(), static_cast<size_t>(on) + 1}));
    for (size_t i = 0; i < more.size(); ++i)
      if (more[i]) set[i] = true;
    set[static_cast<size_t>(on)] = true;
  };
  add(static_cast<size_t>(group));
  for (size_t g = 0; g < reaches_.size(); ++g)
    if (static_cast<size_t>(group) < reaches_[g].size() && reaches_[g][static_cast<size_t>(group)])
      add(g);
}

int Fuser::new_group(Group::Kind kind, NodeId anchor, Apart apart) {
  const int index = static_cast<int>(schedule_.groups.size());
  const auto unfit = unfit_.find(anchor.index);
  schedule_.groups.push_back({kind,
                              anchor,
                              {},
                              {},
                              time_[anchor.index],
                              apart,
                              unfit == unfit_.end() ? Unfit::no_kernel : unfit->second});
  reaches_.emplace_back();
  paths_.emplace_back();
  join(anchor, index);
  return index;
}

void Fuser::join(NodeId id, int index) {
  for (int home : operand_homes(graph_[id])) depend(index, home);
  schedule_.home[id.index] = index;
  group(index).members.push_back(id);
  if (group(index).kind != Group::Kind::contraction && group(index).kind != Group::Kind::window)
    return;
  std::string key;
  for (NodeId operand : graph_[id].inputs)
    if (const auto p = path(operand, index); p && id != group(index).anchor) key = *p;
  paths_[static_cast<size_t>(index)][id.index] = key;
}

// Joining must not make the group wait for something that waits for it.
bool Fuser::may_join(NodeId id, int index) const {
  if (time_[id.index] != group(index).time) return false;
  for (int home : operand_homes(graph_[id])) {
    const GroupSet& set = reaches_[static_cast<size_t>(home)];
    if (home != index && static_cast<size_t>(index) < set.size() && set[static_cast<size_t>(index)])
      return false;
  }
  return true;
}

// --- which group a node belongs to

// Movement from the group's anchor to `id` as text, if it consists of members, reshapes that keep
// coordinates affine, and transposes.
std::optional<std::string> Fuser::path(NodeId id, int index) const {
  if (schedule_.home[id.index] == index) {
    const auto found = paths_[static_cast<size_t>(index)].find(id.index);
    return found == paths_[static_cast<size_t>(index)].end() ? std::nullopt
                                                             : std::optional(found->second);
  }
  if (schedule_.home[id.index] >= 0 || group(index).kind != Group::Kind::contraction)
    return std::nullopt;
  const Node& node = graph_[id];
  if (node.op != Op::reshape && node.op != Op::transpose) return std::nullopt;
  auto inner = path(node.inputs[0], index);
  if (!inner) return std::nullopt;
  if (node.op == Op::reshape && !splits_evenly(graph_.shape(node.inputs[0]), graph_.shape(id)))
    return std::nullopt;
  append_key(*inner, node.attr);
  return inner;
}

// Elementwise work on a contraction's (or window's) result, element by element.
bool Fuser::fits_contraction(NodeId id, int index) const {
  std::optional<std::string> common;
  for (NodeId operand : graph_[id].inputs) {
    std::vector<int> homes;
    collect_homes(operand, homes);
    if (std::find(homes.begin(), homes.end(), index) == homes.end()) continue;
    const auto p = path(operand, index);
    if (!p || (common && *common != *p)) return false;
    common = p;
  }
  return common.has_value();
}

// Of the shape that is reduced, or of the result's.
bool Fuser::fits_rows(NodeId id, const Node& reduce) const {
  const Dims& whole = graph_.shape(reduce.inputs[0]);
  const Dims& shape = graph_.shape(id);
  if (always_equal(shape, whole)) return true;
  return always_equal(shape, std::get<TensorType>(reduce.type).shape);
}

bool Fuser::fits(NodeId id, int index) const {
  const Group& candidate = group(index);
  if (candidate.kind == Group::Kind::contraction || candidate.kind == Group::Kind::window)
    return fits_contraction(id, index);
  if (candidate.kind != Group::Kind::reduction) return false;
  if (!fits_rows(id, graph_[candidate.anchor])) return false;
  // Operands from the group come directly, or repeated along the reduced axes.
  for (NodeId operand : graph_[id].inputs) {
    std::vector<int> homes;
    collect_homes(operand, homes);
    if (std::find(homes.begin(), homes.end(), index) == homes.end()) continue;
    if (schedule_.home[operand.index] == index) continue;
    const Node& node = graph_[operand];
    if (node.op != Op::broadcast || schedule_.home[node.inputs[0].index] != index) return false;
    const Dims& rows = std::get<TensorType>(graph_[candidate.anchor].type).shape;
    if (!always_equal(graph_.shape(node.inputs[0]), rows)) return false;
    if (!always_equal(graph_.shape(operand), graph_.shape(graph_[candidate.anchor].inputs[0])))
      return false;
  }
  return true;
}

void Fuser::place_elementwise(NodeId id) {
  std::vector<int> homes = operand_homes(graph_[id]);
  std::reverse(homes.begin(), homes.end());  // the latest first
  for (int home : homes) {
    const bool fit = fits(id, home);
    if (fit && may_join(id, home)) return join(id, home);
    unfit_[id.index] = fit ? Unfit::cycle : Unfit::order;
  }
}

void Fuser::place_reduce(NodeId id) {
  const Node& node = graph_[id];
  for (int home : operand_homes(node)) {
    const Group& candidate = group(home);
    if (candidate.kind != Group::Kind::reduction || !may_join(id, home)) continue;
    const Node& anchor = graph_[candidate.anchor];
    if (anchor.as<ReduceAttr>().axes != node.as<ReduceAttr>().axes) continue;
    if (!always_equal(graph_.shape(anchor.inputs[0]), graph_.shape(node.inputs[0]))) continue;
    // The operand itself must be computed in that kernel, at the same coordinates.
    if (schedule_.home[node.inputs[0].index] == home) return join(id, home);
  }
  new_group(Group::Kind::reduction, id, Apart::other_rows);
}

void Fuser::place(NodeId id) {
  const Node& node = graph_[id];
  if (is_host(graph_, node))
    return void(
        new_group(Group::Kind::host, id, node.op == Op::loop ? Apart::loop : Apart::primitive));
  switch (class_of(node.op)) {
    case OpClass::contraction:
      return void(new_group(Group::Kind::contraction, id, Apart::contraction));
    case OpClass::reduction:
      if (node.op == Op::window) return void(new_group(Group::Kind::window, id, Apart::window));
      return place_reduce(id);
    case OpClass::movement:
      if (node.op == Op::concat) new_group(Group::Kind::concat, id, Apart::concat);
      return;
    case OpClass::other:  // get: its tuple's
      schedule_.home[id.index] = schedule_.home[node.inputs[0].index];
      group(schedule_.home[id.index]).members.push_back(id);
      return;
    default:
      if (is_elementwise(node.op)) place_elementwise(id);
  }
}

// --- which values get a buffer

bool Fuser::is_free(NodeId id) const {
  const OpClass c = class_of(graph_[id].op);
  return schedule_.home[id.index] < 0 && c != OpClass::source;
}

// Elementwise operations that computing the value inside a kernel repeats.
int Fuser::work(NodeId id) const {
  if (!is_free(id) || schedule_.materialised[id.index]) return 0;
  if (const auto found = work_.find(id.index); found != work_.end()) return found->second;
  const Node& node = graph_[id];
  int total = 0;
  if (is_elementwise(node.op))
    total = node.op == Op::cast ? 1 : class_of(node.op) == OpClass::unary ? 3 : 1;
  if (node.op == Op::gather) total = 2;
  for (NodeId operand : node.inputs) total += work(operand);
  return work_[id.index] = std::min(total, 1000);
}

// The value gets a buffer, and becomes a kernel of its own if it is part of none.
void Fuser::require(NodeId id, Apart apart) {
  const Node& node = graph_[id];
  if (schedule_.materialised[id.index]) return;
  if (node.op == Op::input || node.op == Op::constant || node.op == Op::dims) return;
  schedule_.materialised[id.index] = true;
  if (schedule_.home[id.index] < 0) {
    if (const int within = group_around(id); within >= 0) join(id, within);
    else new_group(Group::Kind::pointwise, id, apart);
  }
  const int home = schedule_.home[id.index];
  group(home).outputs.push_back(id);
  visit_operands(id, home);
}

// The group that has both an operand and a user of this movement: as a group of its own it would
// wait for that one and keep it waiting. -1: none.
int Fuser::group_around(NodeId id) const {
  const std::vector<int> before = operand_homes(graph_[id]);
  const auto find = [&](auto&& self, NodeId at) -> int {
    for (NodeId user : uses_.users[at.index]) {
      const int home = schedule_.home[user.index];
      const int found = home < 0 ? self(self, user) : home;
      if (std::find(before.begin(), before.end(), found) != before.end()) return found;
    }
    return -1;
  };
  return find(find, id);
}

bool expands(const Graph& graph, const Node& node) {
  return node.op == Op::broadcast && !is_one(product(graph.shape(node.inputs[0])));
}

// An 8-bit integer widened, perhaps less a weight, times a weight: smaller in memory before.
bool Fuser::is_dequantised(NodeId id) const {
  const Node& node = graph_[id];
  if (node.op == Op::cast) {
    const DType dtype = graph_.dtype(id);
    return is_byte(graph_.dtype(node.inputs[0])) && (is_float(dtype) || dtype == DType::i32);
  }
  if (node.op != Op::mul && node.op != Op::sub && node.op != Op::add) return false;
  for (const size_t i : {0, 1})
    if (exact_time_[node.inputs[1 - i].index] != Time::run && is_dequantised(node.inputs[i]))
      return true;
  return false;
}

// `kernel`: the group that the user is computed in. `repeats`: the user, or one that it is computed
// inside of, asks for an element several times.
void Fuser::require_operand(NodeId user, NodeId operand, int kernel, bool repeats) {
  const Node& node = graph_[operand];
  const int home = schedule_.home[operand.index];
  const bool whole = group(kernel).kind == Group::Kind::host;
  if (node.op == Op::iota && whole) return require(operand, Apart::for_host);
  if (class_of(node.op) == OpClass::source && node.op != Op::random_bits) return;
  const Node& reader = graph_[user];
  repeats = (repeats && schedule_.home[user.index] < 0) || reader.op == Op::window ||
            reader.op == Op::gather || class_of(reader.op) == OpClass::contraction ||
            expands(graph_, reader);
  if (home >= 0) {
    // The integers are what lies in memory, unless they would be dequantised again and again.
    if (home == kernel || (is_dequantised(operand) && !repeats && !whole))
      visit_operands(operand, kernel);
    else require(operand, Apart::shared);
    return;
  }
  const bool prepared = time_[operand.index] == Time::prepare && group(kernel).time == Time::run;
  const bool shared = used_by_several_kernels(operand);
  const bool heavy = is_elementwise(node.op) && ((repeats && work(operand) > 0) ||
                                                 (shared && work(operand) > kMaxDuplicatedWork));
  const bool indexed = node.op == Op::gather && (repeats || shared);
  if (whole) require(operand, Apart::for_host);
  else if (heavy || indexed) require(operand, repeats ? Apart::repeated : Apart::shared);
  else if (prepared && work(operand) > 0) require(operand, Apart::prepared);
  else visit_operands(operand, kernel, repeats);
}

void Fuser::visit_operands(NodeId id, int kernel, bool repeats) {
  if (!visited_.emplace(id.index, kernel, repeats).second) return;
  for (NodeId operand : graph_[id].inputs) require_operand(id, operand, kernel, repeats);
}

bool Fuser::used_by_several_kernels(NodeId id) const {
  // Users that are computed inside others count through them.
  std::vector<int> homes;
  bool several = false;
  const auto count = [&](auto&& self, NodeId at, int depth) -> void {
    if (several || depth > 16) return;
    several = several || (uses_.output_uses[at.index] > 0 && !homes.empty());
    for (NodeId user : uses_.users[at.index]) {
      const int home = schedule_.home[user.index];
      if (home < 0) {
        self(self, user, depth + 1);
        continue;
      }
      if (std::find(homes.begin(), homes.end(), home) == homes.end()) homes.push_back(home);
      if (homes.size() > 1) several = true;
    }
  };
  count(count, id, 0);
  return several;
}

void Fuser::materialise() {
  for (const GraphOutput& output : graph_.outputs) require(output.node, Apart::output);
  // Host groups give all their results; a tuple itself is no value.
  for (Group& g : schedule_.groups) {
    if (g.kind != Group::Kind::host) continue;
    for (NodeId member : g.members)
      if (graph_[member].op == Op::get && !schedule_.materialised[member.index] &&
          uses_.count(member) > 0)
        require(member, g.apart);
  }
}

// What follows from indices alone is computed inside its users where it can be; what got a buffer
// nevertheless is computed once a session.
void Fuser::prepare_indices() {
  for (Group& g : schedule_.groups)
    if (std::ranges::all_of(g.members,
                            [&](NodeId id) { return exact_time_[id.index] == Time::prepare; }))
      g.time = Time::prepare;
}

void Fuser::sort_groups() {
  // Groups that nothing needs are dropped; the others follow what they read.
  std::vector<int> order;
  std::vector<int> state(schedule_.groups.size(), 0);
  const auto visit = [&](auto&& self, int index) -> void {
    if (state[static_cast<size_t>(index)] == 2) return;
    internal_check(state[static_cast<size_t>(index)] == 0,
                   "groups do not depend on each other in a circle");
    state[static_cast<size_t>(index)] = 1;
    std::vector<int> needs;
    for (NodeId member : group(index).members)
      for (NodeId operand : graph_[member].inputs) {
        // Through values that have a buffer of their own now.
        const auto collect = [&](auto&& again, NodeId id) -> void {
          const int home = schedule_.home[id.index];
          if (home >= 0) {
            if (home != index) needs.push_back(home);
            return;
          }
          for (NodeId next : graph_[id].inputs) again(again, next);
        };
        collect(collect, operand);
      }
    std::sort(needs.begin(), needs.end());
    needs.erase(std::unique(needs.begin(), needs.end()), needs.end());
    for (int need : needs) self(self, need);
    state[static_cast<size_t>(index)] = 2;
    order.push_back(index);
  };
  for (int i = 0; i < static_cast<int>(schedule_.groups.size()); ++i) visit(visit, i);
  std::vector<Group> sorted;
  std::vector<int> renumbered(schedule_.groups.size(), -1);
  for (int index : order) {
    Group& g = group(index);
    if (g.outputs.empty()) continue;
    std::sort(g.members.begin(), g.members.end());
    std::sort(g.outputs.begin(), g.outputs.end());
    renumbered[static_cast<size_t>(index)] = static_cast<int>(sorted.size());
    sorted.push_back(std::move(g));
  }
  schedule_.groups = std::move(sorted);
  for (int& home : schedule_.home)
    if (home >= 0) home = renumbered[static_cast<size_t>(home)];
}

// Whether another kernel may write the part of a concatenation where it belongs.
bool Fuser::may_lie_inside(NodeId part, int concat) const {
  const int home = schedule_.home[part.index];
  if (!schedule_.materialised[part.index] || home < 0 || home == concat) return false;
  const Group& maker = group(home);
  if (maker.kind == Group::Kind::host || maker.kind == Group::Kind::concat) return false;
  // What is computed once a session, or once a binding, outlives the run.
  for (NodeId node : {part, group(concat).anchor})
    if (exact_time_[node.index] != Time::run) return false;
  if (schedule_.inside[part.index] || uses_.output_uses[part.index] > 0) return false;
  // The host reads dense tensors.
  return std::ranges::none_of(uses_.users[part.index], [&](NodeId user) {
    const int reader = schedule_.home[user.index];
    return reader >= 0 && group(reader).kind == Group::Kind::host;
  });
}

// What lies side by side anyway costs nothing to write in place. So do rows that lie apart, where
// kernels move them as vectors.
void Fuser::place_parts(int concat) {
  constexpr int64_t kVector = 16;  // elements
  const Group& g = group(concat);
  const Node& node = graph_[g.anchor];
  const int axis = node.as<ConcatAttr>().axis;
  const Dims& shape = graph_.shape(g.anchor);
  const bool dense =
      std::all_of(shape.begin(), shape.begin() + axis, [](Dim dim) { return is_one(dim); });
  const bool innermost = axis + 1 == static_cast<int>(shape.size());
  const auto in_vectors = [](Dim d) { return d.is_constant() && d.value() % kVector == 0; };
  Dim start = 0;
  for (NodeId part : node.inputs) {
    const Dim extent = graph_.shape(part)[static_cast<size_t>(axis)];
    const bool rows = innermost && in_vectors(shape.back()) && in_vectors(start);
    // Elements that lie side by side may be looked at in another shape.
    NodeId stored = part;
    while (dense && is_free(stored) && graph_[stored].op == Op::reshape)
      stored = graph_[stored].inputs[0];
    if ((dense || rows) && may_lie_inside(stored, concat) &&
        std::ranges::count(node.inputs, part) == 1)
      for (NodeId written : {stored, part})
        schedule_.inside[written.index] = Inside{g.anchor, axis, start, dense};
    start = start + extent;
  }
}

}  // namespace

Schedule fuse(Graph graph) { return Fuser(std::move(graph)).run(); }

namespace {
std::string_view kind_name(Group::Kind kind) {
  switch (kind) {
    case Group::Kind::pointwise: return "pointwise";
    case Group::Kind::reduction: return "reduction";
    case Group::Kind::window: return "window";
    case Group::Kind::contraction: return "contraction";
    case Group::Kind::concat: return "concat";
    case Group::Kind::host: return "host";
  }
  internal_error("unknown group kind");
}
}  // namespace

std::string to_string(Apart apart, Unfit unfit) {
  const char* before = unfit == Unfit::order ? "needs its operands in another order or shape, and "
                       : unfit == Unfit::cycle
                           ? "would make the kernel before it wait for itself, and "
                           : "";
  switch (apart) {
    case Apart::contraction: return "a product reads each element of its operands many times";
    case Apart::window: return "a window reads each element of its operand many times";
    case Apart::concat: return "its parts come from several kernels";
    case Apart::loop: return "a loop runs its body trip by trip";
    case Apart::primitive:
      return "a sort, scan, scatter or call has an algorithm of its own, which nothing joins";
    case Apart::other_rows: return "reduces rows that no kernel before it computes";
    case Apart::output: return fmt::format("{}its result is an output", before);
    case Apart::for_host: return fmt::format("{}its result is read by the host", before);
    case Apart::repeated:
      return fmt::format("{}its reader would compute elements of it several times", before);
    case Apart::shared: return fmt::format("{}several kernels read its result", before);
    case Apart::prepared: return "depends on weights alone: computed once a session";
  }
  internal_error("unknown reason");
}

std::string to_string(const Schedule& schedule) {
  std::string text;
  for (size_t i = 0; i < schedule.groups.size(); ++i) {
    const Group& group = schedule.groups[i];
    text += fmt::format("group {} {}{}\n", i, kind_name(group.kind),
                        group.time == Time::prepare ? " prepare" : "");
    for (NodeId member : group.members) {
      const Node& node = schedule.graph[member];
      const bool output =
          std::find(group.outputs.begin(), group.outputs.end(), member) != group.outputs.end();
      text += fmt::format("  {}%{} {} : {}", output ? "*" : " ", member.index, name(node.op),
                          to_string(node.type));
      if (const auto& inside = schedule.inside[member.index])
        text += fmt::format(" in %{} from {}", inside->whole.index, to_string(inside->start));
      text += '\n';
    }
  }
  return text;
}

}  // namespace onrush
