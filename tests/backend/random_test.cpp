// The CPU backend computes what the evaluator does, also for axes without elements or with one.
#include <gtest/gtest.h>

#include "backend/cpu/cpu_backend.h"
#include "random_graph.h"

namespace onrush {
namespace {

class Cpu : public testing::TestWithParam<bool> {};
INSTANTIATE_TEST_SUITE_P(Optimize, Cpu, testing::Bool());

TEST_P(Cpu, RandomGraphs) {
  const auto backend = make_cpu_backend({.threads = 2, .optimize = GetParam()});
  for (unsigned seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    RandomGraph(seed).check(2 + static_cast<int>(seed % 12), [&](const Graph& graph) {
      return [executable = backend->compile(graph)](std::span<const Tensor> inputs,
                                                    const SizeTable& sizes) {
        RunState state;
        std::vector<Tensor> outputs(2);
        executable->bind(sizes)->run(state, inputs, outputs);
        return outputs;
      };
    });
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace onrush
