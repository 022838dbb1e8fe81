// What other options would gain or cost: measured, by turns with the session's own.
#pragma once

#include "explain/explanation.h"

namespace onrush::explain {

std::vector<Alternative> compare_alternatives(const ExplainOptions& options, const Session& session,
                                              const NamedValues& inputs);

}  // namespace onrush::explain
