// Speed of the CPU kernels on one core: matrix kernels in GFLOP/s and as a share of the core's
// measured peak, everything else in nanoseconds an element or GB/s. Best of many repeats, since
// machines are shared.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels.cpp"
#include "hwy/foreach_target.h"
//
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "backend/cpu/kernels/gemm_parts.h"
#include "backend/cpu/kernels/kernels.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace onrush::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Multiply-adds that only depend on registers; returns how many floating-point operations it did.
double multiply_add_loop(int64_t repeats, float* sink) {
  const hn::ScalableTag<float> d;
  constexpr int kChains = 12;
  hn::Vec<decltype(d)> sum[kChains];
  for (auto& v : sum) v = hn::Zero(d);
  const auto x = hn::Set(d, *sink);
  for (int64_t i = 0; i < repeats; ++i)
#pragma GCC unroll 12
    for (auto& v : sum) v = hn::MulAdd(v, x, x);
  for (auto& v : sum) hn::StoreU(hn::Add(v, hn::LoadU(d, sink)), d, sink);
  return 2.0 * static_cast<double>(hn::Lanes(d)) * kChains * static_cast<double>(repeats);
}

}  // namespace onrush::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace onrush::cpu {
HWY_EXPORT(multiply_add_loop);
namespace {

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Seconds of one call, the best of 15 rounds of some 3 ms.
double seconds_of(const std::function<void()>& f) {
  int64_t calls = 1;
  double best = 1e9;
  for (int round = 0; round < 15;) {
    const double begin = now();
    for (int64_t i = 0; i < calls; ++i) f();
    const double elapsed = now() - begin;
    if (elapsed < 0.003 && round == 0) {
      calls *= 2;
      continue;
    }
    best = std::min(best, elapsed / static_cast<double>(calls));
    ++round;
  }
  return best;
}

// Floating-point operations in a second that the core can do, over some 0.3 ms.
double peak_flops() {
  alignas(64) float sink[64] = {0.5f};
  const double begin = now();
  const double operations = HWY_DYNAMIC_DISPATCH(multiply_add_loop)(60000, sink);
  return operations / (now() - begin);
}

// f does so many operations. The best rate, and the median share of a peak measured right before
// and after, since clocks wander.
struct Rate {
  double flops, share;
};
Rate rate_of(double operations, const std::function<void()>& f) {
  const auto calls = std::max<int64_t>(1, static_cast<int64_t>(0.001 / seconds_of(f)));
  Rate rate{};
  std::vector<double> shares;
  for (int round = 0; round < 21; ++round) {
    const double before = peak_flops();
    const double begin = now();
    for (int64_t i = 0; i < calls; ++i) f();
    const double flops = operations * static_cast<double>(calls) / (now() - begin);
    shares.push_back(2 * flops / (before + peak_flops()));
    rate.flops = std::max(rate.flops, flops);
  }
  std::sort(shares.begin(), shares.end());
  rate.share = shares[shares.size() / 2];
  return rate;
}

template <class T>
struct CacheLineAllocator {
  using value_type = T;
  T* allocate(size_t n) {
    return static_cast<T*>(std::aligned_alloc(64, (n * sizeof(T) + 63) / 64 * 64));
  }
  void deallocate(T* p, size_t) { std::free(p); }
  bool operator==(const CacheLineAllocator&) const = default;
};
template <class T>
using Array = std::vector<T, CacheLineAllocator<T>>;

Array<float> numbers(int64_t count) {
  Array<float> values(static_cast<size_t>(count));
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i % 17) / 4 - 2.1f;
  return values;
}

// One block of A against panels that together fill `panel_bytes` (the L2 cache, or much more).
void bench_gemm(const GemmKernel& kernel, int64_t k, int rows, int64_t panel_bytes) {
  const int64_t operand_bytes = bits(kernel.operand) / 8;
  const int64_t one = kernel.panel_size(k) * operand_bytes;
  const int64_t count = std::max<int64_t>(1, panel_bytes / one);
  const int64_t stride = kernel.block_stride(k);
  const auto bytes = [](int64_t n) { return Array<char>(static_cast<size_t>(n)); };
  const Array<char> a = bytes(kernel.rows * stride * operand_bytes), b = bytes(one * count);
  Array<float> c(static_cast<size_t>(kernel.rows * kernel.cols));
  const GemmScope scope(kernel);
  const double operations = 2.0 * rows * kernel.cols * static_cast<double>(k * count);
  const Rate rate = rate_of(operations, [&] {
    for (int64_t i = 0; i < count; ++i)
      kernel.run({.rows = rows,
                  .cols = kernel.cols,
                  .k = kernel.padded_k(k),
                  .a = a.data(),
                  .a_stride = stride,
                  .b = b.data() + i * one,
                  .c = c.data(),
                  .c_stride = kernel.cols});
  });
  std::printf(
      "%-24s k %5ld rows %2d, panels %6ld KB: %7.1f GFLOP/s %6.1f %% of peak %6.1f GB/s of B\n",
      kernel.name, static_cast<long>(k), rows, static_cast<long>(one * count / 1024),
      rate.flops / 1e9, 100 * rate.share,
      rate.flops / operations * static_cast<double>(one * count) / 1e9);
}

void bench_gemms(const GemmKernel& kernel) {
  constexpr int64_t kL2 = 1 << 20, kBeyondCaches = 256 << 20;
  for (int64_t k : {32, 64, 128, 256, 512}) bench_gemm(kernel, k, kernel.rows, kL2);
  for (int rows = 1; rows < kernel.rows; rows += rows < 4 ? 1 : 4)
    bench_gemm(kernel, 256, rows, kL2);
  for (int rows : {1, 2, 4}) bench_gemm(kernel, 4096, rows, kBeyondCaches);
}

void bench_packing(const GemmKernel& kernel) {
  constexpr int64_t kK = 256;
  const Array<float> b = numbers(kK * kernel.cols);
  Array<char> panel(static_cast<size_t>(kernel.panel_size(kK) * 4));
  for (bool rows : {true, false}) {
    const double seconds = seconds_of([&] {
      kernel.pack_b(panel.data(), b.data(), DType::f32, rows ? kernel.cols : 1, rows ? 1 : kK, kK,
                    kernel.cols);
    });
    std::printf("%-24s pack_b, %s adjacent: %.1f GB/s of f32\n", kernel.name,
                rows ? "rows" : "columns", static_cast<double>(b.size()) * 4 / seconds / 1e9);
  }
}

constexpr int64_t kTile = 1024;

void report(const std::string& what, double seconds) {
  std::printf("%-28s %.3f ns/element\n", what.c_str(), seconds * 1e9 / kTile);
}

void bench_elementwise() {
  Array<float> a = numbers(kTile), b = numbers(kTile), out(kTile);
  for (Op op :
       {Op::neg, Op::round, Op::sqrt, Op::exp, Op::expm1, Op::log, Op::log1p, Op::sin, Op::tan,
        Op::asin, Op::atan, Op::sinh, Op::cosh, Op::tanh, Op::asinh, Op::erf, Op::sigmoid})
    report("f32 " + std::string(name(op)),
           seconds_of([&] { unary_kernel(op, Compute::f32)(out.data(), a.data(), kTile); }));
  for (Op op : {Op::add, Op::div, Op::max, Op::less, Op::rem, Op::pow})
    report("f32 " + std::string(name(op)), seconds_of([&] {
             binary_kernel(op, Compute::f32)(out.data(), a.data(), b.data(), kTile);
           }));
  report("f32 add splat", seconds_of([&] {
           binary_kernel(Op::add, Compute::f32, Splat::b)(out.data(), a.data(), b.data(), kTile);
         }));
  Array<int64_t> wide(kTile, 3), wide_out(kTile);
  Array<int32_t> narrow(kTile, 3), narrow_out(kTile);
  for (Op op : {Op::add, Op::mul, Op::div}) {
    report("i32 " + std::string(name(op)), seconds_of([&] {
             binary_kernel(op, Compute::i32)(narrow_out.data(), narrow.data(), narrow.data(),
                                             kTile);
           }));
    report("i64 " + std::string(name(op)), seconds_of([&] {
             binary_kernel(op, Compute::i64)(wide_out.data(), wide.data(), wide.data(), kTile);
           }));
  }
  report("select f32", seconds_of([&] {
           select_kernel(Compute::f32)(out.data(), narrow.data(), a.data(), b.data(), kTile);
         }));
  report("convert f32 to i32", seconds_of([&] {
           convert_kernel(Compute::f32, Compute::i32)(narrow_out.data(), a.data(), kTile);
         }));
  report("convert f32 to i64", seconds_of([&] {
           convert_kernel(Compute::f32, Compute::i64)(wide_out.data(), a.data(), kTile);
         }));
}

void bench_memory() {
  Array<float> tile = numbers(kTile);
  Array<char> memory(kTile * 8 * 4), tile_out(kTile * 8);
  for (DType dtype : {DType::f32, DType::f16, DType::bf16, DType::u8, DType::i64, DType::f8e4m3fn,
                      DType::i4, DType::boolean}) {
    for (int64_t stride : {1, 3})
      report("load " + std::string(name(dtype)) + " stride " + std::to_string(stride),
             seconds_of(
                 [&] { load_kernel(dtype)(tile_out.data(), memory.data(), 0, stride, kTile); }));
    report("store " + std::string(name(dtype)),
           seconds_of([&] { store_kernel(dtype)(memory.data(), 0, 1, tile_out.data(), kTile); }));
  }
  report("transpose 64 x 64 of f32",
         seconds_of([&] { transpose_copy(memory.data(), 64, tile_out.data(), 64, 64, 64, 4); }));
  report("transpose 64 x 64 of f16",
         seconds_of([&] { transpose_copy(memory.data(), 64, tile_out.data(), 64, 64, 64, 2); }));
}

void bench_reductions() {
  const Array<float> x = numbers(kTile);
  Array<float> sums(kTile);
  Array<int64_t> indices(kTile, -1);
  float result = 0;
  int64_t index = -1;
  for (ReduceKind kind : {ReduceKind::sum, ReduceKind::max}) {
    report(std::string(name(kind)) + " along",
           seconds_of([&] { reduce_kernel(kind, Compute::f32)(&result, x.data(), kTile); }));
    report(std::string(name(kind)) + " across", seconds_of([&] {
             accumulate_kernel(kind, Compute::f32)(sums.data(), x.data(), kTile);
           }));
  }
  report("argmax along", seconds_of([&] {
           index = -1;
           arg_reduce_kernel(ReduceKind::argmax, Compute::f32, false)(&result, &index, x.data(), 0,
                                                                      kTile);
         }));
  report("argmax across", seconds_of([&] {
           arg_accumulate_kernel(ReduceKind::argmax, Compute::f32, false)(
               sums.data(), indices.data(), x.data(), 1, kTile);
         }));
}

// A square kernel of `side` over the rows of an image that it needs.
void bench_depthwise(int side, int step, int64_t width, int64_t channels) {
  const int64_t image_width = (width - 1) * step + side;
  const Array<float> input = numbers(side * image_width * channels);
  const Array<float> weights = numbers(side * side * channels), bias = numbers(channels);
  Array<float> out(static_cast<size_t>(width * channels));
  std::vector<DepthwiseRow::WindowRow> rows;
  for (int y = 0; y < side; ++y)
    rows.push_back(
        {input.data() + y * image_width * channels, weights.data() + y * side * channels});
  const double operations = 2.0 * side * side * static_cast<double>(width * channels);
  const Rate rate = rate_of(operations, [&] {
    depthwise_f32({.rows = rows.data(),
                   .row_count = side,
                   .columns = side,
                   .first_pixel = 0,
                   .first_weight = 0,
                   .pixel_step = step * channels,
                   .column_step = channels,
                   .weight_step = channels,
                   .bias = bias.data(),
                   .out = out.data(),
                   .out_stride = channels,
                   .width = width,
                   .channels = channels,
                   .low = 0,
                   .high = 6});
  });
  std::printf("depthwise %dx%d step %d, %3ld pixels of %3ld: %6.1f GFLOP/s %5.1f %% of peak\n",
              side, side, step, static_cast<long>(width), static_cast<long>(channels),
              rate.flops / 1e9, 100 * rate.share);
}

void run_all() {
  std::printf("f32 peak of this core: %.1f GFLOP/s\n", peak_flops() / 1e9);
  bench_gemms(gemm_f32());
  bench_packing(gemm_f32());
  for (const auto& kernel : {gemm_bf16(), gemm_bf16_dot()}) {
    if (!kernel) continue;
    bench_gemms(*kernel);
    bench_packing(*kernel);
  }
  for (int side : {3, 5, 7})
    for (auto [width, channels] :
         {std::pair<int64_t, int64_t>{112, 16}, {56, 24}, {56, 72}, {28, 128}, {14, 512}, {7, 960}})
      for (int step : {1, 2}) bench_depthwise(side, step, width, channels);
  bench_elementwise();
  bench_memory();
  bench_reductions();
}

}  // namespace
}  // namespace onrush::cpu

// With an argument "avx2" or "baseline": the kernels for that instruction set.
int main(int argc, char** argv) {
  const std::string target = argc > 1 ? argv[1] : "";
  if (target == "avx2") hwy::SetSupportedTargetsForTest(HWY_AVX2);
  if (target == "baseline") hwy::SetSupportedTargetsForTest(HWY_SCALAR);
  onrush::cpu::run_all();
}
#endif
