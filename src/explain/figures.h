// The figures of an explanation.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "explain/explanation.h"
#include "explain/svg.h"

namespace onrush::explain {

Svg parts_figure(const Explanation& explanation);      // the wall clock, as one bar
Svg timeline_figure(const Explanation& explanation);   // what ran when, and the scratch memory
Svg operators_figure(const Explanation& explanation);  // a tree map: ONNX operators, their nodes
Svg roofline_figure(const Explanation& explanation);   // Williams, Waterman and Patterson 2009
Svg options_figure(const Explanation& explanation);

// All that there is something to see in, by name.
std::vector<std::pair<std::string, Svg>> figures_of(const Explanation& explanation);

}  // namespace onrush::explain
