#include "backend/cuda/compiler.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>

#include "base/check.h"

namespace onrush::cuda {
namespace {

constexpr std::string_view kKind = "cubin";

void check(const NvrtcApi& nvrtc, nvrtcResult result, const char* call) {
  if (result != NVRTC_SUCCESS)
    fail(ErrorCode::internal, "{}: {}", call, nvrtc.nvrtcGetErrorString(result));
}

class Program {
 public:
  Program(const NvrtcApi& nvrtc, const Source& source, std::span<const Header> headers)
      : nvrtc_(nvrtc) {
    std::vector<const char*> texts, names;
    for (const Header& header : headers) {
      texts.push_back(header.text.c_str());
      names.push_back(header.name.c_str());
    }
    check(nvrtc_,
          nvrtc_.nvrtcCreateProgram(&program_, source.text.c_str(), source.name.c_str(),
                                    static_cast<int>(headers.size()), texts.data(), names.data()),
          "nvrtcCreateProgram");
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;
  ~Program() { nvrtc_.nvrtcDestroyProgram(&program_); }

  nvrtcResult compile(std::span<const std::string> options) {
    std::vector<const char*> texts;
    for (const std::string& option : options) texts.push_back(option.c_str());
    return nvrtc_.nvrtcCompileProgram(program_, static_cast<int>(texts.size()), texts.data());
  }

  std::string log() const {
    size_t bytes = 0;  // with the final zero
    check(nvrtc_, nvrtc_.nvrtcGetProgramLogSize(program_, &bytes), "nvrtcGetProgramLogSize");
    std::string text(bytes, '\0');
    check(nvrtc_, nvrtc_.nvrtcGetProgramLog(program_, text.data()), "nvrtcGetProgramLog");
    while (!text.empty() && (text.back() == '\0' || text.back() == '\n')) text.pop_back();
    return text;
  }

  Cubin cubin() const {
    size_t bytes = 0;
    check(nvrtc_, nvrtc_.nvrtcGetCUBINSize(program_, &bytes), "nvrtcGetCUBINSize");
    Cubin cubin(bytes);
    check(nvrtc_, nvrtc_.nvrtcGetCUBIN(program_, reinterpret_cast<char*>(cubin.data())),
          "nvrtcGetCUBIN");
    return cubin;
  }

 private:
  const NvrtcApi& nvrtc_;
  nvrtcProgram program_ = nullptr;
};

// Line `line` (from 1) of a text with the two around it on both sides, numbered, the one marked.
std::string excerpt(const std::string& name, std::string_view text, int line) {
  std::string shown = name + ":";
  size_t begin = 0;
  for (int number = 1; begin < text.size() && number <= line + 2; ++number) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    if (number >= line - 2)
      shown += fmt::format("\n{} {:4} | {}", number == line ? '>' : ' ', number,
                           text.substr(begin, end - begin));
    begin = end + 1;
  }
  return shown;
}

// The line that a log's first "NAME(LINE): error" or "NAME(LINE): catastrophic error" means.
int error_line(std::string_view log, const std::string& name) {
  for (const std::string_view what : {"): error", "): catastrophic error"}) {
    for (size_t at = log.find(what); at != log.npos; at = log.find(what, at + 1)) {
      const size_t open = log.rfind('(', at);
      if (open == log.npos || open < name.size()) continue;
      if (log.substr(open - name.size(), name.size()) != name) continue;
      return std::atoi(std::string(log.substr(open + 1, at - open - 1)).c_str());
    }
  }
  return 0;
}

std::string error_excerpt(const std::string& log, const Source& source,
                          std::span<const Header> headers) {
  if (const int line = error_line(log, source.name)) return excerpt(source.name, source.text, line);
  for (const Header& header : headers)
    if (const int line = error_line(log, header.name))
      return excerpt(header.name, header.text, line);
  return {};
}

}  // namespace

Compiler::Compiler(const NvrtcApi& nvrtc, std::vector<Header> headers, const DiskCache* cache)
    : nvrtc_(nvrtc), headers_(std::move(headers)), cache_(cache) {
  check(nvrtc_, nvrtc_.nvrtcVersion(&version_.major, &version_.minor), "nvrtcVersion");
  int count = 0;
  check(nvrtc_, nvrtc_.nvrtcGetNumSupportedArchs(&count), "nvrtcGetNumSupportedArchs");
  architectures_.resize(static_cast<size_t>(count));
  check(nvrtc_, nvrtc_.nvrtcGetSupportedArchs(architectures_.data()), "nvrtcGetSupportedArchs");
  std::sort(architectures_.begin(), architectures_.end());
}

std::string Compiler::architecture_for(Version capability) const {
  const int wanted = capability.major * 10 + capability.minor;
  // The last that is not above; machine code of one runs on later ones of its major version.
  const auto above = std::upper_bound(architectures_.begin(), architectures_.end(), wanted);
  if (above == architectures_.begin() || *std::prev(above) / 10 != capability.major)
    fail(ErrorCode::unsupported,
         "NVRTC {} cannot compile for compute capability {}; it knows {}. Install another version "
         "of nvidia-cuda-nvrtc, no newer than the driver supports",
         to_string(version_), to_string(capability), fmt::join(architectures_, ", "));
  const int known = *std::prev(above);
  // From Hopper on, 'a' adds instructions that only this very architecture has.
  return fmt::format("sm_{}{}", known, known == wanted && capability.major >= 9 ? "a" : "");
}

std::vector<std::string> Compiler::options_for(const Source& source,
                                               const std::string& architecture) const {
  std::vector<std::string> options = {"--gpu-architecture=" + architecture, "--std=c++20",
                                      "--no-source-include", "--device-as-default-execution-space"};
  options.insert(options.end(), source.options.begin(), source.options.end());
  return options;
}

CacheKey Compiler::key_of(const Source& source, std::span<const std::string> options) const {
  const std::string versions =
      fmt::format("onrush {} nvrtc {}", ONRUSH_VERSION, to_string(version_));
  std::vector<std::string_view> parts = {versions, source.name, source.text, "options"};
  parts.insert(parts.end(), options.begin(), options.end());
  parts.push_back("headers");
  for (const Header& header : headers_) {
    parts.push_back(header.name);
    parts.push_back(header.text);
  }
  return cache_key(parts);
}

Cubin Compiler::run_nvrtc(const Source& source, std::span<const std::string> options) const {
  Program program(nvrtc_, source, headers_);
  const nvrtcResult result = program.compile(options);
  if (result == NVRTC_SUCCESS) return program.cubin();
  const std::string log = program.log();
  fail(ErrorCode::internal, "'{}' does not compile with NVRTC {} ({}), {}:\n{}\n{}", source.name,
       to_string(version_), fmt::join(options, " "), nvrtc_.nvrtcGetErrorString(result), log,
       error_excerpt(log, source, headers_));
}

Cubin Compiler::compile(const Source& source, const std::string& architecture) const {
  const std::vector<std::string> options = options_for(source, architecture);
  if (!cache_) return run_nvrtc(source, options);
  const CacheKey key = key_of(source, options);
  if (std::optional<Cubin> kept = cache_->load(key, kKind)) return std::move(*kept);
  Cubin cubin = run_nvrtc(source, options);
  cache_->store(key, kKind, cubin);
  return cubin;
}

std::vector<Cubin> Compiler::compile_all(std::span<const Source> sources,
                                         const std::string& architecture, int threads,
                                         const Progress& progress) const {
  std::vector<Cubin> cubins(sources.size());
  std::vector<std::exception_ptr> errors(sources.size());
  std::atomic<size_t> next = 0;
  std::mutex mutex;  // of done and of the calls to progress
  size_t done = 0;
  const auto work = [&] {
    for (size_t i = next++; i < sources.size(); i = next++) {
      try {
        cubins[i] = compile(sources[i], architecture);
        const std::lock_guard lock(mutex);
        ++done;
        if (progress) progress(done, sources.size());
      } catch (...) {
        errors[i] = std::current_exception();
        next = sources.size();  // the others stop after what they have in hand
      }
    }
  };
  {
    const size_t most = threads > 0 ? threads : std::max(1u, std::thread::hardware_concurrency());
    std::vector<std::jthread> workers;
    while (workers.size() + 1 < std::min(most, sources.size())) workers.emplace_back(work);
    work();
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return cubins;
}

}  // namespace onrush::cuda
