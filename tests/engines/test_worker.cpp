#include <sys/wait.h>

#include "measure/process.h"
#include "support.h"

namespace onrush::engines {
namespace {

constexpr double kTimeout = 20;

class WorkerTest : public testing::Test {
 protected:
  std::string failure(Trouble::Kind kind, double timeout_s = kTimeout) {
    Worker worker = fake_worker(folder_, 0, {kind, "load"});
    EXPECT_EQ(worker.call({{"call", "version"}}, kTimeout)["version"], "7");
    try {
      worker.call({{"call", "load"}}, timeout_s);
    } catch (const WorkerError& error) {
      return error.what();
    }
    return "no failure";
  }
  TemporaryFolder folder_;
};

TEST_F(WorkerTest, says_why_it_failed) {
  EXPECT_EQ(failure(Trouble::error), "no kernel for Foo");
  EXPECT_EQ(failure(Trouble::crash), "crashed: Aborted (signal 6): last words");
  EXPECT_EQ(failure(Trouble::exit), "ended with exit code 3");
  EXPECT_EQ(failure(Trouble::killed), "was killed by the system, as happens when memory runs out");
  EXPECT_EQ(failure(Trouble::hang, 0.2), "gave no answer in 0.2 s and was ended");
  EXPECT_EQ(failure(Trouble::garbage), "answered with something else than JSON: hello");
}

TEST_F(WorkerTest, goes_on_after_an_error) {
  Worker worker = fake_worker(folder_, 0, {Trouble::error, "load"});
  EXPECT_THROW(worker.call({{"call", "load"}}, kTimeout), WorkerError);
  EXPECT_EQ(worker.call({{"call", "version"}}, kTimeout)["version"], "7");
}

TEST_F(WorkerTest, program_that_is_not_there) {
  Worker worker = Worker::start({"/no/such/program"}, folder_.path("log"));
  try {
    worker.call({{"call", "version"}}, kTimeout);
    FAIL();
  } catch (const WorkerError& error) {
    EXPECT_EQ(std::string(error.what()),
              "ended with exit code 127: cannot start /no/such/program: No such file or directory");
  }
}

// A worker whose threads spin while it waits takes no time from others.
TEST_F(WorkerTest, does_not_run_between_calls) {
  Worker worker = Worker::fork(
      [] {
        std::jthread spinning([] { spin(1000); });
        serve_fake(0, {});
      },
      folder_.path("log"));
  worker.call({{"call", "version"}}, kTimeout);
  usleep(50000);  // until the signal has arrived
  const double before = measure::processor_seconds(worker.process());
  usleep(300000);
  EXPECT_LT(measure::processor_seconds(worker.process()) - before, 0.05);
  EXPECT_EQ(worker.call({{"call", "version"}}, kTimeout)["version"], "7");
}

TEST_F(WorkerTest, ends_with_its_object) {
  pid_t process = 0;
  {
    const Worker worker = fake_worker(folder_, 0, {});
    process = worker.process();
    EXPECT_EQ(kill(process, 0), 0);
  }
  EXPECT_NE(kill(process, 0), 0);
}

TEST_F(WorkerTest, interrupt_ends_a_call) {
  Worker worker = fake_worker(folder_, 0, {Trouble::hang, "load"});
  const Interrupts interrupts;
  std::jthread user([] {
    usleep(100000);
    kill(getpid(), SIGINT);
  });
  EXPECT_THROW(worker.call({{"call", "load"}}, kTimeout), Interrupted);
  EXPECT_TRUE(Interrupts::requested());
}

}  // namespace
}  // namespace onrush::engines
