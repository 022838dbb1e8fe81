#include "engines/peer_profile.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cxxabi.h>

#include "backend/cuda/doctor.h"

namespace onrush::engines {
namespace {

std::string demangled(const std::string& symbol) {
  int status = 0;
  const std::unique_ptr<char, decltype(&std::free)> text(
      abi::__cxa_demangle(symbol.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 && text ? text.get() : symbol;
}

// A function's qualified name, without return type, arguments and those of templates, of which the
// first one of the last template is kept.
struct Function {
  std::string name, argument;

  explicit Function(const std::string& text) {
    size_t depth = 0;  // of <>
    for (const char c : text) {
      if (c == '<' && depth++ == 0) argument.clear(), first_ = true;
      else if (c == '>' && depth > 0) --depth;
      else if (depth == 0 && c == '(') break;
      else if (depth == 0 && c == ' ') name.clear();
      else if (depth == 0) name += c;
      else if (depth == 1 && c == ',') first_ = false;
      else if (depth == 1 && first_ && c != ' ') argument += c;
    }
  }

 private:
  bool first_ = true;
};

// The last parts of a qualified name.
std::string last(const std::string& name, int parts) {
  size_t from = name.size();
  for (; parts > 0 && from != std::string::npos; --parts)
    from = from == 0 ? std::string::npos : name.rfind("::", from - 1);
  return from == std::string::npos ? name : name.substr(from + 2);
}

}  // namespace

std::string kernel_title(const std::string& symbol) {
  if (symbol.starts_with("Mem")) return symbol;  // "Memcpy DtoD"
  std::string text = demangled(symbol);
  for (const std::string_view gone : {"(anonymous namespace)::", "<unnamed>::"})
    for (size_t at = 0; (at = text.find(gone, at)) != std::string::npos;)
      text.erase(at, gone.size());
  const Function function(text);
  const std::string name = last(function.name, 1);
  static constexpr std::array<std::string_view, 3> kWrappers = {"Kernel", "Kernel2",
                                                                "device_kernel"};
  if (std::ranges::find(kWrappers, name) != kWrappers.end() && !function.argument.empty())
    return last(function.argument, 1);
  if (name == "kernel") return last(function.name, 2);  // "gemvx::kernel"
  return name.empty() ? text : name;
}

PeerProfile peer_profile(const Json& answer) {
  PeerProfile profile{answer.at("run_us").get<double>(),
                      {},
                      answer.value("graph", ""),
                      answer.value("unwaited_us", 0.0)};
  for (const Json& event : answer.at("events"))
    profile.events.push_back(
        {event.at("name").get<std::string>(), event.at("op").get<std::string>(),
         event.at("provider").get<std::string>(), event.at("us").get<double>(),
         event.at("calls").get<double>(), kernel_title(event.at("kernel").get<std::string>()),
         event.at("device_us").get<double>(), event.at("position").get<int>()});
  return profile;
}

PeerProfile profile_peer(Worker& worker, int runs, const std::string& folder, bool on_gpu) {
  constexpr double kTimeout = 600;  // seconds
  const std::string cupti = on_gpu ? cuda::cupti_path() : "";
  return peer_profile(worker.call(
      {{"call", "profile"}, {"runs", runs}, {"folder", folder}, {"cupti", cupti}}, kTimeout));
}

}  // namespace onrush::engines
