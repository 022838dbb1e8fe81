#include "cli/bench_report.h"

#include <algorithm>
#include <fmt/format.h>

namespace onrush::cli {
namespace {

using measure::Cell;
using measure::Table;

Table latency_table(const std::vector<BenchResult>& results) {
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
      std::ranges::any_of(results, [](const BenchResult& r) { return r.batch.has_value(); });
  const bool failures =
      std::ranges::any_of(results, [](const BenchResult& r) { return !r.warm.failure.empty(); });
  if (batches) table.columns.push_back({"items_per_s", "items/s"});
  if (failures) table.columns.push_back({"failure", "why not"});
  for (const BenchResult& result : results) {
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

Table start_table(const std::vector<BenchResult>& results) {
  Table table{"start",
              "Start, in a fresh process",
              {{"configuration", "inputs"},
               {"load_ms", "load, ms"},
               {"first_ms", "first run, ms"},
               {"warm_load_ms", "again: load, ms"},
               {"warm_first_ms", "again: first run, ms"}},
              {}};
  for (const BenchResult& result : results)
    if (result.warm.loaded)
      table.rows.push_back(
          {result.name, measure::number(result.cold.load_ms), measure::number(result.cold.first_ms),
           measure::number(result.warm.load_ms), measure::number(result.warm.first_ms)});
  return table;
}

Table memory_table(const std::vector<BenchResult>& results, bool on_gpu) {
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
  for (const BenchResult& result : results) {
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

Table load_table(const std::vector<BenchResult>& results, int callers) {
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
  for (const BenchResult& result : results)
    for (const BenchResult::Load& load : result.loads) {
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

void add_remarks(measure::Report& report, const BenchCommand& command, const BenchResult& result) {
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
  for (const BenchResult::Load& load : result.loads) {
    if (!load.failure.empty())
      say(fmt::format("at {:g} requests a second: {}", load.rate, load.failure));
    if (load.figures.is_null() || !falls_behind(load.figures, command.load_seconds)) continue;
    say(
        fmt::format("cannot keep up with {:g} requests a second: latency grows for as long as they "
                    "come",
                    load.rate));
  }
}

measure::Json details(const std::vector<BenchResult>& results) {
  measure::Json list = measure::Json::array();
  for (const BenchResult& result : results) {
    measure::Json one = {{"configuration", result.name}, {"rounds_ms", result.warm.rounds}};
    for (const BenchResult::Load& load : result.loads)
      one["open_loop"].push_back({{"rate", load.rate}, {"figures", load.figures}});
    list.push_back(std::move(one));
  }
  return list;
}

}  // namespace

measure::Report bench_report(const BenchCommand& command, const std::vector<BenchResult>& results,
                             bool on_gpu) {
  measure::Report report;
  report.tables = {latency_table(results), start_table(results), memory_table(results, on_gpu)};
  if (!command.rates.empty()) report.tables.push_back(load_table(results, command.callers));
  for (const BenchResult& result : results) add_remarks(report, command, result);
  report.details = details(results);
  return report;
}

}  // namespace onrush::cli
