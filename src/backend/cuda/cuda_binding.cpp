#include "backend/cuda/cuda_binding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <optional>

#include "backend/cuda/cuda_profiler.h"
#include "backend/cuda/graph.h"
#include "backend/cuda/tuner.h"
#include "base/check.h"
#include "codegen/cuda_tiles.h"
#include "plan/cost.h"
#include "plan/storage.h"
#include "reference/evaluate.h"
#include <onrush/device_memory.h>

namespace onrush::cuda {
namespace {

constexpr int64_t kLargestNarrowIndex = INT32_MAX;
constexpr size_t kAlignment = 256;
constexpr size_t kVectorBytes = 16;  // kernels read and write pieces of that
constexpr int64_t kNumbersApart = kVectorBytes / sizeof(int64_t);
constexpr uint32_t kPlainSharedBytes = 48 << 10;  // that a block has without asking
constexpr size_t kSmallOutput = 64 << 10;  // bytes, up to which a copy on the host is nothing

bool is_on_gpu(const Tensor& tensor) { return tensor.device().kind == Device::Kind::cuda; }
size_t aligned(size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

// A tensor map at concrete sizes.
struct BoundMap {
  int buffer;
  cuuint32_t rank;
  std::array<cuuint64_t, 5> extents;  // columns, rows, batches; or see CudaTensorMap::by_lanes
  std::array<cuuint64_t, 4> strides;  // of all but the first, in bytes
  std::array<cuuint32_t, 5> box;
  CUtensorMapDataType dtype;
};

BoundMap bind_map(const CudaTensorMap& map, const LoopBuffer& buffer, const SizeTable& sizes) {
  const auto at = [&](const Extent& extent) { return static_cast<cuuint64_t>(extent.at(sizes)); };
  const cuuint64_t batches = at(map.batches), bytes = byte_size(buffer.dtype, 1);
  const cuuint64_t row = at(map.row_stride) * bytes;
  const CUtensorMapDataType dtype = buffer.dtype == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                                : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const auto box_columns = static_cast<cuuint32_t>(128 / bytes),
             box_rows = static_cast<cuuint32_t>(map.box_rows);
  if (map.by_lanes)
    return {map.buffer,
            5,
            {at(map.columns), 2, 4, 4, at(map.rows) / 32},
            {row, 8 * row, 2 * row, 32 * row},
            {box_columns, 2, 4, 4, box_rows / 32},
            dtype};
  return {map.buffer,
          3,
          {at(map.columns), at(map.rows), batches},
          {row, batches > 1 ? at(map.batch_stride) * bytes : row},
          {box_columns, box_rows, 1},
          dtype};
}

// As device/persistent.cuh reads it.
CUtensorMap encode(const BoundMap& map, CUdeviceptr address) {
  constexpr cuuint32_t kSteps[] = {1, 1, 1, 1, 1};
  CUtensorMap result;
  check(driver().cuTensorMapEncodeTiled(
            &result, map.dtype, map.rank, reinterpret_cast<void*>(address), map.extents.data(),
            map.strides.data(), map.box.data(), kSteps, CU_TENSOR_MAP_INTERLEAVE_NONE,
            CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeTiled");
  return result;
}

// A kernel at concrete sizes.
struct BoundKernel {
  Function function;
  LaunchShape shape;
  std::vector<LoopBuffer> buffers;
  const StepKernel* source;
  int64_t workspace;  // offset in the arena
  std::vector<int64_t> sizes;
  std::vector<BoundMap> maps;
  // Where a library computes it: instead of the function, from the left and right operands, the
  // addend and the result, in this order in `buffers`.
  std::shared_ptr<const LibraryProduct> product = nullptr;
};

class CudaBinding;

// A loop at concrete sizes: as many launches of its body's kernels as it has trips. Carried values
// alternate between two slots of the workspace. Elements of scanned and stacked values are used in
// place, or by way of a slot where they are not aligned as kernels need.
struct BoundLoop {
  std::shared_ptr<const CudaBinding> body;
  int64_t trips;
  Tensor numbers;  // of the trips, on the device, kVectorBytes apart
  Function copy;
  // Offsets in the arena.
  int64_t arena = 0;                            // of the body's values
  std::vector<std::array<int64_t, 2>> carried;  // by carried value
  std::vector<int64_t> scanned, stacked;        // by scanned value, by stacked result
};

struct BoundStep {
  const CudaStep* step;
  std::vector<BoundKernel> kernels;
  std::optional<BoundLoop> loop;
  mutable std::shared_ptr<const ProfiledStep> profiled = {};  // once a run is profiled
};

// What is put on a stream.
struct KernelLaunch {
  Function function;
  LaunchShape shape;
  std::vector<CUdeviceptr> pointers;
  const int64_t* sizes;
  std::span<const BoundMap> maps = {};
  const LibraryProduct* product = nullptr;  // instead of the function; the last pointer is to its
                                            // workspace
};

// Where the graph's inputs and outputs are during a run, as its kernels see them.
using Addresses = std::vector<CUdeviceptr>;  // inputs, then outputs

// All kernels of a run as one graph, for inputs and outputs at certain addresses.
struct Recording {
  GraphExec graph;
  std::vector<CUgraphNode> nodes;  // by launch
  std::vector<size_t> first_node;  // by step, and one more
  Addresses addresses;
  bool traced;  // made while CUPTI listened, which sees the kernels of no other
  std::unique_ptr<MemoryCount> memory;  // what the device had less afterwards
};

// What all kernels of a run are given: `error` becomes 1 if an index was out of range; a model that
// gives no seeds takes them from `seed` on.
struct RunWords {
  uint32_t error = 0, unused = 0;
  uint64_t seed = 0;
};

// The memory of one run, reused by later ones.
struct Frame {
  Frame(CudaShared& shared, size_t bytes, size_t host_bytes)
      : own(shared.context),
        stream(Stream::borrow(shared.context, own.handle())),
        memory(shared.context, bytes),
        words(shared.context, sizeof(RunWords)),
        host(shared.context, host_bytes + kAlignment),
        scratch(shared.scratch, bytes),
        pinned(shared.pinned, host_bytes + kAlignment),
        ready(shared.context),
        done(shared.context) {
    const RunWords first{.seed = fresh_seed()};
    std::memcpy(host.data(), &first, sizeof first);
    copy_to_device(words.pointer(), host.data(), sizeof first, own);
    own.synchronize();
    host_error() = 0;
  }
  uint32_t& host_error() {
    return *reinterpret_cast<uint32_t*>(host.data() + host.bytes() - kAlignment);
  }

  Stream own;
  Stream stream;        // of the latest run: its own or the caller's
  DeviceBuffer memory;  // arena, then inputs, outputs and results of host steps
  DeviceBuffer words;   // RunWords
  PinnedBuffer host;    // inputs and small outputs on their way, then the error
  MemoryCount scratch, pinned;
  Event ready;           // the default stream has done what came before the latest run
  Event done;            // of the latest run
  bool pending = false;  // nobody has waited for it
  bool staged = false;   // it read inputs from `host`
  int runs = 0;
  std::optional<Recording> recording;
};

class CudaBinding final : public Binding {
 public:
  // known: values on the device that these steps read and did not prepare.
  CudaBinding(std::shared_ptr<const CudaExecutable> owner, const CudaExecutable& executable,
              SizeTable sizes, std::vector<const CudaStep*> steps, std::map<NodeId, Tensor> known)
      : owner_(std::move(owner)),
        executable_(executable),
        sizes_(std::move(sizes)),
        known_(std::move(known)) {
    const ContextScope scope(*context());
    place_values(steps);
    lay_out_memory();
    bind_steps(steps);
  }

  void run(RunState& state, std::span<const Tensor> inputs,
           std::span<Tensor> outputs) const override;
  std::vector<Tensor> run_group() const;
  // Measures the contractions that the tuning does not know yet; whether there were any.
  bool tune() const;

 private:
  // What one run works with, besides its memory.
  struct Values {
    std::span<const Tensor> inputs;
    Addresses addresses;
    CUdeviceptr arena, words;
    std::vector<Tensor> host_results;  // of host steps
    CudaProfiler* profiler = nullptr;  // null: nobody wants to know
  };

  const Place& place(NodeId node) const { return (*placement_)[node]; }
  const Graph& graph() const { return executable_.graph(); }
  const ContextPtr& context() const { return executable_.shared().context; }
  const TensorType& type(NodeId node) const { return graph().type(node); }
  Shape shape(NodeId node) const { return concrete_shape(type(node).shape, sizes_); }
  bool known_size(NodeId node) const;
  size_t bytes(NodeId node) const;
  size_t input_bytes(size_t i) const;

  void place_values(const std::vector<const CudaStep*>& steps);
  void lay_out_memory();
  void bind_steps(const std::vector<const CudaStep*>& steps);
  const KernelVariant& variant(const StepKernel& kernel) const {
    return executable_.plan().variant(kernel, sizes_);
  }
  std::optional<ProductShape> product_shape(const MatrixProduct& product) const;
  std::shared_ptr<const LibraryProduct> library_product(const StepKernel& kernel) const;
  BoundKernel bind_kernel(const StepKernel& source, const KernelVariant& variant, bool wide,
                          int pass) const;
  BoundKernel bind_product(const StepKernel& source,
                           std::shared_ptr<const LibraryProduct> product) const;
  std::string way_of(const BoundStep& step) const;
  std::map<TuningKey, std::vector<const BoundStep*>> untuned_steps() const;
  std::vector<CublasLtAlgorithm> library_algorithms(const StepKernel& kernel) const;
  std::string title_of(const BoundStep& step) const;
  void fill_for_tuning(Frame& frame, Values& values) const;
  std::vector<TileChoice> choices_of(const StepKernel& kernel) const;
  std::optional<TunedContraction> measure(const std::vector<const BoundStep*>& steps,
                                          const Values& values,
                                          const DeviceBuffer& workspace) const;
  bool is_wide(const CudaKernel& kernel) const;
  bool is_wide(const CudaStep& step) const;
  int64_t workspace_of(const CudaStep& step, BoundLoop* loop) const;
  std::optional<BoundLoop> bind_loop(const CudaStep& step) const;
  int64_t lay_out_loop(const CudaStep& step, BoundLoop& loop) const;

  Addresses addresses(std::span<const Tensor> inputs, std::span<const Tensor> outputs,
                      const Frame& frame) const;
  CUdeviceptr address(NodeId node, const Values& values) const;
  void send_inputs(Frame& frame, const Values& values) const;
  template <class Use>
  void each_launch(const BoundStep& step, const Values& values, const Use& use) const;
  template <class Use>
  void each_trip(const BoundStep& step, const Values& values, const Use& use) const;
  bool moved(const BoundStep& step, const Addresses& from, const Addresses& to) const;
  void execute(const BoundStep& step, Frame& frame, Values& values, bool& after_kernel) const;
  void execute_host(NodeId id, Frame& frame, Values& values) const;
  void launch_all(RunState& state, Frame& frame, Values& values) const;
  void replay(Frame& frame, Values& values) const;
  void record(Frame& frame, Values& values, bool traced) const;
  Tensor host_value(NodeId node, const Frame& frame, const Values& values) const;
  bool on_device(NodeId node) const;
  bool needs_waiting(const RunState& state, std::span<const Tensor> outputs) const;
  bool make_outputs_on_device(std::span<Tensor> outputs) const;
  void follow_default_stream(const Frame& frame) const;
  void send_outputs(Frame& frame, const Values& values, std::span<Tensor> outputs) const;
  void finish(Frame& frame, const Values& values, Device results_on,
              std::span<Tensor> outputs) const;
  [[noreturn]] void report_index(std::unique_ptr<Frame> frame) const;
  void describe_steps(const Values& values) const;
  void check_capture(std::span<const Tensor> inputs, std::span<const Tensor> outputs) const;
  std::unique_ptr<Frame> take_frame(const RunState& state, bool capturing) const;
  std::unique_ptr<Frame> take_idle(CUstream stream, bool capturing) const;

  std::shared_ptr<const CudaExecutable> owner_;
  const CudaExecutable& executable_;
  SizeTable sizes_;
  std::optional<PlacementPlan> placement_;
  ArenaLayout arena_;
  std::vector<std::optional<BoundLoop>> loops_;  // by step, until they are part of it
  std::vector<std::shared_ptr<const LibraryProduct>> products_;  // by step; null: own kernels
  std::map<NodeId, Tensor> known_;  // on the device: sizes and what depends on nothing else
  // Offsets in a frame's device memory, and of inputs and outputs in its host memory.
  std::vector<size_t> input_offsets_, output_offsets_, result_offsets_;
  std::vector<size_t> host_input_offsets_, host_output_offsets_;
  size_t frame_bytes_ = 0, host_bytes_ = 0;
  mutable std::once_flag described_;
  std::vector<BoundStep> steps_;
  bool host_steps_ = false;
  bool checks_indices_ = false;  // kernels may find an index out of range
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Frame>> idle_;
  mutable std::vector<std::unique_ptr<Frame>> captured_;  // what graphs of the caller's work in
};

bool CudaBinding::known_size(NodeId node) const {
  return std::none_of(type(node).shape.begin(), type(node).shape.end(),
                      [](Dim dim) { return dim.is_unknown(); });
}

// On the device; strings stay on the host.
size_t CudaBinding::bytes(NodeId node) const {
  if (!known_size(node) || type(node).dtype == DType::string) return 0;
  return byte_size(type(node).dtype, element_count(shape(node)));
}

void CudaBinding::place_values(const std::vector<const CudaStep*>& steps) {
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
  for (auto& [node, tensor] : known_) places[node.index] = {Place::Kind::fixed, 0, tensor.data()};
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

size_t CudaBinding::input_bytes(size_t i) const {
  const TensorType& type = graph().inputs[i].type;
  if (type.dtype == DType::string) return 0;
  return byte_size(type.dtype, element_count(concrete_shape(type.shape, sizes_)));
}

void CudaBinding::lay_out_memory() {
  frame_bytes_ = aligned(static_cast<size_t>(arena_.bytes));
  const auto take = [](size_t& end, size_t bytes) {
    const size_t offset = end;
    end += aligned(bytes);
    return offset;
  };
  for (size_t i = 0; i < graph().inputs.size(); ++i) {
    input_offsets_.push_back(take(frame_bytes_, input_bytes(i)));
    host_input_offsets_.push_back(take(host_bytes_, input_bytes(i)));
  }
  for (const GraphOutput& output : graph().outputs) {
    const bool written = place(output.node).kind == Place::Kind::output;
    output_offsets_.push_back(take(frame_bytes_, written ? bytes(output.node) : 0));
    const bool small = bytes(output.node) <= kSmallOutput;
    host_output_offsets_.push_back(take(host_bytes_, small ? bytes(output.node) : 0));
  }
  result_offsets_.resize(static_cast<size_t>(placement_->tensors()));
  for (uint32_t i = 0; i < graph().nodes.size(); ++i)
    if (const Place& place = this->place(NodeId{i}); place.kind == Place::Kind::tensor)
      result_offsets_[static_cast<size_t>(place.index)] = take(frame_bytes_, bytes(NodeId{i}));
}

bool CudaBinding::is_wide(const CudaKernel& kernel) const {
  if (kernel.work.at(sizes_) > kLargestNarrowIndex) return true;
  return std::any_of(kernel.buffers.begin(), kernel.buffers.end(), [&](const LoopBuffer& buffer) {
    return buffer.node.valid() && known_size(buffer.node) &&
           element_count(shape(buffer.node)) > kLargestNarrowIndex;
  });
}

// The kernels of a step share its workspace, so they agree on the width.
bool CudaBinding::is_wide(const CudaStep& step) const {
  return std::any_of(step.kernels.begin(), step.kernels.end(),
                     [&](const StepKernel& kernel) { return is_wide(variant(kernel).kernel); });
}

// `loop`: null, or a loop whose offsets are set, from the workspace on.
int64_t CudaBinding::workspace_of(const CudaStep& step, BoundLoop* loop) const {
  if (loop) return lay_out_loop(step, *loop);
  int64_t bytes = 0;
  const bool wide = is_wide(step);
  for (const StepKernel& kernel : step.kernels)
    bytes = std::max(bytes, workspace_bytes(variant(kernel).kernel, sizes_, wide));
  return bytes;
}

std::optional<BoundLoop> CudaBinding::bind_loop(const CudaStep& step) const {
  if (!step.body) return std::nullopt;
  const auto& attr = graph()[std::get<DevicePrimitive>(step.step.kernel).node].as<LoopAttr>();
  const int64_t trips = sizes_(attr.trips);
  Tensor numbers(DType::i64, {std::max<int64_t>(trips, 1) * kNumbersApart});
  for (int64_t trip = 0; trip < trips; ++trip)
    numbers.as<int64_t>()[static_cast<size_t>(trip * kNumbersApart)] = trip;
  const FunctionRequest copy{executable_.plan().copy_text(), false};
  executable_.compile({copy});
  return BoundLoop{.body = std::static_pointer_cast<const CudaBinding>(
                       make_binding(executable_.body(step), sizes_)),
                   .trips = trips,
                   .numbers = upload(context(), numbers, Stream(context())),
                   .copy = executable_.function(copy)};
}

// Gives the bytes of the workspace.
int64_t CudaBinding::lay_out_loop(const CudaStep& step, BoundLoop& loop) const {
  const auto& attr = graph()[std::get<DevicePrimitive>(step.step.kernel).node].as<LoopAttr>();
  size_t end = 0;
  const auto take = [&](size_t bytes) {
    const size_t offset = end;
    end += aligned(bytes);
    return static_cast<int64_t>(offset);
  };
  loop.arena = take(static_cast<size_t>(loop.body->arena_.bytes));
  const CudaBinding& body = *loop.body;
  for (size_t i = 0; i < body.graph().outputs.size(); ++i) {
    const size_t bytes = body.bytes(body.graph().outputs[i].node);
    if (i >= static_cast<size_t>(attr.carried)) loop.stacked.push_back(take(bytes));
    else loop.carried.push_back({take(bytes), take(bytes)});
  }
  for (int i = attr.carried; i < attr.carried + attr.scanned; ++i)
    loop.scanned.push_back(take(body.input_bytes(static_cast<size_t>(i))));
  return static_cast<int64_t>(end);
}

LaunchShape launch_shape(const CudaLaunch& launch) {
  LaunchShape shape;
  shape.grid.x = static_cast<uint32_t>(launch.blocks);
  shape.block = {static_cast<uint32_t>(launch.threads_x), static_cast<uint32_t>(launch.threads_y)};
  shape.cluster.x = static_cast<uint32_t>(launch.cluster);
  shape.shared_bytes = static_cast<uint32_t>(launch.shared_bytes);
  return shape;
}

void CudaBinding::bind_steps(const std::vector<const CudaStep*>& steps) {
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

// REQUIRES that the variant is compiled.
BoundKernel CudaBinding::bind_kernel(const StepKernel& source, const KernelVariant& variant,
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

BoundKernel CudaBinding::bind_product(const StepKernel& source,
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

// Inputs and outputs that lie on the device, aligned, are used in place; others have a copy in the
// frame.
Addresses CudaBinding::addresses(std::span<const Tensor> inputs, std::span<const Tensor> outputs,
                                 const Frame& frame) const {
  const auto in_place = [&](const Tensor& tensor) {
    return is_on_gpu(tensor) && device_address(tensor.data()) % kVectorBytes == 0;
  };
  Addresses result;
  for (size_t i = 0; i < graph().inputs.size(); ++i)
    result.push_back(i < inputs.size() && in_place(inputs[i])
                         ? device_address(inputs[i].data())
                         : frame.memory.pointer() + input_offsets_[i]);
  for (size_t i = 0; i < graph().outputs.size(); ++i)
    result.push_back(i < outputs.size() && in_place(outputs[i])
                         ? device_address(outputs[i].data())
                         : frame.memory.pointer() + output_offsets_[i]);
  return result;
}

CUdeviceptr CudaBinding::address(NodeId node, const Values& values) const {
  const Place& place = this->place(node);
  const auto index = static_cast<size_t>(place.index);
  switch (place.kind) {
    case Place::Kind::fixed: return device_address(place.data);
    case Place::Kind::arena:
      return values.arena + static_cast<CUdeviceptr>(arena_.lives[index].offset);
    case Place::Kind::input: return values.addresses[index];
    case Place::Kind::output: return values.addresses[graph().inputs.size() + index];
    case Place::Kind::tensor: return values.arena + result_offsets_[index];
    case Place::Kind::sizes:  // uploaded, and then fixed
    case Place::Kind::none: break;
  }
  internal_error("a value without a place");
}

// Copies inputs that are not used in place into the frame: those on the host by way of pinned
// memory, in pieces so that the two copies overlap.
void CudaBinding::send_inputs(Frame& frame, const Values& values) const {
  constexpr size_t kPiece = size_t{1} << 20;
  frame.staged = false;
  for (size_t i = 0; i < values.inputs.size(); ++i) {
    const Tensor& input = values.inputs[i];
    const size_t bytes = input_bytes(i);
    if (!bytes) continue;
    if (is_on_gpu(input)) {
      if (values.addresses[i] == device_address(input.data())) continue;
      copy_on_device(values.addresses[i], device_address(input.data()), bytes, frame.stream);
      if (values.profiler) values.profiler->copied(frame.stream);
      continue;
    }
    frame.staged = true;
    std::byte* staging = frame.host.data() + host_input_offsets_[i];
    const auto* source = static_cast<const std::byte*>(input.data());
    for (size_t at = 0; at < bytes; at += kPiece) {
      const size_t piece = std::min(kPiece, bytes - at);
      std::memcpy(staging + at, source + at, piece);
      copy_to_device(values.addresses[i] + at, staging + at, piece, frame.stream);
      if (values.profiler) values.profiler->copied(frame.stream);
    }
  }
}

// The value in host memory; waits for the device if that has it.
Tensor CudaBinding::host_value(NodeId node, const Frame& frame, const Values& values) const {
  const Place& place = this->place(node);
  if (const auto* constant = std::get_if<ConstantAttr>(&graph()[node].attr))
    return constant->tensor;
  if (place.kind == Place::Kind::tensor)
    return values.host_results[static_cast<size_t>(place.index)];
  if (place.kind == Place::Kind::input) {
    const Tensor& input = values.inputs[static_cast<size_t>(place.index)];
    if (input.device().kind == Device::Kind::cpu) return input;
  }
  Tensor result(type(node).dtype, shape(node));
  if (result.count()) {
    copy_to_host(result.data(), address(node, values), result.bytes(), frame.stream);
    if (values.profiler) values.profiler->copied(frame.stream);
  }
  frame.stream.synchronize();
  return result;
}

void CudaBinding::execute_host(NodeId id, Frame& frame, Values& values) const {
  const Node& node = graph()[id];
  std::vector<Tensor> operands;
  for (NodeId operand : node.inputs) operands.push_back(host_value(operand, frame, values));
  const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
  const std::vector<Tensor> results = evaluate_node(with_fresh_seed(node), operands, size);
  const int home = executable_.plan().schedule().home[id.index];
  for (NodeId output : executable_.plan().schedule().groups[static_cast<size_t>(home)].outputs) {
    const size_t part = output == id ? 0 : static_cast<size_t>(graph()[output].as<GetAttr>().index);
    const auto index = static_cast<size_t>(place(output).index);
    values.host_results[index] = results[part];
    if (!bytes(output)) continue;
    copy_to_device(frame.memory.pointer() + result_offsets_[index], results[part].data(),
                   results[part].bytes(), frame.stream);
    if (values.profiler) values.profiler->copied(frame.stream);
  }
}

// Calls use(launch) for every kernel that the step launches, in order.
template <class Use>
void CudaBinding::each_launch(const BoundStep& step, const Values& values, const Use& use) const {
  if (step.loop) return each_trip(step, values, use);
  for (const BoundKernel& kernel : step.kernels) {
    if (kernel.shape.grid.x == 0) continue;
    KernelLaunch launch{kernel.function,     kernel.shape, {},
                        kernel.sizes.data(), kernel.maps,  kernel.product.get()};
    launch.pointers.reserve(kernel.buffers.size() + 1);
    for (const LoopBuffer& buffer : kernel.buffers)
      launch.pointers.push_back(buffer.node.valid() ? address(buffer.node, values)
                                : kernel.source->packed
                                    ? device_address(kernel.source->packed.data())
                                    : values.arena + static_cast<CUdeviceptr>(kernel.workspace));
    if (kernel.product)
      launch.pointers.push_back(values.arena + static_cast<CUdeviceptr>(kernel.workspace));
    use(launch);
  }
}

// The same for a loop: see LoopAttr for the order of its operands and results.
template <class Use>
void CudaBinding::each_trip(const BoundStep& step, const Values& values, const Use& use) const {
  const BoundLoop& loop = *step.loop;
  const CudaBinding& body = *loop.body;
  const NodeId id = std::get<DevicePrimitive>(step.step->step.kernel).node;
  const Node& node = graph()[id];
  const auto& attr = node.as<LoopAttr>();
  const auto carried = static_cast<size_t>(attr.carried),
             scanned = static_cast<size_t>(attr.scanned), operands = node.inputs.size(),
             outputs = body.graph().outputs.size();
  std::vector<CUdeviceptr> results(outputs);  // 0: nobody reads it
  for (NodeId output : step.step->step.group->outputs)
    results[static_cast<size_t>(graph()[output].as<GetAttr>().index)] = address(output, values);
  const auto at = [&](int64_t offset) { return values.arena + static_cast<CUdeviceptr>(offset); };
  const auto copy = [&](CUdeviceptr from, CUdeviceptr to, size_t bytes) {
    const auto count = static_cast<int64_t>(bytes);
    if (count == 0) return;
    const CudaLaunch shape = copy_launch(count, executable_.plan().target());
    use(KernelLaunch{loop.copy, launch_shape(shape), {from, to}, &count});
  };
  const auto bytes_of = [&](size_t i) { return body.bytes(body.graph().outputs[i].node); };
  for (size_t i = 0; loop.trips == 0 && i < carried; ++i)
    if (results[i]) copy(address(node.inputs[i], values), results[i], bytes_of(i));
  for (int64_t trip = 0; trip < loop.trips; ++trip) {
    const auto number = static_cast<CUdeviceptr>(trip);
    const auto element = attr.reverse ? static_cast<CUdeviceptr>(loop.trips - 1) - number : number;
    Values inner{.arena = at(loop.arena), .words = values.words};
    for (size_t i = 0; i < operands; ++i) {
      CUdeviceptr from = i < carried && trip > 0 ? at(loop.carried[i][(trip + 1) % 2])
                                                 : address(node.inputs[i], values);
      if (i >= carried && i < carried + scanned) {
        const size_t bytes = body.input_bytes(i);
        from += element * bytes;
        if (bytes % kVectorBytes) {
          copy(from, at(loop.scanned[i - carried]), bytes);
          from = at(loop.scanned[i - carried]);
        }
      }
      inner.addresses.push_back(from);
    }
    inner.addresses.push_back(device_address(loop.numbers.data()) +
                              number * kNumbersApart * sizeof(int64_t));
    for (size_t i = 0; i < outputs; ++i) {
      const bool last = trip == loop.trips - 1;
      if (i < carried)
        inner.addresses.push_back(last && results[i] ? results[i] : at(loop.carried[i][trip % 2]));
      else
        inner.addresses.push_back(results[i] && bytes_of(i) % kVectorBytes == 0
                                      ? results[i] + number * bytes_of(i)
                                      : at(loop.stacked[i - carried]));
    }
    for (const BoundStep& inside : body.steps_) body.each_launch(inside, inner, use);
    for (size_t i = carried; i < outputs; ++i)
      if (results[i] && bytes_of(i) % kVectorBytes)
        copy(at(loop.stacked[i - carried]), results[i] + number * bytes_of(i), bytes_of(i));
  }
}

// Calls use(arguments) with what the driver wants.
template <class Use>
void with_arguments(KernelLaunch launch, CUdeviceptr words, const Use& use) {
  std::vector<void*> arguments;
  arguments.reserve(launch.pointers.size() + 2 + launch.maps.size());
  for (CUdeviceptr& pointer : launch.pointers) arguments.push_back(&pointer);
  arguments.push_back(const_cast<int64_t*>(launch.sizes));
  arguments.push_back(&words);
  std::vector<CUtensorMap> maps;
  maps.reserve(launch.maps.size());
  for (const BoundMap& map : launch.maps) {
    maps.push_back(encode(map, launch.pointers[static_cast<size_t>(map.buffer)]));
    arguments.push_back(&maps.back());
  }
  use(arguments);
}

// programmatic: it may start while the kernel ahead of it ends, and waits by itself for what that
// writes. A library's kernel does not, so it never may.
void put_on_stream(KernelLaunch kernel, bool programmatic, CUdeviceptr words,
                   const Stream& stream) {
  if (kernel.product) {
    const std::vector<CUdeviceptr>& p = kernel.pointers;
    return kernel.product->launch(p[0], p[1], p[2], p[3], p[4], stream);
  }
  kernel.shape.programmatic = programmatic;
  with_arguments(kernel, words, [&](std::span<void* const> arguments) {
    launch(kernel.function, kernel.shape, stream, arguments);
  });
}

void CudaBinding::execute(const BoundStep& step, Frame& frame, Values& values,
                          bool& after_kernel) const {
  if (const auto* host = std::get_if<NodeId>(&step.step->step.kernel)) {
    after_kernel = false;
    return execute_host(*host, frame, values);
  }
  each_launch(step, values, [&](KernelLaunch kernel) {
    put_on_stream(kernel, after_kernel && executable_.plan().target().clusters, values.words,
                  frame.stream);
    if (values.profiler) values.profiler->launched(step.profiled, frame.stream);
    after_kernel = !values.profiler || values.profiler->sees_graphs();
  });
}

// Records all kernels as a graph.
void CudaBinding::record(Frame& frame, Values& values, bool traced) const {
  Capture capture(frame.stream);
  std::vector<CUgraphNode> nodes;
  std::vector<size_t> first_node = {0};
  for (const BoundStep& step : steps_) {
    each_launch(step, values, [&](KernelLaunch kernel) {
      put_on_stream(kernel, !nodes.empty() && executable_.plan().target().clusters, values.words,
                    frame.stream);
      nodes.push_back(capture.last_node());
    });
    first_node.push_back(nodes.size());
  }
  CapturedGraph captured = capture.end();
  const size_t before = memory_use().free;
  GraphExec graph(std::move(captured));
  const size_t after = memory_use().free;
  frame.recording.emplace(
      Recording{std::move(graph), std::move(nodes), std::move(first_node), values.addresses, traced,
                std::make_unique<MemoryCount>(executable_.shared().graphs,
                                              before > after ? before - after : 0)});
}

// Whether a step reads or writes an input or output whose address is another now.
bool CudaBinding::moved(const BoundStep& step, const Addresses& from, const Addresses& to) const {
  const auto has_moved = [&](NodeId node) {
    if (!node.valid()) return false;
    const Place& place = this->place(node);
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

// Launches the recorded graph, with the addresses of this run's inputs and outputs.
void CudaBinding::replay(Frame& frame, Values& values) const {
  Recording& recording = *frame.recording;
  if (recording.addresses != values.addresses) {
    for (size_t i = 0; i < steps_.size(); ++i) {
      if (!moved(steps_[i], recording.addresses, values.addresses)) continue;
      size_t node = recording.first_node[i];
      each_launch(steps_[i], values, [&](const KernelLaunch& kernel) {
        const CUgraphNode at = recording.nodes[node++];
        if (kernel.product) return;  // nothing that moves, see CudaPlan::library_product()
        with_arguments(kernel, values.words, [&](std::span<void* const> arguments) {
          recording.graph.set_kernel(at, kernel.function, kernel.shape, arguments);
        });
      });
    }
    recording.addresses = values.addresses;
  }
  recording.graph.launch(frame.stream);
  if (!values.profiler) return;
  for (size_t i = 0; i < steps_.size(); ++i)
    for (size_t node = recording.first_node[i]; node < recording.first_node[i + 1]; ++node)
      values.profiler->launched(steps_[i].profiled, frame.stream);
}

// An idle frame that a run on `stream` (null: one of its own) may use at once.
std::unique_ptr<Frame> CudaBinding::take_idle(CUstream stream, bool capturing) const {
  const std::lock_guard lock(mutex_);
  for (auto frame = idle_.rbegin(); frame != idle_.rend(); ++frame) {
    const bool in_order = stream && !capturing && (*frame)->stream.handle() == stream;
    if ((*frame)->pending && !in_order && !(*frame)->done.reached()) continue;
    std::unique_ptr<Frame> taken = std::move(*frame);
    idle_.erase(std::next(frame).base());
    return taken;
  }
  return nullptr;
}

std::unique_ptr<Frame> CudaBinding::take_frame(const RunState& state, bool capturing) const {
  std::unique_ptr<Frame> frame = take_idle(static_cast<CUstream>(state.stream), capturing);
  if (!frame) {
    const size_t limit = executable_.shared().limit;
    if (limit && frame_bytes_ + executable_.shared().weights.bytes() > limit)
      fail(ErrorCode::out_of_memory,
           "a run needs {} bytes of device memory beside {} bytes of weights, above the session's "
           "limit of {}",
           frame_bytes_, executable_.shared().weights.bytes(), limit);
    frame = std::make_unique<Frame>(executable_.shared(), frame_bytes_, host_bytes_);
  }
  frame->stream = Stream::borrow(
      context(), state.stream ? static_cast<CUstream>(state.stream) : frame->own.handle());
  return frame;
}

// What a captured run reads from the host is read once, when it is captured.
void CudaBinding::check_capture(std::span<const Tensor> inputs,
                                std::span<const Tensor> outputs) const {
  for (size_t i = 0; i < inputs.size(); ++i)
    if (!is_on_gpu(inputs[i]) && input_bytes(i))
      fail(ErrorCode::invalid_argument,
           "input '{}' is on the host: a stream that captures needs it on the device",
           graph().inputs[i].name);
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!is_on_gpu(outputs[i]) || !on_device(graph().outputs[i].node))
      fail(ErrorCode::invalid_argument,
           "output '{}' is not written to memory given on the device: a stream that captures needs "
           "that",
           graph().outputs[i].name);
  if (host_steps_)
    fail(ErrorCode::invalid_argument,
         "this model cannot be captured: some of its steps run on the host");
}

void CudaBinding::launch_all(RunState& state, Frame& frame, Values& values) const {
  const ProfileTimer timer(state, launch_step());
  // The first run may be the only one at these sizes: it is not worth a graph. One that is captured
  // becomes part of the caller's.
  const bool as_graph = !host_steps_ && frame.runs > 0 && !frame.stream.capturing() &&
                        (!values.profiler || values.profiler->sees_graphs());
  if (as_graph) {
    const bool traced = values.profiler != nullptr;
    if (!frame.recording || (traced && !frame.recording->traced)) record(frame, values, traced);
    return replay(frame, values);
  }
  bool after_kernel = false;
  for (const BoundStep& step : steps_) {
    if (host_steps_) state.check_cancelled();
    execute(step, frame, values, after_kernel);
  }
}

// Makes those that kernels write and that have no memory; true if there are any.
bool CudaBinding::make_outputs_on_device(std::span<Tensor> outputs) const {
  bool any = false;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NodeId node = graph().outputs[i].node;
    if (outputs[i] || !on_device(node)) continue;
    outputs[i] = executable_.shared().pool->tensor(type(node).dtype, shape(node));
    any = true;
  }
  return any;
}

// Until the default stream has come this far, others may use the memory of inputs and outputs.
void CudaBinding::follow_default_stream(const Frame& frame) const {
  frame.ready.record(Stream::borrow(context(), CU_STREAM_LEGACY));
  frame.stream.wait(frame.ready);
}

// What profiles say of the steps at the sizes of the binding.
void CudaBinding::describe_steps(const Values& values) const {
  const std::vector<int64_t> live_bytes = arena_.live_bytes();
  for (size_t i = 0; i < steps_.size(); ++i) {
    int launches = 0;
    each_launch(steps_[i], values, [&](const KernelLaunch&) { ++launches; });
    steps_[i].profiled = profiled_at(graph(), steps_[i].step->step, sizes_, live_bytes[i],
                                     std::max(1, launches), way_of(steps_[i]));
  }
}

void CudaBinding::run(RunState& state, std::span<const Tensor> inputs,
                      std::span<Tensor> outputs) const {
  const ContextScope scope(*context());
  const bool capturing =
      state.stream && Stream::borrow(context(), static_cast<CUstream>(state.stream)).capturing();
  std::optional<RelaxedCapture> relaxed;
  if (capturing) relaxed.emplace();
  if (capturing) check_capture(inputs, outputs);
  state.check_cancelled();
  const bool waits = needs_waiting(state, outputs);
  const bool given =
      std::ranges::any_of(inputs, is_on_gpu) || std::ranges::any_of(outputs, is_on_gpu);
  const bool made = state.results_on.kind == Device::Kind::cuda && make_outputs_on_device(outputs);
  std::unique_ptr<Frame> frame = take_frame(state, capturing);
  Values values{inputs,
                addresses(inputs, outputs, *frame),
                frame->memory.pointer(),
                frame->words.pointer(),
                std::vector<Tensor>(static_cast<size_t>(placement_->tensors())),
                static_cast<CudaProfiler*>(state.profiler)};
  if (frame->pending && !capturing) {
    if (frame->host_error()) report_index(std::move(frame));  // of an earlier run
    // That may still read its inputs from the frame.
    if (frame->staged) frame->done.synchronize();
  }
  if (made || (given && !state.stream)) follow_default_stream(*frame);
  if (state.profile) std::call_once(described_, [&] { describe_steps(values); });
  if (values.profiler) values.profiler->begin(frame->stream);
  {
    const ProfileTimer timer(state, send_step());
    send_inputs(*frame, values);
  }
  launch_all(state, *frame, values);
  ++frame->runs;
  {
    const ProfileTimer timer(state, send_step());
    send_outputs(*frame, values, outputs);
  }
  if (capturing) {
    const std::lock_guard lock(mutex_);
    captured_.push_back(std::move(frame));
    return;
  }
  frame->pending = !waits;
  if (frame->pending) {
    frame->done.record(frame->stream);
  } else {
    const ProfileTimer timer(state, wait_step());
    frame->stream.synchronize();
  }
  if (values.profiler) values.profiler->end();
  if (!frame->pending) {
    if (frame->host_error()) report_index(std::move(frame));
    finish(*frame, values, state.results_on, outputs);
  }
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(frame));
}

void CudaBinding::report_index(std::unique_ptr<Frame> frame) const {
  frame->stream.synchronize();
  fill(frame->words.pointer(), std::byte{0}, sizeof(uint32_t), frame->own);
  frame->own.synchronize();
  frame->host_error() = 0;
  frame->pending = false;
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(frame));
  }
  fail(ErrorCode::invalid_argument, "an index is outside of its axis");
}

// An output that kernels wrote; the others are known to the host, or have a size that only it
// knows.
bool CudaBinding::on_device(NodeId node) const {
  const Place::Kind kind = place(node).kind;
  return bytes(node) > 0 && (kind == Place::Kind::output || kind == Place::Kind::arena);
}

bool CudaBinding::needs_waiting(const RunState& state, std::span<const Tensor> outputs) const {
  if (!state.stream || state.profiler || host_steps_) return true;
  for (size_t i = 0; i < outputs.size(); ++i)
    if (!on_device(graph().outputs[i].node) || !is_on_gpu(outputs[i])) return true;
  return false;
}

// Puts the copies of what kernels wrote on the stream: to the caller's memory where there is some,
// else to new memory on the host, small ones by way of the frame.
void CudaBinding::send_outputs(Frame& frame, const Values& values,
                               std::span<Tensor> outputs) const {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NodeId node = graph().outputs[i].node;
    if (!on_device(node)) continue;
    Tensor& target = outputs[i];
    if (target) check_given(graph().outputs[i].name, target, type(node).dtype, shape(node));
    const CUdeviceptr from = address(node, values);
    if (is_on_gpu(target)) {
      if (device_address(target.data()) == from) continue;
      copy_on_device(device_address(target.data()), from, bytes(node), frame.stream);
    } else if (bytes(node) <= kSmallOutput) {
      copy_to_host(frame.host.data() + host_output_offsets_[i], from, bytes(node), frame.stream);
    } else {
      if (!target) target = executable_.shared().results->tensor(type(node).dtype, shape(node));
      if (!target) target = Tensor(type(node).dtype, shape(node));
      copy_to_host(target.data(), from, bytes(node), frame.stream);
    }
    if (values.profiler) values.profiler->copied(frame.stream);
  }
  if (!checks_indices_ || frame.stream.capturing()) return;
  copy_to_host(&frame.host_error(), frame.words.pointer(), sizeof(uint32_t), frame.stream);
  if (values.profiler) values.profiler->copied(frame.stream);
}

// Sets the outputs that send_outputs() has not, when the stream is past it.
void CudaBinding::finish(Frame& frame, const Values& values, Device results_on,
                         std::span<Tensor> outputs) const {
  for (size_t i = 0; i < outputs.size(); ++i) {
    const NodeId node = graph().outputs[i].node;
    Tensor& target = outputs[i];
    if (on_device(node)) {
      if (!target) target = Tensor(type(node).dtype, shape(node));
      if (target.device().kind == Device::Kind::cpu && bytes(node) <= kSmallOutput)
        std::memcpy(target.data(), frame.host.data() + host_output_offsets_[i], bytes(node));
      continue;
    }
    // Results of host steps are new; neither an input's memory nor a weight's is given away.
    const Tensor result = host_value(node, frame, values);
    if (!target && place(node).kind == Place::Kind::tensor) {
      target = moved_to(results_on, result);
      continue;
    }
    if (!target) target = new_tensor(result.dtype(), result.shape(), results_on);
    check_given(graph().outputs[i].name, target, result.dtype(), result.shape());
    copy(result, target);
  }
}

// How a contraction is computed; empty for others.
std::string CudaBinding::way_of(const BoundStep& step) const {
  if (step.kernels.size() != 1) return {};
  const BoundKernel& kernel = step.kernels[0];
  if (kernel.product) return kernel.product->library();
  const CudaKernel& printed = variant(*kernel.source).kernel;
  if (printed.schedule != CudaSchedule::tile) return {};
  return tile_text(choice_of(printed, sizes_, executable_.plan().target()));
}

// The product at the sizes of the binding; nothing where these leave nothing to do, or a library
// has no word for how an operand lies.
std::optional<ProductShape> CudaBinding::product_shape(const MatrixProduct& product) const {
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
std::shared_ptr<const LibraryProduct> CudaBinding::library_product(const StepKernel& kernel) const {
  const std::optional<TunedContraction> tuned = executable_.plan().tuned(kernel, sizes_);
  if (!tuned || !prefers_library(*tuned)) return nullptr;
  const std::optional<MatrixProduct> product = executable_.plan().library_product(kernel);
  if (!product) return nullptr;
  const CublasLt* library = executable_.shared().cublaslt();
  if (!library || library->version() != tuned->library) return nullptr;
  const std::optional<ProductShape> shape = product_shape(*product);
  return shape ? library->product(*shape, tuned->by_library->algorithm) : nullptr;
}

// --- tuning

// Steps by what the tuning knows them as, those that it does not know.
std::map<TuningKey, std::vector<const BoundStep*>> CudaBinding::untuned_steps() const {
  const CublasLt* library = executable_.shared().cublaslt();
  std::map<TuningKey, std::vector<const BoundStep*>> steps;
  for (const BoundStep& step : steps_) {
    if (step.kernels.size() != 1 || step.kernels[0].shape.grid.x == 0) continue;
    const auto key = executable_.plan().tuning_key(*step.kernels[0].source, sizes_);
    if (!key) continue;
    const auto known = executable_.shared().tuning.find(*key);
    if (!known || (library && known->library != library->version())) steps[*key].push_back(&step);
  }
  return steps;
}

// Ways to cut a contraction that are worth measuring, the one in use first.
std::vector<TileChoice> CudaBinding::choices_of(const StepKernel& kernel) const {
  constexpr size_t kChoices = 10, kTiles = 5;  // each tile is compiled
  const CudaTarget& target = executable_.plan().target();
  const CudaKernel& used = variant(kernel).kernel;
  std::vector<TileChoice> choices = {choice_of(used, sizes_, target)};
  for (const TileChoice& choice : best_choices(used, sizes_, target, kChoices, kTiles))
    if (choice != choices[0]) choices.push_back(choice);
  return choices;
}

// Times all ways to compute these steps, which are alike, where their operands lie.
std::optional<TunedContraction> CudaBinding::measure(const std::vector<const BoundStep*>& steps,
                                                     const Values& values,
                                                     const DeviceBuffer& workspace) const {
  const CudaPlan& plan = executable_.plan();
  const StepKernel& first = *steps[0]->kernels[0].source;
  const bool overlaps = plan.target().clusters;
  const auto candidate = [&](std::vector<BoundStep> bound) -> Candidate {
    return [&, bound = std::move(bound)](const Stream& stream, bool after_kernel) {
      for (const BoundStep& step : bound)
        each_launch(step, values, [&](KernelLaunch launch) {
          if (launch.product) launch.pointers.back() = workspace.pointer();
          put_on_stream(std::move(launch), after_kernel && overlaps, values.words, stream);
          after_kernel = true;
        });
    };
  };
  std::vector<Candidate> candidates;
  const std::vector<TileChoice> choices = choices_of(first);
  for (const TileChoice& choice : choices) {
    std::vector<BoundStep> bound;
    for (const BoundStep* step : steps) {
      const StepKernel& kernel = *step->kernels[0].source;
      const KernelVariant& cut = plan.variant(kernel, sizes_, choice);
      bound.push_back({step->step, {bind_kernel(kernel, cut, is_wide(cut.kernel), 0)}, {}});
    }
    candidates.push_back(candidate(std::move(bound)));
  }
  std::vector<CublasLtAlgorithm> algorithms;
  const CublasLt* library = executable_.shared().cublaslt();
  for (const CublasLtAlgorithm& algorithm : library_algorithms(first)) {
    std::vector<BoundStep> bound;
    for (const BoundStep* step : steps) {
      const StepKernel& kernel = *step->kernels[0].source;
      const auto form = plan.library_product(kernel);
      const auto shape = form ? product_shape(*form) : std::nullopt;
      std::shared_ptr<const LibraryProduct> product =
          shape ? library->product(*shape, algorithm) : nullptr;
      if (product) bound.push_back({step->step, {bind_product(kernel, std::move(product))}, {}});
    }
    if (bound.size() != steps.size()) continue;
    algorithms.push_back(algorithm);
    candidates.push_back(candidate(std::move(bound)));
  }
  const std::vector<double> us = time_in_turns(context(), candidates, steps.size());
  std::vector<TimedChoice> own;
  for (size_t i = 0; i < choices.size(); ++i) own.push_back({choices[i], us[i]});
  std::vector<TimedAlgorithm> by_library;
  for (size_t i = 0; i < algorithms.size(); ++i)
    if (std::isfinite(us[choices.size() + i]))
      by_library.push_back({algorithms[i], us[choices.size() + i]});
  TunedContraction tuned =
      best_of(title_of(*steps[0]), own, library ? library->version() : "", by_library);
  if (!std::isfinite(tuned.own_us)) return std::nullopt;
  return tuned;
}

std::vector<CublasLtAlgorithm> CudaBinding::library_algorithms(const StepKernel& kernel) const {
  constexpr int kMost = 6;
  const CublasLt* library = executable_.shared().cublaslt();
  const auto form = executable_.plan().library_product(kernel);
  const auto shape = library && form ? product_shape(*form) : std::nullopt;
  std::vector<CublasLtAlgorithm> algorithms;
  if (shape)
    for (const auto& product : library->products(*shape, kMost))
      algorithms.push_back(product->algorithm());
  return algorithms;
}

// "dot+add f16, 1 x 197 x 768 x 3072": what it computes, and the extents of batch, m, n and k.
std::string CudaBinding::title_of(const BoundStep& step) const {
  const StepKernel& source = *step.kernels[0].source;
  const CudaKernel& kernel = variant(source).kernel;
  return fmt::format("{} {}, {} x {} x {} x {}", step.step->step.profiled->name,
                     onnx_name(std::get<CudaContraction>(source.form).factor),
                     kernel.work.at(sizes_), kernel.m.at(sizes_), kernel.n.at(sizes_),
                     kernel.k.at(sizes_));
}

bool CudaBinding::tune() const {
  const ContextScope scope(*context());
  const TuningTable& tuning = executable_.shared().tuning;
  const std::lock_guard lock(tuning.measuring());
  const auto unknown = untuned_steps();
  if (unknown.empty()) return false;
  const auto tell = [&](const std::string& text) {
    if (executable_.shared().progress) executable_.shared().progress(text);
  };
  std::vector<FunctionRequest> requests;
  for (const auto& [key, steps] : unknown)
    for (const BoundStep* step : steps) {
      const StepKernel& kernel = *step->kernels[0].source;
      for (const TileChoice& choice : choices_of(kernel)) {
        const KernelVariant& cut = executable_.plan().variant(kernel, sizes_, choice);
        requests.push_back({cut.text, is_wide(cut.kernel)});
      }
    }
  tell(fmt::format("tuning: compiling other kernels for {} contractions", unknown.size()));
  executable_.compile(requests);

  Frame frame(executable_.shared(), frame_bytes_, host_bytes_);
  Values values{{},
                addresses({}, {}, frame),
                frame.memory.pointer(),
                frame.words.pointer(),
                std::vector<Tensor>(static_cast<size_t>(placement_->tensors()))};
  fill_for_tuning(frame, values);
  const DeviceBuffer workspace(context(), CublasLt::kMostWorkspaceBytes);
  size_t done = 0;
  for (const auto& [key, steps] : unknown) {
    tell(fmt::format("tuning {} of {}: {}", ++done, unknown.size(), title_of(*steps[0])));
    if (const auto tuned = measure(steps, values, workspace)) tuning.store(key, *tuned);
  }
  executable_.compile_for_later();
  return true;
}

// What kernels compute with takes part in how fast they are: the values are those of a run on
// inputs that are all alike.
void CudaBinding::fill_for_tuning(Frame& frame, Values& values) const {
  constexpr std::byte kSmallFloats{0x3c};  // in each floating-point format
  fill(frame.memory.pointer(), kSmallFloats, frame.memory.bytes(), frame.stream);
  for (size_t i = 0; i < graph().inputs.size(); ++i)
    if (!is_float(graph().inputs[i].type.dtype) && input_bytes(i))
      fill(values.addresses[i], std::byte{0}, input_bytes(i), frame.stream);
  bool after_kernel = false;
  if (!host_steps_)
    for (const BoundStep& step : steps_) execute(step, frame, values, after_kernel);
  frame.stream.synchronize();
}

std::vector<Tensor> CudaBinding::run_group() const {
  const ContextScope scope(*context());
  Frame frame(executable_.shared(), frame_bytes_, 0);
  Values values{{},
                addresses({}, {}, frame),
                frame.memory.pointer(),
                frame.words.pointer(),
                std::vector<Tensor>(static_cast<size_t>(placement_->tensors()))};
  bool after_kernel = false;
  execute(steps_[0], frame, values, after_kernel);
  std::vector<Tensor> results;
  for (NodeId output : steps_[0].step->step.group->outputs) {
    Tensor tensor = device_tensor(context(), type(output).dtype, shape(output));
    if (tensor.count())
      copy_on_device(device_address(tensor.data()), address(output, values), tensor.bytes(),
                     frame.stream);
    results.push_back(std::move(tensor));
  }
  frame.stream.synchronize();
  return results;
}

}  // namespace

std::shared_ptr<const Binding> make_binding(std::shared_ptr<const CudaExecutable> executable,
                                            SizeTable sizes) {
  const RelaxedCapture relaxed;
  std::vector<const CudaStep*> steps;
  for (const CudaStep& step : executable->plan().steps()) steps.push_back(&step);
  const CudaExecutable& reference = *executable;
  std::map<NodeId, Tensor> known;
  for (const CudaStep& step : executable->plan().bind_steps()) {
    const std::vector<Tensor> results =
        CudaBinding(nullptr, reference, sizes, {&step}, known).run_group();
    for (size_t i = 0; i < results.size(); ++i) known[step.step.group->outputs[i]] = results[i];
  }
  const auto make = [&] {
    return std::make_shared<CudaBinding>(executable, reference, sizes, steps, known);
  };
  std::shared_ptr<const CudaBinding> binding = make();
  if (reference.shared().tuning.measures() && binding->tune()) binding = make();
  return binding;
}

void run_kernel(const CudaExecutable& executable, const StepKernel& kernel, const SizeTable& sizes,
                std::span<const Tensor> buffers, const Stream& stream) {
  const KernelVariant& variant = executable.plan().variant(kernel, sizes);
  const bool wide = std::any_of(buffers.begin(), buffers.end(), [](const Tensor& tensor) {
    return tensor.count() > kLargestNarrowIndex;
  });
  executable.compile({{variant.text, wide}});
  const LaunchShape shape =
      launch_shape(launch_of(variant.kernel, sizes, executable.plan().target()));
  std::vector<CUdeviceptr> pointers;
  for (const Tensor& buffer : buffers) pointers.push_back(device_address(buffer.data()));
  std::vector<int64_t> size_values = size_arguments(variant.kernel, sizes);
  const DeviceBuffer words(executable.shared().context, sizeof(RunWords));
  CUdeviceptr words_pointer = words.pointer();
  std::vector<void*> arguments;
  for (CUdeviceptr& pointer : pointers) arguments.push_back(&pointer);
  arguments.push_back(size_values.data());
  arguments.push_back(&words_pointer);
  launch(executable.function({variant.text, wide}), shape, stream, arguments);
  stream.synchronize();
}

std::vector<Tensor> run_once(const CudaExecutable& executable, const CudaStep& step,
                             const SizeTable& sizes) {
  return CudaBinding(nullptr, executable, sizes, {&step}, {}).run_group();
}

}  // namespace onrush::cuda
