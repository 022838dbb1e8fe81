// Rules of simplify for one node and its operands.
#include <gtest/gtest.h>
#include <numbers>

#include "case.h"
#include "optimize/simplify.h"

namespace onrush {
namespace {

const Dim kN = 4;

// The simplified form of make(case, x).
template <class F>
std::string simplified(F make, double low = -2, double high = 2) {
  Case c;
  const NodeId x = c.x({kN, 3}, low, high);
  return c.text(make(c, x), simplify);
}

TEST(Arithmetic, NeutralOperands) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.add(x, c.like(x, 0)); }), "x");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.sub(x, c.like(x, 0)); }), "x");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.mul(c.like(x, 1), x); }), "x");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.div(x, c.like(x, 1)); }), "x");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.max(x, c.like(x, -INFINITY)); }), "x");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.min(x, c.like(x, INFINITY)); }), "x");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.binary(Op::pow, x, c.like(x, 1)); }), "x");
}

TEST(Arithmetic, ZeroTimesAFloatStays) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.mul(x, c.like(x, 0)); }), "mul(x, 0)");
  Case c;
  const NodeId n = c.x(DType::i64, {kN}, -9, 9);
  EXPECT_EQ(c.text(c.mul(n, c.like(n, 0)), simplify), "0");
}

TEST(Arithmetic, Booleans) {
  Case c;
  const NodeId p = c.x(DType::boolean, {kN}, 0, 1);
  const NodeId yes = c.scalar(DType::boolean, 1), no = c.scalar(DType::boolean, 0);
  const NodeId q = c.logical_or(c.logical_and(p, yes), no);
  EXPECT_EQ(c.text(c.logical_not(c.logical_not(q)), simplify), "x");
}

TEST(Arithmetic, OperandsHaveAnOrder) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.add(c.like(x, 3), x); }), "add(x, 3)");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.mul(c.exp(x), x); }), "mul(x, exp(x))");
}

TEST(Arithmetic, NegationsMeet) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.neg(c.neg(x)); }), "x");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.mul(x, c.like(x, -1)); }), "neg(x)");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.sub(c.like(x, 0), x); }), "neg(x)");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.add(c.exp(x), c.neg(x)); }),
            "sub(exp(x), x)");
}

TEST(Arithmetic, NumbersMerge) {
  EXPECT_EQ(
      simplified([](Case& c, NodeId x) { return c.mul(c.mul(x, c.like(x, 3)), c.like(x, 0.5)); }),
      "mul(x, 1.5)");
  EXPECT_EQ(
      simplified([](Case& c, NodeId x) { return c.sub(c.add(x, c.like(x, 3)), c.like(x, 1)); }),
      "add(x, 2)");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.div(x, c.like(x, 8)); }), "mul(x, 0.125)");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.div(x, c.like(x, 3)); }), "div(x, 3)");
}

TEST(Arithmetic, TermsThatCancelStay) {  // (x + 2^23) - 2^23 rounds
  const double big = 8388608;
  EXPECT_EQ(simplified(
                [&](Case& c, NodeId x) { return c.sub(c.add(x, c.like(x, big)), c.like(x, big)); }),
            "add(add(x, 8388608), -8388608)");
}

TEST(Arithmetic, KnownConditions) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) {
              return c.select(c.scalar(DType::boolean, 0), x, c.exp(x));
            }),
            "exp(x)");
  EXPECT_EQ(simplified([](Case& c, NodeId x) {
              return c.select(c.logical_not(c.less(x, c.exp(x))), x, c.neg(x));
            }),
            "select(less(x, exp(x)), neg(x), x)");
}

TEST(Arithmetic, PositionsAreNotNegative) {
  Case c;
  const NodeId i = c.iota(DType::i64, {300}, 0);
  const NodeId from_end = c.add(i, c.like(i, 300));
  EXPECT_EQ(c.text(c.select(c.less(i, c.like(i, 0)), from_end, i), simplify), "iota(){axis=0}");
}

TEST(Arithmetic, CastsThatLoseNothing) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.cast(c.cast(x, DType::f64), DType::f32); }),
            "x");
  EXPECT_EQ(simplified([](Case& c, NodeId x) { return c.cast(c.cast(x, DType::f16), DType::f32); }),
            "cast(cast(x){to=f16 saturate=1}){to=f32 saturate=1}");
  Case c;
  const NodeId n = c.x(DType::i32, {kN}, -9, 9);
  EXPECT_EQ(c.text(c.cast(c.cast(n, DType::i64), DType::f32), simplify),
            "cast(x){to=f32 saturate=1}");
}

TEST(Arithmetic, RepeatedValuesAreComputedOnce) {
  Case c;
  const Dim n = c.size("n", 3);
  const NodeId x = c.x({n, 1}, 1, 2), y = c.x({n, 1}, 1, 2);
  const NodeId sum = c.add(c.broadcast(x, {n, 5}), c.broadcast(y, {n, 5}));
  EXPECT_EQ(c.text(c.sqrt(c.add(sum, c.like(sum, 1))), simplify),
            "broadcast(sqrt(add(add(x, x1), 1))){shape=[s0,5]}");
}

TEST(Power, SmallExponents) {
  const auto power = [](double exponent) {
    return simplified([&](Case& c, NodeId x) { return c.binary(Op::pow, x, c.like(x, exponent)); },
                      0.5, 2);
  };
  EXPECT_EQ(power(2), "mul(x, x)");
  EXPECT_EQ(power(3), "mul(x, mul(x, x))");
  EXPECT_EQ(power(0.5), "sqrt(x)");
  EXPECT_EQ(power(-1), "div(1, x)");
  EXPECT_EQ(power(-0.5), "div(1, sqrt(x))");
  EXPECT_EQ(power(0.75), "pow(x, 0.75)");
}

TEST(Power, ClampsHaveOneForm) {
  const std::string relu6 = "max(min(x, 6), 0)";
  EXPECT_EQ(
      simplified([](Case& c, NodeId x) { return c.min(c.max(x, c.like(x, 0)), c.like(x, 6)); }),
      relu6);
  EXPECT_EQ(
      simplified([](Case& c, NodeId x) { return c.max(c.max(x, c.like(x, -1)), c.like(x, 0)); }),
      "max(x, 0)");
  EXPECT_EQ(
      simplified([](Case& c, NodeId x) { return c.min(c.min(x, c.like(x, 1)), c.like(x, 2)); }),
      "min(x, 1)");
}

// --- activations

std::string gelu(bool divide, int association, bool half_last) {
  return simplified([&](Case& c, NodeId x) {
    const double root = std::numbers::sqrt2;
    const NodeId argument = divide ? c.div(x, c.like(x, root)) : c.mul(x, c.like(x, 1 / root));
    const NodeId gate = c.add(c.like(x, 1), c.unary(Op::erf, argument));
    const NodeId half = c.like(x, 0.5);
    if (half_last) return c.div(c.mul(gate, x), c.like(x, 2));
    if (association == 0) return c.mul(c.mul(half, x), gate);
    if (association == 1) return c.mul(x, c.mul(gate, half));
    return c.mul(half, c.mul(x, gate));
  });
}

TEST(Activation, EverySpellingOfGelu) {
  const std::string canonical = gelu(false, 0, false);
  EXPECT_EQ(canonical, "mul(mul(x, 0.5), add(erf(mul(x, 0.7071067690849304)), 1))");
  for (bool divide : {false, true}) {
    EXPECT_EQ(gelu(divide, 0, true), canonical);
    for (int association : {0, 1, 2}) EXPECT_EQ(gelu(divide, association, false), canonical);
  }
}

TEST(Activation, OtherConstantsAreNotGelu) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) {
              const NodeId gate = c.unary(Op::erf, c.mul(x, c.like(x, 0.75)));
              return c.mul(c.mul(x, c.add(gate, c.like(x, 1))), c.like(x, 0.5));
            }),
            "mul(mul(x, add(erf(mul(x, 0.75)), 1)), 0.5)");
}

TEST(Activation, EverySpellingOfTanhGelu) {
  const double scale = std::sqrt(2 / std::numbers::pi);
  const auto gated = [](Case& c, NodeId x, NodeId argument) {
    return c.mul(c.mul(x, c.like(x, 0.5)), c.add(c.unary(Op::tanh, argument), c.like(x, 1)));
  };
  const std::string by_power = simplified([&](Case& c, NodeId x) {
    const NodeId cube = c.binary(Op::pow, x, c.like(x, 3));
    const NodeId inner = c.add(x, c.mul(c.like(x, 0.044715), cube));
    return gated(c, x, c.mul(c.like(x, scale), inner));
  });
  const std::string factored = simplified([&](Case& c, NodeId x) {
    const NodeId square = c.mul(c.mul(x, x), c.like(x, 0.044715));
    const NodeId line = c.mul(x, c.like(x, scale));
    return gated(c, x, c.mul(line, c.add(c.like(x, 1), square)));
  });
  EXPECT_EQ(by_power, factored);
  EXPECT_EQ(by_power,
            "mul(mul(x, 0.5), add(tanh(mul(add(x, mul(mul(x, mul(x, x)), 0.044714998453855515)), "
            "0.7978845834732056)), 1))");
}

TEST(Activation, Sigmoid) {
  const auto denominator = [](Case& c, NodeId x) { return c.add(c.like(x, 1), c.exp(c.neg(x))); };
  EXPECT_EQ(simplified([&](Case& c, NodeId x) { return c.div(c.like(x, 1), denominator(c, x)); }),
            "sigmoid(x)");
  EXPECT_EQ(simplified([&](Case& c, NodeId x) { return c.div(x, denominator(c, x)); }),
            "mul(x, sigmoid(x))");
}

TEST(Activation, HardSigmoidAndHardSwish) {
  const auto relu6 = [](Case& c, NodeId x) {
    const NodeId shifted = c.add(x, c.like(x, 3));
    return c.min(c.max(shifted, c.like(x, 0)), c.like(x, 6));
  };
  const std::string gate = "max(min(add(mul(x, 0.1666666716337204), 0.5), 1), 0)";
  const auto run = [&](auto f) { return simplified(f, -5, 5); };
  EXPECT_EQ(run([&](Case& c, NodeId x) { return c.div(relu6(c, x), c.like(x, 6)); }), gate);
  EXPECT_EQ(run([&](Case& c, NodeId x) { return c.mul(relu6(c, x), c.like(x, 1. / 6)); }), gate);
  const std::string swish = "mul(x, " + gate + ")";
  EXPECT_EQ(run([&](Case& c, NodeId x) { return c.div(c.mul(x, relu6(c, x)), c.like(x, 6)); }),
            swish);
  EXPECT_EQ(run([&](Case& c, NodeId x) { return c.mul(c.div(relu6(c, x), c.like(x, 6)), x); }),
            swish);
}

// --- normalisations

TEST(Normalization, LayerNormHasOneForm) {
  const auto normalized = [](bool power, bool divide) {
    return simplified([&](Case& c, NodeId x) {
      const NodeId centered = c.sub(x, c.mean(x, {1}));
      const NodeId square =
          power ? c.binary(Op::pow, centered, c.like(x, 2)) : c.mul(centered, centered);
      const NodeId variance = c.mean(square, {1});
      const NodeId root = c.sqrt(c.add(variance, c.like(x, 1e-5)));
      return divide ? c.div(centered, root) : c.mul(centered, c.div(c.like(x, 1), root));
    });
  };
  const std::string canonical = normalized(false, false);
  EXPECT_EQ(normalized(true, true), canonical);
  EXPECT_EQ(normalized(true, false), canonical);
}

TEST(Normalization, SoftmaxDivides) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) {
              const NodeId power = c.exp(x);
              const NodeId sum = c.reduce(ReduceKind::sum, power, {1});
              return c.mul(power, c.div(c.like(x, 1), sum));
            }),
            "div(exp(x), broadcast(reduce(exp(x)){kind=sum axes=[1]}){shape=[4,3]})");
}

TEST(Normalization, MeanDivides) {
  EXPECT_EQ(simplified([](Case& c, NodeId x) {
              return c.mul(c.reduce(ReduceKind::sum, x, {1}), c.like(x, 1. / 3));
            }),
            "div(reduce(x){kind=sum axes=[1]}, 3)");
}

}  // namespace
}  // namespace onrush
