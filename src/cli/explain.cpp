// onrush explain: where the time of a model's runs goes, and why.
#include <filesystem>
#include <fmt/format.h>
#include <fstream>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/measuring.h"
#include "cli/progress.h"
#include "engines/peers.h"
#include "explain/explanation.h"
#include "explain/figures.h"
#include "explain/page.h"
#include "explain/peer_run.h"
#include "explain/summary.h"

namespace onrush::cli {
namespace {

void write(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) fail(ErrorCode::invalid_argument, "cannot write {}", path);
}

// Before anything is measured.
void check_files(const ExplainCommand& command) {
  for (const std::string& path : {command.json, command.html, command.trace})
    if (!path.empty()) check_writable(path);
  if (command.svg.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(command.svg, error);
  if (error)
    fail(ErrorCode::invalid_argument, "cannot make folder {}: {}", command.svg, error.message());
}

void write_figures(const std::string& folder, const explain::Explanation& explanation) {
  for (const auto& [name, figure] : figures_of(explanation))
    write(fmt::format("{}/{}.svg", folder, name), figure.file());
}

void compare_with_peer(const ExplainCommand& command, const Session& session, const Inputs& inputs,
                       Progress& progress, explain::Explanation& explanation) {
  const engines::TemporaryFolder folder;
  const MeasuredModel model(command.model);
  const InputFile file(model, command.inputs, folder.path("inputs.npz"));
  const Setting setting{.device = command.session.device,
                        .placement = "host",
                        .precision = explain::precision_name(command.session),
                        .threads = command.session.threads};
  explain::PeerRequest request;
  request.name = command.peer;
  request.pythons = engines::python_interpreters(command.python);
  request.load = load_request(model, file, setting);
  if (!command.torch.empty()) request.load["torch"] = command.torch;
  request.folder = folder.path("");
  request.on_gpu = command.session.device != "cpu";
  request.progress = [&](const std::string& text) { progress.show(text); };
  try {
    explanation.peer = std::make_shared<const explain::PeerRun>(
        explain::run_peer(request, session, inputs.values));
  } catch (const engines::WorkerError& error) {
    explanation.peer_failure = command.peer + " " + error.what();
  }
}

explain::Explanation make_explanation(const ExplainCommand& command, Progress& progress) {
  explain::ExplainOptions options;
  options.model = command.model;
  options.session = command.session;
  options.session.progress = [&](std::string_view text) { progress.show(text); };
  options.record.runs = command.runs;
  options.record.progress = [&](const std::string& text) { progress.show(text); };
  options.alternatives = !command.no_alternatives;
  progress.show("loading " + command.model);
  const measure::Stopwatch load;
  const Session session = Session::load(command.model, options.session);
  const double load_ms = load.milliseconds();
  const Inputs inputs = make_inputs(session.inputs(), parse(command.inputs));
  try {
    explain::Explanation explanation = explain::explain(options, session, inputs.values);
    explanation.load_ms = load_ms;
    if (!command.peer.empty()) compare_with_peer(command, session, inputs, progress, explanation);
    return explanation;
  } catch (const Error& error) {
    throw explain(error, inputs);
  }
}

}  // namespace

void explain(const ExplainCommand& command) {
  if (!command.peer.empty() && command.session.device == "reference")
    throw UsageError("--why-slower-than compares on the CPU and on GPUs: --device cpu or cuda");
  check_files(command);
  Progress progress;
  const explain::Explanation explanation = make_explanation(command, progress);
  progress.clear();
  fmt::print("{}", measure::text(summary(explanation, static_cast<size_t>(command.rows))));
  if (!command.json.empty())
    write(command.json, measure::dump(explain::to_json(explanation), 1) + "\n");
  if (!command.html.empty()) write(command.html, explain::page(explanation));
  if (!command.trace.empty()) write(command.trace, explain::trace(explanation));
  if (!command.svg.empty()) write_figures(command.svg, explanation);
}

}  // namespace onrush::cli
