#include "backend/cuda/plan_functions.h"

#include <algorithm>
#include <utility>

#include "backend/cuda/cuda_executable.h"
#include "backend/cuda/graph.h"
#include "base/check.h"

namespace onrush::cuda {

std::vector<Function> PlanFunctions::get(std::span<const FunctionRequest> requests) {
  const std::lock_guard lock(mutex_);
  if (const auto failed = std::exchange(failed_behind_, nullptr)) std::rethrow_exception(failed);
  for (const bool wide : {false, true}) {
    std::vector<size_t> missing;
    for (const FunctionRequest& request : requests)
      if (request.wide == wide && !functions_.contains(request) &&
          std::find(missing.begin(), missing.end(), request.text) == missing.end())
        missing.push_back(request.text);
    if (!missing.empty()) compile(missing, wide);
  }
  std::vector<Function> found;
  found.reserve(requests.size());
  for (const FunctionRequest& request : requests) found.push_back(functions_.at(request));
  return found;
}

bool PlanFunctions::has(const FunctionRequest& request) const {
  const std::lock_guard lock(mutex_);
  return functions_.contains(request);
}

std::vector<Source> PlanFunctions::sources_of(const std::vector<std::vector<size_t>>& programs,
                                              bool wide) const {
  std::vector<Source> sources;
  for (const std::vector<size_t>& program : programs) {
    std::vector<std::string> texts;
    for (size_t index : program) texts.push_back(plan_.text(index));
    sources.push_back({fmt::format("plan_{}.cu", sources.size()), cuda_program(texts, wide), {}});
  }
  return sources;
}

// REQUIRES mutex_.
void PlanFunctions::compile(std::span<const size_t> texts, bool wide) {
  const std::vector<std::vector<size_t>> programs = plan_.programs(texts);
  const auto progress = [&](size_t done, size_t total) {
    if (shared_.progress) shared_.progress(fmt::format("compiled {} of {} programs", done, total));
  };
  add(programs,
      shared_.compiler.compile_all(sources_of(programs, wide), shared_.architecture, 0, progress),
      wide);
}

// REQUIRES mutex_.
void PlanFunctions::add(const std::vector<std::vector<size_t>>& programs,
                        std::span<const Cubin> cubins, bool wide) {
  for (size_t i = 0; i < programs.size(); ++i) {
    modules_.emplace_back(shared_.context, cubins[i]);
    for (size_t kernel = 0; kernel < programs[i].size(); ++kernel) {
      const Function function = modules_.back().function(fmt::format("kernel_{}", kernel).c_str());
      function.allow_shared_bytes(static_cast<uint32_t>(
          shared_.context->device().shared_bytes_per_block - function.static_shared_bytes()));
      functions_.emplace(FunctionRequest{programs[i][kernel], wide}, function);
    }
  }
}

void PlanFunctions::compile_for_later() const {
  shared_.compiler.compile_all(sources_of(plan_.programs(plan_.texts_at_hand()), false),
                               shared_.architecture);
}

void PlanFunctions::compile_behind(std::span<const size_t> texts) {
  const std::lock_guard lock(mutex_);
  for (const size_t text : texts)
    if (!functions_.contains({text, false})) wanted_.insert(text);
  if (wanted_.empty()) return;
  if (!behind_.joinable())
    behind_ = std::jthread([this](const std::stop_token& stop) { work_behind(stop); });
  asked_.notify_one();
}

void PlanFunctions::compile_for_other_sizes() {
  std::call_once(other_sizes_, [&] { compile_behind(plan_.texts_for_any_size()); });
}

void PlanFunctions::work_behind(const std::stop_token& stop) {
  // Most processors are left to the runs.
  const int threads = std::max(1, static_cast<int>(std::thread::hardware_concurrency()) / 4);
  const auto go_on = [&](size_t, size_t) {
    if (stop.stop_requested()) fail(ErrorCode::cancelled, "the session ends");
  };
  std::unique_lock lock(mutex_);
  while (asked_.wait(lock, stop, [&] { return !wanted_.empty(); })) {
    const std::vector<size_t> texts(wanted_.begin(), wanted_.end());
    lock.unlock();
    const std::vector<std::vector<size_t>> programs = plan_.programs(texts);
    std::vector<Cubin> cubins;
    std::exception_ptr failed;
    try {
      cubins = shared_.compiler.compile_all(sources_of(programs, false), shared_.architecture,
                                            threads, go_on);
    } catch (...) {
      failed = std::current_exception();
    }
    lock.lock();
    try {
      const ContextScope scope(*shared_.context);
      const RelaxedCapture relaxed;
      if (!failed) add(programs, cubins, false);
    } catch (...) {
      failed = std::current_exception();
    }
    if (failed) failed_behind_ = failed;
    for (const size_t text : texts) wanted_.erase(text);
    ++shared_.compiled_behind;
  }
}

}  // namespace onrush::cuda
