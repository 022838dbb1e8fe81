#include "backend/cuda/cuda_plan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "codegen/merge_axes.h"
#include "fuse/fuse.h"
#include "plan/attention.h"
#include "plan/loop_body.h"
#include "plan/placement.h"
#include "plan/storage.h"

namespace onrush::cuda {
namespace {

std::vector<DType> storage_of(const Schedule& schedule, Precision precision) {
  switch (precision) {
    case Precision::fp16: return narrow_storage(schedule, DType::f16);
    case Precision::bf16: return narrow_storage(schedule, DType::bf16);
    default: return plain_storage(schedule.graph);
  }
}

ContractionMath f32_math(Precision precision) {
  switch (precision) {
    case Precision::fp32: return ContractionMath::scalar;
    case Precision::fp16: return ContractionMath::f16;
    case Precision::bf16: return ContractionMath::bf16;
    default: return ContractionMath::tf32;
  }
}

// Outputs that are inputs, constants or earlier outputs become copies of these: each is a value of
// its own, which a kernel can write in place.
void separate_outputs(Graph& body) {
  std::set<NodeId> written;
  for (GraphOutput& output : body.outputs) {
    const Node& node = body[output.node];
    if (class_of(node.op) == OpClass::source || !written.insert(output.node).second) {
      const CastAttr same{body.dtype(output.node), false};
      body.nodes.push_back({Op::bitcast, {output.node}, same, node.type, node.origins});
      output.node = {static_cast<uint32_t>(body.nodes.size() - 1)};
    }
  }
}

Loops merged(Loops loops) {
  std::vector<int> kinds;
  for (const Axis& axis : loops.axes) kinds.push_back(axis.reduce);
  merge_axes(loops, kinds);
  return loops;
}

// What a kernel is but for the values it reads and writes, and these.
class KernelKey {
 public:
  KernelKey(const StepKernel::Form& form, const Graph& graph) : graph_(graph) {
    number(form.index());
    std::visit([this](const auto& each) { add(each); }, form);
    // Values that are one have one pointer.
    for (NodeId node : operands)
      number(std::find(operands.begin(), operands.end(), node) - operands.begin());
  }

  std::string text;
  std::vector<NodeId> operands;

 private:
  template <class Number>
  void number(Number x) {
    text.append(reinterpret_cast<const char*>(&x), sizeof x);
  }
  void add(const std::vector<Loops>& all) {
    number(all.size());
    for (const Loops& loops : all) add(loops);
  }
  void add(const Loops& loops) {
    append_key(text, loops);
    for (const LoopBuffer& buffer : loops.buffers) {
      number(buffer.node.valid());
      if (buffer.node.valid()) operands.push_back(buffer.node);
    }
  }
  void add(const CudaContraction::Part& part) {
    number(part.kinds.size());
    for (int kind : part.kinds) number(kind);
    add(part.loops);
  }
  void add(const CudaContraction& c) {
    number(c.math), number(c.factor), number(c.sum), number(c.packed), number(c.packed_count);
    number(c.padded_k), number(c.direct);
    add(c.lhs), add(c.rhs), add(c.epilogue);
  }
  void add(const CudaAttention& a) {
    number(a.math), number(a.factor), number(a.nan_to_zero);
    add(a.query), add(a.key), add(a.value), add(a.score), add(a.epilogue);
  }
  // A kind of its own: it is printed from its node.
  void add(const CudaPrimitive& p) {
    number(p.node.index), number(p.part);
    for (NodeId operand : graph_[p.node].inputs) operands.push_back(operand);
    for (NodeId result : p.results)
      if (result.valid()) operands.push_back(result);
  }

  const Graph& graph_;
};

}  // namespace

CudaPlan::CudaPlan(Schedule schedule, Precision precision, CudaTarget target,
                   const TuningTable* tuning)
    : schedule_(std::move(schedule)),
      precision_(precision),
      target_(target),
      tuning_(tuning),
      storage_(storage_of(schedule_, precision)) {
  std::vector<Step> prepare;
  for (const Group& group : schedule_.groups)
    if (group.time == Time::prepare) prepare.push_back(make_step(schedule_, group));
  std::vector<Step> run = fused_steps();
  const std::vector<Time> times = node_times();
  // Kernels have expressions of their own: their values are there once all are made.
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  for (Step& step : prepare) prepare_steps_.push_back(make_cuda_step(std::move(step), sizes));
  for (Step& step : run) {
    const std::vector<NodeId>& outputs = step.group->outputs;
    const bool bind = std::all_of(outputs.begin(), outputs.end(),
                                  [&](NodeId node) { return times[node.index] != Time::run; });
    (bind ? bind_steps_ : steps_).push_back(make_cuda_step(std::move(step), sizes));
  }
}

// Known before the first run.
bool CudaPlan::is_weight(NodeId node) const {
  const int home = schedule_.home[node.index];
  return graph()[node].op == Op::constant ||
         (home >= 0 && schedule_.groups[static_cast<size_t>(home)].time == Time::prepare);
}

std::vector<Time> CudaPlan::node_times() const { return times_of(graph()); }

// The steps of a run, with attention as one step where there is a kernel for it.
std::vector<Step> CudaPlan::fused_steps() const {
  std::vector<Step> steps;
  for (const Group& group : schedule_.groups) {
    if (group.time != Time::run) continue;
    if (Step step = make_step(schedule_, group); !does_nothing(step)) steps.push_back(step);
  }
  std::vector<bool> gone(steps.size());
  for (AttentionSteps& found : find_attention(schedule_, steps)) {
    if (!make_cuda_attention(found.attention.scores, found.attention.values, false,
                             f32_math(precision_)))
      continue;
    gone[found.scores] = gone[found.softmax] = true;
    ProfiledStep profiled{
        "attention", "dot+softmax+dot", {}, {}, steps[found.scores].profiled->apart};
    const auto add = [](std::vector<std::string>& to, const std::vector<std::string>& names) {
      for (const std::string& name : names)
        if (std::find(to.begin(), to.end(), name) == to.end()) to.push_back(name);
    };
    for (const size_t part : {found.scores, found.softmax, found.values}) {
      add(profiled.nodes, steps[part].profiled->nodes);
      add(profiled.inlined, steps[part].profiled->inlined);
    }
    steps[found.values].profiled = std::make_shared<const ProfiledStep>(std::move(profiled));
    steps[found.values].kernel = std::move(found.attention);
  }
  std::vector<Step> left;
  for (size_t i = 0; i < steps.size(); ++i)
    if (!gone[i]) left.push_back(std::move(steps[i]));
  return left;
}

StepKernel CudaPlan::make_kernel(StepKernel::Form form) {
  KernelKey key(form, graph());
  const size_t kind = kinds_.try_emplace(std::move(key.text), kinds_.size()).first->second;
  variants_.resize(kinds_.size());
  return {std::move(form), std::move(key.operands), kind};
}

CudaStep CudaPlan::make_cuda_step(Step step, const SizeTable& sizes) {
  CudaStep result{std::move(step), {}, {}};
  if (auto* loops = std::get_if<std::vector<Loops>>(&result.step.kernel)) {
    // Parts of a concatenation are copied together, as many as make no large program.
    const size_t most = result.step.group->kind == Group::Kind::concat ? 8 : 1;
    std::vector<Loops> together;
    for (Loops& kernel : *loops) {
      store_as(kernel, storage_);
      together.push_back(merged(kernel));
      if (together.size() < most && &kernel != &loops->back()) continue;
      result.kernels.push_back(make_kernel(std::exchange(together, {})));
    }
  }
  if (auto* contraction = std::get_if<Contraction>(&result.step.kernel)) {
    store_as(*contraction, storage_);
    const auto& buffers = contraction->rhs.buffers;
    const bool weights =
        !buffers.empty() && std::all_of(buffers.begin(), buffers.end(),
                                        [&](const LoopBuffer& b) { return is_weight(b.node); });
    CudaContraction form =
        make_cuda_contraction(*contraction, weights, f32_math(precision_), sizes);
    std::unique_ptr<StepKernel> packing;
    if (form.packed)
      packing = std::make_unique<StepKernel>(make_kernel(std::vector{merged(form.packing)}));
    std::optional<CacheKey> signature;
    if (tuning_ && tuning_->is_used() && has_tiles(form)) signature = signature_of(form);
    StepKernel& kernel = result.kernels.emplace_back(make_kernel(std::move(form)));
    kernel.packing = std::move(packing);
    kernel.signature = signature;
  }
  if (auto* attention = std::get_if<Attention>(&result.step.kernel)) {
    store_as(attention->scores, storage_);
    store_as(attention->values, storage_);
    result.kernels.push_back(make_kernel(*make_cuda_attention(
        attention->scores, attention->values, attention->nan_to_zero, f32_math(precision_))));
  }
  if (const auto* host = std::get_if<NodeId>(&result.step.kernel)) {
    const NodeId node = *host;
    for (CudaPrimitive& form : make_cuda_primitives(graph(), node, result.step.group->outputs))
      result.kernels.push_back(make_kernel(std::move(form)));
    if (graph()[node].op == Op::loop) result.body = loop_body(node);
    if (result.kernels.empty() && !result.body) return result;
    result.step.kernel = DevicePrimitive{node};
    ProfiledStep profiled = *result.step.profiled;
    profiled.kind = result.body ? "loop" : "primitive";
    result.step.profiled = std::make_shared<const ProfiledStep>(std::move(profiled));
  }
  return result;
}

// Null where a trip needs the host.
std::shared_ptr<CudaPlan> CudaPlan::loop_body(NodeId loop) const {
  Graph graph_of_body = make_loop_body(graph(), loop, node_times());
  separate_outputs(graph_of_body);
  auto body =
      std::make_shared<CudaPlan>(fuse(std::move(graph_of_body)), precision_, target_, tuning_);
  return body->runs_on_device() ? body : nullptr;
}

// Whether kernels compute every output, in each run.
bool CudaPlan::runs_on_device() const {
  const std::vector<Time> times = node_times();
  return std::none_of(steps_.begin(), steps_.end(),
                      [](const CudaStep& step) {
                        return std::holds_alternative<NodeId>(step.step.kernel);
                      }) &&
         std::all_of(
             graph().outputs.begin(), graph().outputs.end(), [&](const GraphOutput& output) {
               return times[output.node.index] == Time::run && graph()[output.node].op != Op::input;
             });
}

std::optional<TuningKey> CudaPlan::tuning_key(const StepKernel& kernel,
                                              const SizeTable& sizes) const {
  if (!kernel.signature) return std::nullopt;
  const auto& c = std::get<CudaContraction>(kernel.form);
  return TuningKey{*kernel.signature, sizes_of(c, sizes)};
}

std::optional<TunedContraction> CudaPlan::tuned(const StepKernel& kernel,
                                                const SizeTable& sizes) const {
  const std::optional<TuningKey> key = tuning_key(kernel, sizes);
  return key ? tuning_->find(*key) : std::nullopt;
}

// Whether its address depends on the caller.
bool CudaPlan::is_argument(NodeId node) const {
  return graph()[node].op == Op::input ||
         std::any_of(graph().outputs.begin(), graph().outputs.end(),
                     [&](const GraphOutput& output) { return output.node == node; });
}

LibraryOperands operands_of(const LibraryForm& form) {
  const auto node_of = [](const auto& operand) {
    return operand ? std::optional(operand->node) : std::nullopt;
  };
  if (const auto* p = std::get_if<MatrixProduct>(&form))
    return {p->lhs.node, p->rhs.node, p->result.node, node_of(p->addend), node_of(p->bias)};
  const auto& c = std::get<Convolution>(form);
  return {c.image.node, c.filter.node, c.result.node, node_of(c.addend), node_of(c.bias)};
}

std::optional<LibraryForm> CudaPlan::library_form(const StepKernel& kernel,
                                                  const SizeTable& sizes) const {
  const auto* contraction = std::get_if<CudaContraction>(&kernel.form);
  if (!contraction) return std::nullopt;
  std::optional<LibraryForm> form = as_matrix_product(*contraction);
  if (!form) form = as_convolution(*contraction, sizes);
  if (!form) return std::nullopt;
  const LibraryOperands operands = operands_of(*form);
  for (const NodeId node :
       {operands.lhs, operands.rhs, operands.result, operands.addend.value_or(NodeId{})})
    if (node.valid() && is_argument(node)) return std::nullopt;
  if (operands.bias && !is_weight(*operands.bias)) return std::nullopt;
  return form;
}

const KernelVariant& CudaPlan::variant(const StepKernel& kernel, const SizeTable& sizes) const {
  const std::optional<TunedContraction> known = tuned(kernel, sizes);
  return find_or_print(kernel, sizes, known ? &known->own : nullptr);
}

const KernelVariant& CudaPlan::variant(const StepKernel& kernel, const SizeTable& sizes,
                                       const TileChoice& choice) const {
  return find_or_print(kernel, sizes, &choice);
}

// `choice`: null: the best by a model of the device.
const KernelVariant& CudaPlan::find_or_print(const StepKernel& kernel, const SizeTable& sizes,
                                             const TileChoice* choice) const {
  const std::lock_guard lock(mutex_);
  const auto is_chosen = [&](const CudaKernel& known) {
    if (choice) return known.cluster == choice->cluster && known.tile == choice->tile;
    return known.cluster == 0;
  };
  auto& variants = variants_[kernel.kind];
  for (const auto& known : variants)
    if (is_chosen(known->kernel) && serves(known->kernel, sizes, target_)) return *known;
  return print(kernel, sizes, choice);
}

const KernelVariant& CudaPlan::print(const StepKernel& kernel, const PrintSizes& sizes,
                                     const TileChoice* choice) const {
  CudaKernel printed;
  if (const auto* loops = std::get_if<std::vector<Loops>>(&kernel.form))
    printed = print_cuda(*loops, sizes);
  else if (const auto* c = std::get_if<CudaContraction>(&kernel.form))
    printed = print_cuda(*c, sizes, target_, choice);
  else if (const auto* a = std::get_if<CudaAttention>(&kernel.form))
    printed = print_cuda(*a, sizes, target_);
  else printed = print_cuda(std::get<CudaPrimitive>(kernel.form), graph(), sizes);
  std::vector<int> operands;
  for (const LoopBuffer& buffer : printed.buffers) {
    const auto found = std::ranges::find(kernel.operands, buffer.node);
    operands.push_back(
        found == kernel.operands.end() ? -1 : static_cast<int>(found - kernel.operands.begin()));
  }
  const size_t text = text_index(printed.text);
  auto& variants = variants_[kernel.kind];
  variants.push_back(
      std::make_unique<KernelVariant>(std::move(printed), std::move(operands), text));
  return *variants.back();
}

std::vector<const KernelVariant*> CudaPlan::stand_ins(const StepKernel& kernel,
                                                      const SizeTable& sizes) const {
  std::vector<const KernelVariant*> found;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& known : variants_[kernel.kind])
      if (computes(known->kernel, sizes)) found.push_back(known.get());
  }
  const auto relies_on = [](const KernelVariant* variant) {
    return std::ranges::count_if(variant->kernel.facts, &SizeFact::divides);
  };
  std::ranges::stable_sort(found, std::greater(), relies_on);
  return found;
}

// With which a plan may be bound, and which have little in common with those at hand: each symbol
// by itself, and all, are one more.
std::vector<SizeTable> CudaPlan::other_sizes() const {
  const ShapeContext& shapes = *graph().shapes;
  std::vector<int64_t> values;
  for (const Symbol& symbol : shapes.symbols()) values.push_back(symbol.value);
  std::vector<SizeTable> others;
  const auto add = [&] {
    SizeTable sizes = shapes.evaluate(values);
    if (std::ranges::all_of(shapes.guards(), [&](const Guard& g) { return sizes.holds(g); }))
      others.push_back(std::move(sizes));
  };
  for (int64_t& value : values) {
    ++value;
    add();
    --value;
  }
  if (values.size() < 2) return others;
  for (int64_t& value : values) ++value;
  add();
  return others;
}

std::vector<size_t> CudaPlan::texts_for_any_size() const {
  const std::vector<SizeTable> others = other_sizes();
  if (others.empty()) return {};
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  const std::lock_guard lock(mutex_);
  std::vector<bool> done(variants_.size());  // by kind
  std::vector<size_t> texts;
  for (const auto* steps : {&bind_steps_, &steps_})
    for (const CudaStep& step : *steps)
      for (const StepKernel& kernel : step.kernels) {
        if (done[kernel.kind]) continue;
        done[kernel.kind] = true;
        const auto serves_any = [&](const auto& known) {
          return std::ranges::all_of(
              others, [&](const SizeTable& each) { return computes(known->kernel, each); });
        };
        const auto& variants = variants_[kernel.kind];
        const auto known = std::ranges::find_if(variants, serves_any);
        texts.push_back(known != variants.end() ? (*known)->text
                                                : print(kernel, {sizes, others}, nullptr).text);
      }
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return texts;
}

// Of a text, which is added if it is new.
size_t CudaPlan::text_index(std::string text) const {
  const auto found = std::find(texts_.begin(), texts_.end(), text);
  if (found != texts_.end()) return static_cast<size_t>(found - texts_.begin());
  texts_.push_back(std::move(text));
  return texts_.size() - 1;
}

size_t CudaPlan::copy_text() const {
  const std::lock_guard lock(mutex_);
  return text_index(copy_kernel_text());
}

std::string CudaPlan::text(size_t index) const {
  const std::lock_guard lock(mutex_);
  return texts_[index];
}

std::vector<std::vector<size_t>> CudaPlan::programs(std::span<const size_t> texts) const {
  constexpr size_t kPrograms = 16;
  const std::lock_guard lock(mutex_);
  // In proportion to the time that a text takes, about: 40 ms for the shortest, 400 for the
  // longest.
  const auto effort = [&](size_t index) {
    constexpr size_t kLeast = 2'000'000;
    return kLeast + texts_[index].size() * texts_[index].size();
  };
  // The longest first, each to the program that has least. Texts that were printed in another order
  // give the same programs, which the cache knows.
  std::vector<size_t> order(texts.begin(), texts.end());
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    const std::string &left = texts_[a], &right = texts_[b];
    return left.size() != right.size() ? left.size() > right.size() : left < right;
  });
  std::vector<std::vector<size_t>> programs(std::min(kPrograms, order.size()));
  std::vector<size_t> efforts(programs.size());
  for (size_t index : order) {
    const auto least = std::min_element(efforts.begin(), efforts.end());
    programs[static_cast<size_t>(least - efforts.begin())].push_back(index);
    *least += effort(index);
  }
  return programs;
}

std::vector<size_t> CudaPlan::texts_at_hand() const {
  const SizeTable sizes = sizes_at_hand(*graph().shapes);
  std::vector<size_t> texts;
  for (const auto* steps : {&prepare_steps_, &bind_steps_, &steps_})
    for (const CudaStep& step : *steps)
      for (const StepKernel& kernel : step.kernels) {
        texts.push_back(variant(kernel, sizes).text);
        if (kernel.packing) texts.push_back(variant(*kernel.packing, sizes).text);
      }
  std::sort(texts.begin(), texts.end());
  texts.erase(std::unique(texts.begin(), texts.end()), texts.end());
  return texts;
}

}  // namespace onrush::cuda
