#include "backend/cuda/bound_plan.h"

#include <algorithm>

#include "base/check.h"
#include "codegen/cuda_tiles.h"
#include "plan/storage.h"

namespace onrush::cuda {
namespace {

constexpr int64_t kLargestNarrowIndex = INT32_MAX;

}  // namespace

BoundPlan::BoundPlan(const CudaExecutable& executable, SizeTable sizes,
                     const std::vector<const CudaStep*>& steps, std::map<NodeId, Tensor> known)
    : executable_(executable),
      sizes_(std::move(sizes)),
      known_(std::move(known)),
      compiled_behind_(executable.shared().compiled_behind) {
  resolve(steps);
  place_values(steps);
  lay_out_memory();
  bind_steps(steps);
}

bool BoundPlan::known_size(NodeId node) const {
  return std::none_of(type(node).shape.begin(), type(node).shape.end(),
                      [](Dim dim) { return dim.is_unknown(); });
}

int64_t BoundPlan::count(NodeId node) const {
  if (!known_size(node)) return 0;
  int64_t count = 1;
  for (Dim dim : type(node).shape) count = checked_mul(count, sizes_(dim));
  return count;
}

size_t BoundPlan::bytes(NodeId node) const {
  if (!known_size(node) || type(node).dtype == DType::string) return 0;
  return byte_size(type(node).dtype, count(node));
}

std::shared_ptr<const KernelAtSizes> BoundPlan::at_sizes(const KernelVariant& variant) const {
  const CudaKernel& kernel = variant.kernel;
  auto result = std::make_shared<KernelAtSizes>(&variant);
  for (int pass = 0; pass < passes_of(kernel, sizes_); ++pass)
    result->passes.push_back(
        {launch_shape(launch_of(kernel, sizes_, executable_.plan().target(), pass)),
         size_arguments(kernel, sizes_, pass)});
  if (!result->passes.empty() && result->passes[0].shape.grid.x)  // else an extent may be 0, which
    for (const CudaTensorMap& map : kernel.maps)                  // no map has
      result->maps.push_back(
          bind_map(map, kernel.buffers[static_cast<size_t>(map.buffer)], sizes_));
  return result;
}

bool BoundPlan::is_wide(const StepKernel& kernel, const KernelVariant& variant) const {
  return variant.kernel.work.at(sizes_) > kLargestNarrowIndex ||
         std::ranges::any_of(kernel.operands,
                             [&](NodeId node) { return count(node) > kLargestNarrowIndex; });
}

// The kernel for these sizes if it is compiled. Else one that is and can compute them, while the
// former is compiled; only where there is none does the binding wait for that.
const KernelVariant& BoundPlan::choose(const StepKernel& kernel,
                                       std::vector<size_t>& wanted) const {
  const KernelVariant& best = executable_.plan().variant(kernel, sizes_);
  if (is_wide(kernel, best) || executable_.functions().has({best.text, false})) return best;
  for (const KernelVariant* other : executable_.plan().stand_ins(kernel, sizes_))
    if (executable_.functions().has({other->text, false})) {
      wanted.push_back(best.text);
      return *other;
    }
  return best;
}

// Finds out once what is launched for each kind of kernel. The kernels of a step share its
// workspace, so they agree on the width of indices.
void BoundPlan::resolve(const std::vector<const CudaStep*>& steps) {
  kinds_.resize(executable_.plan().kinds());
  std::vector<size_t> wanted;
  for (const CudaStep* step : steps) {
    bool wide = false;
    for (const StepKernel& kernel : step->kernels) {
      auto& at = kinds_[kernel.kind];
      if (!at) at = at_sizes(choose(kernel, wanted));
      wide = wide || is_wide(kernel, *at->variant);
    }
    wide_.push_back(wide);
  }
  stands_in_ = !wanted.empty();
  executable_.functions().compile_behind(wanted);
}

void BoundPlan::place_values(const std::vector<const CudaStep*>& steps) {
  std::vector<Place> places(graph().nodes.size());
  for (uint32_t i = 0; i < graph().nodes.size(); ++i) {
    if (const Tensor& known = executable_.prepared(NodeId{i}))
      places[i] = {Place::Kind::fixed, 0, known.data()};
    else if (graph().nodes[i].op == Op::constant)
      places[i] = {Place::Kind::fixed, 0, nullptr};  // read by the host only
  }
  for (auto& [node, tensor] : known_) places[node.index] = {Place::Kind::fixed, 0, tensor.data()};
  std::vector<const Step*> plain;
  for (const CudaStep* step : steps) plain.push_back(&step->step);
  std::vector<int64_t> workspace_bytes;
  for (const CudaStep* step : steps) {
    loops_.push_back(bind_loop(*step));
    libraries_.push_back(step->kernels.size() == 1 ? library_kernel(step->kernels[0]) : nullptr);
    workspace_bytes.push_back(libraries_.back()
                                  ? static_cast<int64_t>(libraries_.back()->workspace_bytes())
                                  : workspace_of(*step, wide_[loops_.size() - 1],
                                                 loops_.back() ? &*loops_.back() : nullptr));
  }
  placement_.emplace(executable_.plan().schedule(), plain, plain_storage(graph()),
                     std::move(places));
  arena_ = placement_->arena(sizes_, workspace_bytes);
}

size_t BoundPlan::input_bytes(size_t i) const {
  const TensorType& type = graph().inputs[i].type;
  if (type.dtype == DType::string) return 0;
  return byte_size(type.dtype, element_count(concrete_shape(type.shape, sizes_)));
}

void BoundPlan::lay_out_memory() {
  layout_.bytes = aligned(static_cast<size_t>(arena_.bytes));
  const auto take = [](size_t& end, size_t bytes) {
    const size_t offset = end;
    end += aligned(bytes);
    return offset;
  };
  for (size_t i = 0; i < graph().inputs.size(); ++i) {
    layout_.inputs.push_back(input_bytes(i));
    layout_.host_inputs.push_back(take(layout_.host_bytes, input_bytes(i)));
  }
  for (const GraphOutput& output : graph().outputs) {
    const bool written = place_of(output.node).kind == Place::Kind::output;
    layout_.outputs.push_back(written ? bytes(output.node) : 0);
    const bool small = bytes(output.node) <= kSmallOutput;
    layout_.host_outputs.push_back(take(layout_.host_bytes, small ? bytes(output.node) : 0));
  }
  layout_.results.resize(static_cast<size_t>(placement_->tensors()));
  for (uint32_t i = 0; i < graph().nodes.size(); ++i)
    if (const Place& place = place_of(NodeId{i}); place.kind == Place::Kind::tensor)
      layout_.results[static_cast<size_t>(place.index)] = take(layout_.bytes, bytes(NodeId{i}));
}

// `loop`: null, or a loop whose offsets are set, from the workspace on.
int64_t BoundPlan::workspace_of(const CudaStep& step, bool wide, BoundLoop* loop) const {
  if (loop) return lay_out_loop(step, *loop);
  int64_t bytes = 0;
  for (const StepKernel& kernel : step.kernels)
    bytes = std::max(bytes, workspace_bytes(variant(kernel).kernel, sizes_, wide));
  return bytes;
}

void BoundPlan::bind_steps(const std::vector<const CudaStep*>& steps) {
  std::vector<FunctionRequest> requests;
  for (size_t i = 0; i < steps.size(); ++i)
    for (const StepKernel& kernel : steps[i]->kernels)
      requests.push_back({variant(kernel).text, wide_[i]});
  const std::vector<Function> functions = executable_.functions().get(requests);
  auto function = functions.begin();
  for (size_t i = 0; i < steps.size(); ++i) {
    const CudaStep* step = steps[i];
    BoundStep bound{step, {}, std::move(loops_[i])};
    if (bound.loop) {
      bound.loop->arena += arena_.workspaces[i];
      for (auto& slots : bound.loop->carried)
        for (int64_t& slot : slots) slot += arena_.workspaces[i];
      for (auto* slots : {&bound.loop->scanned, &bound.loop->stacked})
        for (int64_t& slot : *slots) slot += arena_.workspaces[i];
      checks_indices_ = checks_indices_ || bound.loop->body->checks_indices_;
      stands_in_ = stands_in_ || bound.loop->body->stands_in_;
    }
    host_steps_ = host_steps_ || std::holds_alternative<NodeId>(step->step.kernel);
    for (const StepKernel& kernel : step->kernels) {
      const auto& at = kinds_[kernel.kind];
      checks_indices_ = checks_indices_ || at->variant->kernel.checks_indices;
      for (const KernelAtSizes::Pass& pass : at->passes)
        bound.kernels.push_back(
            libraries_[i] ? bind_library(kernel, *executable_.plan().library_form(kernel, sizes_),
                                         libraries_[i])
                          : bind_kernel(kernel, at, pass, *function));
      ++function;
    }
    for (BoundKernel& kernel : bound.kernels) kernel.workspace = arena_.workspaces[i];
    steps_.push_back(std::move(bound));
  }
}

BoundKernel bind_kernel(const StepKernel& source, std::shared_ptr<const KernelAtSizes> at,
                        const KernelAtSizes::Pass& pass, Function function) {
  std::vector<NodeId> buffers;
  buffers.reserve(at->variant->operands.size());
  for (size_t i = 0; i < at->variant->operands.size(); ++i)
    buffers.push_back(source.operand(*at->variant, i));
  return {&source, std::move(at), &pass, function, std::move(buffers), 0};
}

BoundKernel BoundPlan::bind_library(const StepKernel& source, const LibraryForm& form,
                                    std::shared_ptr<const LibraryKernel> kernel) const {
  const auto& at = kinds_[source.kind];
  const LibraryOperands operands = operands_of(form);
  BoundKernel bound{&source, at, &at->passes[0], {}, {}, 0, std::move(kernel)};
  bound.buffers = {operands.lhs, operands.rhs, operands.addend.value_or(operands.result),
                   operands.result};
  return bound;
}

std::optional<LibraryShape> BoundPlan::library_shape(const LibraryForm& form) const {
  if (const auto* product = std::get_if<MatrixProduct>(&form)) return product_shape(*product);
  const auto& convolution = std::get<Convolution>(form);
  ConvolutionShape shape{convolution, 0};
  if (const auto& bias = convolution.bias)
    shape.bias = bias_of(convolution.result.dtype, bias->node, bias->offset);
  return shape;
}

// Of a weight, as elements of the type.
CUdeviceptr BoundPlan::bias_of(DType dtype, NodeId node, int64_t offset) const {
  const Tensor values = executable_.weight_as(dtype, node);
  return device_address(values.data()) + static_cast<CUdeviceptr>(offset) * byte_size(dtype, 1);
}

std::optional<ProductShape> BoundPlan::product_shape(const MatrixProduct& product) const {
  ProductShape shape{.math = product.math,
                     .batch = product.batch.at(sizes_),
                     .m = product.m.at(sizes_),
                     .n = product.n.at(sizes_),
                     .k = product.k.at(sizes_),
                     .lhs = {},
                     .rhs = {},
                     .result = {},
                     .addend = {},
                     .adds = product.addend.has_value(),
                     .bias = 0,
                     .scale = static_cast<float>(product.scale),
                     .relu = product.relu};
  if (std::min({shape.batch, shape.m, shape.n, shape.k}) < 1) return std::nullopt;
  bool apart = true;  // rows or columns do not overlap
  const auto matrix = [&](const MatrixProduct::Matrix& from, int64_t rows, int64_t columns) {
    const int64_t leading = sizes_(from.leading), lines = from.across ? columns : rows,
                  length = from.across ? rows : columns;
    apart = apart && (lines == 1 || leading >= length);
    return ProductShape::Matrix{
        from.dtype, sizes_(from.offset) * static_cast<int64_t>(byte_size(from.dtype, 1)), leading,
        sizes_(from.batch_stride), from.across};
  };
  shape.lhs = matrix(product.lhs, shape.m, shape.k);
  shape.rhs = matrix(product.rhs, shape.n, shape.k);
  shape.result = matrix(product.result, shape.m, shape.n);
  shape.addend = product.addend ? matrix(*product.addend, shape.m, shape.n) : shape.result;
  if (!apart) return std::nullopt;
  if (const auto& bias = product.bias)
    shape.bias = bias_of(product.result.dtype, bias->node, sizes_(bias->offset));
  return shape;
}

// Where the tuning knows that a library is the faster, and that is installed. Null: own kernels.
std::shared_ptr<const LibraryKernel> BoundPlan::library_kernel(const StepKernel& kernel) const {
  const std::optional<TunedContraction> tuned = executable_.plan().tuned(kernel, sizes_);
  if (!tuned || !prefers_library(*tuned)) return nullptr;
  const std::optional<LibraryForm> form = executable_.plan().library_form(kernel, sizes_);
  if (!form || executable_.shared().library_version(*form) != tuned->library) return nullptr;
  const std::optional<LibraryShape> shape = library_shape(*form);
  return shape ? executable_.shared().library_kernel(*shape, tuned->by_library->algorithm)
               : nullptr;
}

// --- runs

CUdeviceptr BoundPlan::address(NodeId node, const RunMemory& memory) const {
  const Place& place = place_of(node);
  const auto index = static_cast<size_t>(place.index);
  switch (place.kind) {
    case Place::Kind::fixed: return device_address(place.data);
    case Place::Kind::arena:
      return memory.arena + static_cast<CUdeviceptr>(arena_.lives[index].offset);
    case Place::Kind::input: return memory.addresses[index];
    case Place::Kind::output: return memory.addresses[graph().inputs.size() + index];
    case Place::Kind::tensor: return memory.arena + layout_.results[index];
    case Place::Kind::sizes:  // uploaded, and then fixed
    case Place::Kind::none: break;
  }
  internal_error("a value without a place");
}

bool BoundPlan::on_device(NodeId node) const {
  const Place::Kind kind = place_of(node).kind;
  return bytes(node) > 0 && (kind == Place::Kind::output || kind == Place::Kind::arena);
}

void BoundPlan::each_launch(const BoundStep& step, const RunMemory& memory, const Use& use) const {
  if (step.loop) return each_trip(step, memory, use);
  for (const BoundKernel& kernel : step.kernels) {
    const auto& [shape, sizes] = *kernel.pass;
    if (shape.grid.x == 0) continue;
    KernelLaunch launch{kernel.function, shape, {}, sizes, {}, kernel.library.get()};
    if (!kernel.library) launch.maps = kernel.at->maps;
    launch.pointers.reserve(kernel.buffers.size() + 1);
    for (NodeId node : kernel.buffers)
      launch.pointers.push_back(node.valid() ? address(node, memory)
                                : kernel.source->packed
                                    ? device_address(kernel.source->packed.data())
                                    : memory.arena + static_cast<CUdeviceptr>(kernel.workspace));
    if (kernel.library)
      launch.pointers.push_back(memory.arena + static_cast<CUdeviceptr>(kernel.workspace));
    use(launch);
  }
}

bool BoundPlan::moved(const BoundStep& step, const Addresses& from, const Addresses& to) const {
  const auto has_moved = [&](NodeId node) {
    if (!node.valid()) return false;
    const Place& place = place_of(node);
    size_t at = static_cast<size_t>(place.index);
    if (place.kind == Place::Kind::output) at += graph().inputs.size();
    else if (place.kind != Place::Kind::input) return false;
    return from[at] != to[at];
  };
  if (step.loop) {
    const Step& plain = step.step->step;
    return std::ranges::any_of(memory_of(graph(), plain), has_moved) ||
           std::ranges::any_of(plain.group->outputs, has_moved);
  }
  return std::ranges::any_of(step.kernels, [&](const BoundKernel& kernel) {
    return std::ranges::any_of(kernel.buffers, has_moved);
  });
}

std::string BoundPlan::way_of(const BoundStep& step) const {
  if (step.kernels.size() != 1) return {};
  const BoundKernel& kernel = step.kernels[0];
  if (kernel.library) return kernel.library->library();
  const CudaKernel& printed = variant(*kernel.source).kernel;
  if (printed.schedule != CudaSchedule::tile) return {};
  return tile_text(choice_of(printed, sizes_, executable_.plan().target()));
}

}  // namespace onrush::cuda
