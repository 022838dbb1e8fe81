#include "backend/backend.h"

#include <chrono>

#include "base/check.h"

namespace onrush {

int64_t now_ns() {
  return std::chrono::nanoseconds(std::chrono::steady_clock::now().time_since_epoch()).count();
}

void RunState::begin(const RunOptions& options, Profiler* run_profiler) {
  cancel_ = options.cancel;
  interrupted_ = options.interrupted ? &options.interrupted : nullptr;
  profile = options.profile;
  profiler = run_profiler;
  stream = options.stream;
  checks_ = 0;
  next_question_ns_ = 0;
}

void RunState::check_cancelled() {
  if ((cancel_ && cancel_->load(std::memory_order_relaxed)) || (interrupted_ && is_interrupted()))
    fail(ErrorCode::cancelled, "the run was cancelled by its caller");
}

// Asks 20 times a second at most, and never in a run of few steps, which soon ends by itself.
bool RunState::is_interrupted() {
  constexpr int kFewSteps = 8;
  constexpr int64_t kPauseNs = 50'000'000;
  if (++checks_ <= kFewSteps) return false;
  const int64_t now = now_ns();
  if (now < next_question_ns_) return false;
  next_question_ns_ = now + kPauseNs;
  return (*interrupted_)();
}

ProfileTimer::ProfileTimer(RunState& state, const std::shared_ptr<const ProfiledStep>& step)
    : profile_(state.profile), step_(step) {
  if (profile_) start_ns_ = now_ns();
}

ProfileTimer::~ProfileTimer() {
  if (profile_) profile_->events.push_back({step_, start_ns_, now_ns() - start_ns_});
}

void check_given(const std::string& output, const Tensor& given, DType dtype, const Shape& shape) {
  if (given.dtype() == dtype && given.shape() == shape) return;
  fail(ErrorCode::invalid_argument, "the memory given for output '{}' must be {}{}, not {}{}",
       output, onnx_name(dtype), to_string(shape), onnx_name(given.dtype()),
       to_string(given.shape()));
}

}  // namespace onrush
