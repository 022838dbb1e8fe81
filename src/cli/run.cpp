// onrush run: a model on given or random inputs; its outputs, and how long it took.
#include <cctype>
#include <cstring>
#include <filesystem>
#include <set>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/progress.h"
#include "cli/text.h"
#include "measure/process.h"
#include "measure/report.h"
#include "measure/statistics.h"
#include "npy/npy.h"

namespace onrush::cli {
namespace {

struct Figures {
  double load_ms = 0;
  double first_ms = 0;
  std::vector<double> repeated_ms;
};

// A name that is a file name everywhere and stays in its folder.
std::string file_name(const std::string& name) {
  std::string result = name.empty() ? "_" : name;
  for (char& c : result)
    if (!std::isalnum(static_cast<unsigned char>(c)) && !std::strchr("._-", c)) c = '_';
  if (result[0] == '.') result[0] = '_';
  return result;
}

void write_folder(const std::string& folder, const NamedTensors& tensors) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    fail(ErrorCode::invalid_argument, "cannot make folder {}: {}", folder, error.message());
  std::set<std::string> taken;
  for (const auto& [name, tensor] : tensors) {
    std::string file = file_name(name);
    while (!taken.insert(file).second) file += "_";
    write_npy(fmt::format("{}/{}.npy", folder, file), tensor);
  }
}

NamedTensors run_all(const Session& session, const Inputs& inputs, int repeat, Figures& figures,
                     Progress& progress) try {
  progress.show("compiling and first run");
  const measure::Stopwatch first;
  std::vector<Value> values = session.run(inputs.values);
  figures.first_ms = first.milliseconds();

  for (int i = 0; i < repeat; ++i) {
    progress.show(fmt::format("run {} of {}", i + 1, repeat));
    const measure::Stopwatch repeated;
    values = session.run(inputs.values);
    figures.repeated_ms.push_back(repeated.milliseconds());
  }
  NamedTensors tensors;
  for (size_t i = 0; i < values.size(); ++i)
    for (auto& tensor : tensors_of(session.outputs()[i].name, values[i]))
      tensors.push_back(std::move(tensor));
  return tensors;
} catch (const Error& error) {
  throw explain(error, inputs);
}

void print_json(const RunCommand& command, const Figures& figures) {
  const auto repeated = [&](double share) -> measure::Json {
    if (figures.repeated_ms.empty()) return nullptr;
    return measure::quantile(figures.repeated_ms, share);
  };
  const measure::Json json = {{"model", command.model},
                              {"device", command.session.device},
                              {"threads", command.session.threads},
                              {"repeat", command.repeat},
                              {"load_ms", figures.load_ms},
                              {"first_ms", figures.first_ms},
                              {"median_ms", repeated(0.5)},
                              {"p10_ms", repeated(0.1)},
                              {"p90_ms", repeated(0.9)},
                              {"peak_rss_bytes", measure::resident_memory().peak}};
  fmt::print("{}\n", measure::dump(json));
}

void print_text(const Figures& figures, const NamedTensors& outputs) {
  for (const auto& [name, tensor] : outputs) fmt::print("{}", summary(name, tensor));
  fmt::print("load {:.1f} ms, first run {:.1f} ms", figures.load_ms, figures.first_ms);
  if (const auto& times = figures.repeated_ms; !times.empty())
    fmt::print(", then {} runs: median {:.3f} ms, p10 {:.3f} ms, p90 {:.3f} ms", times.size(),
               measure::quantile(times, 0.5), measure::quantile(times, 0.1),
               measure::quantile(times, 0.9));
  fmt::print("\n");
}

}  // namespace

void run(const RunCommand& command) {
  const InputChoices choices = parse(command.inputs);
  Progress progress;
  Figures figures;
  progress.show("loading " + command.model);
  const measure::Stopwatch load;
  SessionOptions options = command.session;
  options.progress = [&](std::string_view text) { progress.show(text); };
  const Session session = Session::load(command.model, options);
  figures.load_ms = load.milliseconds();

  const Inputs inputs = make_inputs(session.inputs(), choices);
  const NamedTensors outputs = run_all(session, inputs, command.repeat, figures, progress);
  if (!command.output_dir.empty()) write_folder(command.output_dir, outputs);
  if (!command.output_file.empty()) write_npz(command.output_file, outputs);
  progress.clear();
  if (command.json) print_json(command, figures);
  else print_text(figures, outputs);
}

}  // namespace onrush::cli
