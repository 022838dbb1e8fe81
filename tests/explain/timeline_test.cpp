// Profiles with known times as one timeline.
#include "explain/timeline.h"

#include <gtest/gtest.h>
#include <numeric>

#include "backend/timelines.h"

namespace onrush::explain {
namespace {

std::shared_ptr<const ProfiledStep> step(std::string name) {
  return std::make_shared<const ProfiledStep>(ProfiledStep{"pointwise", std::move(name), {}});
}

double sum(const Timeline& timeline) {
  double total = timeline.before_us + timeline.between_us + timeline.after_us + timeline.caller_us;
  for (const TimelineEvent& event : timeline.events) total += event.part_us;
  for (const Timeline::Around& around : timeline.around) total += around.time_us;
  return total;
}

const auto kFirst = step("first"), kSecond = step("second");

// 2 us, the first step 10 us, 3 us, the second one 20 us, 5 us; all times longer by `more` percent.
RunProfile run(int64_t more = 0) {
  const auto at = [&](int64_t ns) { return 1000 + ns * (100 + more) / 100; };
  const auto time = [&](int64_t ns) { return ns * (100 + more) / 100; };
  return {1000, time(40000), {{kFirst, at(2000), time(10000)}, {kSecond, at(15000), time(20000)}}};
}

TEST(Timelines, SplitARunIntoPartsThatAddUp) {
  const Timeline timeline = merge({run()}, {41});
  EXPECT_DOUBLE_EQ(timeline.before_us, 2);
  EXPECT_DOUBLE_EQ(timeline.between_us, 3);
  EXPECT_DOUBLE_EQ(timeline.after_us, 5);
  EXPECT_DOUBLE_EQ(timeline.caller_us, 1);
  ASSERT_EQ(timeline.events.size(), 2u);
  EXPECT_DOUBLE_EQ(timeline.events[1].start_us, 15);
  EXPECT_DOUBLE_EQ(timeline.events[1].part_us, 20);
  EXPECT_DOUBLE_EQ(sum(timeline), 41);
}

// On a GPU a kernel may begin while the one before it ends: the time counts once.
TEST(Timelines, CountWhatOverlapsOnce) {
  RunProfile overlapping = run();
  overlapping.events[1].start_ns = overlapping.events[0].start_ns + 4000;
  const Timeline timeline = merge({overlapping}, {41});
  EXPECT_DOUBLE_EQ(timeline.events[0].part_us, 10);
  EXPECT_DOUBLE_EQ(timeline.events[1].time_us, 20);
  EXPECT_DOUBLE_EQ(timeline.events[1].part_us, 14);
  EXPECT_DOUBLE_EQ(timeline.between_us, 0);
  EXPECT_DOUBLE_EQ(sum(timeline), 41);
}

// Runs that something disturbed do not count, and the parts still add up.
TEST(Timelines, TakeTheMiddleHalfOfTheRuns) {
  std::vector<RunProfile> runs;
  std::vector<double> seen;
  for (const int64_t more : {0, 300, 1, 2, 3, 900, 0, 5}) {
    runs.push_back(run(more));
    seen.push_back(41. * static_cast<double>(100 + more) / 100);
  }
  const Timeline timeline = merge(runs, seen);
  EXPECT_EQ(timeline.runs, 8u);
  EXPECT_NEAR(timeline.profiled_us, 41 * 1.0275, 1e-9);
  EXPECT_NEAR(sum(timeline), timeline.profiled_us, 1e-9);
}

// What the host does meanwhile comes in pieces: two in one run, one in the other.
TEST(Timelines, AddUpWhatTheHostDoesAround) {
  static const auto launch =
      std::make_shared<const ProfiledStep>(ProfiledStep{"launch", "launch", {}});
  RunProfile two = run(), one = run();
  two.events.insert(two.events.begin(), {launch, 1000, 2000});
  two.events.insert(two.events.begin() + 2, {launch, 13000, 2000});
  one.events.insert(one.events.begin() + 1, {launch, 13000, 1000});
  const Timeline timeline = merge({two, one}, {41, 41});
  EXPECT_EQ(timeline.runs, 2u);
  ASSERT_EQ(timeline.events.size(), 2u);
  ASSERT_EQ(timeline.around.size(), 1u);
  EXPECT_DOUBLE_EQ(timeline.around[0].time_us, 2.5);
  EXPECT_DOUBLE_EQ(timeline.around[0].pieces, 1.5);
  EXPECT_FALSE(timeline.pieces.empty());
  EXPECT_DOUBLE_EQ(sum(timeline), 41);
}

// The device works for 12 us and is heard of 2 us later, in a run that it being watched makes slow.
TEST(Timelines, PutWhatADeviceDidIntoARunOfTheHost) {
  const auto around = [](const std::string& kind) {
    return std::make_shared<const ProfiledStep>(ProfiledStep{kind, kind, {}});
  };
  const auto send = around("send"), launch = around("launch"), wait = around("wait");
  const RunProfile host{.start_ns = 1000,
                        .duration_ns = 25000,
                        .events = {{send, 2000, 3000}, {launch, 5000, 4000}, {wait, 9000, 15000}}};
  RunProfile device{.start_ns = 90000,
                    .duration_ns = 60000,
                    .events = {{send, 91000, 20000},
                               {launch, 111000, 9000},
                               {kFirst, 120000, 8000},
                               {kSecond, 129000, 3000},
                               {wait, 132000, 2000}}};
  RunProfile result = joined(host, device);
  std::vector<std::pair<std::string, int64_t>> parts;
  for (const ProfileEvent& event : result.events)
    parts.emplace_back(event.step->name, event.duration_ns);
  const std::vector<std::pair<std::string, int64_t>> expected = {
      {"send", 3000}, {"launch", 4000}, {"wait", 1000}, {"first", 8000},
      {"wait", 1000}, {"second", 3000}, {"wait", 2000}};
  EXPECT_EQ(parts, expected);
  EXPECT_EQ(result.duration_ns, host.duration_ns);

  // 22 us together, 2 more than the host gives it; one of them lies between the kernels.
  device.events[2] = {kFirst, 110000, 18000};
  result = joined(host, device);
  EXPECT_EQ(result.duration_ns, host.duration_ns + 1000);
  EXPECT_EQ(result.start_ns, host.start_ns - 1000);
  device.events[2] = {kFirst, 111500, 16500};
  EXPECT_EQ(joined(host, device).duration_ns, host.duration_ns);

  device.events.insert(device.events.begin() + 3, {around("host"), 128000, 1000});
  EXPECT_EQ(joined(host, device).start_ns, device.start_ns);
}

TEST(Timelines, LeaveOutRunsThatTookOtherSteps) {
  RunProfile compiling = run();
  compiling.events.insert(compiling.events.begin(), {step("compile"), 1000, 10});
  const Timeline timeline = merge({compiling, run(), run()}, {1000, 41, 41});
  EXPECT_EQ(timeline.runs, 2u);
  EXPECT_EQ(timeline.others, 1u);
  EXPECT_DOUBLE_EQ(timeline.profiled_us, 41);
}

TEST(MergeTimelines, GivesTheDeviceTheTimeItSharesWithTheHost) {
  const auto step = std::make_shared<const ProfiledStep>();
  const std::vector<ProfileEvent> merged =
      merge_timelines({{step, 20, 10}, {step, 25, 15}, {step, 26, 2}, {step, 50, 5}},
                      {{step, 0, 30}, {step, 41, 20}, {step, 70, 5}});
  const std::vector<std::pair<int64_t, int64_t>> expected = {{0, 20}, {20, 10}, {28, 0}, {30, 10},
                                                             {41, 9}, {50, 5},  {55, 6}, {70, 5}};
  std::vector<std::pair<int64_t, int64_t>> got;
  for (const ProfileEvent& event : merged) got.emplace_back(event.start_ns, event.duration_ns);
  EXPECT_EQ(got, expected);
}

}  // namespace
}  // namespace onrush::explain
