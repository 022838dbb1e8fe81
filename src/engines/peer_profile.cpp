#include "engines/peer_profile.h"

namespace onrush::engines {

PeerProfile profile_peer(Worker& worker, int runs, const std::string& folder) {
  constexpr double kTimeout = 600;  // seconds
  const Json answer =
      worker.call({{"call", "profile"}, {"runs", runs}, {"folder", folder}}, kTimeout);
  PeerProfile profile;
  profile.run_us = answer.at("run_us").get<double>();
  profile.graph = answer.value("graph", "");
  for (const Json& event : answer.at("events"))
    profile.events.push_back({event.at("name").get<std::string>(),
                              event.at("op").get<std::string>(), event.value("provider", ""),
                              event.at("us").get<double>(), event.at("calls").get<double>()});
  return profile;
}

}  // namespace onrush::engines
