// An explanation as people read it in a terminal, and as programs do.
#pragma once

#include "explain/explanation.h"
#include "measure/report.h"

namespace onrush::explain {

// As --precision spells it; what `standard` means on the device.
std::string precision_name(const SessionOptions& options);

struct Part {
  std::string name;
  double time_us = 0;
  std::string what;
};
// What the wall clock is made of; the times add up to timeline.wall_us. The last part is the rest
// that nothing accounts for.
std::vector<Part> parts_of(const Explanation& explanation);

// At most `rows` rows a table; the rest adds up in a last one.
measure::Report summary(const Explanation& explanation, size_t rows);

// Positions in order of time.
std::vector<size_t> slowest_first(const std::vector<StepFigures>& steps);

// Everything: see docs/explain.md for the fields.
measure::Json to_json(const Explanation& explanation);

}  // namespace onrush::explain
