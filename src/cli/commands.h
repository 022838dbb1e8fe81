// The subcommands. Each prints to standard output and throws Error or UsageError.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/arguments.h"
#include "cli/measuring.h"
#include "measure/verdict.h"
#include <onrush/session.h>

namespace onrush::cli {

struct RunCommand {
  std::string model;
  InputTexts inputs;
  std::string output_dir;   // one .npy an output; empty: none
  std::string output_file;  // all outputs in one .npz; empty: none
  int repeat = 0;           // timed runs after the first
  bool json = false;        // print nothing but the figures, as one JSON object
  SessionOptions session;
};
void run(const RunCommand& command);

struct BenchCommand {
  std::string model;
  InputTexts inputs;  // an input with several shapes makes a configuration of each
  std::vector<int64_t> batches;
  std::vector<std::string> precisions;
  Setting setting;  // no placement: on a GPU both, one after the other
  size_t rounds = measure::kDefaultRounds;
  double timeout_s = 600;
  std::vector<double> rates;  // requests a second of load mode
  int callers = 1;
  double load_seconds = 10;
  ReportFiles files;
};
void bench(const BenchCommand& command);

struct CompareCommand {
  std::string model;
  InputTexts inputs;
  std::vector<std::string> with;    // peers and their variants; empty: those that fit
  std::string torch;                // module:callable or FILE.pt2: the model for PyTorch
  std::vector<std::string> python;  // interpreters; empty: those that are found
  std::string against;              // whose outputs are taken for right; empty: onnxruntime's
  std::string debug_folder;         // find where Onrush and that engine part, write what shows it
  double tolerance = 1e-3;          // of that, in relation to a value's largest element
  Setting setting;
  size_t rounds = measure::kDefaultRounds;
  double timeout_s = 600;
  ReportFiles files;
};
void compare(const CompareCommand& command);

// Needs no external data and runs nothing.
void inspect(const std::string& model);

struct PlanCommand {
  std::string model;
  InputTexts inputs;
  std::string stage = "plan";  // one of kStages
  bool optimize = true;
  Precision precision = Precision::standard;  // of "kernels"
  bool execute = false;  // run the model, so that what waits for values is planned too
};
inline constexpr std::string_view kStages[] = {"model",    "graph", "optimized",
                                               "schedule", "plan",  "kernels"};
// Without weights, and unless `execute`, placeholders stand for them.
void plan(const PlanCommand& command);

struct ExplainCommand {
  std::string model;
  InputTexts inputs;
  SessionOptions session;
  int runs = 0;                   // 0: as many as take two seconds
  int rows = 12;                  // of each table
  bool no_alternatives = false;   // do not try other options
  std::string json, html, trace;  // files to write; empty: none
  std::string svg;                // a folder for the figures; empty: none
  std::string peer;               // to compare with; empty: none
  std::string torch;              // see CompareCommand
  std::vector<std::string> python;
};
void explain(const ExplainCommand& command);

// The processor, the GPUs, libraries with path and version, the cache, and what is missing.
void doctor();

struct CacheCommand {
  std::string folder;            // empty: the default
  std::optional<uint64_t> keep;  // at most so many bytes; what was used least recently goes
  bool tuning = false;           // show the results of tuning, one by one
};
void cache(const CacheCommand& command);

}  // namespace onrush::cli
