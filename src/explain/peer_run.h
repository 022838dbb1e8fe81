// A peer's runs of the same model on the same inputs, by turns with Onrush's, and its profile.
#pragma once

#include <string>
#include <vector>

#include "explain/causes.h"

namespace onrush::explain {

struct PeerRequest {
  std::string name;                  // see engines/peers.h
  std::vector<std::string> pythons;  // interpreters that may have it
  engines::Json load;                // what it is asked to load, see engines/onrush_engine.h
  std::string folder;                // for what it writes
  bool on_gpu = false;
  std::function<void(const std::string&)> progress = {};
};

// Throws engines::WorkerError with the reason if the peer is not there, fails or hangs.
PeerRun run_peer(const PeerRequest& request, const Session& session, const NamedValues& inputs);

}  // namespace onrush::explain
