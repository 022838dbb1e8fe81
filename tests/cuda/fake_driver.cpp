// Stands in for the CUDA driver and NVRTC: one GPU as an H200, whose memory is the host's and whose
// kernels do nothing. It counts calls, so that tests see what a run asks of the driver, and takes
// no time, so that what is measured is the host's.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <sys/mman.h>
#include <vector>

namespace {

using Address = uint64_t;
constexpr size_t kDeviceBytes = size_t{64} << 30;

std::mutex mutex;  // of all below
std::map<std::string, long, std::less<>> calls;
size_t device_end = 0;
long launches = 0, fault_at = 0;
constexpr int kIllegalAddress = 700;
uintptr_t last_handle = 0x1000;
struct Graph {
  std::vector<void*> nodes;  // one for each kernel
};
std::map<void*, Graph*> captures;  // by stream
thread_local void* node_asked_for;

std::byte* device_memory() {
  static void* const memory = mmap(nullptr, kDeviceBytes, PROT_READ | PROT_WRITE,
                                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return static_cast<std::byte*>(memory);
}

void count(const char* name) {
  const auto found = calls.find(name);
  if (found == calls.end()) calls.emplace(name, 1);
  else ++found->second;
}

// Of the device; no address is given out twice.
Address take(size_t bytes) {
  const size_t at = device_end;
  device_end += (bytes + 255) / 256 * 256;
  return reinterpret_cast<Address>(device_memory() + at);
}

void* new_handle() { return reinterpret_cast<void*>(last_handle += 16); }

void* pointer(Address address) { return reinterpret_cast<void*>(address); }

int attribute_value(int attribute) {
  switch (attribute) {
    case 16: return 132;       // multiprocessors
    case 38: return 50 << 20;  // L2
    case 39: return 2048;      // threads of a multiprocessor
    case 75: return 9;         // compute capability
    case 76: return 0;
    case 81: return 228 << 10;  // shared memory of a multiprocessor
    case 97: return 227 << 10;  // and of a block
    default: return 1;
  }
}

}  // namespace

// A function of the driver: FAKE(name, parameters) statements END.
#define FAKE(name, ...)                \
  int name(__VA_ARGS__) {              \
    const std::lock_guard lock(mutex); \
    count(#name);
#define END \
  return 0; \
  }
#define NOTHING(name) FAKE(name) END

extern "C" {

// How often a function was called; what `name` was since the process began.
long fake_calls(const char* name) {
  const std::lock_guard lock(mutex);
  const auto found = calls.find(name);
  return found == calls.end() ? 0 : found->second;
}

// From so many launches on, counted from now, the device does no more work; 0: it does again.
void fake_fault(long after) {
  const std::lock_guard lock(mutex);
  fault_at = after ? launches + after : 0;
}

// clang-format off
NOTHING(cuInit)
FAKE(cuDriverGetVersion, int* version) *version = 13000; END
FAKE(cuGetErrorName, int, const char** text) *text = "FAKE"; END
FAKE(cuGetErrorString, int, const char** text) *text = "fake"; END

FAKE(cuDeviceGet, int* device, int ordinal) *device = ordinal; END
FAKE(cuDeviceGetCount, int* number) *number = 1; END
FAKE(cuDeviceGetName, char* name, int bytes, int) std::strncpy(name, "Fake H200", static_cast<size_t>(bytes)); END
FAKE(cuDeviceGetAttribute, int* value, int attribute, int) *value = attribute_value(attribute); END
FAKE(cuDeviceTotalMem_v2, size_t* bytes, int) *bytes = kDeviceBytes; END
FAKE(cuDevicePrimaryCtxRetain, void** context, int) *context = new_handle(); END
NOTHING(cuDevicePrimaryCtxRelease_v2)
NOTHING(cuCtxPushCurrent_v2)
NOTHING(cuCtxPopCurrent_v2)
NOTHING(cuCtxSynchronize)

FAKE(cuMemGetInfo_v2, size_t* free, size_t* total) *free = kDeviceBytes - device_end, *total = kDeviceBytes; END
FAKE(cuMemAlloc_v2, Address* address, size_t bytes) *address = take(bytes); END
NOTHING(cuMemFree_v2)
FAKE(cuMemHostAlloc, void** memory, size_t bytes, unsigned) *memory = std::calloc(1, bytes); END
FAKE(cuMemFreeHost, void* memory) std::free(memory); END
FAKE(cuMemcpyHtoDAsync_v2, Address to, const void* from, size_t bytes, void*) std::memcpy(pointer(to), from, bytes); END
FAKE(cuMemcpyDtoHAsync_v2, void* to, Address from, size_t bytes, void*) std::memcpy(to, pointer(from), bytes); END
FAKE(cuMemcpyDtoDAsync_v2, Address to, Address from, size_t bytes, void*) std::memmove(pointer(to), pointer(from), bytes); END
FAKE(cuMemsetD8Async, Address to, unsigned char value, size_t bytes, void*) std::memset(pointer(to), value, bytes); END
FAKE(cuMemPoolCreate, void** pool, void*) *pool = new_handle(); END
NOTHING(cuMemPoolDestroy)
NOTHING(cuMemPoolSetAttribute)
FAKE(cuMemAllocFromPoolAsync, Address* address, size_t bytes, void*, void*) *address = take(bytes); END
NOTHING(cuMemFreeAsync)
FAKE(cuPointerGetAttribute, void* value, int attribute, Address address)
  const auto first = reinterpret_cast<Address>(device_memory());
  if (address < first || address >= first + kDeviceBytes) return 1;
  const int found = attribute == 2 ? 2 : 0;  // CU_POINTER_ATTRIBUTE_MEMORY_TYPE: the device's
  std::memcpy(value, &found, sizeof found);
END

FAKE(cuStreamCreate, void** stream, unsigned) *stream = new_handle(); END
NOTHING(cuStreamDestroy_v2)
FAKE(cuStreamSynchronize, void*) if (fault_at && launches >= fault_at) return kIllegalAddress; END
NOTHING(cuStreamWaitEvent)
FAKE(cuStreamIsCapturing, void* stream, int* status) *status = captures.contains(stream) ? 1 : 0; END
NOTHING(cuThreadExchangeStreamCaptureMode)
FAKE(cuEventCreate, void** event, unsigned) *event = new_handle(); END
NOTHING(cuEventDestroy_v2)
NOTHING(cuEventRecord)
NOTHING(cuEventQuery)
NOTHING(cuEventSynchronize)
FAKE(cuEventElapsedTime, float* ms, void*, void*) *ms = 0; END

FAKE(cuModuleLoadData, void** module, const void*) *module = new_handle(); END
NOTHING(cuModuleUnload)
FAKE(cuModuleGetFunction, void** function, void*, const char*) *function = new_handle(); END
FAKE(cuFuncGetAttribute, int* value, int, void*) *value = 0; END
NOTHING(cuFuncSetAttribute)
FAKE(cuOccupancyMaxActiveBlocksPerMultiprocessor, int* blocks, void*, int, size_t) *blocks = 1; END
// `config` begins with seven sizes; the stream follows.
FAKE(cuLaunchKernelEx, const void* config, void*, void**, void**)
  ++launches;
  void* stream;
  std::memcpy(&stream, static_cast<const char*>(config) + 8 * sizeof(unsigned), sizeof stream);
  if (const auto capture = captures.find(stream); capture != captures.end())
    capture->second->nodes.push_back(new_handle());
END
NOTHING(cuTensorMapEncodeTiled)

FAKE(cuStreamBeginCapture_v2, void* stream, int) captures[stream] = new Graph; END
FAKE(cuStreamEndCapture, void* stream, void** graph) *graph = captures.at(stream); captures.erase(stream); END
FAKE(cuStreamGetCaptureInfo_v2, void* stream, int* status, void*, void** graph, void* const** nodes, size_t* number)
  const auto capture = captures.find(stream);
  *status = capture == captures.end() ? 0 : 1;
  if (!*status) return 0;
  if (graph) *graph = capture->second;
  node_asked_for = capture->second->nodes.empty() ? nullptr : capture->second->nodes.back();
  if (nodes) *nodes = &node_asked_for;
  if (number) *number = capture->second->nodes.empty() ? 0 : 1;
END
FAKE(cuGraphDestroy, Graph* graph) delete graph; END
FAKE(cuGraphGetNodes, Graph* graph, void**, size_t* number) *number = graph->nodes.size(); END
FAKE(cuGraphInstantiateWithFlags, void** exec, void*, unsigned long long) *exec = new_handle(); END
NOTHING(cuGraphExecDestroy)
NOTHING(cuGraphExecKernelNodeSetParams_v2)
NOTHING(cuGraphExecUpdate_v2)
NOTHING(cuGraphUpload)
NOTHING(cuGraphLaunch)

const char* nvrtcGetErrorString(int) { return "fake"; }
FAKE(nvrtcVersion, int* major, int* minor) *major = 13, *minor = 99; END
FAKE(nvrtcGetNumSupportedArchs, int* number) *number = 1; END
FAKE(nvrtcGetSupportedArchs, int* architectures) architectures[0] = 90; END
FAKE(nvrtcCreateProgram, void** program, const char*, const char*, int, const char**, const char**) *program = new_handle(); END
FAKE(nvrtcDestroyProgram, void** program) *program = nullptr; END
NOTHING(nvrtcCompileProgram)
FAKE(nvrtcGetCUBINSize, void*, size_t* bytes) *bytes = 8; END
FAKE(nvrtcGetCUBIN, void*, char* cubin) std::memset(cubin, 0, 8); END
FAKE(nvrtcGetProgramLogSize, void*, size_t* bytes) *bytes = 1; END
FAKE(nvrtcGetProgramLog, void*, char* log) *log = 0; END
// clang-format on
}
