// Runs ONNX's backend test cases and says which pass: folders with model.onnx and test_data_set_*,
// and the group "real", whose models and outputs are in the folder light.
//
//   onrush_conformance --data DIR [--device cpu] [--filter TEXT] [--table FILE.md] [--minimum N]
//
// An unsupported case is a failure. Exit code 1 if fewer than --minimum cases pass (default: all).
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/numeric.h"
#include "onnx/decode.h"
#include <onrush/session.h>

namespace fs = std::filesystem;
using namespace onrush;

namespace {

struct Options {
  fs::path data;
  std::string device = "cpu";
  std::string filter;
  fs::path table;
  long minimum = -1;
};

struct Tolerance {
  double relative = 1e-3;
  double absolute = 1e-7;
};

std::vector<std::byte> read(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) fail(ErrorCode::not_found, "cannot read {}", path.string());
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto* begin = reinterpret_cast<const std::byte*>(text.data());
  return {begin, begin + text.size()};
}

// The two numbers of data.json, if it is there: {"rtol": 0.01, "atol": 1e-05}.
Tolerance tolerance_of(const fs::path& folder) {
  Tolerance tolerance;
  std::ifstream file(folder / "data.json");
  if (!file) return tolerance;
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  const auto number = [&](const std::string& key, double& value) {
    const size_t at = text.find("\"" + key + "\"");
    if (at != std::string::npos) value = std::stod(text.substr(text.find(':', at) + 1));
  };
  number("rtol", tolerance.relative);
  number("atol", tolerance.absolute);
  return tolerance;
}

bool close(double actual, double expected, const Tolerance& t) {
  if (std::isnan(expected) || std::isnan(actual)) return std::isnan(expected) == std::isnan(actual);
  if (actual == expected) return true;
  if (std::isinf(expected) || std::isinf(actual)) return false;
  return std::fabs(actual - expected) <= t.absolute + t.relative * std::fabs(expected);
}

// Empty if equal within the tolerance, else what differs.
std::string difference(const Tensor& actual, const Tensor& expected, const Tolerance& t) {
  if (actual.dtype() != expected.dtype())
    return fmt::format("dtype {} instead of {}", name(actual.dtype()), name(expected.dtype()));
  if (actual.shape() != expected.shape())
    return fmt::format("shape {} instead of {}", to_string(actual.shape()),
                       to_string(expected.shape()));
  for (int64_t i = 0; i < expected.count(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (expected.dtype() == DType::string) {
      if (actual.strings()[at] != expected.strings()[at])
        return fmt::format("element {}: '{}' instead of '{}'", i, actual.strings()[at],
                           expected.strings()[at]);
      continue;
    }
    if (is_complex(expected.dtype())) {
      const bool single = expected.dtype() == DType::c64;
      const DType part = single ? DType::f32 : DType::f64;
      for (int64_t k = 2 * i; k < 2 * i + 2; ++k)
        if (!close(load_f64(part, actual.data(), k), load_f64(part, expected.data(), k), t))
          return fmt::format("element {} differs", i);
      continue;
    }
    if (is_integer(expected.dtype()) && bits(expected.dtype()) == 64) {
      const int64_t a = load_i64(actual.dtype(), actual.data(), i);
      const int64_t e = load_i64(expected.dtype(), expected.data(), i);
      if (a != e) return fmt::format("element {}: {} instead of {}", i, a, e);
      continue;
    }
    const double a = load_f64(actual.dtype(), actual.data(), i);
    const double e = load_f64(expected.dtype(), expected.data(), i);
    if (!close(a, e, t)) return fmt::format("element {}: {} instead of {}", i, a, e);
  }
  return {};
}

std::string difference(const Value& actual, const Value& expected, const Tolerance& t) {
  if (expected.is_optional()) {
    const auto& e = expected.optional().value;
    if (!e) return actual.is_optional() && !actual.optional().value ? "" : "not an empty optional";
    if (actual.is_optional() && !actual.optional().value) return "an empty optional";
    return difference(actual.is_optional() ? *actual.optional().value : actual, *e, t);
  }
  if (expected.is_sequence()) {
    if (!actual.is_sequence()) return "not a sequence";
    const auto& a = actual.sequence().elements;
    const auto& e = expected.sequence().elements;
    if (a.size() != e.size()) return fmt::format("{} elements instead of {}", a.size(), e.size());
    for (size_t i = 0; i < e.size(); ++i)
      if (const std::string d = difference(a[i], e[i], t); !d.empty())
        return fmt::format("element {} of the sequence: {}", i, d);
    return {};
  }
  if (!expected.is_tensor() || !actual.is_tensor()) return "not a tensor";
  return difference(actual.tensor(), expected.tensor(), t);
}

std::vector<fs::path> sorted_files(const fs::path& folder, const std::string& prefix) {
  std::vector<std::pair<int, fs::path>> found;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string file = entry.path().filename().string();
    if (file.starts_with(prefix))
      found.emplace_back(std::stoi(file.substr(prefix.size())), entry.path());
  }
  std::sort(found.begin(), found.end());
  std::vector<fs::path> paths;
  for (auto& [number, path] : found) paths.push_back(std::move(path));
  return paths;
}

void check_data_set(const Session& session, const onnx::Model& model, const fs::path& folder,
                    const Tolerance& tolerance) {
  NamedValues inputs;
  const auto input_files = sorted_files(folder, "input_");
  for (size_t i = 0; i < input_files.size(); ++i) {
    const auto& info = model.graph.inputs.at(i);
    inputs[info.name] = onnx::decode_value(read(input_files[i]), info.type);
  }
  const std::vector<Value> outputs = session.run(inputs);
  const auto output_files = sorted_files(folder, "output_");
  for (size_t i = 0; i < output_files.size(); ++i) {
    const auto& info = model.graph.outputs.at(i);
    const Value expected = onnx::decode_value(read(output_files[i]), info.type);
    const std::string d = difference(outputs.at(i), expected, tolerance);
    if (!d.empty()) throw std::runtime_error(fmt::format("output '{}': {}", info.name, d));
  }
}

// The input that ONNX's own runner gives to the models of the folder light: i / n.
Tensor ramp(const onnx::ValueInfo& info) {
  Shape shape;
  for (const onnx::Dimension& dim : *info.type.shape) shape.push_back(dim.value.value_or(1));
  Tensor tensor(DType::f32, shape);
  for (int64_t i = 0; i < tensor.count(); ++i)
    tensor.as<float>()[static_cast<size_t>(i)] =
        static_cast<float>(static_cast<double>(i) / static_cast<double>(tensor.count()));
  return tensor;
}

// The outputs lie beside the model: NAME_output_0.pb.
void check_light_model(const Session& session, const onnx::Model& model, const fs::path& path,
                       const Tolerance& tolerance) {
  NamedValues inputs;
  for (const Argument& input : session.inputs())
    for (const onnx::ValueInfo& info : model.graph.inputs)
      if (info.name == input.name) inputs[info.name] = ramp(info);
  const std::vector<Value> outputs = session.run(inputs);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const auto file = path.parent_path() / fmt::format("{}_output_{}.pb", path.stem().string(), i);
    const Value expected = onnx::decode_value(read(file), model.graph.outputs.at(i).type);
    const std::string d = difference(outputs[i], expected, tolerance);
    if (!d.empty()) throw std::runtime_error(fmt::format("output {}: {}", i, d));
  }
}

// Throws what is wrong.
void check_case(const fs::path& folder, const std::string& device) {
  SessionOptions options;
  options.precision = Precision::fp32;
  options.device = device;
  options.threads = 2;
  const bool light = !fs::exists(folder / "model.onnx");
  const std::string name = folder.filename().string().substr(std::strlen("test_"));
  const fs::path path =
      light ? folder / "../../light" / ("light_" + name + ".onnx") : folder / "model.onnx";
  const onnx::Model model = onnx::load(path.string());
  // The session before is kept until now: a device's context costs much to open anew.
  static std::unique_ptr<Session> kept;
  auto next = std::make_unique<Session>(Session::load(path.string(), options));
  kept = std::move(next);
  const Session& session = *kept;
  if (light) return check_light_model(session, model, path, tolerance_of(folder));
  for (const fs::path& data_set : sorted_files(folder, "test_data_set_"))
    check_data_set(session, model, data_set, tolerance_of(folder));
}

struct Failure {
  std::string name, group, reason;
};

void write_table(const fs::path& path, const std::map<std::string, std::pair<int, int>>& groups,
                 const std::vector<Failure>& failures, const std::string& device) {
  std::ofstream out(path);
  int passed = 0, total = 0;
  for (const auto& [group, counts] : groups)
    passed += counts.first, total += counts.first + counts.second;
  out << "# ONNX conformance\n\nBackend test cases of ONNX 1.22.0 (opset 27) on the " << device
      << " backend; written by `onrush_conformance --table`. An unsupported case counts as "
         "failed. Bernoulli and Dropout compare with the numbers of one generator, which the "
         "standard "
         "leaves open; dft_inverse compares rounding noise below 2e-7.\n\n"
      << "**" << passed << " of " << total
      << " pass.**\n\n| group | passed | failed |\n| --- | --- | --- |\n";
  for (const auto& [group, counts] : groups)
    out << "| " << group << " | " << counts.first << " | " << counts.second << " |\n";
  out << "\n| failing case | why |\n| --- | --- |\n";
  for (const Failure& failure : failures) {
    std::string reason = failure.reason;
    const size_t path_end = reason.find("model.onnx: ");
    if (path_end != std::string::npos) reason = reason.substr(path_end + 12);
    std::replace(reason.begin(), reason.end(), '|', '/');
    std::replace(reason.begin(), reason.end(), '\n', ' ');
    out << "| " << failure.name << " | " << reason << " |\n";
  }
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string key = argv[i], value = argv[i + 1];
    if (key == "--data") options.data = value;
    else if (key == "--device") options.device = value;
    else if (key == "--filter") options.filter = value;
    else if (key == "--table") options.table = value;
    else if (key == "--minimum") options.minimum = std::stol(value);
    else throw std::runtime_error("unknown option " + key);
  }
  return options;
}

int run(const Options& options) {
  std::map<std::string, std::pair<int, int>> groups;
  std::vector<Failure> failures;
  for (const char* group : {"node", "simple", "pytorch-operator", "pytorch-converted", "real"}) {
    if (!fs::exists(options.data / group)) continue;
    std::vector<fs::path> cases;
    for (const auto& entry : fs::directory_iterator(options.data / group))
      if (entry.path().filename().string().find(options.filter) != std::string::npos)
        cases.push_back(entry.path());
    std::sort(cases.begin(), cases.end());
    for (const fs::path& folder : cases) {
      try {
        check_case(folder, options.device);
        ++groups[group].first;
      } catch (const std::exception& error) {
        ++groups[group].second;
        failures.push_back({folder.filename().string(), group, error.what()});
        std::cout << "FAIL " << folder.filename().string() << ": " << error.what() << std::endl;
      }
    }
  }
  long passed = 0;
  for (const auto& [group, counts] : groups) passed += counts.first;
  if (!options.table.empty()) write_table(options.table, groups, failures, options.device);
  std::cout << passed << " passed, " << failures.size() << " failed\n";
  return options.minimum >= 0 ? passed < options.minimum : !failures.empty();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(parse(argc, argv));
  } catch (const std::exception& error) {
    std::cerr << "onrush_conformance: " << error.what() << "\n";
    return 2;
  }
}
