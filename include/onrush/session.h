// Load a model, ask what it takes and gives, run it.
#pragma once

#include <atomic>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <onrush/error.h>
#include <onrush/memory_use.h>
#include <onrush/profile.h>
#include <onrush/tensor.h>
#include <onrush/value.h>

namespace onrush {

// How contractions of fp32 models are computed; inputs and outputs keep their dtypes.
// Sums are in fp32 in any case.
enum class Precision {
  standard,  // fp32 on the CPU, tf32 on a GPU
  fp32,      // IEEE single precision
  tf32,      // a GPU may round the factors of products to 10 bits of mantissa; fp32 on the CPU
  fp16,      // factors, and on a GPU also values between kernels, are rounded; not on the CPU
  bf16,      // the same with bfloat16
};

struct SessionOptions {
  int threads = 0;  // of the CPU backend; 0: one for each processor this process may use
  Precision precision = Precision::standard;
  // "cpu", "cuda" or "cuda:N" (the GPU of that number), or "reference": the plain evaluator of
  // primitives, slow and exact, for debugging.
  std::string device = "cpu";
  // 0: no optimisation passes and no fusion, for debugging; 1: all (default).
  int optimization_level = 1;
  // Bytes for weights and scratch, in the memory of the device: the GPU's or the host's; 0: no
  // limit.
  size_t memory_limit = 0;
  // Of kernels compiled for a GPU and of what tuning found. Empty: $ONRUSH_CACHE, else
  // $XDG_CACHE_HOME/onrush, else ~/.cache/onrush.
  std::string cache_folder = {};
  // GPUs only: the first run of each size measures which of several ways to compute a matrix
  // product or convolution is the fastest: Onrush's kernel cut into other tiles, or cuBLASLt or
  // cuDNN where these are installed. It takes seconds. What it finds is kept in the cache, and used
  // from then on by sessions that do not ask for it, too.
  bool tune = false;
  // Told what takes long on a GPU, by any thread, one at a time: "compiled 3 of 16 programs",
  // "tuning 3 of 17: ...".
  std::function<void(std::string_view)> progress = {};
};

// One dimension of a model's input or output: a size, a name, or neither.
struct ArgumentDim {
  std::optional<int64_t> value;
  std::string name;
};

// A model's input or output as declared.
struct Argument {
  std::string name;
  std::string type;                // as ONNX spells it: "tensor(float)", "seq(tensor(int64))"
  DType dtype = DType::undefined;  // of a tensor
  std::optional<std::vector<ArgumentDim>> shape;  // of a tensor; empty: rank unknown
};

struct RunOptions {
  // Set to true from any thread to stop the run; it then throws Error{cancelled}.
  const std::atomic<bool>* cancel = nullptr;
  // If set: asked now and then by the thread that runs, between steps; true stops the run, too.
  std::function<bool()> interrupted;
  // Outputs written into the caller's memory, wherever it lies: dtype and shape must be the
  // result's.
  std::map<std::string, Tensor> outputs;
  // Where the tensors of other outputs are to lie; see also device_memory.h. Those in sequences may
  // lie on either side.
  Device results_on = {};
  // If set: receives what the run did and when.
  RunProfile* profile = nullptr;
  // Of a session on a GPU: the CUstream (cudaStream_t) of the session's device on which to run,
  // after the work it has already; null: a stream of the session's, which the run waits for. The
  // run returns without waiting if all outputs are in the caller's memory on the device, and then
  //  - an index that is out of range is reported by a later run of the session;
  //  - the stream may be capturing, once the model has run with such inputs (a plan is made from
  //    what they hold): the graph it becomes may be launched as often as wanted, one launch at a
  //    time, for as long as the session and the inputs' and outputs' memory live.
  void* stream = nullptr;
};

// Tensors may lie on the host or on any GPU; in the memory of the session's own GPU they are read
// in place. A run that is given tensors there, and no stream, comes after what was put on the
// default stream before.
using NamedValues = std::map<std::string, Value>;

// Thread safe: several threads may run one session at once; each run uses a scratch arena of its
// own. Compiled plans and prepared weights are shared. All functions throw onrush::Error.
class Session {
 public:
  // Maps the file; it must not change while the session lives.
  static Session load(const std::string& path, const SessionOptions& options = {});
  // Copies what it needs; `model` may go afterwards. External data is not available.
  static Session load(std::span<const std::byte> model, const SessionOptions& options = {});

  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  const std::vector<Argument>& inputs() const;
  const std::vector<Argument>& outputs() const;
  const std::map<std::string, std::string>& metadata() const;

  // One value for each output asked for (all of them if `outputs` is empty), in that order.
  std::vector<Value> run(const NamedValues& inputs, std::span<const std::string> outputs = {},
                         const RunOptions& options = {}) const;
  // The same into `results`, whose memory is used again. With all outputs in the caller's memory, a
  // run of sizes met before then allocates nothing on the CPU, but for operators without a
  // generated kernel (sorting, scans, scatters, strings, loops).
  void run(const NamedValues& inputs, std::span<const std::string> outputs,
           const RunOptions& options, std::vector<Value>& results) const;

  // Now; what a run takes besides goes back when it ends.
  MemoryUse memory_use() const;

  class Impl;
  Impl& impl() const { return *impl_; }

 private:
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

const char* version();

}  // namespace onrush
