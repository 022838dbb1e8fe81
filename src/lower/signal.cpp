// DFT, STFT and MelWeightMatrix. A transform is one contraction with a table of cosines and sines
// that depends on sizes only; numbers are real or (real, imaginary) in a last axis of 1 or 2.
#include <array>
#include <cmath>
#include <numbers>

#include "base/numeric.h"
#include "lower/helpers.h"
#include "lower/op_table.h"

namespace onrush {
namespace {

// Input `i`, one integer.
Dim dim_in(const OpContext& c, int i) {
  const Dims elements = c.dims_of(c.in(i));
  if (elements.size() != 1) c.fail(fmt::format("input {} must be a scalar", i));
  return elements[0];
}
int64_t int_in(const OpContext& c, int i) { return fix(dim_in(c, i), c.node().op_type); }

// 2 pi (row * column mod length) / length as f64 [rows, columns].
NodeId angles(Builder& b, Dim rows, Dim columns, Dim length) {
  const Dims shape = {rows, columns};
  const NodeId turns =
      b.binary(Op::mod, b.mul(b.iota(DType::i64, shape, 0), b.iota(DType::i64, shape, 1)),
               dim_scalar(b, DType::i64, length));
  const NodeId step =
      b.div(b.scalar(DType::f64, 2 * std::numbers::pi), dim_scalar(b, DType::f64, length));
  return b.mul(b.cast(turns, DType::f64), step);
}

// The last axis of the result: x and y side by side.
NodeId pair(Builder& b, NodeId x, NodeId y, int axis) {
  return b.concat(std::array{b.unsqueeze(x, {axis}), b.unsqueeze(y, {axis})}, axis);
}

struct Transform {
  Dim rows;      // elements of the signal that take part
  Dim columns;   // elements of the result
  Dim length;    // of the transform
  bool complex;  // the signal
  bool inverse;
};

// f64 [rows, 1 or 2, columns, 2]: element (n, part, k) of e^(-i angle), e^(i angle) / length if
// inverse, times one for the real and i for the imaginary part of the signal.
NodeId fourier_table(Builder& b, const Transform& t) {
  const NodeId angle = angles(b, t.rows, t.columns, t.length);
  NodeId cos = b.unary(Op::cos, angle);
  NodeId sin = b.unary(Op::sin, angle);
  if (t.inverse) {
    const NodeId length = dim_scalar(b, DType::f64, t.length);
    cos = b.div(cos, length);
    sin = b.div(b.neg(sin), length);
  }
  const NodeId real = pair(b, cos, b.neg(sin), 2);
  if (!t.complex) return b.unsqueeze(real, {1});
  return pair(b, real, pair(b, sin, cos, 2), 1);
}

// f64 [rows, 2, columns, 1]: the real signal of a one-sided spectrum. Each frequency but zero and
// the one of half the length stands for its conjugate, too.
NodeId real_inverse_table(Builder& b, const Transform& t) {
  const NodeId angle = angles(b, t.rows, t.columns, t.length);
  const NodeId k = b.iota(DType::i64, {t.rows, t.columns}, 0);
  const NodeId alone =
      b.logical_or(b.equal(k, b.like(k, 0)),
                   b.equal(b.mul(k, b.like(k, 2)), dim_scalar(b, DType::i64, t.length)));
  const NodeId weight = b.div(b.select(alone, b.like(angle, 1), b.like(angle, 2)),
                              dim_scalar(b, DType::f64, t.length));
  const NodeId cos = b.mul(b.unary(Op::cos, angle), weight);
  const NodeId sin = b.mul(b.unary(Op::sin, angle), weight);
  return b.unsqueeze(pair(b, cos, b.neg(sin), 1), {3});
}

int dft_axis(const OpContext& c) {
  int64_t axis = c.attr("axis", int64_t{1});
  if (c.opset() >= 20) axis = c.has(2) ? int_in(c, 2) : -2;
  const int result = c.axis(axis, c.rank(0));
  c.require(result != c.rank(0) - 1, "'axis' must not be the last axis");
  return result;
}

Results dft(OpContext& c) {
  Builder& b = c.b;
  c.require(c.rank(0) >= 2, "the input must have rank 2 or more");
  const int axis = dft_axis(c), last = c.rank(0) - 1;
  const Dim extent = c.shape(0)[static_cast<size_t>(axis)];
  const bool inverse = c.attr("inverse", 0) != 0, onesided = c.attr("onesided", 0) != 0;
  const bool complex = fix(c.shape(0).back(), "parts of the input of DFT") == 2;
  c.require(complex || decide(equal(c.shape(0).back(), 1), "DFT"), "the last axis must be 1 or 2");
  const bool real_result = inverse && onesided;
  c.require(complex || !real_result, "the one-sided inverse needs a complex input");
  const Dim length = c.has(1) ? dim_in(c, 1) : real_result ? (extent - 1) * 2 : extent;
  c.require(decide(less(0, length), "DFT"), "the length of the transform must be positive");

  const Dim half = floordiv(length, 2) + 1;
  const Transform transform{min(extent, real_result ? half : length),
                            onesided && !inverse ? half : length, length, complex, inverse};
  const NodeId table = real_result ? real_inverse_table(b, transform) : fourier_table(b, transform);
  const NodeId x = widen(b, b.slice_axis(c.in(0), axis, 0, transform.rows));
  const NodeId y = b.dot(x, b.cast(table, b.dtype(x)), {{}, {}, {axis, last}, {0, 1}, b.dtype(x)});
  Axes order = axis_range(0, last - 1);  // the transformed axis stands behind the others
  order.insert(order.begin() + axis, last - 1);
  order.push_back(last);
  return b.cast(b.transpose(y, std::move(order)), c.dtype(0));
}

// A convolution whose kernels are the windowed columns of the transform.
Results stft(OpContext& c) {
  Builder& b = c.b;
  c.require(c.rank(0) == 2 || c.rank(0) == 3, "the signal must have rank 2 or 3");
  const NodeId x = widen(b, c.rank(0) == 2 ? b.unsqueeze(c.in(0), {2}) : c.in(0));
  const Dims shape = b.shape(x);
  const bool complex = decide(equal(shape[2], 2), "parts of the signal of STFT");
  c.require(complex || decide(equal(shape[2], 1), "STFT"), "the last axis must be 1 or 2");
  const int64_t step = int_in(c, 1);
  c.require(step > 0, "'frame_step' must be positive");
  c.require(!c.has(2) || c.rank(2) == 1, "the window must have rank 1");
  const Dim length = c.has(3) ? Dim(int_in(c, 3)) : c.has(2) ? c.shape(2)[0] : shape[1];
  c.require(decide(less(0, length), "STFT") && decide(less_equal(length, shape[1]), "STFT"),
            "'frame_length' must be positive and at most the length of the signal");

  const Dim span = c.has(2) ? min(c.shape(2)[0], length) : length;
  const Dim bins = c.attr("onesided", 1) != 0 ? floordiv(length, 2) + 1 : length;
  NodeId table = fourier_table(b, {span, bins, length, complex, false});
  if (c.has(2)) {
    const NodeId window = b.cast(b.slice_axis(c.in(2), 0, 0, span), DType::f64);
    table = b.mul(table, b.unsqueeze(window, {1, 2, 3}));
  }
  // [span, parts, bins, 2] -> [bins * 2, span, parts]
  table = b.reshape(b.transpose(table, {2, 3, 0, 1}), {bins * 2, span, shape[2]});
  const Dim frames = floordiv(shape[1] - length, step) + 1;
  const NodeId y =
      b.conv(x, b.cast(table, b.dtype(x)), {{step}, {1}, {1}, {Dim(0)}, {Dim(0)}, 1, b.dtype(x)});
  const NodeId kept = b.slice_axis(y, 1, 0, frames);  // a short window would fit more often
  return b.cast(b.reshape(kept, {shape[0], frames, bins, 2}), c.dtype(0));
}

// --- MelWeightMatrix

double mel_of(double hertz) { return 2595 * std::log10(1 + hertz / 700); }
double hertz_of(double mel) { return 700 * (std::pow(10.0, mel / 2595) - 1); }

// Spectrogram bins at the edges and centres of the triangular filters.
std::vector<int64_t> filter_bins(int64_t filters, double low, double high, int64_t length,
                                 int64_t rate) {
  const double first = mel_of(low);
  const double step = (mel_of(high) - first) / static_cast<double>(filters + 2);
  std::vector<int64_t> bins;
  for (int64_t i = 0; i < filters + 2; ++i) {
    const double hertz = hertz_of(static_cast<double>(i) * step + first);
    bins.push_back(static_cast<int64_t>(
        std::floor(static_cast<double>(length + 1) * hertz / static_cast<double>(rate))));
  }
  return bins;
}

// The weight of `bin` in the filter that rises from left to centre and falls to right.
double filter_weight(int64_t bin, int64_t left, int64_t centre, int64_t right) {
  if (bin >= centre && bin < right)
    return static_cast<double>(right - bin) / static_cast<double>(right - centre);
  if (bin == centre) return 1;
  if (bin < left || bin > centre) return 0;
  return static_cast<double>(bin - left) / static_cast<double>(centre - left);
}

Results mel_weight_matrix(OpContext& c) {
  const int64_t filters = int_in(c, 0);
  const int64_t length = int_in(c, 1);
  const int64_t rate = int_in(c, 2);
  c.require(filters > 0 && length > 0 && rate > 0,
            "num_mel_bins, dft_length and sample_rate must be positive");
  const auto bins = filter_bins(filters, c.number_of(c.in(3)), c.number_of(c.in(4)), length, rate);
  const int64_t rows = length / 2 + 1;
  c.require(bins.front() >= 0 && bins.back() <= rows,
            "the edges must lie between 0 and half of the sample rate");
  Tensor weights(dtype_attr(c, "output_datatype", DType::f32), {rows, filters});
  for (int64_t row = 0; row < rows; ++row)
    for (size_t i = 0; i < static_cast<size_t>(filters); ++i)
      store_f64(weights.dtype(), weights.data(), row * filters + static_cast<int64_t>(i),
                filter_weight(row, bins[i], bins[i + 1], bins[i + 2]));
  return c.b.constant(std::move(weights));
}

constexpr OpRow kOps[] = {
    {"DFT", dft},
    {"STFT", stft},
    {"MelWeightMatrix", mel_weight_matrix},
};

}  // namespace

std::span<const OpRow> signal_ops() { return kOps; }

}  // namespace onrush
