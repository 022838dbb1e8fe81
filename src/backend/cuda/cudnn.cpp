#include "backend/cuda/cudnn.h"

#include <algorithm>
#include <fmt/format.h>
#include <optional>
#include <sstream>
#include <utility>

#include "backend/cuda/libraries.h"
#include "backend/cuda/memory.h"
#include "base/check.h"

namespace onrush::cuda {
namespace {

// Which of the library's engines, and how it is set: "41 2=0 14=3".
struct Algorithm {
  int64_t engine = 0;
  std::vector<std::pair<int, int64_t>> knobs;
};

std::string text_of(const Algorithm& algorithm) {
  std::string text = fmt::format("{}", algorithm.engine);
  for (const auto& [knob, value] : algorithm.knobs) text += fmt::format(" {}={}", knob, value);
  return text;
}

std::optional<Algorithm> algorithm_of(const std::string& text) {
  Algorithm algorithm;
  std::istringstream words(text);
  if (!(words >> algorithm.engine)) return std::nullopt;
  for (int knob = 0; words >> knob;) {
    char equals = 0;
    int64_t value = 0;
    if (!(words >> equals >> value) || equals != '=') return std::nullopt;
    algorithm.knobs.emplace_back(knob, value);
  }
  return words.eof() ? std::optional(algorithm) : std::nullopt;
}

Algorithm algorithm_of(const CudnnObject& engine, const CudnnObject& config) {
  constexpr size_t kMostKnobs = 64;
  Algorithm algorithm{engine.get<int64_t>(cudnn::engine_index, cudnn::type_int64), {}};
  for (const CudnnObject& choice :
       config.get_all(cudnn::config_knobs, cudnn::knob_choice, kMostKnobs))
    algorithm.knobs.emplace_back(choice.get<int>(cudnn::knob_type, cudnn::type_knob),
                                 choice.get<int64_t>(cudnn::knob_value, cudnn::type_int64));
  return algorithm;
}

// Whether it computes as accurately as own kernels: factors as they are, or rounded to tf32 where
// that is asked for, and sums in f32, the same ones in every run.
bool is_accurate(const CudnnObject& engine, ContractionMath math) {
  constexpr size_t kMostNotes = 32;
  const std::vector<int> notes =
      engine.get_all<int>(cudnn::engine_notes, cudnn::type_numerical_note, kMostNotes);
  return std::none_of(notes.begin(), notes.end(), [&](int note) {
    switch (note) {
      case cudnn::tensor_core: return math == ContractionMath::scalar;
      case cudnn::down_convert_inputs:
      case cudnn::reduced_precision_reduction:
      case cudnn::fft:
      case cudnn::nondeterministic:
      case cudnn::winograd: return true;
      default: return false;
    }
  });
}

}  // namespace

const char* fill(CudnnApi& api, const SharedLibrary& library) {
  SymbolBinder bind(library);
  bind(api.cudnnGetVersion, "cudnnGetVersion");
  bind(api.cudnnGetErrorString, "cudnnGetErrorString");
  bind(api.cudnnCreate, "cudnnCreate");
  bind(api.cudnnDestroy, "cudnnDestroy");
  bind(api.cudnnSetStream, "cudnnSetStream");
  bind(api.cudnnBackendCreateDescriptor, "cudnnBackendCreateDescriptor");
  bind(api.cudnnBackendDestroyDescriptor, "cudnnBackendDestroyDescriptor");
  bind(api.cudnnBackendFinalize, "cudnnBackendFinalize");
  bind(api.cudnnBackendSetAttribute, "cudnnBackendSetAttribute");
  bind(api.cudnnBackendGetAttribute, "cudnnBackendGetAttribute");
  bind(api.cudnnBackendExecute, "cudnnBackendExecute");
  return bind.missing();
}

// A graph by one engine, ready for any addresses.
struct Cudnn::Plan {
  std::shared_ptr<const CudnnGraph> graph;
  std::string algorithm;
  CudnnObject engine, config, plan;
  size_t workspace_bytes = 0;
};

class LibraryConvolution final : public LibraryKernel {
 public:
  LibraryConvolution(std::shared_ptr<const Cudnn> library, const ConvolutionShape& shape,
                     std::shared_ptr<const Cudnn::Plan> plan)
      : library_(std::move(library)),
        shape_(shape),
        scale_(static_cast<float>(shape.form.scale)),
        plan_(std::move(plan)) {}
  ~LibraryConvolution() override {
    const CleanupScope scope(*library_->context_);
    plan_.reset();
  }
  const std::string& library() const override { return library_->version(); }
  std::string algorithm() const override { return plan_->algorithm; }

 private:
  size_t algorithm_bytes() const override { return plan_->workspace_bytes; }
  void launch_aligned(CUdeviceptr lhs, CUdeviceptr rhs, CUdeviceptr addend, CUdeviceptr result,
                      CUdeviceptr workspace, const Stream& stream) const override;

  std::shared_ptr<const Cudnn> library_;
  ConvolutionShape shape_;
  float scale_;
  std::shared_ptr<const Cudnn::Plan> plan_;
};

void LibraryConvolution::launch_aligned(CUdeviceptr lhs, CUdeviceptr rhs, CUdeviceptr addend,
                                        CUdeviceptr result, CUdeviceptr workspace,
                                        const Stream& stream) const {
  const Convolution& form = shape_.form;
  std::vector<int64_t> ids;
  std::vector<const void*> pointers;
  const auto give = [&](CudnnId id, const void* pointer) {
    ids.push_back(static_cast<int64_t>(id));
    pointers.push_back(pointer);
  };
  const auto give_tensor = [&](CudnnId id, CUdeviceptr base, const Convolution::Tensor& tensor) {
    const auto element = static_cast<int64_t>(byte_size(tensor.dtype, 1));
    give(id, as_pointer(base + static_cast<CUdeviceptr>(tensor.offset * element)));
  };
  give_tensor(CudnnId::image, lhs, form.image);
  give_tensor(CudnnId::filter, rhs, form.filter);
  give_tensor(CudnnId::result, result, form.result);
  if (form.addend) give_tensor(CudnnId::addend, addend, *form.addend);
  if (shape_.bias) give(CudnnId::bias, as_pointer(shape_.bias));
  if (form.scale != 1) give(CudnnId::scale, &scale_);
  CudnnObject pack(library_->api_, cudnn::variant_pack);
  pack.set(cudnn::pack_ids, ids);
  pack.set(cudnn::pack_pointers, cudnn::type_pointer, pointers.data(), pointers.size());
  pack.set(cudnn::pack_workspace, cudnn::type_pointer, as_pointer(workspace));
  pack.finish();
  const std::lock_guard lock(library_->mutex_);
  library_->check(library_->api_.cudnnSetStream(library_->handle_, stream.handle()),
                  "cudnnSetStream");
  library_->check(
      library_->api_.cudnnBackendExecute(library_->handle_, plan_->plan.handle(), pack.handle()),
      "cudnnBackendExecute");
}

Cudnn::Cudnn(ContextPtr context, const CudnnApi& api, CudnnHandle handle)
    : context_(std::move(context)),
      api_(api),
      handle_(handle),
      version_("cuDNN " + cudnn_version(api)) {}

Cudnn::~Cudnn() {
  if (const CleanupScope scope(*context_); scope) api_.cudnnDestroy(handle_);
}

std::shared_ptr<const Cudnn> Cudnn::open(const ContextPtr& context) {
  const CudnnLibrary& library = cudnn_library();
  if (!library.search.library) return nullptr;
  CudnnHandle handle = nullptr;
  if (library.api.cudnnCreate(&handle) != 0) return nullptr;
  return std::shared_ptr<const Cudnn>(new Cudnn(context, library.api, handle));
}

void Cudnn::check(int status, const char* call) const {
  if (status != 0) fail(ErrorCode::device, "{} failed: {}", call, api_.cudnnGetErrorString(status));
}

// Throws where the engine does not take the graph.
std::shared_ptr<const Cudnn::Plan> Cudnn::plan(const std::shared_ptr<const CudnnGraph>& graph,
                                               const std::string& algorithm) const {
  const std::optional<Algorithm> known = algorithm_of(algorithm);
  if (!known) fail(ErrorCode::device, "'{}' is no algorithm of cuDNN's", algorithm);
  const std::string key = graph->text() + algorithm;
  if (auto made = plans_[key].lock()) return made;
  CudnnObject engine(api_, cudnn::engine), config(api_, cudnn::engine_config);
  engine.set(cudnn::engine_graph, graph->object());
  engine.set(cudnn::engine_index, cudnn::type_int64, known->engine);
  engine.finish();
  std::vector<CudnnObject> knobs;
  for (const auto& [type, value] : known->knobs) {
    CudnnObject& knob = knobs.emplace_back(api_, cudnn::knob_choice);
    knob.set(cudnn::knob_type, cudnn::type_knob, type);
    knob.set(cudnn::knob_value, cudnn::type_int64, value);
    knob.finish();
  }
  config.set(cudnn::config_engine, engine);
  if (!knobs.empty()) config.set(cudnn::config_knobs, knobs);
  config.finish();
  Plan made{graph, algorithm, std::move(engine), std::move(config),
            CudnnObject(api_, cudnn::execution_plan)};
  made.plan.set(cudnn::plan_handle, cudnn::type_handle, handle_);
  made.plan.set(cudnn::plan_config, made.config);
  made.plan.finish();
  made.workspace_bytes =
      static_cast<size_t>(made.plan.get<int64_t>(cudnn::plan_workspace, cudnn::type_int64));
  if (made.workspace_bytes > kMostLibraryBytes)
    fail(ErrorCode::device, "the algorithm takes {} bytes", made.workspace_bytes);
  auto result = std::make_shared<const Plan>(std::move(made));
  plans_[key] = result;
  return result;
}

std::unique_ptr<LibraryKernel> Cudnn::make(const ConvolutionShape& shape,
                                           std::shared_ptr<const Plan> plan) const {
  return std::make_unique<LibraryConvolution>(shared_from_this(), shape, std::move(plan));
}

std::unique_ptr<LibraryKernel> Cudnn::kernel(const ConvolutionShape& shape,
                                             const std::string& algorithm) const {
  const std::lock_guard lock(mutex_);
  try {
    return make(shape, plan(std::make_shared<const CudnnGraph>(api_, handle_, shape), algorithm));
  } catch (const Error&) {
    return nullptr;  // the library does not take it
  }
}

std::vector<std::unique_ptr<LibraryKernel>> Cudnn::kernels(const ConvolutionShape& shape,
                                                           int count) const {
  constexpr size_t kMostConfigs = 24;
  const auto most = static_cast<size_t>(count);
  std::vector<std::unique_ptr<LibraryKernel>> kernels;
  std::vector<std::string> tried;
  const std::lock_guard lock(mutex_);
  const auto ask = [&](const std::shared_ptr<const CudnnGraph>& graph, int mode) {
    CudnnObject heuristics(api_, cudnn::heuristics);
    heuristics.set(cudnn::heuristics_graph, graph->object());
    heuristics.set(cudnn::heuristics_mode, cudnn::type_heuristic_mode, mode);
    heuristics.finish();
    for (const CudnnObject& config :
         heuristics.get_all(cudnn::heuristics_results, cudnn::engine_config, kMostConfigs)) {
      if (kernels.size() == most) return;
      try {
        const auto engines = config.get_all(cudnn::config_engine, cudnn::engine, 1);
        if (engines.empty() || !is_accurate(engines[0], shape.form.math)) continue;
        const std::string algorithm = text_of(algorithm_of(engines[0], config));
        if (std::find(tried.begin(), tried.end(), algorithm) != tried.end()) continue;
        tried.push_back(algorithm);
        kernels.push_back(make(shape, plan(graph, algorithm)));
      } catch (const Error&) {  // not by this one
      }
    }
  };
  try {
    const auto graph = std::make_shared<const CudnnGraph>(api_, handle_, shape);
    for (const int mode : {cudnn::mode_a, cudnn::mode_b}) {
      try {
        ask(graph, mode);
      } catch (const Error&) {  // it has no such mode for this
      }
      if (!kernels.empty()) break;
    }
  } catch (const Error&) {  // no such graph
  }
  return kernels;
}

}  // namespace onrush::cuda
