#include "cli/measuring.h"

#include <filesystem>
#include <fmt/format.h>
#include <fstream>

#include "backend/cpu/thread_pool.h"
#include "base/check.h"
#include "cli/inputs.h"
#include "engines/onrush_engine.h"
#include "npy/npy.h"
#include "onnx/decode.h"
#include "runtime/session_impl.h"

namespace onrush::cli {
namespace {

void write_file(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  if (!(file << text << std::flush)) fail(ErrorCode::invalid_argument, "cannot write {}", path);
}

}  // namespace

void check_writable(const std::string& path) {
  if (!std::ofstream(path, std::ios::binary | std::ios::app))
    fail(ErrorCode::invalid_argument,
         "cannot write {}: name a file in a folder that exists and can be written", path);
}

void ReportFiles::check() const {
  for (const std::string& path : {json, csv, markdown})
    if (!path.empty()) check_writable(path);
}

void ReportFiles::write(const measure::Report& report) const {
  if (!json.empty()) write_file(json, measure::dump(measure::json(report), 1) + "\n");
  if (!csv.empty()) write_file(csv, measure::csv(report.tables.at(0)));
  if (!markdown.empty()) write_file(markdown, measure::markdown(report));
}

MeasuredModel::MeasuredModel(const std::string& file)
    : path(std::filesystem::absolute(file).lexically_normal()) {
  const Arguments arguments = arguments_of(onnx::load(file).graph);
  inputs = arguments.inputs;
  outputs = arguments.outputs;
}

InputFile::InputFile(const MeasuredModel& model, const InputTexts& texts, const std::string& file)
    : path(file) {
  const Inputs made = make_inputs(model.inputs, parse(texts));
  std::vector<std::pair<std::string, Tensor>> arrays;
  for (const Argument& input : model.inputs) {
    const auto found = made.values.find(input.name);
    if (found == made.values.end() || !found->second.is_tensor())
      fail(ErrorCode::unsupported, "input '{}' is of type {}; only tensors can be measured with",
           input.name, input.type);
    const Tensor& tensor = found->second.tensor();
    arrays.emplace_back(input.name, tensor);
    order.push_back(input.name);
    types[input.name] = onnx_name(tensor.dtype());
    shapes +=
        fmt::format("{}{} {}", shapes.empty() ? "" : ", ", input.name,
                    tensor.rank() ? fmt::format("{}", fmt::join(tensor.shape(), "x")) : "scalar");
  }
  write_npz(path, arrays);
  if (!made.guessed.empty()) hint = explain(Error(ErrorCode::invalid_argument, ""), made).what();
}

int thread_count(int chosen) { return chosen > 0 ? chosen : cpu::available_processors(); }

measure::Json load_request(const MeasuredModel& model, const InputFile& inputs,
                           const Setting& setting) {
  return {{"call", "load"},
          {"model", model.path},
          {"inputs", inputs.path},
          {"types", inputs.types},
          {"order", inputs.order},
          {"device", setting.device},
          {"placement", setting.placement},
          {"precision", setting.precision},
          {"threads", thread_count(setting.threads)},
          {"tune", setting.tune}};
}

engines::Contestant onrush_contestant(const std::string& name, measure::Json load,
                                      const std::string& folder) {
  const std::string log = fmt::format("{}/{}.log", folder, name);
  return {.name = name,
          .start = [log] { return engines::Worker::fork(engines::serve_onrush, log); },
          .load = std::move(load)};
}

std::optional<measure::Gpu> find_gpu(const std::string& device, const std::string& folder) {
  constexpr double kTimeout = 60;
  if (!cuda_ordinal(device)) return std::nullopt;
  try {
    engines::Worker worker = engines::Worker::fork(engines::serve_onrush, folder + "/gpu.log");
    const auto answer = worker.call({{"call", "gpu"}, {"device", device}}, kTimeout);
    return measure::Gpu::open(answer.at("pci_address"));
  } catch (const engines::WorkerError&) {
    return std::nullopt;  // the engines will say what is wrong with the GPU
  }
}

void add_machine_facts(measure::Report& report, const MeasuredModel& model, const Setting& setting,
                       const std::optional<measure::Gpu>& gpu) {
  const std::string name = std::filesystem::path(model.path).filename();
  report.facts.emplace_back("model", name);
  report.facts.emplace_back("device", setting.device);
  if (gpu) report.facts.emplace_back("gpu", gpu->name());
  report.facts.emplace_back("processor", measure::processor_name());
  report.facts.emplace_back("threads",
                            measure::count(static_cast<uint64_t>(thread_count(setting.threads))));
  report.facts.emplace_back("onrush", version());
}

std::vector<std::string> OtherWork::remarks(double own_seconds) const {
  constexpr double kOfNote = 0.1;  // processors
  const auto [busy, stolen] = use_.use();
  const double others = busy - own_seconds / watch_.seconds();
  std::vector<std::string> texts;
  if (others > kOfNote)
    texts.push_back(fmt::format("other programs used {:.1f} of {} processors meanwhile", others,
                                cpu::available_processors()));
  if (stolen > kOfNote)
    texts.push_back(
        fmt::format("other virtual machines took {:.1f} processors of this one meanwhile", stolen));
  return texts;
}

}  // namespace onrush::cli
