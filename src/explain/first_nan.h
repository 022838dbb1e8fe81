// Where a result stops being a number.
#pragma once

#include <string>

#include <onrush/session.h>

namespace onrush::explain {

// A sentence that names the outputs that hold NaN and the first node that makes one of numbers,
// found by a run on the CPU that keeps every value; empty if no output holds any.
std::string first_nan(const Session& session, const NamedValues& inputs);

}  // namespace onrush::explain
