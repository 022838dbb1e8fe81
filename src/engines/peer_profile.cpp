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

// The last name of a qualified one.
std::string_view base_name(std::string_view name) {
  while (name.ends_with(' ')) name.remove_suffix(1);
  const size_t colon = name.rfind("::");
  const size_t from = colon == std::string_view::npos ? 0 : colon + 2;
  const size_t space = name.find_last_of(" *&");
  return name.substr(space == std::string_view::npos ? from : std::max(from, space + 1));
}

}  // namespace

std::string kernel_title(const std::string& symbol) {
  // Of a function, all up to its arguments; "(anonymous namespace)" is no argument.
  std::string text = demangled(symbol);
  for (const std::string_view gone : {"(anonymous namespace)::", "<unnamed>::"})
    for (size_t at = 0; (at = text.find(gone, at)) != std::string::npos;)
      text.erase(at, gone.size());
  const std::string_view whole = text;
  const std::string_view head = whole.substr(0, whole.find('('));
  const size_t template_at = head.find('<');
  const std::string_view name = base_name(head.substr(0, template_at));
  static constexpr std::array<std::string_view, 3> kWrappers = {"Kernel", "Kernel2",
                                                                "device_kernel"};
  if (template_at == std::string_view::npos ||
      std::ranges::find(kWrappers, name) == kWrappers.end())
    return std::string(name);
  const std::string_view argument = whole.substr(template_at + 1);
  return std::string(base_name(argument.substr(0, argument.find_first_of("<>,("))));
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
