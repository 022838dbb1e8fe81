// Other engines: their names, and the Python environments that hold them.
#pragma once

#include <string>
#include <vector>

#include "engines/worker.h"

namespace onrush::engines {

struct Peer {
  std::string name;                   // "onnxruntime"
  std::string module;                 // that Python imports
  std::vector<std::string> variants;  // "iobinding", ...: ways to use it, besides its defaults
};
const std::vector<Peer>& peers();

// Full names of all that "pytorch", "pytorch:graph", "pytorch:half+graph" (both at once),
// "pytorch:all" (its defaults, and each variant by itself) or "all" means.
// Throws Error{invalid_argument}, which lists the names there are.
std::vector<std::string> peer_names(const std::string& text);

// Python interpreters, best first: those given, or else $ONRUSH_PYTHON, that of an activated
// environment, and python3.
std::vector<std::string> python_interpreters(const std::vector<std::string>& given);

// The first that has what the peer needs. Throws WorkerError with a line on each that lacks it.
std::string find_python(const std::string& peer, const std::vector<std::string>& interpreters);

// Writes the workers' scripts to a folder; gives the one to start.
std::string write_worker_scripts(const std::string& folder);

}  // namespace onrush::engines
