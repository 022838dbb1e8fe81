// What a steady run does, and when: many runs, profiled and not by turns, as one.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <onrush/session.h>

namespace onrush::explain {

struct TimelineEvent {
  std::shared_ptr<const ProfiledStep> step;
  double start_us = 0;  // from the beginning of the run
  double time_us = 0;
  double part_us = 0;  // of the run: without what an earlier event overlaps
};

// Times are means over the same runs, the middle half by duration, so that before_us + between_us +
// after_us + the part_us of events + the time_us of around + caller_us = profiled_us exactly.
struct Timeline {
  std::vector<TimelineEvent> events;
  // What the host does while a device works, and copies ("send", "launch", "wait", "copy"): it
  // comes in pieces whose number differs from run to run.
  struct Around {
    std::string kind;
    double time_us = 0;
    double pieces = 0;
  };
  std::vector<Around> around;
  std::vector<TimelineEvent> pieces;  // of `around`: those of one run, as an example
  double before_us = 0;               // checking inputs, finding the plan
  double between_us = 0;              // between events
  double after_us = 0;                // passing on outputs
  double caller_us = 0;               // seen by the caller alone: calling and returning
  double profiled_us = 0;
  double wall_us = 0;  // of a run that nothing watches, as its caller sees it; middle half as well
  double fast_us = 0, slow_us = 0;  // 10 % of those runs are faster, and slower
  size_t runs = 0;                  // of each sort
  size_t others = 0;                // profiled runs that took other steps, left out
  std::string device_clock;         // see RunProfile
};

struct RecordOptions {
  int runs = 0;                                           // 0: as many as take 2 seconds, 10 to 200
  std::function<void(const std::string&)> progress = {};  // may be null
};

// `run` runs the model; its argument goes to RunOptions::profile. It is called a few times first.
Timeline record(const std::function<void(RunProfile*)>& run, const RecordOptions& options);

// A run of the host, with what the device did in another one, which watching the device slowed down
// for the host: the device is done as long before the host notices as it was there. Watching also
// keeps kernels apart: where the device would start before the host gave it anything, the gaps
// between kernels become shorter; where that does not suffice, the run becomes longer. Just
// `device` if the host takes part between kernels, or does not wait once, at the end.
RunProfile joined(const RunProfile& host, const RunProfile& device);

// One timeline of these profiles, whose callers saw them take `seen_us`.
Timeline merge(const std::vector<RunProfile>& profiles, const std::vector<double>& seen_us);

}  // namespace onrush::explain
