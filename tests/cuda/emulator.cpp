#include "cuda/emulator.h"

#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <functional>
#include <optional>
#include <random>
#include <ucontext.h>

#include "base/check.h"
#include "base/numeric.h"
#include "codegen/cuda_writer.h"
#include "cuda/support.h"
#include "plan/placement.h"
#include "reference/evaluate.h"
#include <onrush/error.h>

namespace onrush::cuda {
namespace {

// --- the program: CUDA's built-in names, in terms of what the host gives

constexpr std::string_view kPrelude = R"(
#include <math.h>
#define __device__
#define __global__
#define __shared__ static
#define __grid_constant__
#define __launch_bounds__(threads)
#define __align__(bytes) __attribute__((aligned(bytes)))
struct Position { unsigned x, y, z; };
struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct float2 { float x, y; };
inline float2 make_float2(float x, float y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
extern "C" {
Position threadIdx, blockIdx, blockDim, gridDim;
void (*barrier)(bool of_warp);
unsigned long long* shuffled;      // one a thread
unsigned char* dynamic_shared;
float (*decode_f16)(unsigned short);
unsigned short (*encode_f16)(float);
unsigned short (*encode_bf16)(float);
}
template <class To, class From> To same_bits(From x) {
  static_assert(sizeof(To) == sizeof(From));
  To to; __builtin_memcpy(&to, &x, sizeof to); return to;
}
inline float __uint_as_float(unsigned x) { return same_bits<float>(x); }
inline unsigned __float_as_uint(float x) { return same_bits<unsigned>(x); }
inline double __longlong_as_double(long long x) { return same_bits<double>(x); }
inline long long __double_as_longlong(double x) { return same_bits<long long>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
inline unsigned __byte_perm(unsigned low, unsigned high, unsigned bytes) {
  const unsigned long long all = (unsigned long long)high << 32 | low;
  unsigned r = 0;
  for (int i = 0; i < 4; ++i) r |= (unsigned)(all >> (bytes >> 4 * i & 7) * 8 & 255) << 8 * i;
  return r;
}
inline int __ffs(int x) { return __builtin_ffs(x); }
inline float __expf(float x) { return expf(x); }
inline float __fdividef(float a, float b) { return a / b; }
inline void __syncthreads() { barrier(false); }
inline void __syncwarp() { barrier(true); }
inline unsigned thread() { return threadIdx.x + threadIdx.y * blockDim.x; }
inline unsigned lane() { return thread() % 32; }
template <class T> T shuffle_from(T x, unsigned lane, bool valid) {
  unsigned long long bits = 0; __builtin_memcpy(&bits, &x, sizeof x);
  shuffled[thread()] = bits;
  barrier(true);
  T result = x;
  if (valid) __builtin_memcpy(&result, shuffled + thread() / 32 * 32 + lane, sizeof x);
  barrier(true);
  return result;
}
template <class T> T __shfl_xor_sync(unsigned, T x, int mask) {
  return shuffle_from(x, thread() % 32 ^ mask, true);
}
template <class T> T __shfl_up_sync(unsigned, T x, int distance) {
  return shuffle_from(x, thread() % 32 - distance, thread() % 32 >= (unsigned)distance);
}
template <class T> T atomicCAS(T* p, T expected, T wanted) {
  const T before = *p; if (before == expected) *p = wanted; return before;
}
template <class T> T atomicAdd(T* p, T x) { const T before = *p; *p = before + x; return before; }
template <class T> T atomicMax(T* p, T x) { const T before = *p; if (x > before) *p = x; return before; }
template <class T> T atomicAnd(T* p, T x) { const T before = *p; *p = before & x; return before; }
template <class T> T atomicOr(T* p, T x) { const T before = *p; *p = before | x; return before; }
)";

// Definitions in place of those that name instructions.
constexpr std::pair<std::string_view, std::string_view> kReplacements[] = {
    {"__device__ inline float to_float(f16 x) {",
     "inline float to_float(f16 x) { return decode_f16(x.bits); }"},
    {"__device__ inline f16 to_f16(float x) {",
     "inline f16 to_f16(float x) { return {encode_f16(x)}; }"},
    {"__device__ inline u32 pair_within_f16(",
     R"(inline float within_f16(float x);
inline u32 pair_within_f16(float low, float high) {
  return encode_f16(within_f16(low)) | (u32)encode_f16(within_f16(high)) << 16;
})"},
    {"__device__ inline float fast_tanh(float x) {",
     "inline float fast_tanh(float x) { return tanhf(x); }"},
    {"__device__ inline bf16 to_bf16(float x) {",
     "inline bf16 to_bf16(float x) { return {encode_bf16(x)}; }"},
    {"__device__ inline u32 pair_f16(",
     "inline u32 pair_f16(float low, float high) { return encode_f16(low) | encode_f16(high) << "
     "16; "
     "}"},
    {"__device__ inline u32 pair_bf16(",
     "inline u32 pair_bf16(float low, float high) { return encode_bf16(low) | encode_bf16(high) << "
     "16; }"},
    {"__device__ inline float power_of_two(",
     "inline float power_of_two(float x) { return exp2f(x); }"},
    {"__device__ inline float op_min(float",
     "inline float op_min(float a, float b) { return op_min<float>(a, b); }"},
    {"__device__ inline float op_max(float",
     "inline float op_max(float a, float b) { return op_max<float>(a, b); }"},
    {"__device__ inline u32 shared_address(",
     "inline u32 shared_address(const void* p) { return (u8*)p - dynamic_shared; }"},
    {"__device__ inline void copy_async(",
     R"(inline void copy_async(u32 to, const void* from, bool valid) {
  if (valid) __builtin_memcpy(dynamic_shared + to, from, 16);
  else __builtin_memset(dynamic_shared + to, 0, 16);
})"},
    {"__device__ inline void close_stage(", "inline void close_stage() {}"},
    {"__device__ inline void wait_stages(", "inline void wait_stages() {}"},
    {"__device__ inline void load_matrices(", R"(inline void load_matrices(u32 (&r)[4], u32 from) {
  for (int i = 0; i < 4; ++i)
    __builtin_memcpy(&r[i], dynamic_shared + shuffle_from(from, i * 8 + lane() / 4, true) + lane() % 4 * 4, 4);
})"},
    {"__device__ inline void load_transposed(",
     R"(inline void load_transposed(u32 (&r)[4], u32 from) {
  for (int i = 0; i < 4; ++i) {
    u16 pair[2];
    for (int j = 0; j < 2; ++j)
      __builtin_memcpy(&pair[j], dynamic_shared + shuffle_from(from, i * 8 + lane() % 4 * 2 + j, true) + lane() / 4 * 2, 2);
    r[i] = pair[0] | (u32)pair[1] << 16;
  }
})"},
    {"__device__ inline void round_to_tf32(", R"(inline void round_to_tf32(u32 (&x)[4]) {
  for (u32& bits : x) bits = (bits + 0x1000) & ~0x1fffu;
})"},
    {"#define ONRUSH_MMA(", R"(
inline float factor(const char* type, u32 bits, int i) {
  if (type[0] == 't') return as_float(bits & ~0x1fffu);
  const u16 half = (u16)(bits >> 16 * i);
  return type[0] == 'b' ? to_float(bf16{half}) : to_float(f16{half});
}
// A lane has the four bytes 4 (lane % 4) and those 16 further of row lane / 4 of a (and of row + 8)
// and of column lane / 4 of b.
inline void multiply_fragments(const char* shape, float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) {
  const char* type = shape + (__builtin_strstr(shape, "k8.") ? 20 : 21);
  const int factors = type[0] == 't' ? 1 : 2;
  u32 rows[2][8], columns[2][8];
  for (int word = 0; word < 8; ++word) {
    const int owner = word % 4, high = word / 4;
    for (int i = 0; i < 2; ++i) {
      rows[i][word] = shuffle_from(a[2 * high + i], lane() / 4 * 4 + owner, true);
      const u32 low_b = shuffle_from(b0, (lane() % 4 * 2 + i) * 4 + owner, true);
      const u32 high_b = shuffle_from(b1, (lane() % 4 * 2 + i) * 4 + owner, true);
      columns[i][word] = high ? high_b : low_b;
    }
  }
  for (int i = 0; i < 4; ++i)
    for (int word = 0; word < 8; ++word)
      for (int j = 0; j < factors; ++j)
        c[i] += factor(type, rows[i / 2][word], j) * factor(type, columns[i % 2][word], j);
}
#define ONRUSH_MMA(shape) \
  static void multiply(float (&c)[4], const u32 (&a)[4], u32 b0, u32 b1) { \
    multiply_fragments(shape, c, a, b0, b1);                              \
  }
)"},
};

// A definition ends with a brace at the beginning of a line, or on its own line.
void replace_definition(std::string& text, std::string_view begins, std::string_view with) {
  const size_t first = text.find(begins);
  if (first == std::string::npos) return;
  const size_t line = text.find('\n', first);
  size_t end = line;
  if (begins[0] == '#') {
    while (text[end - 1] == '\\') end = text.find('\n', end + 1);
  } else if (text[line - 1] != '}') {
    end = text.find("\n}\n", first) + 2;
  }
  text.replace(first, end - first, with);
}

std::string header(std::string_view original) {
  std::string text(original);
  for (const auto& [begins, with] : kReplacements) replace_definition(text, begins, with);
  constexpr std::pair<std::string_view, std::string_view> kStatements[] = {
      {"extern __shared__ __align__(1024) u8 shared[];", "u8* shared = dynamic_shared;"},
      {R"(asm volatile("prefetch.global.L2 [%0];" ::"l"(from));)", "{}"},
  };
  for (const auto& [statement, with] : kStatements)
    for (size_t at; (at = text.find(statement)) != std::string::npos;)
      text.replace(at, statement.size(), with);
  return text;
}

std::string_view storage_type(const LoopBuffer& buffer) { return cuda_storage_type(buffer.dtype); }

// "launch_3", which calls kernel_3 with arguments given as the driver wants them.
std::string launcher(size_t index, const CudaKernel& kernel) {
  std::string arguments;
  for (size_t i = 0; i < kernel.buffers.size(); ++i)
    arguments += fmt::format("*({}**)a[{}], ", storage_type(kernel.buffers[i]), i);
  return fmt::format(
      "extern \"C\" void launch_{0}(void** a) {{ kernel_{0}({1}*(Sizes<{2}>*)a[{3}], "
      "*(unsigned**)a[{4}]); }}\n",
      index, arguments, std::max<size_t>(1, kernel.sizes.size()), kernel.buffers.size(),
      kernel.buffers.size() + 1);
}

using Launcher = void (*)(void**);

// --- threads

constexpr size_t kStackBytes = 64 << 10;

// One block at a time. The kernel's text calls barrier(), which goes on with another thread.
class Block {
 public:
  static void run(Launcher launch, void** arguments, unsigned threads,
                  const std::function<void(unsigned)>& enter) {
    Block block(launch, arguments, threads, enter);
    current_ = &block;
    block.run_all();
  }
  static void barrier(bool of_warp) { current_->wait(of_warp); }

 private:
  enum class State : uint8_t { ready, at_warp, at_block, done };
  struct Thread {
    ucontext_t context;
    State state = State::ready;
  };

  Block(Launcher launch, void** arguments, unsigned threads,
        const std::function<void(unsigned)>& enter)
      : launch_(launch), arguments_(arguments), enter_(enter), threads_(threads) {
    static std::vector<char> stacks;
    stacks.resize(std::max(stacks.size(), threads * kStackBytes));
    for (unsigned i = 0; i < threads; ++i) {
      ucontext_t& context = threads_[i].context;
      getcontext(&context);
      context.uc_stack.ss_sp = stacks.data() + i * kStackBytes;
      context.uc_stack.ss_size = kStackBytes;
      context.uc_link = &scheduler_;
      makecontext(&context, &Block::start, 0);
    }
  }

  static void start() {
    Block& block = *current_;
    block.launch_(block.arguments_);
    block.threads_[block.running_].state = State::done;
  }
  void wait(bool of_warp) {
    threads_[running_].state = of_warp ? State::at_warp : State::at_block;
    swapcontext(&threads_[running_].context, &scheduler_);
  }

  void run_all() {
    static std::mt19937 random(1);
    std::vector<unsigned> order(threads_.size());
    for (unsigned i = 0; i < order.size(); ++i) order[i] = i;
    while (true) {
      std::shuffle(order.begin(), order.end(), random);
      bool ran = false;
      for (const unsigned i : order) {
        if (threads_[i].state != State::ready) continue;
        running_ = i, ran = true;
        enter_(i);
        swapcontext(&scheduler_, &threads_[i].context);
      }
      if (release()) continue;
      if (ran) continue;
      for (const Thread& thread : threads_)
        internal_check(thread.state == State::done, "all threads reach the barrier");
      return;
    }
  }
  // Lets go those who wait for nobody.
  bool release() {
    bool any = false;
    const auto pass = [&](size_t first, size_t end, State waiting) {
      size_t there = 0;
      for (size_t i = first; i < end; ++i) there += threads_[i].state == waiting;
      if (there < end - first) return;
      for (size_t i = first; i < end; ++i) threads_[i].state = State::ready;
      any = true;
    };
    for (size_t first = 0; first < threads_.size(); first += 32)
      pass(first, std::min(first + 32, threads_.size()), State::at_warp);
    pass(0, threads_.size(), State::at_block);
    return any;
  }

  static inline Block* current_ = nullptr;
  Launcher launch_;
  void** arguments_;
  const std::function<void(unsigned)>& enter_;
  std::vector<Thread> threads_;
  ucontext_t scheduler_;
  unsigned running_ = 0;
};

}  // namespace

// --- the compiled program

struct Emulator::Library {
  struct Position {
    unsigned x, y, z;
  };
  TemporaryFolder folder;
  std::map<std::string, size_t> kernels;  // by text
  void* handle = nullptr;

  ~Library() {
    if (handle) ::dlclose(handle);
  }
  template <class T>
  T* symbol(const std::string& name) const {
    void* found = ::dlsym(handle, name.c_str());
    internal_check(found, name);
    return reinterpret_cast<T*>(found);
  }
  void launch(const CudaKernel& kernel, const CudaLaunch& shape, void** arguments) const {
    const auto threads = static_cast<unsigned>(shape.threads_x * shape.threads_y);
    auto& thread = *symbol<Position>("threadIdx");
    auto& block = *symbol<Position>("blockIdx");
    std::vector<unsigned long long> shuffled(threads);
    std::vector<unsigned char> shared(static_cast<size_t>(shape.shared_bytes) + 1024);
    *symbol<unsigned char*>("dynamic_shared") = shared.data();
    *symbol<unsigned long long*>("shuffled") = shuffled.data();
    *symbol<Position>("blockDim") = {static_cast<unsigned>(shape.threads_x),
                                     static_cast<unsigned>(shape.threads_y), 1};
    *symbol<Position>("gridDim") = {static_cast<unsigned>(shape.blocks), 1, 1};
    const auto entry =
        reinterpret_cast<Launcher>(symbol<void>(fmt::format("launch_{}", kernels.at(kernel.text))));
    for (int64_t i = 0; i < shape.blocks; ++i) {
      block = {static_cast<unsigned>(i), 0, 0};
      Block::run(entry, arguments, threads, [&](unsigned t) {
        const auto x = static_cast<unsigned>(shape.threads_x);
        thread = {t % x, t / x, 0};
      });
    }
  }
};

bool Emulator::available() {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return false;  // they do not know of threads that change their stacks
#else
  return std::system("c++ --version > /dev/null 2>&1") == 0;
#endif
}

namespace {

// Of those that stand in, the one that relies on least.
const KernelVariant& variant_of(const CudaPlan& plan, const StepKernel& kernel,
                                const SizeTable& sizes, Emulator::Kernels kernels) {
  if (kernels == Emulator::Kernels::best) return plan.variant(kernel, sizes);
  const std::vector<const KernelVariant*> others = plan.stand_ins(kernel, sizes);
  return others.empty() ? plan.variant(kernel, sizes) : *others.back();
}

}  // namespace

Emulator::Emulator(const std::vector<std::pair<const CudaPlan*, SizeTable>>& plans, Kernels kernels)
    : library_(std::make_unique<Library>()), kernels_(kernels) {
  std::vector<std::string> texts;
  std::string launchers;
  const auto add = [&](const CudaKernel& kernel) {
    if (!library_->kernels.emplace(kernel.text, texts.size()).second) return;
    launchers += launcher(texts.size(), kernel);
    texts.push_back(kernel.text);
  };
  const auto add_plan = [&](const auto& self, const CudaPlan& plan,
                            const SizeTable& sizes) -> void {
    if (kernels == Kernels::any_size) plan.texts_for_any_size();
    for (const auto* steps : {&plan.prepare_steps(), &plan.bind_steps(), &plan.steps()})
      for (const CudaStep& step : *steps) {
        if (step.body) self(self, *step.body, sizes);
        for (const StepKernel& kernel : step.kernels) {
          add(variant_of(plan, kernel, sizes, kernels).kernel);
          if (kernel.packing) add(plan.variant(*kernel.packing, sizes).kernel);
        }
      }
  };
  for (const auto& [plan, sizes] : plans) add_plan(add_plan, *plan, sizes);
  for (const DeviceHeader& known : cuda_device_headers())
    write_file(library_->folder / known.name, header(known.text));
  write_file(library_->folder / "kernels.cpp",
             std::string(kPrelude) + cuda_program(texts, false) + launchers);
  const std::string path = library_->folder.path();
  const std::string command = fmt::format(
      "cd {} && c++ -std=c++20 -O1 -w -fPIC -shared -ffp-contract=off kernels.cpp -o "
      "kernels.so > log 2>&1 || {{ cat log; false; }}",
      path);
  internal_check(std::system(command.c_str()) == 0, "kernels compile for the host");
  library_->handle = ::dlopen((path + "/kernels.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  internal_check(library_->handle, "kernels load");
  *library_->symbol<void (*)(bool)>("barrier") = &Block::barrier;
  *library_->symbol<float (*)(uint16_t)>("decode_f16") = [](uint16_t x) { return f16_to_f32(x); };
  *library_->symbol<uint16_t (*)(float)>("encode_f16") = [](float x) { return f32_to_f16(x); };
  *library_->symbol<uint16_t (*)(float)>("encode_bf16") = [](float x) { return f32_to_bf16(x); };
}

Emulator::~Emulator() = default;

// --- a run

class Emulator::Run {
 public:
  Run(const Library& library, const CudaPlan& plan, std::span<const Tensor> inputs,
      const SizeTable& sizes, Kernels kernels)
      : library_(library), plan_(plan), inputs_(inputs), sizes_(sizes), kernels_(kernels) {}

  std::vector<Tensor> outputs() {
    for (const auto* steps : {&plan_.prepare_steps(), &plan_.bind_steps(), &plan_.steps()})
      for (const CudaStep& step : *steps) execute(step);
    if (words_[0]) fail(ErrorCode::invalid_argument, "an index is outside of its axis");
    std::vector<Tensor> results;
    for (const GraphOutput& output : plan_.graph().outputs)
      results.push_back(tensor(output.node, plan_.graph().dtype(output.node)));
    return results;
  }

 private:
  static constexpr size_t kGuardBytes = 256;
  static constexpr uint8_t kGuard = 0xa5;
  struct Memory {
    std::unique_ptr<uint8_t[]> bytes;
    size_t count;
    uint8_t* data() const {
      return reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(bytes.get()) + 63) / 64 * 64);
    }
    void check() const {
      for (size_t i = 0; i < kGuardBytes; ++i)
        internal_check(data()[count + i] == kGuard, "kernels write inside their buffers");
    }
  };

  static Memory allocate(size_t bytes) {
    Memory memory{std::make_unique<uint8_t[]>(bytes + kGuardBytes + 64), bytes};
    std::memset(memory.data(), kGuard, bytes + kGuardBytes);
    return memory;
  }

  Tensor tensor(NodeId node, DType dtype) {
    const Node& n = plan_.graph()[node];
    if (const auto* input = std::get_if<InputAttr>(&n.attr))
      return inputs_[static_cast<size_t>(input->index)];
    if (const auto* constant = std::get_if<ConstantAttr>(&n.attr)) return constant->tensor;
    return Tensor(dtype, concrete_shape(plan_.graph().shape(node), sizes_), address(node));
  }

  uint8_t* address(NodeId node) {
    const Node& n = plan_.graph()[node];
    if (n.op == Op::input || n.op == Op::constant)
      return static_cast<uint8_t*>(tensor(node, DType::undefined).data());
    const auto known = values_.find(node);
    if (known != values_.end()) return known->second.data();
    const int64_t count = element_count(concrete_shape(plan_.graph().shape(node), sizes_));
    Memory memory = allocate(byte_size(plan_.storage(node), count));
    if (n.op == Op::dims) {
      const SizeFunction size = [this](Dim dim) { return sizes_(dim); };
      const Tensor elements = evaluate_node(n, {}, size).at(0);
      std::memcpy(memory.data(), elements.data(), elements.bytes());
    }
    return values_.emplace(node, std::move(memory)).first->second.data();
  }

  // See LoopAttr.
  void execute_loop(const CudaStep& step) {
    const Node& node = plan_.graph()[std::get<DevicePrimitive>(step.step.kernel).node];
    const auto& attr = node.as<LoopAttr>();
    const int64_t trips = sizes_(attr.trips);
    std::vector<Tensor> operands;
    for (NodeId operand : node.inputs)
      operands.push_back(tensor(operand, plan_.graph().dtype(operand)));
    const auto put = [&](size_t result, const Tensor& value, int64_t element) {
      for (NodeId output : step.step.group->outputs)
        if (static_cast<size_t>(plan_.graph()[output].as<GetAttr>().index) == result &&
            value.bytes())
          std::memcpy(address(output) + static_cast<size_t>(element) * value.bytes(), value.data(),
                      value.bytes());
    };
    for (size_t i = 0; i < static_cast<size_t>(attr.carried); ++i) put(i, operands[i], 0);
    for (int64_t trip = 0; trip < trips; ++trip) {
      std::vector<Tensor> inputs = operands;
      for (int i = attr.carried; i < attr.carried + attr.scanned; ++i) {
        const Tensor& whole = operands[static_cast<size_t>(i)];
        Tensor element(whole.dtype(), Shape(whole.shape().begin() + 1, whole.shape().end()));
        std::memcpy(
            element.data(),
            static_cast<uint8_t*>(whole.data()) +
                static_cast<size_t>(attr.reverse ? trips - 1 - trip : trip) * element.bytes(),
            element.bytes());
        inputs[static_cast<size_t>(i)] = element;
      }
      inputs.push_back(Tensor::of<int64_t>(DType::i64, {}, std::span(&trip, 1)));
      Run body(library_, *step.body, inputs, sizes_, kernels_);
      const std::vector<Tensor> outputs = body.outputs();
      for (size_t i = 0; i < outputs.size(); ++i) {
        const bool carried = i < static_cast<size_t>(attr.carried);
        put(i, outputs[i], carried ? 0 : trip);
        if (!carried) continue;
        operands[i] = Tensor(outputs[i].dtype(), outputs[i].shape());
        copy_elements(outputs[i], operands[i]);
      }
    }
  }

  void execute(const CudaStep& step) {
    if (step.body) return execute_loop(step);
    internal_check(!step.kernels.empty(), "a step of the plan has no kernel");
    int64_t bytes = 0;
    for (const StepKernel& source : step.kernels)
      bytes = std::max(bytes, workspace_bytes(variant(source).kernel, sizes_, false));
    const Memory workspace = allocate(static_cast<size_t>(bytes));
    for (const StepKernel& source : step.kernels) {
      const KernelVariant& variant = this->variant(source);
      if (const auto* c = std::get_if<CudaContraction>(&source.form); c && c->packed) {
        const Memory packed = allocate(byte_size(c->factor, c->packed_count));
        std::memset(packed.data(), 0, packed.count);
        launch(*source.packing, plan_.variant(*source.packing, sizes_), packed.data(), 0);
        launch(source, variant, packed.data(), 0);
        packed.check();
        continue;
      }
      for (int pass = 0; pass < passes_of(variant.kernel, sizes_); ++pass)
        launch(source, variant, workspace.data(), pass);
    }
    workspace.check();
    for (const auto& [node, memory] : values_) memory.check();
  }

  // `own`: the packed weights or the workspace.
  void launch(const StepKernel& source, const KernelVariant& variant, uint8_t* own, int pass) {
    const CudaKernel& kernel = variant.kernel;
    std::vector<uint8_t*> pointers;
    for (size_t i = 0; i < kernel.buffers.size(); ++i) {
      const NodeId node = source.operand(variant, i);
      pointers.push_back(node.valid() ? address(node) : own);
    }
    std::vector<int64_t> numbers = size_arguments(kernel, sizes_, pass);
    uint32_t* words = words_;
    std::vector<void*> arguments;
    for (uint8_t*& pointer : pointers) arguments.push_back(&pointer);
    arguments.push_back(numbers.data());
    arguments.push_back(&words);
    library_.launch(kernel, launch_of(kernel, sizes_, plan_.target(), pass), arguments.data());
  }

  const KernelVariant& variant(const StepKernel& kernel) const {
    return variant_of(plan_, kernel, sizes_, kernels_);
  }

  const Library& library_;
  const CudaPlan& plan_;
  std::span<const Tensor> inputs_;
  const SizeTable& sizes_;
  const Kernels kernels_;
  std::map<NodeId, Memory> values_;
  uint32_t words_[4] = {0, 0, 1234, 0};  // the error, and the next seed
};

std::vector<Tensor> Emulator::run(const CudaPlan& plan, std::span<const Tensor> inputs,
                                  const SizeTable& sizes) const {
  Run run(*library_, plan, inputs, sizes, kernels_);
  std::vector<Tensor> results;
  for (const Tensor& output : run.outputs()) {  // they lie in the run's memory
    results.emplace_back(output.dtype(), output.shape());
    copy_elements(output, results.back());
  }
  return results;
}

}  // namespace onrush::cuda
