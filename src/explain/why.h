// Onrush and a peer side by side: what makes the difference.
#pragma once

#include <string>
#include <vector>

#include "explain/causes.h"
#include "explain/svg.h"
#include "measure/report.h"

namespace onrush::explain {

// "onrush is 1.31 to 1.34 times faster than onnxruntime 1.32.0: 26.5 ms against 35.2 ms."
std::string headline(const PeerRun& peer);
// Its causes; then the parts of the model with the greatest differences.
measure::Table causes_table(const Explanation& explanation, const PeerRun& peer);
measure::Table regions_table(const Explanation& explanation, const PeerRun& peer, size_t rows);
// What a comparison must be read with: another precision, a clock that does not wait.
std::vector<std::string> remarks(const Explanation& explanation, const PeerRun& peer);
measure::Json to_json(const Explanation& explanation, const PeerRun& peer);

// Both engines' times, a pair of bars for each cause.
Svg causes_figure(const Explanation& explanation, const PeerRun& peer);

}  // namespace onrush::explain
