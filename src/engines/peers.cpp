#include "engines/peers.h"

#include <algorithm>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>

#include "base/check.h"
#include "engines/worker_scripts.h"

namespace onrush::engines {
namespace {

const Peer* find_peer(const std::string& name) {
  const auto found =
      std::ranges::find_if(peers(), [&](const Peer& peer) { return peer.name == name; });
  return found == peers().end() ? nullptr : &*found;
}

std::vector<std::string> full_names(const Peer& peer) {
  std::vector<std::string> names = {peer.name};
  for (const std::string& variant : peer.variants) names.push_back(peer.name + ":" + variant);
  return names;
}

std::vector<std::string> all_names() {
  std::vector<std::string> names;
  for (const Peer& peer : peers()) std::ranges::copy(full_names(peer), std::back_inserter(names));
  return names;
}

// Of words with + between them.
bool all_known(const Peer& peer, std::string_view variants) {
  const size_t end = variants.find('+');
  const bool first = std::ranges::count(peer.variants, variants.substr(0, end)) > 0;
  return first && (end == std::string_view::npos || all_known(peer, variants.substr(end + 1)));
}

std::string environment(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

// What an interpreter prints to standard output; empty if it cannot be started or fails.
std::string output_of(const std::string& interpreter, const std::string& program) {
  std::string command = "'";
  for (const char c : interpreter) command += c == '\'' ? "'\\''" : std::string(1, c);
  command += "' -c '" + program + "' 2>/dev/null </dev/null";
  FILE* pipe = popen(command.c_str(), "r");
  if (!pipe) return {};
  std::string text;
  for (char bytes[256]; const size_t count = fread(bytes, 1, sizeof bytes, pipe);)
    text.append(bytes, count);
  pclose(pipe);
  return text;
}

}  // namespace

const std::vector<Peer>& peers() {
  static const std::vector<Peer> all = {
      {"onnxruntime", "onnxruntime", {"iobinding", "graph", "tuned"}},
      {"openvino", "openvino", {"bf16"}},
      {"pytorch", "torch", {"channels_last", "autocast", "half", "graph", "compile"}},
  };
  return all;
}

std::vector<std::string> peer_names(const std::string& text) {
  if (text == "all") return all_names();
  const size_t colon = text.find(':');
  if (const Peer* peer = find_peer(text.substr(0, colon))) {
    if (colon == std::string::npos) return {text};
    const std::string variants = text.substr(colon + 1);
    if (variants == "all") return full_names(*peer);
    if (all_known(*peer, variants)) return {text};
  }
  fail(ErrorCode::invalid_argument,
       "there is no engine '{}'; there are {}, PEER:all, all, onrush:PRECISION, and onrush:tuned",
       text, fmt::join(all_names(), ", "));
}

std::vector<std::string> python_interpreters(const std::vector<std::string>& given) {
  if (!given.empty()) return given;
  std::vector<std::string> found;
  if (const std::string path = environment("ONRUSH_PYTHON"); !path.empty()) found.push_back(path);
  for (const char* prefix : {"VIRTUAL_ENV", "CONDA_PREFIX"})
    if (const std::string path = environment(prefix); !path.empty())
      found.push_back(path + "/bin/python");
  found.emplace_back("python3");
  return found;
}

std::string find_python(const std::string& peer, const std::vector<std::string>& interpreters) {
  const std::string module = find_peer(peer.substr(0, peer.find(':')))->module;
  std::vector<std::string> reasons;
  for (const std::string& interpreter : interpreters) {
    const std::string answer = output_of(
        interpreter, fmt::format("import importlib.util as u; print(*[m for m in (\"{}\", "
                                 "\"numpy\") if not u.find_spec(m)], \".\")",
                                 module));
    if (answer == ".\n") return interpreter;
    if (answer.empty()) reasons.push_back(interpreter + " cannot be started");
    else
      reasons.push_back(
          fmt::format("{} has no {}", interpreter, answer.substr(0, answer.find(' '))));
  }
  throw WorkerError(
      fmt::format("not installed: {}; --python names another", fmt::join(reasons, ", ")));
}

std::string write_worker_scripts(const std::string& folder) {
  for (const auto& [name, text] : worker_scripts()) {
    std::ofstream file(folder + "/" + std::string(name), std::ios::binary);
    if (!(file << text)) fail(ErrorCode::invalid_argument, "cannot write {}/{}", folder, name);
  }
  return folder + "/worker.py";
}

}  // namespace onrush::engines
