// onrush bench: how fast a model runs, starts, and serves requests, and what memory it takes.
#include <fmt/format.h>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "runtime/session_impl.h"

namespace onrush::cli {
namespace {

using engines::Contestant;
using measure::Cell;
using measure::Table;

// One way to run the model.
struct Configuration {
  Setting setting;
  InputTexts inputs;
  std::optional<int64_t> batch;
};

// What was measured of it.
struct Result {
  std::string name;
  std::string hint;  // for errors, see InputFile
  std::optional<int64_t> batch;
  Contestant cold;  // loaded with nothing kept on disk
  Contestant warm;  // loaded after that one, and measured
  measure::Json memory;
  std::vector<std::string> other_work;  // of the machine, during the rounds
  struct Load {
    double rate;
    measure::Json figures;
    std::string failure;
  };
  std::vector<Load> loads;
};

// --- configurations

// The k-th --shape of each input makes the k-th set; an input that has one only keeps it.
std::vector<InputTexts> shape_sets(const InputTexts& texts) {
  std::map<std::string, std::vector<std::string>> by_input;
  size_t sets = 1;
  for (const std::string& shape : texts.shapes) {
    auto& list = by_input[shape.substr(0, shape.find('='))];
    list.push_back(shape);
    sets = std::max(sets, list.size());
  }
  std::vector<InputTexts> result(sets, texts);
  for (size_t i = 0; i < sets; ++i) {
    result[i].shapes.clear();
    for (const auto& [input, list] : by_input) {
      if (list.size() != 1 && list.size() != sets)
        throw UsageError(
            fmt::format("--shape is given {} times for '{}' but {} times for another "
                        "input: give it once, or as often",
                        list.size(), input, sets));
      result[i].shapes.push_back(list[list.size() == 1 ? 0 : i]);
    }
  }
  return result;
}

// Sets the first axis of all inputs that leave it open.
InputTexts with_batch(InputTexts texts, const MeasuredModel& model, int64_t batch) {
  std::vector<std::string> dims;
  for (const Argument& input : model.inputs) {
    if (!input.shape || input.shape->empty()) continue;
    const ArgumentDim& dim = input.shape->front();
    if (dim.value)
      fail(ErrorCode::invalid_argument, "--batch {}: the model fixes the first axis of '{}' to {}",
           batch, input.name, *dim.value);
    if (dim.name.empty())
      fail(ErrorCode::invalid_argument,
           "--batch {}: the model does not name the first axis of '{}'; give whole shapes with "
           "--shape",
           batch, input.name);
    if (!std::ranges::count(dims, dim.name)) dims.push_back(dim.name);
  }
  for (const std::string& name : dims) texts.dims.push_back(fmt::format("{}={}", name, batch));
  return texts;
}

std::vector<std::string> placements(const BenchCommand& command) {
  if (!command.setting.placement.empty()) return {command.setting.placement};
  if (cuda_ordinal(command.setting.device)) return {"host", "device"};
  return {"host"};
}

std::vector<Configuration> configurations(const BenchCommand& command, const MeasuredModel& model) {
  std::vector<std::optional<int64_t>> batches(command.batches.begin(), command.batches.end());
  if (batches.empty()) batches.emplace_back();
  std::vector<std::string> precisions = command.precisions;
  if (precisions.empty()) precisions.emplace_back("standard");
  std::vector<Configuration> result;
  for (const std::string& precision : precisions)
    for (const InputTexts& shapes : shape_sets(command.inputs))
      for (const auto& batch : batches)
        for (const std::string& placement : placements(command)) {
          Configuration next{command.setting, shapes, batch};
          next.setting.precision = precision;
          next.setting.placement = placement;
          if (batch) next.inputs = with_batch(shapes, model, *batch);
          result.push_back(std::move(next));
        }
  return result;
}

// What tells it from others: "bf16, x 8x3x224x224, on the GPU".
std::string name_of(const Configuration& configuration, const InputFile& inputs) {
  std::string name = inputs.shapes;
  if (configuration.setting.precision != "standard")
    name = configuration.setting.precision + ", " + name;
  if (cuda_ordinal(configuration.setting.device))
    name += configuration.setting.placement == "device" ? ", on the GPU" : ", from host to host";
  return name;
}

// --- measuring

void measure_loads(const BenchCommand& command, Result& result,
                   const engines::ContestOptions& options, const engines::ShowProgress& show) {
  for (const double rate : command.rates) {
    if (!result.warm.worker || engines::Interrupts::requested()) return;
    show(fmt::format("{}: {:g} requests a second", result.name, rate));
    Result::Load& load = result.loads.emplace_back(Result::Load{rate, nullptr, ""});
    try {
      load.figures = result.warm.worker->call({{"call", "open_loop"},
                                               {"rate", rate},
                                               {"callers", command.callers},
                                               {"seconds", command.load_seconds}},
                                              options.timeout_s + 2 * command.load_seconds);
    } catch (const std::exception& error) {
      load.failure = error.what();
      return;
    }
  }
}

void run_alone(std::vector<Contestant>& one, const engines::ContestOptions& options,
               const engines::ShowProgress& show, std::vector<std::string>& other_work) {
  const auto used = [&] {
    return one[0].worker ? measure::processor_seconds(one[0].worker->process()) : 0;
  };
  const OtherWork others;
  const double before = used();
  engines::run_rounds(one, options, show);
  other_work = others.remarks(used() - before);
}

Result measure_one(const BenchCommand& command, const MeasuredModel& model,
                   const Configuration& configuration, const engines::ContestOptions& options,
                   const measure::Gpu* gpu, const engines::ShowProgress& show) {
  const InputFile inputs(model, configuration.inputs, options.folder + "/inputs.npz");
  const engines::TemporaryFolder cache;
  Result result;
  result.name = name_of(configuration, inputs);
  result.hint = inputs.hint;
  result.batch = configuration.batch;
  measure::Json load = load_request(model, inputs, configuration.setting);
  load["cache_folder"] = cache.path("");
  const auto show_named = [&](std::string_view text) {
    show(fmt::format("{}: {}", result.name, text));
  };
  for (Contestant* contestant : {&result.cold, &result.warm}) {
    std::vector<Contestant> one;
    one.push_back(onrush_contestant("onrush", load, options.folder));
    engines::load_all(one, options, gpu, show_named);
    if (contestant == &result.warm) run_alone(one, options, show_named, result.other_work);
    else one[0].worker.reset();
    *contestant = std::move(one[0]);
    if (!contestant->failure.empty()) {
      result.warm.failure = contestant->failure;
      return result;
    }
  }
  if (!engines::Interrupts::requested())
    result.memory = result.warm.worker->call({{"call", "memory"}}, options.timeout_s);
  measure_loads(command, result, options, show);
  return result;
}

// --- report

Table latency_table(const std::vector<Result>& results) {
  Table table{"latency",
              "Latency of a run, and throughput of one caller",
              {{"configuration", "inputs"},
               {"median_ms", "median, ms"},
               {"p90_ms", "p90, ms"},
               {"p99_ms", "p99, ms"},
               {"spread", "p10 to p90"},
               {"runs", "runs"},
               {"runs_per_s", "runs/s"}},
              {}};
  const bool batches =
      std::ranges::any_of(results, [](const Result& r) { return r.batch.has_value(); });
  const bool failures =
      std::ranges::any_of(results, [](const Result& r) { return !r.warm.failure.empty(); });
  if (batches) table.columns.push_back({"items_per_s", "items/s"});
  if (failures) table.columns.push_back({"failure", "why not"});
  for (const Result& result : results) {
    auto& row = table.rows.emplace_back(std::vector<Cell>(table.columns.size()));
    row[0] = result.name;
    if (failures && !result.warm.failure.empty()) row.back() = result.warm.failure;
    if (result.warm.rounds.empty()) continue;
    const std::vector<double> runs = engines::all_runs(result.warm);
    const double median = measure::median(engines::round_medians(result.warm));
    const double spread = (measure::quantile(runs, 0.9) - measure::quantile(runs, 0.1)) / median;
    row[1] = measure::number(median);
    row[2] = measure::number(measure::quantile(runs, 0.9));
    row[3] = measure::number(measure::quantile(runs, 0.99));
    row[4] = Cell(spread, fmt::format("{:.1f} %", 100 * spread));
    row[5] = measure::count(runs.size());
    row[6] = measure::number(1e3 / median);
    if (result.batch) row[7] = measure::number(1e3 / median * static_cast<double>(*result.batch));
  }
  return table;
}

Table start_table(const std::vector<Result>& results) {
  Table table{"start",
              "Start, in a fresh process",
              {{"configuration", "inputs"},
               {"load_ms", "load, ms"},
               {"first_ms", "first run, ms"},
               {"warm_load_ms", "again: load, ms"},
               {"warm_first_ms", "again: first run, ms"}},
              {}};
  for (const Result& result : results)
    if (result.warm.loaded)
      table.rows.push_back(
          {result.name, measure::number(result.cold.load_ms), measure::number(result.cold.first_ms),
           measure::number(result.warm.load_ms), measure::number(result.warm.first_ms)});
  return table;
}

Table memory_table(const std::vector<Result>& results, bool on_gpu) {
  Table table{"memory",
              "Memory, MB",
              {{"configuration", "inputs"},
               {"peak_bytes", "host, at most"},
               {"program_bytes", "before loading"}},
              {}};
  if (on_gpu) {
    table.columns.push_back({"pinned_bytes", "pinned"});
    table.columns.push_back({"gpu_bytes", "GPU"});
  }
  table.columns.push_back({"weights_bytes", "weights"});
  table.columns.push_back({"scratch_bytes", "arenas"});
  if (on_gpu) {
    table.columns.push_back({"graphs_bytes", "graphs"});
    table.columns.push_back({"rest_bytes", "context, kernels"});
  }
  for (const Result& result : results) {
    if (result.memory.is_null()) continue;
    const auto part = [&](const char* name) { return result.memory.at(name).get<uint64_t>(); };
    const uint64_t known = part("weights") + part("scratch") + part("graphs");
    auto& row = table.rows.emplace_back();
    row = {result.name, measure::megabytes(result.warm.bytes_peak),
           measure::megabytes(result.warm.bytes_before)};
    if (on_gpu) {
      row.push_back(measure::megabytes(part("pinned")));
      row.push_back(measure::megabytes(result.warm.gpu_bytes));
    }
    row.push_back(measure::megabytes(part("weights")));
    row.push_back(measure::megabytes(part("scratch")));
    if (on_gpu) {
      row.push_back(measure::megabytes(part("graphs")));
      row.push_back(
          measure::megabytes(result.warm.gpu_bytes - std::min(result.warm.gpu_bytes, known)));
    }
  }
  return table;
}

std::vector<double> milliseconds(const measure::Json& seconds) {
  std::vector<double> result;
  for (const measure::Json& value : seconds) result.push_back(1e3 * value.get<double>());
  return result;
}

Table load_table(const std::vector<Result>& results, int callers) {
  Table table{
      "open_loop",
      fmt::format("Requests at a fixed rate, {} callers; latency from when a request was due",
                  callers),
      {{"configuration", "inputs"},
       {"rate", "rate, /s"},
       {"served_per_s", "served, /s"},
       {"p50_ms", "p50, ms"},
       {"p90_ms", "p90, ms"},
       {"p99_ms", "p99, ms"},
       {"p999_ms", "p99.9, ms"},
       {"max_ms", "most, ms"},
       {"service_p50_ms", "p50 of the run alone, ms"},
       {"unserved", "unserved"}},
      {}};
  for (const Result& result : results)
    for (const Result::Load& load : result.loads) {
      auto& row = table.rows.emplace_back();
      row = {result.name, measure::number(load.rate)};
      if (load.figures.is_null()) continue;
      const std::vector<double> latencies = milliseconds(load.figures.at("latencies"));
      const std::vector<double> service = milliseconds(load.figures.at("service_times"));
      row.push_back(measure::number(load.figures.at("served_rate")));
      for (const double share : {0.5, 0.9, 0.99, 0.999, 1.0})
        row.push_back(measure::number(measure::quantile(latencies, share)));
      row.push_back(service.empty() ? Cell() : measure::number(measure::median(service)));
      row.push_back(measure::count(load.figures.at("unserved")));
    }
  return table;
}

// Whether requests waited longer and longer: the last tenth for a tenth of the time and more.
bool falls_behind(const measure::Json& figures, double seconds) {
  const measure::Json& latencies = figures.at("latencies");
  std::vector<double> last;
  for (size_t i = latencies.size() - (latencies.size() + 9) / 10; i < latencies.size(); ++i)
    last.push_back(latencies[i]);
  return figures.at("unserved") > 0 || measure::median(last) > 0.1 * seconds;
}

void add_remarks(measure::Report& report, const BenchCommand& command, const Result& result) {
  constexpr double kNoisy = 0.05;
  const std::vector<double> rounds = engines::round_medians(result.warm);
  const auto interval = measure::median_interval(rounds);
  const auto say = [&](const std::string& text) {
    report.remarks.push_back(fmt::format("{}: {}.", result.name, text));
  };
  if (interval && interval->high - interval->low > 2 * kNoisy * measure::median(rounds))
    say(fmt::format("too noisy to tell; the median is somewhere from {} to {} ms",
                    measure::significant(interval->low, 3),
                    measure::significant(interval->high, 3)));
  for (const std::string& text : measure::warnings(measure::steadiness(rounds), "ms")) say(text);
  for (const std::string& text : result.other_work) say(text);
  for (const Result::Load& load : result.loads) {
    if (!load.failure.empty())
      say(fmt::format("at {:g} requests a second: {}", load.rate, load.failure));
    if (load.figures.is_null() || !falls_behind(load.figures, command.load_seconds)) continue;
    say(
        fmt::format("cannot keep up with {:g} requests a second: latency grows for as long as they "
                    "come",
                    load.rate));
  }
}

measure::Json details(const std::vector<Result>& results) {
  measure::Json list = measure::Json::array();
  for (const Result& result : results) {
    measure::Json one = {{"configuration", result.name}, {"rounds_ms", result.warm.rounds}};
    for (const Result::Load& load : result.loads)
      one["open_loop"].push_back({{"rate", load.rate}, {"figures", load.figures}});
    list.push_back(std::move(one));
  }
  return list;
}

}  // namespace

void bench(const BenchCommand& command) {
  command.files.check();
  const MeasuredModel model(command.model);
  const std::vector<Configuration> all = configurations(command, model);
  const engines::TemporaryFolder folder;
  const std::optional<measure::Gpu> gpu = find_gpu(command.setting.device, folder.path(""));
  engines::ContestOptions options;
  options.rounds = command.rounds;
  options.timeout_s = command.timeout_s;
  options.folder = folder.path("");

  measure::Report report;
  add_machine_facts(report, model, command.setting, gpu);
  std::vector<Result> results;
  {
    Progress progress;
    const auto show = [&](std::string_view text) { progress.show(text); };
    const engines::Interrupts interrupts;
    std::optional<measure::GpuWatch> watch;
    if (gpu) watch.emplace(*gpu);
    for (const Configuration& configuration : all) {
      if (engines::Interrupts::requested()) break;
      results.push_back(
          measure_one(command, model, configuration, options, gpu ? &*gpu : nullptr, show));
      add_remarks(report, command, results.back());
      results.back().warm.worker.reset();
    }
    if (watch)
      for (const std::string& text : measure::remarks(watch->samples()))
        report.remarks.push_back(text + ".");
    if (engines::Interrupts::requested())
      report.remarks.insert(report.remarks.begin(),
                            "Interrupted; this is what was measured so far.");
  }
  report.tables = {latency_table(results), start_table(results),
                   memory_table(results, gpu.has_value())};
  if (!command.rates.empty()) report.tables.push_back(load_table(results, command.callers));
  report.details = details(results);
  fmt::print("{}", measure::text(report));
  command.files.write(report);
  for (const Result& result : results)
    if (!result.warm.failure.empty() && !result.warm.loaded)
      fail(ErrorCode::invalid_argument, "{}: {}{}", result.name, result.warm.failure, result.hint);
}

}  // namespace onrush::cli
