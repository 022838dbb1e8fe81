#include "explain/roofs.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fmt/format.h>
#include <limits>
#include <sstream>

#include "backend/cpu/thread_pool.h"
#include "backend/cuda/doctor.h"
#include "base/check.h"
#include "base/disk_cache.h"
#include "explain/step.h"
#include "measure/process.h"
#include "onnx/encode.h"

namespace onrush::explain {
namespace {

bool is_gpu(const SessionOptions& options) { return options.device.starts_with("cuda"); }

// --- models that one thing holds up

onnx::ValueInfo floats(std::string name, std::vector<std::optional<int64_t>> sizes) {
  onnx::ValueInfo info;
  info.name = std::move(name);
  info.type.kind = onnx::Type::Kind::tensor;
  info.type.element = DType::f32;
  info.type.shape.emplace();
  for (const auto& size : sizes) info.type.shape->push_back({size, size ? "" : "n"});
  return info;
}

onnx::Node node(std::string op, std::vector<std::string> inputs, std::string output) {
  onnx::Node result;
  result.op_type = std::move(op);
  result.inputs = std::move(inputs);
  result.outputs = {std::move(output)};
  return result;
}

// No two neighbours alike, and small: sums and products of many stay finite.
Tensor values(Shape shape) {
  Tensor tensor(DType::f32, std::move(shape));
  const auto elements = tensor.as<float>();
  for (size_t i = 0; i < elements.size(); ++i)
    elements[i] = 0.001f * static_cast<float>(i % 1009) - 0.5f;
  return tensor;
}

onnx::Model model(std::vector<onnx::Node> nodes, std::vector<std::optional<int64_t>> sizes) {
  onnx::Model result;
  result.ir_version = 10;
  result.opset_import = {{"", 21}};
  result.producer_name = "onrush";
  result.graph.name = "roof";
  result.graph.nodes = std::move(nodes);
  result.graph.inputs = {floats("x", sizes)};
  result.graph.outputs = {floats("y", sizes)};
  return result;
}

constexpr int64_t kChannels = 256, kPixels = 32;  // of the convolution

onnx::Model product(int64_t n) {
  onnx::Model result = model({node("MatMul", {"x", "w"}, "y")}, {n, n});
  result.graph.initializers = {{"w", values({n, n})}};
  return result;
}

// Of 3 by 3 pixels: each element of the image goes into nine times as many products.
onnx::Model convolution(int64_t images) {
  onnx::Node conv = node("Conv", {"x", "w"}, "y");
  conv.attributes = {{"pads", {}, std::vector<int64_t>(4, 1)}};
  onnx::Model result = model({conv}, {images, kChannels, kPixels, kPixels});
  result.graph.initializers = {{"w", values({kChannels, kChannels, 3, 3})}};
  return result;
}

constexpr int kChain = 32;  // pairs of a product and a sum

// Elementwise operations on few numbers: one kernel that memory does not hold up.
onnx::Model chain() {
  std::vector<onnx::Node> nodes;
  std::string at = "x";
  for (int i = 0; i < kChain; ++i) {
    const std::string product = fmt::format("p{}", i),
                      sum = i + 1 < kChain ? fmt::format("s{}", i) : "y";
    nodes.push_back(node("Mul", {at, "x"}, product));
    nodes.push_back(node("Add", {product, "x"}, sum));
    at = sum;
  }
  return model(std::move(nodes), {std::nullopt});
}

// --- measuring

Session load(const onnx::Model& model, const SessionOptions& options) {
  const std::string bytes = onnx::encode(model);
  return Session::load(std::as_bytes(std::span(bytes)), options);
}

// The least time that the kernels of a run take, in seconds; 0 where they are not told apart.
double kernel_seconds(const Session& session, const Tensor& x, int runs) {
  const Tensor y(DType::f32, x.shape());
  std::vector<Value> results;
  double least = std::numeric_limits<double>::infinity();
  for (int i = 0; i < runs; ++i) {
    RunProfile profile;
    RunOptions options;
    options.profile = &profile;
    options.outputs = {{"y", y}};
    session.run({{"x", x}}, {}, options, results);
    int64_t ns = 0;
    for (const ProfileEvent& event : profile.events)
      if (is_kernel(*event.step)) ns += event.duration_ns;
    if (ns > 0) least = std::min(least, 1e-9 * static_cast<double>(ns));
  }
  return std::isfinite(least) ? least : 0;
}

Roofs measure_roofs(const SessionOptions& options, int runs,
                    const std::function<void(const std::string&)>& progress) {
  constexpr double kLargest = 256 << 20;  // bytes; beyond every cache but some servers' last one
  Roofs roofs;
  const auto tell = [&](const char* what) {
    if (progress) progress(fmt::format("measuring the roofs of this machine: {}", what));
  };
  tell("memory");
  const Session copy = load(model({node("Neg", {"x"}, "y")}, {std::nullopt}), options);
  roofs.start_us = 1e6 * kernel_seconds(copy, values({1}), 4 * runs);
  for (double bytes = 64 << 10; bytes <= kLargest; bytes *= 4) {
    const double seconds = kernel_seconds(copy, values({static_cast<int64_t>(bytes) / 8}), runs);
    if (seconds > 0) roofs.bandwidth.push_back({bytes, bytes / seconds});
  }
  tell("elementwise arithmetic");
  const int64_t elements = is_gpu(options) ? 16 << 20 : 64 << 10;
  const double vector = kernel_seconds(load(chain(), options), values({elements}), runs);
  if (vector > 0) roofs.vector_flops = 2 * kChain * static_cast<double>(elements) / vector;
  tell("products");
  const auto best = [&](const onnx::Model& model, const Tensor& x, double flops) {
    const double seconds = kernel_seconds(load(model, options), x, runs);
    if (seconds > 0) roofs.product_flops = std::max(roofs.product_flops, flops / seconds);
  };
  const int64_t n = is_gpu(options) ? 4096 : 1024, images = is_gpu(options) ? 64 : 1;
  best(product(n), values({n, n}), 2 * std::pow(static_cast<double>(n), 3));
  best(convolution(images), values({images, kChannels, kPixels, kPixels}),
       2 * static_cast<double>(images * kPixels * kPixels * kChannels * kChannels * 9));
  return roofs;
}

// --- keeping

std::string to_text(const Roofs& roofs) {
  std::string text =
      fmt::format("{} {} {}", roofs.product_flops, roofs.vector_flops, roofs.start_us);
  for (const Roofs::Bandwidth& b : roofs.bandwidth)
    text += fmt::format(" {} {}", b.bytes, b.bytes_per_second);
  return text;
}

Roofs from_text(const std::string& text) {
  std::istringstream stream(text);
  Roofs roofs;
  stream >> roofs.product_flops >> roofs.vector_flops >> roofs.start_us;
  for (Roofs::Bandwidth b; stream >> b.bytes >> b.bytes_per_second;) roofs.bandwidth.push_back(b);
  return roofs;
}

// The better of both figures. No measurement is too good, but other work makes many too bad.
void raise(Roofs& roofs, const Roofs& other) {
  roofs.product_flops = std::max(roofs.product_flops, other.product_flops);
  roofs.vector_flops = std::max(roofs.vector_flops, other.vector_flops);
  roofs.start_us = std::min(roofs.start_us, other.start_us);
  for (size_t i = 0; i < std::min(roofs.bandwidth.size(), other.bandwidth.size()); ++i)
    roofs.bandwidth[i].bytes_per_second =
        std::max(roofs.bandwidth[i].bytes_per_second, other.bandwidth[i].bytes_per_second);
}

CacheKey key(const SessionOptions& options) {
  const int threads = options.threads > 0 ? options.threads : cpu::available_processors();
  const std::string settings =
      fmt::format("{} {}", static_cast<int>(options.precision), is_gpu(options) ? 0 : threads);
  const std::string name = device_name(options);
  return cache_key(std::vector<std::string_view>{version(), name, settings});
}

}  // namespace

std::string device_name(const SessionOptions& options) {
  if (!is_gpu(options)) return measure::processor_name();
  const size_t colon = options.device.find(':');
  return cuda::device_name(
      colon == std::string::npos ? 0 : std::atoi(options.device.c_str() + colon + 1));
}

double Roofs::bytes_per_second(double bytes) const {
  if (bandwidth.empty()) return 0;
  const auto above = std::ranges::lower_bound(bandwidth, bytes, {}, &Bandwidth::bytes);
  if (above == bandwidth.begin()) return above->bytes_per_second;
  if (above == bandwidth.end()) return bandwidth.back().bytes_per_second;
  const auto below = above - 1;
  const double part = std::log(bytes / below->bytes) / std::log(above->bytes / below->bytes);
  return std::lerp(below->bytes_per_second, above->bytes_per_second, part);
}

Roofs roofs(const SessionOptions& options,
            const std::function<void(const std::string&)>& progress) {
  constexpr std::string_view kKind = "roofs";
  SessionOptions plain = options;
  plain.optimization_level = 1;
  plain.memory_limit = 0;
  constexpr int kFirstRuns = 20, kMoreRuns = 5;
  const DiskCache cache({.folder = options.cache_folder});
  const CacheKey entry = key(plain);
  const auto content = cache.load(entry, kKind);
  Roofs best = measure_roofs(plain, content ? kMoreRuns : kFirstRuns, progress);
  if (content)
    raise(best, from_text({reinterpret_cast<const char*>(content->data()), content->size()}));
  const std::string text = to_text(best);
  cache.store(entry, kKind, std::as_bytes(std::span(text)));
  return best;
}

}  // namespace onrush::explain
