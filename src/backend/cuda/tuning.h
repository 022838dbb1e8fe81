// What is known by measurement of contractions on a device: which of the ways to compute one is the
// fastest. Kept on disk between processes. Needs no GPU.
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/disk_cache.h"
#include "codegen/cuda_source.h"

namespace onrush::cuda {

// What was measured of one contraction at certain sizes.
struct TunedContraction {
  std::string title;  // for people
  TileChoice own;     // the fastest of our kernel's
  double own_us;
  // The library for it that was there to be tried, "cuBLASLt 13.1.0"; empty: none was. It may have
  // had no way to compute this.
  std::string library;
  struct LibraryWay {
    std::string algorithm;  // LibraryKernel's
    double us;
  };
  std::optional<LibraryWay> by_library;
};

struct TimedChoice {
  TileChoice choice;
  double us;
};
struct TimedAlgorithm {
  std::string algorithm;
  double us;
};
// The fastest of each. own[0] is what the model of the device would have: others have to be faster
// by more than measurements differ. REQUIRES that there is one.
TunedContraction best_of(std::string title, std::span<const TimedChoice> own, std::string library,
                         std::span<const TimedAlgorithm> by_library);
// Whether the library's way is faster by more than measurements differ, and by enough to be worth
// opening the library for.
bool prefers_library(const TunedContraction& tuned);

std::string to_text(const TunedContraction& tuned);
// Nothing for a text that is not of this version of Onrush, or names a tile that there is not.
std::optional<TunedContraction> tuned_from_text(std::string_view text);

// All that a contraction's speed depends on besides its sizes: dtypes, where operands lie, what
// follows the product.
CacheKey signature_of(const CudaContraction& contraction);
// Every extent, stride and offset in it.
std::vector<int64_t> sizes_of(const CudaContraction& contraction, const SizeTable& sizes);

struct TuningKey {
  CacheKey signature;
  std::vector<int64_t> sizes;
  bool operator<(const TuningKey& other) const;
};

// What is known of the contractions of one device. Thread safe.
class TuningTable {
 public:
  // device: its name and its driver's version. measures: whether to measure what is not known.
  TuningTable(const DiskCache& cache, const std::string& device, bool measures);

  // False if nothing is known and nothing will be: nobody need ask.
  bool is_used() const { return used_; }
  bool measures() const { return measures_; }

  std::optional<TunedContraction> find(const TuningKey& key) const;
  void store(const TuningKey& key, TunedContraction tuned) const;

  // Held while measuring, which several threads would do badly.
  std::mutex& measuring() const { return measuring_; }

 private:
  CacheKey cache_key_of(const TuningKey& key) const;

  const DiskCache& cache_;
  std::string device_;  // as part of keys
  bool measures_, used_;
  mutable std::mutex mutex_, measuring_;
  mutable std::map<TuningKey, std::optional<TunedContraction>> known_;
};

// Every result in the cache, a line each; for 'onrush cache'.
std::vector<std::string> tuning_lines(const DiskCache& cache);

}  // namespace onrush::cuda
