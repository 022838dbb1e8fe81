#include "backend/cuda/tuner.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "backend/cuda/graph.h"
#include "base/check.h"

namespace onrush::cuda {
namespace {

constexpr int kRounds = 7;
constexpr double kRoundUs = 400;  // that a graph should take
constexpr size_t kMostRepeats = 32;

struct Timer {
  explicit Timer(const ContextPtr& context)
      : start(context, Event::Timing::on), end(context, Event::Timing::on) {}

  template <class Work>
  double microseconds(const Stream& stream, const Work& work) const {
    start.record(stream);
    work();
    end.record(stream);
    stream.synchronize();
    return 1e3 * static_cast<double>(milliseconds_between(start, end));
  }

  Event start, end;
};

std::optional<GraphExec> record(const Candidate& candidate, size_t launches, size_t repeats,
                                const Stream& stream) {
  Capture capture(stream);
  for (size_t i = 0; i < repeats; ++i) candidate.put(stream, i > 0);
  CapturedGraph graph = capture.end();
  if (graph.node_count() != launches * repeats) return std::nullopt;
  return GraphExec(std::move(graph));
}

// After an error: whether the device still works.
void expect_alive(const Stream& stream, const std::string& way) {
  try {
    stream.synchronize();
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", way, error.what());
  }
}

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + kRounds / 2, values.end());
  return values[kRounds / 2];
}

}  // namespace

std::vector<double> time_in_turns(const ContextPtr& context,
                                  const std::vector<Candidate>& candidates, size_t launches) {
  const Stream stream(context);
  const Timer timer(context);
  std::vector<std::optional<GraphExec>> graphs(candidates.size());
  size_t repeats = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const auto once = [&] { candidates[i].put(stream, false); };
    try {
      timer.microseconds(stream, once);  // the first loads the kernels
      if (!repeats) {
        const double us = std::max(1.0, timer.microseconds(stream, once));
        repeats =
            std::clamp<size_t>(static_cast<size_t>(std::ceil(kRoundUs / us)), 1, kMostRepeats);
      }
      graphs[i] = record(candidates[i], launches, repeats, stream);
      if (graphs[i]) timer.microseconds(stream, [&] { graphs[i]->launch(stream); });
    } catch (const Error& error) {
      if (error.code() == ErrorCode::out_of_memory) throw;
      graphs[i].reset();
      expect_alive(stream, candidates[i].way);
    }
  }
  std::vector<std::vector<double>> times(candidates.size());
  for (int round = 0; round < kRounds; ++round)
    for (size_t i = 0; i < candidates.size(); ++i)
      if (graphs[i])
        times[i].push_back(timer.microseconds(stream, [&] { graphs[i]->launch(stream); }));
  std::vector<double> result(candidates.size(), std::numeric_limits<double>::infinity());
  for (size_t i = 0; i < candidates.size(); ++i)
    if (graphs[i]) result[i] = median(times[i]) / static_cast<double>(launches * repeats);
  return result;
}

}  // namespace onrush::cuda
