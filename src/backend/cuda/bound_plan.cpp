#include "backend/cuda/bound_plan.h"

#include <algorithm>

#include "base/check.h"
#include "codegen/cuda_tiles.h"
#include "plan/storage.h"
#include "reference/evaluate.h"

namespace onrush::cuda {
namespace {

constexpr int64_t kLargestNarrowIndex = INT32_MAX;
constexpr uint32_t kPlainSharedBytes = 48 << 10;  // that a block has without asking

}  // namespace

BoundPlan::BoundPlan(const CudaExecutable& executable, SizeTable sizes,
                     const std::vector<const CudaStep*>& steps, std::map<NodeId, Tensor> known)
    : executable_(executable), sizes_(std::move(sizes)), known_(std::move(known)) {
  place_values(steps);
  lay_out_memory();
  bind_steps(steps);
}

bool BoundPlan::known_size(NodeId node) const {
  return std::none_of(type(node).shape.begin(), type(node).shape.end(),
                      [](Dim dim) { return dim.is_unknown(); });
}

size_t BoundPlan::bytes(NodeId node) const {
  if (!known_size(node) || type(node).dtype == DType::string) return 0;
  return byte_size(type(node).dtype, element_count(shape(node)));
}

void BoundPlan::place_values(const std::vector<const CudaStep*>& steps) {
  std::vector<Place> places(graph().nodes.size());
  const Stream stream(context());
  const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
  for (uint32_t i = 0; i < graph().nodes.size(); ++i) {
    if (const Tensor& known = executable_.prepared(NodeId{i}))
      places[i] = {Place::Kind::fixed, 0, known.data()};
    else if (graph().nodes[i].op == Op::constant)
      places[i] = {Place::Kind::fixed, 0, nullptr};  // read by the host only
    if (graph().nodes[i].op != Op::dims) continue;
    Tensor& dims = known_[NodeId{i}];
    if (!dims) dims = upload(context(), evaluate_node(graph().nodes[i], {}, size).at(0), stream);
  }
  for (auto& [node, tensor] : known_)
    places[node.index] = {Place::Kind::fixed, 0, tensor.data()};
  std::vector<const Step*> plain;
  for (const CudaStep* step : steps) plain.push_back(&step->step);
  std::vector<int64_t> workspace_bytes;
  for (const CudaStep* step : steps) {
    loops_.push_back(bind_loop(*step));
    products_.push_back(step->kernels.size() == 1 ? library_product(step->kernels[0]) : nullptr);
    workspace_bytes.push_back(products_.back()
                                  ? static_cast<int64_t>(products_.back()->workspace_bytes())
                                  : workspace_of(*step, loops_.back() ? &*loops_.back() : nullptr));
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
    layout_.inputs.push_back(take(layout_.bytes, input_bytes(i)));
    layout_.host_inputs.push_back(take(layout_.host_bytes, input_bytes(i)));
  }
  for (const GraphOutput& output : graph().outputs) {
    const bool written = place_of(output.node).kind == Place::Kind::output;
    layout_.outputs.push_back(take(layout_.bytes, written ? bytes(output.node) : 0));
    const bool small = bytes(output.node) <= kSmallOutput;
    layout_.host_outputs.push_back(take(layout_.host_bytes, small ? bytes(output.node) : 0));
  }
  layout_.results.resize(static_cast<size_t>(placement_->tensors()));
  for (uint32_t i = 0; i < graph().nodes.size(); ++i)
    if (const Place& place = place_of(NodeId{i}); place.kind == Place::Kind::tensor)
      layout_.results[static_cast<size_t>(place.index)] = take(layout_.bytes, bytes(NodeId{i}));
}

bool BoundPlan::is_wide(const CudaKernel& kernel) const {
  if (kernel.work.at(sizes_) > kLargestNarrowIndex) return true;
  return std::any_of(kernel.buffers.begin(), kernel.buffers.end(), [&](const LoopBuffer& buffer) {
    return buffer.node.valid() && known_size(buffer.node) &&
           element_count(shape(buffer.node)) > kLargestNarrowIndex;
  });
}

// The kernels of a step share its workspace, so they agree on the width.
bool BoundPlan::is_wide(const CudaStep& step) const {
  return std::any_of(step.kernels.begin(), step.kernels.end(),
                     [&](const StepKernel& kernel) { return is_wide(variant(kernel).kernel); });
}

// `loop`: null, or a loop whose offsets are set, from the workspace on.
int64_t BoundPlan::workspace_of(const CudaStep& step, BoundLoop* loop) const {
  if (loop) return lay_out_loop(step, *loop);
  int64_t bytes = 0;
  const bool wide = is_wide(step);
  for (const StepKernel& kernel : step.kernels)
    bytes = std::max(bytes, workspace_bytes(variant(kernel).kernel, sizes_, wide));
  return bytes;
}

void BoundPlan::bind_steps(const std::vector<const CudaStep*>& steps) {
  std::vector<FunctionRequest> requests;
  for (const CudaStep* step : steps) {
    const bool wide = is_wide(*step);
    for (const StepKernel& kernel : step->kernels) requests.push_back({variant(kernel).text, wide});
  }
  executable_.compile(requests);
  for (size_t i = 0; i < steps.size(); ++i) {
    const CudaStep* step = steps[i];
    const bool wide = is_wide(*step);
    BoundStep bound{step, {}, std::move(loops_[i])};
    if (bound.loop) {
      bound.loop->arena += arena_.workspaces[i];
      for (auto& slots : bound.loop->carried)
        for (int64_t& slot : slots) slot += arena_.workspaces[i];
      for (auto* slots : {&bound.loop->scanned, &bound.loop->stacked})
        for (int64_t& slot : *slots) slot += arena_.workspaces[i];
      checks_indices_ = checks_indices_ || bound.loop->body->checks_indices_;
    }
    host_steps_ = host_steps_ || std::holds_alternative<NodeId>(step->step.kernel);
    for (const StepKernel& kernel : step->kernels) {
      const CudaKernel& printed = variant(kernel).kernel;
      checks_indices_ = checks_indices_ || printed.checks_indices;
      for (int pass = 0; pass < passes_of(printed, sizes_); ++pass) {
        bound.kernels.push_back(products_[i] ? bind_product(kernel, std::move(products_[i]))
                                             : bind_kernel(kernel, variant(kernel), wide, pass));
        bound.kernels.back().workspace = arena_.workspaces[i];
      }
    }
    steps_.push_back(std::move(bound));
  }
}

BoundKernel BoundPlan::bind_kernel(const StepKernel& source, const KernelVariant& variant,
                                   bool wide, int pass) const {
  const Function function = executable_.function({variant.text, wide});
  const LaunchShape shape =
      launch_shape(launch_of(variant.kernel, sizes_, executable_.plan().target(), pass));
  if (shape.shared_bytes > kPlainSharedBytes)
    function.allow_shared_bytes(static_cast<uint32_t>(context()->device().shared_bytes_per_block -
                                                      function.static_shared_bytes()));
  std::vector<BoundMap> maps;
  if (shape.grid.x)  // else there may be an extent of 0, which no map has
    for (const CudaTensorMap& map : variant.kernel.maps)
      maps.push_back(
          bind_map(map, variant.kernel.buffers[static_cast<size_t>(map.buffer)], sizes_));
  return {function,       shape, variant.kernel.buffers,
          &source,        0,     size_arguments(variant.kernel, sizes_, pass),
          std::move(maps)};
}

BoundKernel BoundPlan::bind_product(const StepKernel& source,
                                    std::shared_ptr<const LibraryProduct> product) const {
  const MatrixProduct form = *executable_.plan().library_product(source);
  const auto& addend = form.addend ? *form.addend : form.result;
  BoundKernel bound = bind_kernel(source, variant(source), is_wide(variant(source).kernel), 0);
  bound.buffers.clear();
  bound.maps.clear();
  for (const auto* matrix : {&form.lhs, &form.rhs, &addend, &form.result})
    bound.buffers.push_back({matrix->dtype, matrix->node});
  bound.product = std::move(product);
  return bound;
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
  if (const auto& bias = product.bias) {
    const Tensor values = executable_.weight_as(product.result.dtype, bias->node);
    shape.bias = device_address(values.data()) +
                 static_cast<CUdeviceptr>(sizes_(bias->offset)) * byte_size(values.dtype(), 1);
  }
  return shape;
}

// Where the tuning knows that a library is the faster, and that is installed. Null: own kernels.
std::shared_ptr<const LibraryProduct> BoundPlan::library_product(const StepKernel& kernel) const {
  const std::optional<TunedContraction> tuned = executable_.plan().tuned(kernel, sizes_);
  if (!tuned || !prefers_library(*tuned)) return nullptr;
  const std::optional<MatrixProduct> product = executable_.plan().library_product(kernel);
  if (!product) return nullptr;
  const CublasLt* library = executable_.shared().cublaslt();
  if (!library || library->version() != tuned->library) return nullptr;
  const std::optional<ProductShape> shape = product_shape(*product);
  return shape ? library->product(*shape, tuned->by_library->algorithm) : nullptr;
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
    if (kernel.shape.grid.x == 0) continue;
    KernelLaunch launch{kernel.function, kernel.shape, {},
                        kernel.sizes,    kernel.maps,  kernel.product.get()};
    launch.pointers.reserve(kernel.buffers.size() + 1);
    for (const LoopBuffer& buffer : kernel.buffers)
      launch.pointers.push_back(buffer.node.valid() ? address(buffer.node, memory)
                                : kernel.source->packed
                                    ? device_address(kernel.source->packed.data())
                                    : memory.arena + static_cast<CUdeviceptr>(kernel.workspace));
    if (kernel.product)
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
    return std::ranges::any_of(kernel.buffers,
                               [&](const LoopBuffer& buffer) { return has_moved(buffer.node); });
  });
}

std::string BoundPlan::way_of(const BoundStep& step) const {
  if (step.kernels.size() != 1) return {};
  const BoundKernel& kernel = step.kernels[0];
  if (kernel.product) return kernel.product->library();
  const CudaKernel& printed = variant(*kernel.source).kernel;
  if (printed.schedule != CudaSchedule::tile) return {};
  return tile_text(choice_of(printed, sizes_, executable_.plan().target()));
}

}  // namespace onrush::cuda
