// Values for the inputs of a model, from files or drawn at random.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include <onrush/session.h>

namespace onrush::cli {

// One value for each input. What is not read from a file is drawn: floats from the standard normal
// distribution; integers are token ids, masks and indices as a rule, so 0 or 1 (8-bit ones below
// 100), while scalars and short vectors, which say sizes as a rule, are 1. Inputs of another type
// than a tensor have to come from a file: a sequence is all arrays of an .npz in their order.
//
// Dimensions without a number take the size that a shape or file of another input gives to the same
// name, else 1. Throws Error{invalid_argument} for names that the model does not have, and for
// shapes that contradict it.
struct Inputs {
  NamedValues values;
  std::vector<std::string> guessed;  // inputs with a size taken as 1 for want of a better one
};
Inputs make_inputs(std::span<const Argument> inputs, const InputChoices& choices);

// The error with a word on guessed sizes, which may well be its reason.
Error explain(const Error& error, const Inputs& inputs);

}  // namespace onrush::cli
