#include "measure/verdict.h"
#include "support.h"

namespace onrush::engines {
namespace {

class Contest : public testing::Test {
 protected:
  void measure(std::vector<Contestant>& contestants) {
    load_all(contestants, options_, nullptr, [](std::string_view) {});
    run_rounds(contestants, options_, [](std::string_view) {});
  }
  TemporaryFolder folder_;
  ContestOptions options_ = {
      .rounds = 10, .round_seconds = 0.001, .timeout_s = 1, .folder = folder_.path("")};
};

TEST_F(Contest, the_faster_engine_wins) {
  std::vector<Contestant> contestants;
  contestants.push_back(fake(folder_, "fast", 0.001));
  contestants.push_back(fake(folder_, "slow", 0.002));
  measure(contestants);
  for (const Contestant& c : contestants) {
    EXPECT_EQ(c.failure, "");
    EXPECT_EQ(c.version, "7");
    EXPECT_EQ(c.rounds.size(), 10u);
    EXPECT_EQ(all_runs(c).size(), 20u);
    EXPECT_GT(c.bytes_peak, 1u << 20);
    ASSERT_EQ(c.outputs.size(), 1u);
    EXPECT_EQ(c.outputs[0].as<float>()[0], 1);
  }
  const measure::Comparison found =
      measure::compare(round_medians(contestants[0]), round_medians(contestants[1]));
  EXPECT_EQ(found.verdict, measure::Comparison::Verdict::faster);
  EXPECT_DOUBLE_EQ(found.ratio, 2);
}

TEST_F(Contest, one_that_fails_leaves_the_others) {
  const Trouble troubles[] = {{Trouble::error, "load"},  {Trouble::crash, "load"},
                              {Trouble::hang, "load"},   {Trouble::killed, "outputs"},
                              {Trouble::crash, "round"}, {Trouble::garbage, "version"}};
  std::vector<Contestant> contestants;
  contestants.push_back(fake(folder_, "good"));
  for (const Trouble& trouble : troubles)
    contestants.push_back(fake(folder_, "bad", 0.0001, trouble));
  contestants.push_back({.name = "absent", .failure = "not installed"});
  measure(contestants);
  EXPECT_EQ(contestants[0].failure, "");
  EXPECT_EQ(contestants[0].rounds.size(), 10u);
  for (size_t i = 1; i < contestants.size(); ++i) EXPECT_NE(contestants[i].failure, "") << i;
  EXPECT_EQ(contestants[5].rounds.size(), 2u);  // what it had done before it crashed
  EXPECT_EQ(contestants.back().failure, "not installed");
}

TEST_F(Contest, interrupt_keeps_what_was_measured) {
  std::vector<Contestant> contestants;
  contestants.push_back(fake(folder_, "one", 0.01));
  contestants.push_back(fake(folder_, "two", 0.01));
  options_.rounds = 100000;
  const Interrupts interrupts;
  std::jthread user([] {
    usleep(500000);
    kill(getpid(), SIGINT);
  });
  measure(contestants);
  EXPECT_GE(contestants[0].rounds.size(), 2u);
  EXPECT_EQ(contestants[0].failure, "");
}

}  // namespace
}  // namespace onrush::engines
