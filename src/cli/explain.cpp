// onrush explain: where the time of a model's runs goes, and why.
#include <filesystem>
#include <fmt/format.h>
#include <fstream>

#include "base/check.h"
#include "cli/commands.h"
#include "cli/inputs.h"
#include "cli/progress.h"
#include "explain/explanation.h"
#include "explain/figures.h"
#include "explain/page.h"
#include "explain/summary.h"

namespace onrush::cli {
namespace {

void write(const std::string& path, const std::string& content) {
  std::ofstream file(path, std::ios::binary);
  file << content;
  file.close();
  if (!file) fail(ErrorCode::invalid_argument, "cannot write {}", path);
}

void write_figures(const std::string& folder, const explain::Explanation& explanation) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    fail(ErrorCode::invalid_argument, "cannot make folder {}: {}", folder, error.message());
  for (const auto& [name, figure] : figures_of(explanation))
    write(fmt::format("{}/{}.svg", folder, name), figure.file());
}

}  // namespace

void explain(const ExplainCommand& command) {
  const InputChoices choices = parse(command.inputs);
  Progress progress;
  explain::ExplainOptions options;
  options.model = command.model;
  options.session = command.session;
  options.record.runs = command.runs;
  options.record.progress = [&](const std::string& text) { progress.show(text); };
  options.alternatives = command.alternatives;
  Inputs inputs;
  const auto explanation = [&] {
    try {
      return explain::explain(options, [&](const Session& session) {
        inputs = make_inputs(session.inputs(), choices);
        return inputs.values;
      });
    } catch (const Error& error) {
      throw explain(error, inputs);
    }
  }();
  progress.clear();
  fmt::print("{}", measure::text(summary(explanation, static_cast<size_t>(command.rows))));
  if (!command.json.empty())
    write(command.json, measure::dump(explain::to_json(explanation), 1) + "\n");
  if (!command.html.empty()) write(command.html, explain::page(explanation));
  if (!command.trace.empty()) write(command.trace, explain::trace(explanation));
  if (!command.svg.empty()) write_figures(command.svg, explanation);
}

}  // namespace onrush::cli
