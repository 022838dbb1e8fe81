#include "explain/alternatives.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <utility>

#include "backend/cpu/thread_pool.h"
#include "base/numeric.h"
#include "measure/process.h"
#include "measure/statistics.h"
#include "runtime/precision.h"
#include <onrush/error.h>

namespace onrush::explain {
namespace {

using Choice = std::pair<std::string, SessionOptions>;

std::vector<Choice> cpu_choices(const SessionOptions& options) {
  std::vector<Choice> choices;
  const auto add = [&](std::string name, auto&& change) {
    SessionOptions other = options;
    change(other);
    choices.emplace_back(std::move(name), std::move(other));
  };
  const int all = cpu::available_processors();
  const int used = options.threads > 0 ? options.threads : all;
  for (const int threads : {1, used / 2, all})
    if (threads >= 1 && threads != used &&
        (choices.empty() || threads > choices.back().second.threads))
      add(fmt::format("--threads {}", threads), [&](auto& o) { o.threads = threads; });
  if (options.precision == Precision::bf16)
    add("--precision fp32", [](auto& o) { o.precision = Precision::fp32; });
  else add("--precision bf16", [](auto& o) { o.precision = Precision::bf16; });
  if (options.optimization_level > 0) add("--opt 0", [](auto& o) { o.optimization_level = 0; });
  return choices;
}

std::vector<Choice> gpu_choices(const SessionOptions& options) {
  const Precision used =
      options.precision == Precision::standard ? Precision::tf32 : options.precision;
  std::vector<Choice> choices;
  for (const auto& [name, precision] : kPrecisions) {
    if (precision == Precision::standard || precision == used) continue;
    SessionOptions other = options;
    other.precision = precision;
    choices.emplace_back(fmt::format("--precision {}", name), std::move(other));
  }
  return choices;
}

// The largest difference between two results, as a part of the largest element of `a`. 1 where they
// are of different shapes.
double difference(const Value& a, const Value& b) {
  if (!a.is_tensor() || !b.is_tensor()) return 0;
  const Tensor &x = a.tensor(), &y = b.tensor();
  if (x.shape() != y.shape()) return 1;
  if (!is_float(x.dtype())) return 0;
  double largest = 0, most = 0;
  for (int64_t i = 0; i < x.count(); ++i) {
    const double was = load_f64(x.dtype(), x.data(), i), is = load_f64(y.dtype(), y.data(), i);
    if (std::isfinite(was)) largest = std::max(largest, std::abs(was));
    if (std::isfinite(was - is)) most = std::max(most, std::abs(was - is));
  }
  return largest > 0 ? most / largest : most;
}

double seconds_of(const Session& session, const NamedValues& inputs, std::vector<Value>& results) {
  const measure::Stopwatch watch;
  session.run(inputs, {}, {}, results);
  return watch.seconds();
}

// Rounds of a run each, or of as many as take 5 ms.
Alternative measure_one(const Choice& choice, const ExplainOptions& options, const Session& session,
                        const NamedValues& inputs) {
  constexpr double kBudget = 3, kRound = 5e-3;  // seconds
  constexpr int kLeast = 8, kMost = 40;
  Alternative result;
  result.name = choice.first;
  const Session other = Session::load(options.model, choice.second);
  std::vector<Value> own_values, values;
  seconds_of(other, inputs, values);
  double own = 0, others = 0;
  for (int warm = 0; warm < 2; ++warm) {
    own = seconds_of(session, inputs, own_values);
    others = seconds_of(other, inputs, values);
  }
  for (size_t i = 0; i < values.size(); ++i)
    result.difference = std::max(result.difference, difference(own_values[i], values[i]));
  const auto repeats = [](double seconds) {
    return std::clamp(static_cast<int>(kRound / std::max(seconds, 1e-7)), 1, 1000);
  };
  const int own_runs = repeats(own), runs = repeats(others);
  const int rounds =
      std::clamp(static_cast<int>(kBudget / (own * own_runs + others * runs)), kLeast, kMost);
  const auto median = [&](const Session& which, int count) {
    std::vector<double> samples;
    for (int i = 0; i < count; ++i) samples.push_back(seconds_of(which, inputs, values));
    return measure::median(std::move(samples));
  };
  std::vector<double> own_rounds, other_rounds;
  for (int round = 0; round < rounds; ++round) {
    if (options.record.progress)
      options.record.progress(fmt::format("{}: round {} of {}", result.name, round + 1, rounds));
    other_rounds.push_back(median(other, runs));
    own_rounds.push_back(median(session, own_runs));
  }
  result.time_us = 1e6 * measure::median(other_rounds);
  result.comparison = measure::compare(other_rounds, own_rounds);
  return result;
}

}  // namespace

std::vector<Alternative> compare_alternatives(const ExplainOptions& options, const Session& session,
                                              const NamedValues& inputs) {
  const bool gpu = options.session.device.starts_with("cuda");
  std::vector<Choice> choices;
  if (gpu) choices = gpu_choices(options.session);
  if (options.session.device == "cpu") choices = cpu_choices(options.session);
  std::vector<Alternative> results;
  for (const Choice& choice : choices) try {
      results.push_back(measure_one(choice, options, session, inputs));
    } catch (const Error& error) {
      results.push_back({choice.first, error.what()});
    }
  return results;
}

}  // namespace onrush::explain
