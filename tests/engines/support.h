// Workers that behave badly, and one that behaves.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <string>
#include <thread>
#include <unistd.h>

#include "engines/contest.h"
#include "engines/temporary_folder.h"
#include "npy/npy.h"

namespace onrush::engines {

inline void spin(double seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
  while (std::chrono::steady_clock::now() < end) {
  }
}

// What goes wrong, and in which call.
struct Trouble {
  enum Kind { none, error, crash, exit, killed, hang, garbage } kind = none;
  std::string call;
};

// An engine whose runs take `seconds`, as it says, and whose output is 1.
inline void serve_fake(double seconds, const Trouble& trouble) {
  int rounds = 0;
  serve([&](const Json& request) -> Json {
    const std::string call = request.at("call");
    if (call == trouble.call && (call != "round" || rounds == 2)) {
      switch (trouble.kind) {
        case Trouble::none: break;
        case Trouble::error: throw std::runtime_error("no kernel for Foo");
        case Trouble::crash:
          fmt::print(stderr, "last words\n\n");
          std::signal(SIGABRT, SIG_DFL);
          std::abort();
        case Trouble::exit: std::_Exit(3);
        case Trouble::killed: raise(SIGKILL); break;
        case Trouble::hang:
          for (;;) pause();
        case Trouble::garbage: fmt::print("hello\n"); break;
      }
    }
    if (call == "version") return {{"version", "7"}};
    if (call == "load") return {{"load_ms", 1}, {"first_ms", 2}};
    if (call == "outputs") {
      const std::vector<float> one = {1};
      write_npz(request.at("file"), std::vector<std::pair<std::string, Tensor>>{
                                        {"0", Tensor::of<float>(DType::f32, {1}, one)}});
      return {{"names", {"y"}}};
    }
    ++rounds;
    Json times = Json::array();
    for (int i = 0; i < request.at("least").get<int>(); ++i) {
      spin(seconds);
      times.push_back(seconds * 1e9);  // what the machine does besides is no matter
    }
    return {{"ns", times}};
  });
}

inline Worker fake_worker(const TemporaryFolder& folder, double seconds, const Trouble& trouble) {
  return Worker::fork([=] { serve_fake(seconds, trouble); }, folder.path("fake.log"));
}

inline Contestant fake(const TemporaryFolder& folder, const std::string& name,
                       double seconds = 0.0002, const Trouble& trouble = {}) {
  return {.name = name,
          .start = [&folder, seconds, trouble] { return fake_worker(folder, seconds, trouble); },
          .load = {{"call", "load"}}};
}

}  // namespace onrush::engines
