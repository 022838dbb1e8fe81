#include "engines/worker.h"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <fmt/format.h>
#include <fstream>
#include <iostream>
#include <linux/close_range.h>
#include <new>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include "base/check.h"
#include "measure/process.h"

namespace onrush::engines {
namespace {

std::atomic<int> interrupts = 0;  // lock-free, as a signal handler needs
struct sigaction action_before;

extern "C" void note_interrupt(int) {
  if (interrupts++) _exit(130);
}

// The last line of the file that says anything.
std::string last_words(const std::string& log) {
  std::ifstream file(log);
  std::string words;
  for (std::string line; std::getline(file, line);)
    if (line.find_first_not_of(" \t\r") != std::string::npos) words = line;
  constexpr size_t kLongest = 200;
  if (words.size() > kLongest) words.resize(kLongest);
  return words;
}

std::string status_text(int status) {
  if (WIFEXITED(status)) return fmt::format("ended with exit code {}", WEXITSTATUS(status));
  const int signal = WTERMSIG(status);
  if (signal == SIGKILL) return "was killed by the system, as happens when memory runs out";
  return fmt::format("crashed: {} (signal {})", strsignal(signal), signal);
}

}  // namespace

Interrupts::Interrupts() {
  interrupts = 0;
  struct sigaction action = {};
  action.sa_handler = note_interrupt;
  sigaction(SIGINT, &action, &action_before);
}
Interrupts::~Interrupts() {
  sigaction(SIGINT, &action_before, nullptr);
  interrupts = 0;
}
bool Interrupts::requested() { return interrupts != 0; }

Worker Worker::launch(const std::function<void()>& body, std::string log) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    fail(ErrorCode::internal, "cannot make a connection to a worker: {}", std::strerror(errno));
  std::fflush(nullptr);  // or the copy would print it once more
  const pid_t parent = getpid();
  const pid_t process = ::fork();
  if (process < 0) fail(ErrorCode::internal, "cannot start a worker: {}", std::strerror(errno));
  if (process == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    setpgid(0, 0);  // Ctrl-C is for the parent
    std::signal(SIGINT, SIG_DFL);
    const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file >= 0) dup2(file, STDERR_FILENO);
    dup2(ends[1], STDIN_FILENO);
    dup2(ends[1], STDOUT_FILENO);
    close_range(STDERR_FILENO + 1, ~0U, 0);
    body();
    _exit(0);
  }
  close(ends[1]);
  return Worker(process, ends[0], std::move(log));
}

Worker Worker::fork(const std::function<void()>& serve, std::string log) {
  return launch(
      [&] {
        try {
          serve();
        } catch (const std::exception& error) {
          fmt::print(stderr, "{}\n", error.what());
          std::fflush(nullptr);
          _exit(1);
        }
      },
      std::move(log));
}

Worker Worker::start(const std::vector<std::string>& command, std::string log) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  return launch(
      [&] {
        execvp(arguments[0], arguments.data());
        fmt::print(stderr, "cannot start {}: {}\n", command[0], std::strerror(errno));
        std::fflush(nullptr);
        _exit(127);
      },
      std::move(log));
}

Worker::Worker(Worker&& other) noexcept
    : process_(std::exchange(other.process_, -1)),
      connection_(std::exchange(other.connection_, -1)),
      log_(std::move(other.log_)),
      received_(std::move(other.received_)) {}

Worker& Worker::operator=(Worker&& other) noexcept {
  std::swap(process_, other.process_);
  std::swap(connection_, other.connection_);
  std::swap(log_, other.log_);
  std::swap(received_, other.received_);
  return *this;
}

Worker::~Worker() { end(); }

int Worker::end() {
  if (process_ < 0) return 0;
  kill(process_, SIGKILL);
  int status = 0;
  waitpid(process_, &status, 0);
  close(connection_);
  process_ = connection_ = -1;
  return status;
}

void Worker::fail_ended() {
  // It has closed the connection; how it ends, it may say in a moment.
  int status = 0;
  bool ended = false;
  const measure::Stopwatch watch;
  while (!ended && watch.seconds() < 2) {
    ended = waitpid(process_, &status, WNOHANG) == process_;
    if (!ended) usleep(1000);
  }
  std::string text = "closed its connection";
  if (ended) {
    text = status_text(status);
    close(std::exchange(connection_, -1));
    process_ = -1;
  } else {
    end();
  }
  const std::string words = last_words(log_);
  throw WorkerError(words.empty() ? text : text + ": " + words);
}

void Worker::send(const std::string& line) {
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t count = ::send(connection_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (count > 0) sent += static_cast<size_t>(count);
    else if (errno != EINTR) fail_ended();
  }
}

std::string Worker::receive(double timeout_s) {
  constexpr int kSliceMs = 50;
  const measure::Stopwatch watch;
  for (;;) {
    if (const size_t end_of_line = received_.find('\n'); end_of_line != std::string::npos) {
      std::string line = received_.substr(0, end_of_line);
      received_.erase(0, end_of_line + 1);
      return line;
    }
    if (Interrupts::requested()) throw Interrupted();
    if (watch.seconds() > timeout_s) {
      end();
      throw WorkerError(fmt::format("gave no answer in {:g} s and was ended", timeout_s));
    }
    pollfd wait = {connection_, POLLIN, 0};
    if (poll(&wait, 1, kSliceMs) <= 0) continue;
    char bytes[1 << 16];
    const ssize_t count = read(connection_, bytes, sizeof bytes);
    if (count > 0) received_.append(bytes, static_cast<size_t>(count));
    else if (count == 0 || errno != EINTR) fail_ended();
  }
}

Json Worker::call(const Json& request, double timeout_s) {
  if (process_ < 0) throw WorkerError("has ended");
  kill(process_, SIGCONT);
  send(measure::dump(request) + "\n");
  const std::string line = receive(timeout_s);
  kill(process_, SIGSTOP);
  const Json answer = Json::parse(line, nullptr, false);
  if (!answer.is_object() || (!answer.contains("ok") && !answer.contains("error")))
    throw WorkerError("answered with something else than JSON: " + line.substr(0, 80));
  if (answer.contains("error")) throw WorkerError(answer["error"].get<std::string>());
  return answer["ok"];
}

void serve(const std::function<Json(const Json&)>& answer) {
  for (std::string line; std::getline(std::cin, line);) {
    Json reply;
    try {
      reply["ok"] = answer(Json::parse(line));
    } catch (const std::bad_alloc&) {
      reply["error"] = "out of memory";
    } catch (const std::exception& error) {
      reply["error"] = error.what();
    }
    fmt::print("{}\n", measure::dump(reply));
    std::fflush(stdout);
  }
}

}  // namespace onrush::engines
