// onrush compare: Onrush and its peers on one model, in turns.
#include <filesystem>
#include <fmt/format.h>
#include <optional>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/debug_accuracy.h"
#include "cli/progress.h"
#include "engines/accuracy.h"
#include "engines/peers.h"
#include "measure/verdict.h"
#include "runtime/session_impl.h"

namespace onrush::cli {
namespace {

using engines::Contestant;
using measure::Cell;
using measure::Table;

// Onrush with another precision, or tuned, is measured like a peer.
constexpr std::string_view kTuned = "onrush:tuned";
constexpr std::string_view kOwnVariants[] = {"onrush:fp32", "onrush:tf32", "onrush:fp16",
                                             "onrush:bf16", kTuned};

// The peers asked for, each once. By default what is there on that device.
std::vector<std::string> chosen_peers(const CompareCommand& command) {
  std::vector<std::string> wanted = command.with;
  if (wanted.empty()) {
    wanted = {"onnxruntime"};
    if (command.setting.device == "cpu") wanted.emplace_back("openvino");
    if (!command.torch.empty()) wanted.emplace_back("pytorch");
  }
  std::vector<std::string> names;
  for (const std::string& text : wanted) {
    const bool own = std::ranges::count(kOwnVariants, text);
    for (const std::string& name : own ? std::vector{text} : engines::peer_names(text))
      if (!std::ranges::count(names, name)) names.push_back(name);
  }
  return names;
}

Contestant peer(const std::string& name, const CompareCommand& command, measure::Json load,
                const std::string& folder, const std::string& script) {
  load["torch"] = command.torch;
  Contestant contestant{.name = name, .load = std::move(load)};
  try {
    const std::string python =
        engines::find_python(name, engines::python_interpreters(command.python));
    const std::vector<std::string> line = {python, script, name};
    const std::string log = fmt::format("{}/{}.log", folder, name);
    contestant.start = [line, log] { return engines::Worker::start(line, log); };
  } catch (const engines::WorkerError& error) {
    contestant.failure = error.what();
  }
  return contestant;
}

std::vector<Contestant> make_contestants(const CompareCommand& command, const Setting& setting,
                                         const MeasuredModel& model, const InputFile& inputs,
                                         const std::string& folder) {
  const measure::Json load = load_request(model, inputs, setting);
  std::vector<Contestant> contestants;
  contestants.push_back(onrush_contestant("onrush", load, folder));
  const std::string script = engines::write_worker_scripts(folder);
  for (const std::string& name : chosen_peers(command)) {
    if (name.starts_with("onrush:")) {
      measure::Json other = load;
      if (name == kTuned) other["tune"] = true;
      else other["precision"] = name.substr(name.find(':') + 1);
      contestants.push_back(onrush_contestant(name, std::move(other), folder));
    } else {
      contestants.push_back(peer(name, command, load, folder, script));
    }
  }
  return contestants;
}

bool any_failed(const std::vector<Contestant>& contestants) {
  return std::ranges::any_of(contestants, [](const Contestant& c) { return !c.failure.empty(); });
}

Table latency_table(const std::vector<Contestant>& contestants) {
  Table table{"latency",
              "Latency of a run",
              {{"engine", "engine"},
               {"version", "version"},
               {"median_ms", "median, ms"},
               {"p90_ms", "p90, ms"},
               {"p99_ms", "p99, ms"},
               {"runs", "runs"},
               {"onrush_speedup", "speed-up of onrush"}},
              {}};
  if (any_failed(contestants)) table.columns.push_back({"failure", "why not"});
  const std::vector<double> own = engines::round_medians(contestants[0]);
  for (const Contestant& contestant : contestants) {
    auto& row = table.rows.emplace_back();
    row = {contestant.name, contestant.version};
    row.resize(7);
    if (!contestant.rounds.empty()) {
      const std::vector<double> medians = engines::round_medians(contestant);
      const std::vector<double> runs = engines::all_runs(contestant);
      row[2] = measure::number(measure::median(medians));
      row[3] = measure::number(measure::quantile(runs, 0.9));
      row[4] = measure::number(measure::quantile(runs, 0.99));
      row[5] = measure::count(runs.size());
      if (&contestant != &contestants[0] && !own.empty())
        row[6] = measure::number(measure::compare(own, medians).ratio);
    }
    if (!contestant.failure.empty()) row.emplace_back(contestant.failure);
  }
  return table;
}

Table start_table(const std::vector<Contestant>& contestants, bool on_gpu) {
  Table table{"start",
              "Start and memory",
              {{"engine", "engine"},
               {"load_ms", "load, ms"},
               {"first_ms", "first run, ms"},
               {"peak_bytes", "peak memory, MB"},
               {"model_bytes", "since loading, MB"}},
              {}};
  if (on_gpu) table.columns.push_back({"gpu_bytes", "GPU memory, MB"});
  for (const Contestant& c : contestants) {
    if (!c.loaded) continue;
    table.rows.push_back(
        {c.name, measure::number(c.load_ms), measure::number(c.first_ms),
         measure::megabytes(c.bytes_peak),
         measure::megabytes(c.bytes_peak - std::min(c.bytes_peak, c.bytes_before))});
    if (on_gpu) table.rows.back().push_back(measure::megabytes(c.gpu_bytes));
  }
  return table;
}

// The engine whose outputs the others' are compared with.
Contestant* find_expected(std::vector<Contestant>& contestants, const std::string& against) {
  const auto named = [&](const std::string& name) -> Contestant* {
    for (Contestant& c : contestants)
      if (c.name == name && c.loaded) return &c;
    return nullptr;
  };
  if (!against.empty()) return named(against);
  if (Contestant* first_choice = named("onnxruntime")) return first_choice;
  for (size_t i = 1; i < contestants.size(); ++i)
    if (contestants[i].loaded) return &contestants[i];
  return nullptr;
}

Table accuracy_table(const std::vector<Contestant>& contestants, const Contestant& expected) {
  Table table{"accuracy",
              "Outputs, compared with those of " + expected.name,
              {{"engine", "engine"},
               {"absolute", "largest difference"},
               {"relative", "of largest output"},
               {"ulps", "ULP"},
               {"cosine_distance", "1 - cosine"},
               {"top1", "top-1 agreement"},
               {"first_nan", "first NaN"}},
              {}};
  for (const Contestant& c : contestants) {
    if (!c.loaded || &c == &expected) continue;
    const engines::Difference d = engines::difference(c.outputs, expected.outputs);
    if (!d.mismatch.empty()) {
      table.rows.push_back({c.name, Cell(d.mismatch)});
      continue;
    }
    table.rows.push_back({c.name, measure::number(d.absolute, 2), measure::number(d.relative, 2),
                          measure::number(d.ulps, 3), measure::number(1 - d.cosine, 2),
                          d.top1 ? Cell(*d.top1, fmt::format("{:.4g} %", 100 * *d.top1)) : Cell(),
                          d.first_nan.empty() ? Cell() : Cell(d.first_nan)});
  }
  return table;
}

void add_remarks(measure::Report& report, const std::vector<Contestant>& contestants) {
  const std::vector<double> own = engines::round_medians(contestants[0]);
  for (size_t i = 1; i < contestants.size(); ++i)
    if (const auto other = engines::round_medians(contestants[i]); !own.empty() && !other.empty())
      report.remarks.push_back(measure::verdict_text(measure::compare(own, other),
                                                     contestants[0].name, contestants[i].name) +
                               ".");
  for (const Contestant& c : contestants)
    for (const std::string& text :
         measure::warnings(measure::steadiness(engines::round_medians(c)), "ms"))
      report.remarks.push_back(fmt::format("{} {}.", c.name, text));
}

measure::Json details(const std::vector<Contestant>& contestants) {
  measure::Json rounds = measure::Json::object(), verdicts = measure::Json::object();
  const std::vector<double> own = engines::round_medians(contestants[0]);
  for (const Contestant& c : contestants) {
    rounds[c.name] = c.rounds;
    if (&c == &contestants[0] || own.empty() || c.rounds.empty()) continue;
    const measure::Comparison found = measure::compare(own, engines::round_medians(c));
    verdicts[c.name] = {{"verdict", measure::name(found.verdict)},
                        {"ratio", found.ratio},
                        {"low", found.interval.low},
                        {"high", found.interval.high}};
  }
  return {{"verdicts", verdicts}, {"rounds_ms", rounds}};
}

// What --debug-accuracy finds, or why it does not: the report is not to be lost for it.
std::string debug(const CompareCommand& command, const MeasuredModel& model,
                  const InputFile& inputs, std::vector<Contestant>& contestants,
                  const engines::ContestOptions& options) {
  Contestant* expected = find_expected(contestants, command.against);
  if (!contestants[0].loaded || !expected)
    return "--debug-accuracy: there are no two engines that ran the model.";
  Progress progress;
  const engines::Interrupts interrupts;
  try {
    return debug_accuracy(command.debug_folder, command.tolerance, model, inputs, contestants[0],
                          *expected, options, [&](std::string_view text) { progress.show(text); });
  } catch (const std::exception& error) {
    return fmt::format("--debug-accuracy: {}.", error.what());
  }
}

void make_folder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    fail(ErrorCode::invalid_argument, "cannot make folder {}: {}", folder, error.message());
}

double processor_seconds(const std::vector<Contestant>& contestants) {
  double seconds = 0;
  for (const Contestant& c : contestants)
    if (c.worker) seconds += measure::processor_seconds(c.worker->process());
  return seconds;
}

}  // namespace

void compare(const CompareCommand& command) {
  command.files.check();
  if (!command.debug_folder.empty()) make_folder(command.debug_folder);
  Setting setting = command.setting;
  if (setting.placement.empty())
    setting.placement = cuda_ordinal(setting.device) ? "device" : "host";
  const MeasuredModel model(command.model);
  const engines::TemporaryFolder folder;
  const InputFile inputs(model, command.inputs, folder.path("inputs.npz"));
  const std::optional<measure::Gpu> gpu = find_gpu(setting.device, folder.path(""));
  std::vector<Contestant> contestants =
      make_contestants(command, setting, model, inputs, folder.path(""));
  if (!command.against.empty() && std::ranges::none_of(contestants, [&](const Contestant& c) {
        return c.name == command.against;
      }))
    throw UsageError(
        fmt::format("--against '{}' is not among the engines compared", command.against));
  engines::ContestOptions options;
  options.rounds = command.rounds;
  options.timeout_s = command.timeout_s;
  options.folder = folder.path("");
  for (const Argument& output : model.outputs) options.outputs.push_back(output.dtype);

  measure::Report report;
  add_machine_facts(report, model, setting, gpu);
  report.facts.emplace_back("inputs",
                            inputs.shapes + (setting.placement == "device" ? " (on the GPU)" : ""));
  {
    Progress progress;
    const auto show = [&](std::string_view text) { progress.show(text); };
    const engines::Interrupts interrupts;
    engines::load_all(contestants, options, gpu ? &*gpu : nullptr, show);
    std::optional<measure::GpuWatch> watch;
    if (gpu) watch.emplace(*gpu);
    const OtherWork others;
    const double before = processor_seconds(contestants);
    engines::run_rounds(contestants, options, show);
    add_remarks(report, contestants);
    for (const std::string& text : others.remarks(processor_seconds(contestants) - before))
      report.remarks.push_back("Note: " + text + "; some engines lose more by that than others.");
    if (watch)
      for (const std::string& text : measure::remarks(watch->samples()))
        report.remarks.push_back(text + ".");
    if (engines::Interrupts::requested())
      report.remarks.insert(report.remarks.begin(),
                            "Interrupted; this is what was measured so far.");
  }
  report.tables = {latency_table(contestants), start_table(contestants, gpu.has_value())};
  if (const Contestant* expected = find_expected(contestants, command.against))
    report.tables.push_back(accuracy_table(contestants, *expected));
  if (!command.debug_folder.empty())
    report.remarks.push_back(debug(command, model, inputs, contestants, options));
  report.details = details(contestants);
  fmt::print("{}", measure::text(report));
  command.files.write(report);
  if (!contestants[0].loaded)
    fail(ErrorCode::invalid_argument, "Onrush itself did not run: {}{}", contestants[0].failure,
         inputs.hint);
}

}  // namespace onrush::cli
