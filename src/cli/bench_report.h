// What `onrush bench` measured, and the report on it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/commands.h"

namespace onrush::cli {

// One way to run the model, as the report names it, and what was measured of it.
struct BenchResult {
  std::string name;
  std::string hint;  // for errors, see InputFile
  std::optional<int64_t> batch;
  engines::Contestant cold;  // loaded with nothing kept on disk
  engines::Contestant warm;  // loaded after that one, and measured
  measure::Json memory;
  std::vector<std::string> other_work;  // of the machine, during the rounds
  struct Load {
    double rate;
    measure::Json figures;
    std::string failure;
  };
  std::vector<Load> loads;
};

// Tables, verdicts and warnings; the facts on machine and model are the caller's to add.
measure::Report bench_report(const BenchCommand& command, const std::vector<BenchResult>& results,
                             bool on_gpu);

}  // namespace onrush::cli
