// What the command line says about the inputs of a model.
#pragma once

#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include <onrush/tensor.h>

namespace onrush::cli {

// The command line itself is wrong: exit code 2.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct RandomValues {
  uint64_t seed = 0;
};
struct ArrayFile {
  std::string path;  // .npy or .npz
};
using InputSource = std::variant<RandomValues, ArrayFile>;

struct InputChoices {
  std::map<std::string, InputSource> sources;  // by input; random where there is none
  std::map<std::string, Shape> shapes;         // by input
  std::map<std::string, int64_t> dims;         // by the name of a symbolic dimension
};

// As they come: "NAME=FILE.npy", "NAME=FILE.npz", "NAME=random:7", or "FILE.npz" for every array
// in it; "NAME=1x3x224x224" (nothing after '=' is a scalar); "NAME=8".
struct InputTexts {
  std::vector<std::string> inputs, shapes, dims;
};

// Throws UsageError, or Error if an archive without NAME cannot be read.
InputChoices parse(const InputTexts& texts);

}  // namespace onrush::cli
