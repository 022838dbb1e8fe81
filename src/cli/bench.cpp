// onrush bench: how fast a model runs, starts, and serves requests, and what memory it takes.
#include <fmt/format.h>

#include "base/check.h"
#include "cli/bench_report.h"
#include "cli/commands.h"
#include "cli/progress.h"
#include "runtime/session_impl.h"

namespace onrush::cli {
namespace {

using engines::Contestant;

// One way to run the model.
struct Configuration {
  Setting setting;
  InputTexts inputs;
  std::optional<int64_t> batch;
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

// "x=1x3x224x224" with another first size.
std::string with_first_size(const std::string& shape, int64_t size) {
  const size_t begin = shape.find('=') + 1, end = std::min(shape.find('x', begin), shape.size());
  return shape.substr(0, begin) + std::to_string(size) + shape.substr(end);
}

// Sets the first axis of all inputs, which the model leaves open: in the shape that is given for an
// input, else by the axis's name.
InputTexts with_batch(InputTexts texts, const MeasuredModel& model, int64_t batch) {
  const auto reject = [&](const std::string& why) {
    fail(ErrorCode::invalid_argument, "--batch {}: {}", batch, why);
  };
  const InputChoices choices = parse(texts);
  std::vector<std::string> dims;
  for (const Argument& input : model.inputs) {
    if (input.shape && input.shape->empty()) continue;
    const ArgumentDim dim = input.shape ? input.shape->front() : ArgumentDim{};
    if (dim.value)
      reject(fmt::format("the model fixes the first axis of '{}' to {}", input.name, *dim.value));
    const auto source = choices.sources.find(input.name);
    if (source != choices.sources.end() && std::holds_alternative<ArrayFile>(source->second))
      reject(fmt::format("'{}' has the shape of its file", input.name));
    const auto given = std::ranges::find_if(texts.shapes, [&](const std::string& shape) {
      return shape.starts_with(input.name + '=');
    });
    if (given != texts.shapes.end()) *given = with_first_size(*given, batch);
    else if (dim.name.empty())
      reject(
          fmt::format("the model does not name the first axis of '{}'; give a --shape for it, "
                      "whose first size --batch replaces",
                      input.name));
    else if (!std::ranges::count(dims, dim.name)) dims.push_back(dim.name);
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

void measure_loads(const BenchCommand& command, BenchResult& result,
                   const engines::ContestOptions& options, const engines::ShowProgress& show) {
  for (const double rate : command.rates) {
    if (!result.warm.worker || engines::Interrupts::requested()) return;
    show(fmt::format("{}: {:g} requests a second", result.name, rate));
    BenchResult::Load& load = result.loads.emplace_back(BenchResult::Load{rate, nullptr, ""});
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

BenchResult measure_one(const BenchCommand& command, const MeasuredModel& model,
                        const Configuration& configuration, const engines::ContestOptions& options,
                        const measure::Gpu* gpu, const engines::ShowProgress& show) {
  const InputFile inputs(model, configuration.inputs, options.folder + "/inputs.npz");
  const engines::TemporaryFolder cache;
  BenchResult result;
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
  try {
    result.memory = result.warm.worker->call({{"call", "memory"}}, options.timeout_s);
  } catch (const std::exception& error) {  // or interrupted; what was measured stays
    result.warm.failure = error.what();
    return result;
  }
  measure_loads(command, result, options, show);
  return result;
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

  std::vector<BenchResult> results;
  std::vector<std::string> remarks;
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
      results.back().warm.worker.reset();
    }
    if (watch)
      for (const std::string& text : measure::remarks(watch->samples()))
        remarks.push_back(text + ".");
    if (engines::Interrupts::requested())
      remarks.emplace_back("Interrupted; this is what was measured so far.");
  }
  measure::Report report = bench_report(command, results, gpu.has_value());
  add_machine_facts(report, model, command.setting, gpu);
  report.remarks.insert(report.remarks.end(), remarks.begin(), remarks.end());
  fmt::print("{}", measure::text(report));
  command.files.write(report);
  for (const BenchResult& result : results)
    if (!result.warm.failure.empty() && !result.warm.loaded)
      fail(ErrorCode::invalid_argument, "{}: {}{}", result.name, result.warm.failure, result.hint);
}

}  // namespace onrush::cli
