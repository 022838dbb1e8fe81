#include "measure/process.h"

#include <fmt/format.h>
#include <fstream>
#include <sstream>
#include <unistd.h>

namespace onrush::measure {
namespace {

double seconds_of_ticks(double ticks) { return ticks / static_cast<double>(sysconf(_SC_CLK_TCK)); }

ResidentMemory read_status(const std::string& folder) {
  ResidentMemory memory;
  std::ifstream status(folder + "/status");
  for (std::string word; status >> word;) {
    uint64_t* field = word == "VmRSS:" ? &memory.now : word == "VmHWM:" ? &memory.peak : nullptr;
    uint64_t kibibytes = 0;
    if (field && status >> kibibytes) *field = kibibytes * 1024;
  }
  return memory;
}

}  // namespace

ResidentMemory resident_memory() { return read_status("/proc/self"); }
ResidentMemory resident_memory(pid_t process) {
  return read_status(fmt::format("/proc/{}", process));
}

double processor_seconds(pid_t process) {
  std::ifstream file(fmt::format("/proc/{}/stat", process));
  std::string line;
  if (!std::getline(file, line) || line.rfind(')') == std::string::npos) return 0;
  // The name in parentheses may hold anything; after it come fields 3 and following.
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0, system = 0;
  fields >> user >> system;
  return seconds_of_ticks(user + system);
}

ProcessorUse::Ticks ProcessorUse::read() {
  std::ifstream file("/proc/stat");
  std::string cpu;
  double user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft_irq = 0, stolen = 0;
  file >> cpu >> user >> nice >> system >> idle >> wait >> irq >> soft_irq >> stolen;
  return {user + nice + system + irq + soft_irq, stolen};
}

ProcessorUse::ProcessorUse() : begin_(read()) {}

ProcessorUse::Use ProcessorUse::use() const {
  const Ticks now = read();
  const double seconds = watch_.seconds();
  return {seconds_of_ticks(now.busy - begin_.busy) / seconds,
          seconds_of_ticks(now.stolen - begin_.stolen) / seconds};
}

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  return {};
}

}  // namespace onrush::measure
