// Random graphs compute the same after every pass, also for axes without elements or with one.
#include <gtest/gtest.h>

#include "optimize/pipeline.h"
#include "random_graph.h"

namespace onrush {
namespace {

TEST(Random, GraphsComputeTheSame) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(seed);
    RandomGraph(seed).check(4 + static_cast<int>(seed % 12), [](const Graph& graph) {
      OptimizeOptions options;
      options.verify = true;
      return [after = optimize(graph, options)](std::span<const Tensor> inputs,
                                                const SizeTable& sizes) {
        return evaluate(after, inputs, sizes);
      };
    });
    if (testing::Test::HasFailure()) break;
  }
}

}  // namespace
}  // namespace onrush
