// onrush cache: what is kept on disk between processes.
#include <map>

#include "backend/cuda/cuda_backend.h"
#include "base/check.h"
#include "base/disk_cache.h"
#include "cli/commands.h"
#include "cli/text.h"

namespace onrush::cli {
namespace {

void show(const DiskCache& disk) {
  struct Kind {
    int entries = 0;
    uint64_t bytes = 0;
  };
  std::map<std::string, Kind> kinds;
  Kind all;
  for (const CacheEntry& entry : disk.list())
    for (Kind* kind : {&kinds[entry.kind], &all}) {
      ++kind->entries;
      kind->bytes += entry.bytes;
    }
  fmt::print("folder: {}\n", disk.folder());
  fmt::print("entries: {}, {} of at most {}\n", all.entries, human_bytes(all.bytes),
             human_bytes(disk.limit()));
  for (const auto& [name, kind] : kinds)
    fmt::print("  {}: {}, {}\n", name, kind.entries, human_bytes(kind.bytes));
}

}  // namespace

void cache(const CacheCommand& command) {
  CacheOptions options;
  options.folder = command.folder.empty() ? default_cache_folder() : command.folder;
  if (options.folder.empty())
    fail(ErrorCode::not_found,
         "the environment names no folder for a cache; set ONRUSH_CACHE or HOME, or give --folder");
  const DiskCache disk(options);
  if (command.tuning) {
    for (const std::string& line : tuning_lines(disk)) fmt::print("{}\n", line);
    return;
  }
  if (command.keep) disk.trim(*command.keep);
  show(disk);
}

}  // namespace onrush::cli
