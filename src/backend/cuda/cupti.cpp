#include "backend/cuda/cupti.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cuda.h>
#include <set>

#include "backend/backend.h"
#include "base/check.h"

namespace onrush::cuda {
namespace {

// From CUPTI's documentation, since the build does without its headers. Later versions append to
// records; what is read here has kept its place since CUDA 11.
enum ActivityKind : int {
  kMemcpy = 1,
  kMemset = 2,
  kDriver = 4,
  kConcurrentKernel = 10,
  kExternalCorrelation = 39,
};
constexpr int kCustomCorrelation = 3;  // CUPTI_EXTERNAL_CORRELATION_KIND_CUSTOM0
constexpr ActivityKind kKinds[] = {kExternalCorrelation, kDriver, kConcurrentKernel, kMemcpy,
                                   kMemset};

struct [[gnu::packed, gnu::aligned(8)]] KernelRecord {
  int kind;
  uint8_t cache, shared_memory;
  uint16_t registers;
  int partitioned_cache[2];
  uint64_t start, end, completed;
  uint32_t device, context, stream;
  int32_t grid[3], block[3];
  int32_t static_shared, dynamic_shared;
  uint32_t local_per_thread, local_total;
  uint32_t correlation;
};
static_assert(offsetof(KernelRecord, correlation) == 92);

struct [[gnu::packed, gnu::aligned(8)]] MemcpyRecord {
  int kind;
  uint8_t copy_kind, source_kind, target_kind, flags;
  uint64_t bytes, start, end;
  uint32_t device, context, stream;
  uint32_t correlation;
};
static_assert(offsetof(MemcpyRecord, correlation) == 44);

struct [[gnu::packed, gnu::aligned(8)]] MemsetRecord {
  int kind;
  uint32_t value;
  uint64_t bytes, start, end;
  uint32_t device, context, stream;
  uint32_t correlation;
};
static_assert(offsetof(MemsetRecord, correlation) == 44);

struct [[gnu::packed, gnu::aligned(8)]] CorrelationRecord {
  int kind;
  int external_kind;
  uint64_t external;
  uint32_t correlation;
};

struct CuptiApi {
  int (*cuptiGetVersion)(uint32_t*);
  int (*cuptiActivityRegisterCallbacks)(void (*)(uint8_t**, size_t*, size_t*),
                                        void (*)(CUcontext, uint32_t, uint8_t*, size_t, size_t));
  int (*cuptiActivityRegisterTimestampCallback)(uint64_t (*)());
  int (*cuptiActivityEnable)(int);
  int (*cuptiActivityDisable)(int);
  int (*cuptiActivityFlushAll)(uint32_t);
  int (*cuptiActivityGetNextRecord)(uint8_t*, size_t, int**);
  int (*cuptiActivityPushExternalCorrelationId)(int, uint64_t);
  int (*cuptiActivityPopExternalCorrelationId)(int, uint64_t*);
  int (*cuptiGetResultString)(int, const char**);
};

constexpr int kVersions[] = {13, 12};
constexpr LibraryName kCupti = {"CUPTI", "libcupti.so", kVersions, "ONRUSH_CUPTI"};

struct CuptiLibrary {
  Search search;
  CuptiApi api = {};
  uint32_t version = 0;
};

CuptiLibrary open_cupti(const Environment& environment) {
  CuptiLibrary cupti;
  cupti.search = search(kCupti, environment, [&](const SharedLibrary& library) -> std::string {
    SymbolBinder bind(library);
    bind(cupti.api.cuptiGetVersion, "cuptiGetVersion");
    bind(cupti.api.cuptiActivityRegisterCallbacks, "cuptiActivityRegisterCallbacks");
    bind(cupti.api.cuptiActivityRegisterTimestampCallback,
         "cuptiActivityRegisterTimestampCallback");
    bind(cupti.api.cuptiActivityEnable, "cuptiActivityEnable");
    bind(cupti.api.cuptiActivityDisable, "cuptiActivityDisable");
    bind(cupti.api.cuptiActivityFlushAll, "cuptiActivityFlushAll");
    bind(cupti.api.cuptiActivityGetNextRecord, "cuptiActivityGetNextRecord");
    bind(cupti.api.cuptiActivityPushExternalCorrelationId,
         "cuptiActivityPushExternalCorrelationId");
    bind(cupti.api.cuptiActivityPopExternalCorrelationId, "cuptiActivityPopExternalCorrelationId");
    bind(cupti.api.cuptiGetResultString, "cuptiGetResultString");
    if (bind.missing()) return fmt::format("too old: it lacks {}", bind.missing());
    if (cupti.api.cuptiGetVersion(&cupti.version)) return "it cannot say its version";
    return {};
  });
  return cupti;
}

const CuptiLibrary& cupti() {
  static const auto* const library = new CuptiLibrary(open_cupti(process_environment));
  return *library;
}

void check_cupti(int result, const char* call) {
  if (!result) return;
  const char* text = nullptr;
  cupti().api.cuptiGetResultString(result, &text);
  fail(ErrorCode::device, "{}: {}", call, text ? text : "unknown error");
}

// What CUPTI hands over, by threads of its own.
struct Records {
  std::mutex mutex;
  std::vector<std::pair<uint32_t, DeviceActivity>> activities;  // with their correlation
  std::set<uint32_t> ours;                                      // correlations of marked work
};
Records& records() {
  static auto* const all = new Records;
  return *all;
}

std::mutex& turns() {
  static auto* const mutex = new std::mutex;
  return *mutex;
}

uint64_t timestamp() { return static_cast<uint64_t>(now_ns()); }

void give_buffer(uint8_t** buffer, size_t* bytes, size_t* records) {
  constexpr size_t kBytes = 1 << 20;
  *buffer = static_cast<uint8_t*>(std::aligned_alloc(8, kBytes));
  *bytes = *buffer ? kBytes : 0;
  *records = 0;  // as many as fit
}

template <class Record>
void add(DeviceActivity::Kind kind, const int* record) {
  const auto& found = *reinterpret_cast<const Record*>(record);
  records().activities.push_back(
      {found.correlation,
       {kind, static_cast<int64_t>(found.start), static_cast<int64_t>(found.end)}});
}

void take_buffer(CUcontext, uint32_t, uint8_t* buffer, size_t, size_t valid) {
  const std::lock_guard lock(records().mutex);
  int* record = nullptr;
  while (valid && !cupti().api.cuptiActivityGetNextRecord(buffer, valid, &record)) {
    switch (*record) {
      case kConcurrentKernel: add<KernelRecord>(DeviceActivity::Kind::kernel, record); break;
      case kMemcpy: add<MemcpyRecord>(DeviceActivity::Kind::copy, record); break;
      case kMemset: add<MemsetRecord>(DeviceActivity::Kind::fill, record); break;
      case kExternalCorrelation:
        records().ours.insert(reinterpret_cast<const CorrelationRecord*>(record)->correlation);
        break;
      default: break;
    }
  }
  std::free(buffer);
}

void disable_all() {
  for (const ActivityKind kind : kKinds) cupti().api.cuptiActivityDisable(kind);
}

bool enable_all() {
  const CuptiApi& api = cupti().api;
  if (api.cuptiActivityRegisterTimestampCallback(timestamp) ||
      api.cuptiActivityRegisterCallbacks(give_buffer, take_buffer))
    return false;
  for (const ActivityKind kind : kKinds)
    if (api.cuptiActivityEnable(kind)) {
      disable_all();
      return false;
    }
  return true;
}

}  // namespace

LibraryReport cupti_report() {
  const CuptiLibrary& library = cupti();
  // Before CUDA 13 CUPTI counted for itself.
  const uint32_t version = library.version;
  const std::string text = version >= 10000
                               ? fmt::format("{}.{}", version / 10000, version / 100 % 100)
                               : fmt::format("API {}", version);
  const bool found = library.search.library.has_value();
  return {std::string(kCupti.title), std::string(kCupti.file),
          found ? library.search.library->path() : "", found ? text : "", library.search.tried};
}

// A driver or a container may forbid profiling: known only by trying.
bool ActivityTrace::available() {
  static const bool works = [] {
    if (!cupti().search.library) return false;
    const std::lock_guard lock(turns());
    const bool enabled = enable_all();
    if (enabled) disable_all();
    return enabled;
  }();
  return works;
}

ActivityTrace::ActivityTrace() : turn_(turns()) {
  if (!enable_all()) fail(ErrorCode::device, "CUPTI does not trace any more");
  cupti().api.cuptiActivityFlushAll(1);
  const std::lock_guard lock(records().mutex);
  records().activities.clear();
  records().ours.clear();
}

ActivityTrace::~ActivityTrace() {
  if (active_) disable_all();
}

void ActivityTrace::begin() {
  check_cupti(cupti().api.cuptiActivityPushExternalCorrelationId(kCustomCorrelation, 1),
              "cuptiActivityPushExternalCorrelationId");
}

void ActivityTrace::end() {
  uint64_t id = 0;
  cupti().api.cuptiActivityPopExternalCorrelationId(kCustomCorrelation, &id);
}

std::vector<DeviceActivity> ActivityTrace::stop() {
  check_cupti(cupti().api.cuptiActivityFlushAll(1), "cuptiActivityFlushAll");
  disable_all();
  active_ = false;
  std::vector<DeviceActivity> result;
  const std::lock_guard lock(records().mutex);
  for (const auto& [correlation, activity] : records().activities)
    if (records().ours.contains(correlation)) result.push_back(activity);
  std::sort(result.begin(), result.end(), [](const DeviceActivity& a, const DeviceActivity& b) {
    return a.start_ns < b.start_ns;
  });
  return result;
}

}  // namespace onrush::cuda
