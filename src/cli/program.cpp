#include "cli/program.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <fmt/format.h>
#include <map>
#include <new>

#include "cli/commands.h"
#include "runtime/precision.h"

namespace onrush::cli {
namespace {

constexpr int kSuccess = 0;
constexpr int kFailure = 1;
constexpr int kWrongUsage = 2;

// A check whose own text stays out of the help page.
CLI::Validator quiet(const CLI::Validator& check) { return check.description(""); }

// CLI11's own checks of signs name the largest double there is.
std::string check_positive(const std::string& text) {
  double value = 0;
  return CLI::detail::lexical_cast(text, value) && value > 0
             ? ""
             : fmt::format("'{}' is no number above 0", text);
}
std::string check_not_negative(const std::string& text) {
  double value = 0;
  return CLI::detail::lexical_cast(text, value) && value >= 0
             ? ""
             : fmt::format("'{}' is no number from 0 on", text);
}

std::string check_torch(const std::string& text) {
  const bool known = text.ends_with(".pt2") || text.find(':') != std::string::npos;
  return known ? "" : fmt::format("'{}' is neither module:callable nor FILE.pt2", text);
}

// Empty if the name is one of a device; whether it is there is the session's to say.
std::string check_device(const std::string& name) {
  const bool known =
      name == "cpu" || name == "reference" || name == "cuda" || name.starts_with("cuda:");
  return known ? "" : fmt::format("there is no device '{}'; use cpu, cuda or cuda:N", name);
}

void add_repeatable(CLI::App& command, const std::string& option, std::vector<std::string>& values,
                    const std::string& form, const std::string& description) {
  command.add_option(option, values, description)
      ->type_name(form)
      ->allow_extra_args(false);  // one value each time, so that MODEL may follow
}

void add_inputs(CLI::App& command, InputTexts& inputs) {
  add_repeatable(command, "--input", inputs.inputs, "NAME=VALUES",
                 "Values of an input (random if not given): NAME=FILE.npy, NAME=FILE.npz, "
                 "NAME=random[:SEED], or FILE.npz with all inputs");
  add_repeatable(command, "--shape", inputs.shapes, "NAME=SIZES",
                 "Shape of a random input, as in NAME=1x3x224x224");
  add_repeatable(command, "--dim", inputs.dims, "NAME=SIZE",
                 "Size of a dimension that the model names; 1 if not given");
}

void add_model(CLI::App& command, std::string& model) {
  command.add_option("MODEL", model, "An .onnx file")->required()->type_name("");
}

void add_precision(CLI::App& command, Precision& precision, const std::string& description) {
  std::vector<std::string> names;
  for (const auto& [name, value] : kPrecisions)
    if (value != Precision::standard) names.emplace_back(name);
  const auto set = [&precision](const std::string& name) { precision = *precision_of(name); };
  command.add_option_function<std::string>("--precision", set, description)
      ->type_name("NAME")
      ->check(quiet(CLI::IsMember(names)));
}

void add_device(CLI::App& command, std::string& device, const std::string& description) {
  command.add_option("--device", device, description)->type_name("NAME")->check(check_device);
}

void add_threads(CLI::App& command, int& threads) {
  command.add_option("--threads", threads, "Threads; 0 (default): one a processor")
      ->type_name("N")
      ->check(quiet(CLI::Range(0, 4096)));
}

void add_optimization(CLI::App& command, int& level) {
  command.add_option("--opt", level, "0: no optimisation; 1 (default)")
      ->type_name("0|1")
      ->check(quiet(CLI::Range(0, 1)));
}

void add_tune(CLI::App& command, bool& tune) {
  command.add_flag("--tune", tune,
                   "On a GPU: measure first which ways to compute products and convolutions of "
                   "these sizes are the fastest; kept, and used without asking from then on");
}

// How the model is run.
void add_session(CLI::App& command, SessionOptions& session) {
  add_threads(command, session.threads);
  add_device(command, session.device, "cpu (default), cuda[:N], or reference, slow and exact");
  add_precision(command, session.precision,
                "Of products of fp32 models: fp32 (default on the CPU), tf32 (default on a GPU), "
                "fp16 (GPU only) or bf16");
  command
      .add_option("--cache-folder", session.cache_folder,
                  "Where kernels compiled for a GPU are kept; see 'onrush cache'")
      ->type_name("DIR");
  add_tune(command, session.tune);
  add_optimization(command, session.optimization_level);
  command
      .add_option("--memory-limit", session.memory_limit,
                  "Most memory for prepared weights and scratch, as in 512MB")
      ->type_name("SIZE")
      ->transform(quiet(CLI::AsSizeValue(false)));
}

CLI::App& add_run(CLI::App& app, RunCommand& run) {
  CLI::App& command = *app.add_subcommand("run", "Run a model on given or random inputs");
  add_model(command, run.model);
  add_inputs(command, run.inputs);
  command.add_option("--output-dir", run.output_dir, "Write each output to DIR/NAME.npy")
      ->type_name("DIR");
  command.add_option("--output", run.output_file, "Write all outputs to one .npz file")
      ->type_name("FILE.npz");
  command.add_option("--repeat", run.repeat, "Time N more runs")
      ->type_name("N")
      ->check(check_not_negative);
  command.add_flag("--json", run.json, "Print times and peak memory only, as a JSON object");
  add_session(command, run.session);
  return command;
}

void add_report_files(CLI::App& command, ReportFiles& files) {
  const auto add = [&](const std::string& option, std::string& path, const std::string& what) {
    command.add_option(option, path, what)->type_name("FILE");
  };
  add("--json", files.json, "Write all figures, down to single runs, as JSON");
  add("--csv", files.csv, "Write the first table as CSV");
  add("--markdown", files.markdown, "Write the tables as Markdown");
}

void add_rounds(CLI::App& command, size_t& rounds, double& timeout_s) {
  command.add_option("--rounds", rounds, "Rounds (default: 50)")
      ->type_name("N")
      ->check(quiet(CLI::Range(1, 100000)));
  command
      .add_option("--timeout", timeout_s,
                  "Seconds that an engine may take for one thing, as loading (default: 600)")
      ->type_name("S")
      ->check(check_positive);
}

void add_placement(CLI::App& command, std::string& placement, const std::string& description) {
  command.add_option("--placement", placement, description)
      ->type_name("NAME")
      ->check(quiet(CLI::IsMember({"host", "device"})));
}

CLI::App& add_bench(CLI::App& app, BenchCommand& bench) {
  CLI::App& command = *app.add_subcommand(
      "bench", "Measure latency, throughput, start and memory of a model, or serve it a load");
  add_model(command, bench.model);
  add_inputs(command, bench.inputs);
  command
      .add_option("--batch", bench.batches,
                  "Sizes of the first axis of all inputs, that of a --shape too, as in 1,8,32: one "
                  "configuration each")
      ->type_name("LIST")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(check_positive);
  command
      .add_option("--precision", bench.precisions,
                  "Of products of fp32 models, one configuration each: fp32, tf32, fp16, bf16")
      ->type_name("LIST")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(quiet(CLI::IsMember({"fp32", "tf32", "fp16", "bf16"})));
  add_device(command, bench.setting.device, "cpu (default) or cuda[:N]");
  add_tune(command, bench.setting.tune);
  add_placement(command, bench.setting.placement,
                "Where inputs and outputs lie: host, or device (default on a GPU: both in turn)");
  add_threads(command, bench.setting.threads);
  add_rounds(command, bench.rounds, bench.timeout_s);
  command
      .add_option("--rate", bench.rates,
                  "Load mode: requests a second that arrive whether or not earlier ones are done, "
                  "as in 100,200")
      ->type_name("LIST")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(check_positive);
  command.add_option("--callers", bench.callers, "Load mode: threads that serve them (default: 1)")
      ->type_name("N")
      ->check(quiet(CLI::Range(1, 4096)));
  command
      .add_option("--seconds", bench.load_seconds,
                  "Load mode: for how long requests arrive (default: 10)")
      ->type_name("S")
      ->check(check_positive);
  add_report_files(command, bench.files);
  return command;
}

void add_torch(CLI::App& command, std::string& torch) {
  command
      .add_option("--torch", torch,
                  "The model for PyTorch: module:callable, which makes or is an nn.Module, or a "
                  "file that torch.export.save wrote (default: what onnx2torch makes of MODEL)")
      ->type_name("module:callable|FILE.pt2")
      ->check(check_torch);
}

void add_python(CLI::App& command, std::vector<std::string>& python) {
  add_repeatable(command, "--python", python, "PATH",
                 "The Python interpreter that has the peers; may be given several times (default: "
                 "$ONRUSH_PYTHON, an activated environment, python3)");
}

CLI::App& add_compare(CLI::App& app, CompareCommand& compare) {
  CLI::App& command = *app.add_subcommand(
      "compare", "Measure Onrush beside its peers, in turns, and compare what they compute");
  add_model(command, compare.model);
  add_inputs(command, compare.inputs);
  command
      .add_option("--with", compare.with,
                  "Engines, separated by commas: onnxruntime[:iobinding|graph|tuned], "
                  "openvino[:bf16], pytorch[:channels_last|autocast|half|graph|compile] (several: "
                  "pytorch:half+graph), "
                  "onrush:PRECISION, onrush:tuned, PEER:all, or all (default: onnxruntime; "
                  "openvino on the CPU; "
                  "pytorch with --torch)")
      ->type_name("LIST")
      ->delimiter(',')
      ->allow_extra_args(false);
  add_torch(command, compare.torch);
  add_python(command, compare.python);
  command
      .add_option("--against", compare.against,
                  "Compare outputs with those of this engine (default: onnxruntime, else the first "
                  "peer)")
      ->type_name("ENGINE");
  command
      .add_option(
          "--debug-accuracy", compare.debug_folder,
          "Find the first operator at which Onrush and that engine part; write the smallest "
          "model that shows it and its inputs to DIR")
      ->type_name("DIR");
  command
      .add_option("--tolerance", compare.tolerance,
                  "What --debug-accuracy takes for equal, as a part of a value's largest element "
                  "(default: 0.001)")
      ->type_name("X")
      ->check(check_positive);
  add_device(command, compare.setting.device, "cpu (default) or cuda[:N], for all engines");
  add_tune(command, compare.setting.tune);
  add_placement(command, compare.setting.placement,
                "Where inputs and outputs lie: host, or device (default on a GPU)");
  command
      .add_option("--precision", compare.setting.precision,
                  "Of products of fp32 models in Onrush, and what PyTorch's autocast uses: fp32, "
                  "tf32, fp16 or bf16")
      ->type_name("NAME")
      ->check(quiet(CLI::IsMember({"fp32", "tf32", "fp16", "bf16"})));
  add_threads(command, compare.setting.threads);
  add_rounds(command, compare.rounds, compare.timeout_s);
  add_report_files(command, compare.files);
  return command;
}

CLI::App& add_inspect(CLI::App& app, std::string& model) {
  CLI::App& command = *app.add_subcommand(
      "inspect", "Show inputs, outputs, operators, weights, and what is unsupported");
  add_model(command, model);
  return command;
}

CLI::App& add_plan(CLI::App& app, PlanCommand& plan, int& optimization_level) {
  CLI::App& command = *app.add_subcommand("plan", "Show what the compiler makes of a model");
  add_model(command, plan.model);
  add_inputs(command, plan.inputs);
  command
      .add_option("--stage", plan.stage,
                  "What to show: model, graph, optimized, schedule, plan (default), or kernels: "
                  "the CUDA text for the GPU at hand, or an H100 without one")
      ->type_name("NAME")
      ->check(
          quiet(CLI::IsMember(std::vector<std::string>(std::begin(kStages), std::end(kStages)))));
  add_optimization(command, optimization_level);
  add_precision(command, plan.precision,
                "Of products in kernels: fp32, tf32 (default), fp16 or bf16");
  command.add_flag("--run", plan.execute,
                   "Run the model, so that parts that wait for its values are planned too");
  return command;
}

CLI::App& add_explain(CLI::App& app, ExplainCommand& explain) {
  CLI::App& command = *app.add_subcommand(
      "explain", "Show where the time of a run goes, step by step, and what would gain from what");
  add_model(command, explain.model);
  add_inputs(command, explain.inputs);
  add_session(command, explain.session);
  command
      .add_option("--runs", explain.runs, "Runs to time; as many as take two seconds if not given")
      ->type_name("N")
      ->check(check_positive);
  command.add_option("--rows", explain.rows, "Most rows of a table; 12 if not given")
      ->type_name("N")
      ->check(check_positive);
  command.add_flag("--no-options", explain.no_alternatives,
                   "Do not measure what other options (threads, precision) would do");
  command.add_option("--json", explain.json, "Write everything as JSON")->type_name("FILE");
  command.add_option("--html", explain.html, "Write a page with figures, which needs no network")
      ->type_name("FILE");
  command.add_option("--trace", explain.trace, "Write a trace for Perfetto or Chrome's tracing")
      ->type_name("FILE");
  command
      .add_option("--why-slower-than", explain.peer,
                  "Compare with onnxruntime or pytorch[:channels_last], and say what makes the "
                  "difference, whichever is the faster")
      ->type_name("ENGINE")
      ->check(quiet(CLI::IsMember({"onnxruntime", "pytorch", "pytorch:channels_last"})));
  add_torch(command, explain.torch);
  add_python(command, explain.python);
  command.add_option("--svg", explain.svg, "Write each figure to DIR/NAME.svg")->type_name("DIR");
  return command;
}

// `chosen` is what the subcommands set.
CLI::App& add_cache(CLI::App& app, CacheCommand& chosen) {
  CLI::App& command = *app.add_subcommand(
      "cache", "Show, trim or clear what is kept on disk, such as kernels compiled for a GPU");
  command.require_subcommand(0, 1);
  const auto add = [&](const std::string& name, const std::string& description) {
    CLI::App& action = *command.add_subcommand(name, description);
    action.add_option("--folder", chosen.folder, "The cache, if it is not the default one")
        ->type_name("DIR");
    return &action;
  };
  add("show", "Show the folder and what it holds (default)");
  add("tuning", "Show what was measured of each product and convolution")->callback([&] {
    chosen.tuning = true;
  });
  add("trim", "Remove what was used least recently")
      ->add_option("SIZE", chosen.keep, "Most bytes to keep, as in 512MB")
      ->required()
      ->type_name("")
      ->transform(quiet(CLI::AsSizeValue(false)));
  add("clear", "Remove everything")->callback([&] { chosen.keep = 0; });
  return command;
}

int dispatch(int argc, char** argv) {
  CLI::App app("Runs ONNX models.", "onrush");
  app.set_version_flag("--version", fmt::format("onrush {}", version()));
  app.require_subcommand(1);
  app.get_formatter()->column_width(26);
  RunCommand run_command;
  BenchCommand bench_command;
  CompareCommand compare_command;
  std::string inspected;
  PlanCommand plan_command;
  CacheCommand cache_command;
  ExplainCommand explain_command;
  int optimization_level = 1;
  CLI::App& run_app = add_run(app, run_command);
  CLI::App& bench_app = add_bench(app, bench_command);
  CLI::App& compare_app = add_compare(app, compare_command);
  CLI::App& inspect_app = add_inspect(app, inspected);
  CLI::App& plan_app = add_plan(app, plan_command, optimization_level);
  CLI::App& explain_app = add_explain(app, explain_command);
  CLI::App& cache_app = add_cache(app, cache_command);
  app.add_subcommand("doctor", "Show what this machine offers, and what is missing for GPUs");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& request) {  // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError& error) {
    if (const auto unknown = app.remaining(); app.get_subcommands().empty() && !unknown.empty())
      throw UsageError(fmt::format("unknown command or option '{}'", unknown[0]));
    throw UsageError(error.what());
  }
  plan_command.optimize = optimization_level > 0;
  if (run_app.parsed()) run(run_command);
  else if (bench_app.parsed()) bench(bench_command);
  else if (compare_app.parsed()) compare(compare_command);
  else if (inspect_app.parsed()) inspect(inspected);
  else if (plan_app.parsed()) plan(plan_command);
  else if (explain_app.parsed()) explain(explain_command);
  else if (cache_app.parsed()) cache(cache_command);
  else doctor();
  return kSuccess;
}

}  // namespace

int program(int argc, char** argv) {
  try {
    const int code = dispatch(argc, argv);
    if (std::fflush(stdout) != 0)
      fail(ErrorCode::invalid_argument, "cannot write to standard output: {}",
           std::strerror(errno));
    return code;
  } catch (const UsageError& error) {
    fmt::print(stderr, "onrush: {}\nSee 'onrush --help' and 'onrush COMMAND --help'.\n",
               error.what());
    return kWrongUsage;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "onrush: out of memory\n");
  } catch (const std::exception& error) {
    fmt::print(stderr, "onrush: {}\n", error.what());
  }
  return kFailure;
}

}  // namespace onrush::cli
