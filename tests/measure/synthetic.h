// Synthetic times of rounds, with the faults of real machines.
#pragma once

#include <cmath>
#include <random>
#include <vector>

namespace onrush::measure {

// A machine that two engines share. All noise is on a relative scale.
struct Machine {
  double noise = 0.01;         // of each engine's round by itself
  double wander = 0.01;        // a step of the speed that both see, from round to round
  double outliers = 0.05;      // share of rounds in which one engine is disturbed ...
  double disturbance = 0.5;    // ... by up to this much
  double slow_clock = 0;       // share of the time at which the clock is slow
  double clock_ratio = 1.3;    // how much slower
  double clock_changes = 0.1;  // chance in each round
  double drift = 0;            // over all rounds
};

struct TwoEngines {
  std::vector<double> first, second;
};

// Rounds of two engines of which the second takes `slowdown` times as long.
inline TwoEngines simulate(const Machine& machine, size_t rounds, double slowdown,
                           std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform;
  TwoEngines result;
  double speed = 0;
  bool slow = uniform(random) < machine.slow_clock;
  for (size_t round = 0; round < rounds; ++round) {
    speed = 0.8 * speed + machine.wander * normal(random);
    if (uniform(random) < machine.clock_changes) slow = uniform(random) < machine.slow_clock;
    const auto time = [&](double base) {
      double t = base * std::exp(speed + machine.noise * normal(random));
      if (slow) t *= machine.clock_ratio;
      if (uniform(random) < machine.outliers) t *= 1 + machine.disturbance * uniform(random);
      return t * (1 + machine.drift * static_cast<double>(round) / static_cast<double>(rounds - 1));
    };
    result.first.push_back(time(1));
    result.second.push_back(time(slowdown));
  }
  return result;
}

}  // namespace onrush::measure
