// Finds attention in a schedule: a contraction, the softmax of its rows, and a contraction of that.
#pragma once

#include <span>
#include <vector>

#include "plan/steps.h"

namespace onrush {

struct AttentionSteps {
  size_t scores, softmax, values;  // positions among the steps
  Attention attention;
};

// `steps`: all steps of the schedule at Time::run, in order. What is found can be computed as one
// step at the position of `values`: nothing else needs the scores or their softmax.
std::vector<AttentionSteps> find_attention(const Schedule& schedule, std::span<const Step> steps);

}  // namespace onrush
