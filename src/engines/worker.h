// A process that runs an engine for this one. Requests and answers are lines of JSON:
//   {"call": "load", ...}        {"ok": {...}} or {"error": "why"}
#pragma once

#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <sys/types.h>
#include <vector>

#include "measure/report.h"

namespace onrush::engines {

using measure::Json;

// What the worker answered, or why it cannot answer any more: it ended, or took too long.
struct WorkerError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The user asked to stop, see Interrupts. Not a runtime_error, which would be an engine's failure.
struct Interrupted : std::exception {
  const char* what() const noexcept override { return "interrupted"; }
};

// While one lives, Ctrl-C sets a flag in place of ending the process; a second one ends it.
class Interrupts {
 public:
  Interrupts();
  ~Interrupts();
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  static bool requested();
};

// It runs during calls only and is stopped between them, so that it takes no time from another one.
// The process ends with this object, and with this process however that ends. What it prints goes
// to the file `log`, whose last line explains an end of its own.
class Worker {
 public:
  // `serve` runs in a copy of this process, with the connection as standard input and output.
  // REQUIRES that no CUDA context was made here: it would not work in the copy.
  static Worker fork(const std::function<void()>& serve, std::string log);
  static Worker start(const std::vector<std::string>& command, std::string log);

  Worker(Worker&& other) noexcept;
  Worker& operator=(Worker&& other) noexcept;
  ~Worker();

  // The answer's "ok". Throws WorkerError (the worker is then ended, unless it answered), or
  // Interrupted.
  Json call(const Json& request, double timeout_s);

  pid_t process() const { return process_; }

 private:
  Worker(pid_t process, int connection, std::string log)
      : process_(process), connection_(connection), log_(std::move(log)) {}
  static Worker launch(const std::function<void()>& body, std::string log);

  void send(const std::string& line);
  std::string receive(double timeout_s);
  [[noreturn]] void fail_ended();
  int end();  // gives the status that waitpid tells

  pid_t process_ = -1;
  int connection_ = -1;
  std::string log_, received_;
};

// Answers requests on standard output until standard input ends: what a forked worker runs.
// `answer` gives what follows "ok", or throws.
void serve(const std::function<Json(const Json& request)>& answer);

}  // namespace onrush::engines
