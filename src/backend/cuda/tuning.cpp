#include "backend/cuda/tuning.h"

#include <algorithm>
#include <cstring>
#include <fmt/format.h>
#include <sstream>
#include <tuple>

#include "codegen/cuda_tiles.h"

namespace onrush::cuda {
namespace {

constexpr std::string_view kKind = "tuning";
constexpr std::string_view kHeader = "onrush tuning 2";
constexpr double kCertain = 0.98;  // of the other's time: less is no accident
// The same where the library is cuDNN, which takes every later process a quarter of a second and
// hundreds of megabytes to open.
constexpr double kWorthCudnn = 0.9;

template <class Timed>
const Timed& fastest(std::span<const Timed> all) {
  return *std::min_element(all.begin(), all.end(),
                           [](const Timed& a, const Timed& b) { return a.us < b.us; });
}

bool is_tile(const ContractionTile& tile) {
  for (const ContractionMath math : {ContractionMath::f16, ContractionMath::scalar}) {
    const std::vector<ContractionTile> known = tiles_for(math);
    if (std::find(known.begin(), known.end(), tile) != known.end()) return true;
  }
  return false;
}

// Times are those of certain device functions, too.
CacheKey device_key(const std::string& device) {
  std::vector<std::string_view> parts = {kHeader, device};
  for (const DeviceHeader& header : cuda_device_headers())
    if (header.name == "contraction.cuh" || header.name == "persistent.cuh")
      parts.push_back(header.text);
  return cache_key(parts);
}

}  // namespace

TunedContraction best_of(std::string title, std::span<const TimedChoice> own, std::string library,
                         std::span<const TimedAlgorithm> by_library) {
  const TimedChoice& best = fastest(own);
  const TimedChoice& taken = best.us < kCertain * own[0].us ? best : own[0];
  TunedContraction tuned{std::move(title), taken.choice, taken.us, std::move(library), {}};
  if (by_library.empty()) return tuned;
  const TimedAlgorithm& way = fastest(by_library);
  tuned.by_library = {way.algorithm, way.us};
  return tuned;
}

bool prefers_library(const TunedContraction& tuned) {
  const double most = tuned.library.starts_with("cuDNN ") ? kWorthCudnn : kCertain;
  return tuned.by_library && tuned.by_library->us < most * tuned.own_us;
}

std::string to_text(const TunedContraction& tuned) {
  const ContractionTile& tile = tuned.own.tile;
  std::string text = fmt::format(
      "{}\n{}\n{} {} {} {} {} {} {} {} {} {} {:.4f}\n{}\n", kHeader, tuned.title, tile.m, tile.n,
      tile.warps_m, tile.warps_n, tile.warps_k, tile.chunks, tile.stages, int{tile.group},
      int{tile.persistent}, tuned.own.cluster, tuned.own_us, tuned.library);
  if (tuned.by_library)
    text += fmt::format("{:.4f} {}\n", tuned.by_library->us, tuned.by_library->algorithm);
  return text;
}

std::optional<TunedContraction> tuned_from_text(std::string_view text) {
  std::istringstream lines{std::string(text)};
  std::string header, own, way;
  TunedContraction tuned{};
  if (!std::getline(lines, header) || header != kHeader || !std::getline(lines, tuned.title) ||
      !std::getline(lines, own) || !std::getline(lines, tuned.library))
    return std::nullopt;
  ContractionTile& tile = tuned.own.tile;
  std::istringstream numbers(own);
  if (!(numbers >> tile.m >> tile.n >> tile.warps_m >> tile.warps_n >> tile.warps_k >>
        tile.chunks >> tile.stages >> tile.group >> tile.persistent >> tuned.own.cluster >>
        tuned.own_us))
    return std::nullopt;
  const int cluster = tuned.own.cluster;
  if (!is_tile(tile) || (cluster != 1 && cluster != 2 && cluster != 4 && cluster != 8))
    return std::nullopt;
  if (!std::getline(lines, way)) return tuned;
  std::istringstream words(way);
  TunedContraction::LibraryWay library{};
  if (tuned.library.empty() || !(words >> library.us >> std::ws) ||
      !std::getline(words, library.algorithm))
    return std::nullopt;
  tuned.by_library = library;
  return tuned;
}

CacheKey signature_of(const CudaContraction& c) {
  std::string text = fmt::format("{} {} {} {} {}", static_cast<int>(c.math), onnx_name(c.factor),
                                 onnx_name(c.sum), c.packed, c.padded_k);
  for (const CudaContraction::Part* part : {&c.lhs, &c.rhs, &c.epilogue}) {
    text += fmt::format("\n{}", fmt::join(part->kinds, " "));
    for (const LoopBuffer& buffer : part->loops.buffers)
      text += fmt::format(" {}", onnx_name(buffer.dtype));
    text += "\n" + to_string(part->loops);
  }
  const std::string_view parts[] = {text};
  return cache_key(parts);
}

std::vector<int64_t> sizes_of(const CudaContraction& c, const SizeTable& sizes) {
  std::vector<int64_t> all;
  const auto add = [&](Dim dim) { all.push_back(sizes(dim)); };
  const auto add_affine = [&](const Affine& affine) {
    add(affine.offset);
    for (const auto& [axis, stride] : affine.terms) add(stride);
  };
  const auto add_bounds = [&](const std::vector<Bound>& bounds) {
    for (const Bound& bound : bounds) add_affine(bound.index), add(bound.extent);
  };
  for (const CudaContraction::Part* part : {&c.lhs, &c.rhs, &c.epilogue}) {
    for (const Axis& axis : part->loops.axes) add(axis.extent);
    for (const LoopValue& value : part->loops.body) {
      if (const auto* v = std::get_if<LoadValue>(&value.data)) {
        add_affine(v->address);
        add_bounds(v->bounds);
      }
      if (const auto* v = std::get_if<BoundsValue>(&value.data)) add_bounds(v->bounds);
    }
    for (const Store& store : part->loops.stores) add_affine(store.address);
  }
  return all;
}

bool TuningKey::operator<(const TuningKey& other) const {
  return std::tie(signature.high, signature.low, sizes) <
         std::tie(other.signature.high, other.signature.low, other.sizes);
}

TuningTable::TuningTable(const DiskCache& cache, const std::string& device, bool measures)
    : cache_(cache), device_(to_string(device_key(device))), measures_(measures), used_(measures) {
  if (used_) return;
  for (const CacheEntry& entry : cache_.list()) used_ = used_ || entry.kind == kKind;
}

CacheKey TuningTable::cache_key_of(const TuningKey& key) const {
  const std::string signature = to_string(key.signature),
                    sizes = fmt::format("{}", fmt::join(key.sizes, " "));
  const std::string_view parts[] = {device_, signature, sizes};
  return cache_key(parts);
}

std::optional<TunedContraction> TuningTable::find(const TuningKey& key) const {
  if (!used_) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const auto [at, is_new] = known_.try_emplace(key);
  if (is_new)
    if (const auto content = cache_.load(cache_key_of(key), kKind))
      at->second =
          tuned_from_text({reinterpret_cast<const char*>(content->data()), content->size()});
  return at->second;
}

void TuningTable::store(const TuningKey& key, TunedContraction tuned) const {
  const std::string text = to_text(tuned);
  cache_.store(cache_key_of(key), kKind, std::as_bytes(std::span(text)));
  const std::lock_guard lock(mutex_);
  known_[key] = std::move(tuned);
}

std::vector<std::string> tuning_lines(const DiskCache& cache) {
  std::vector<std::string> lines;
  for (const CacheEntry& entry : cache.list()) {
    if (entry.kind != kKind) continue;
    const auto content = cache.load(entry.key, kKind);
    if (!content) continue;
    const auto tuned =
        tuned_from_text({reinterpret_cast<const char*>(content->data()), content->size()});
    if (!tuned) continue;
    std::string line =
        fmt::format("{}: {} {:.2f} us", tuned->title, tile_text(tuned->own), tuned->own_us);
    if (tuned->by_library)
      line += fmt::format(", {} {:.2f} us", tuned->library, tuned->by_library->us);
    lines.push_back(std::move(line));
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace onrush::cuda
