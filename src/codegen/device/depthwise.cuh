// Depthwise convolutions on the tensor cores.
//
// Eight neighbouring results are the elements below them, two or three pieces of 8, times a matrix
// with the taps of one row of the window along its diagonals. A warp multiplies such rows of 16
// tiles at once, all of one channel; a tile is kRows results high, and each row of elements serves
// all rows of results whose windows reach it.
//
// Memory has the channels of a pixel side by side. In shared memory each channel is a plane of its
// own, so that eight neighbours of a row are 16 bytes; its sums take its place once it is read.
#pragma once

// What a block computes: tiles of kRows x 8 results side by side, above each other and of several
// images, in kChannels channels.
template <int kTapsY_, int kTapsX_, int kStride_, int kRows_, int kTilesX_, int kTilesY_,
          int kImages_, int kChannels_>
struct Planes {
  enum {
    kTapsY = kTapsY_,
    kTapsX = kTapsX_,
    kStride = kStride_,
    kRows = kRows_,
    kTilesX = kTilesX_,
    kTilesY = kTilesY_,
    kImages = kImages_,
    kChannels = kChannels_,
    kPieces = kStride + 1,  // below the results of a tile
    kWidth = 8 * (kStride * (kTilesX - 1) + kPieces),
    kHeight = (kTilesY * kRows - 1) * kStride + kTapsY,
    kTiles = kTilesX * kTilesY * kImages,
    kTaps = kTapsY * kTapsX,
    kElementBytes = kImages * kHeight * kWidth * 2,
    kSumBytes = kTiles * kRows * 8 * 4,
    kBytes = kElementBytes > kSumBytes ? kElementBytes : kSumBytes,
  };
  static_assert(7 * kStride + kTapsX <= 8 * kPieces && kTiles <= 16);
  // Groups of 8 planes are shifted against each other: neighbouring threads write to both.
  static __device__ int offset(int channel) { return channel * kBytes + channel / 8 * 64; }
};

// pixels(image, y, x, channel, valid): eight channels of a pixel, where it and its window's first
// row and column have the same numbers; zeros unless valid. tap(channel, y, x): of the window.
// epilogue(image, y, x, channel, sums): takes the results of eight channels. The block is given by
// which part of the images, rows, columns and channels it has.
template <class Math, class P, bool kWeights, class Pixels, class Tap, class Epilogue>
__device__ inline void convolve_planes(const Pixels& pixels, const Tap& tap,
                                       const Epilogue& epilogue, index part_images,
                                       index part_height, index part_width, index part_channels,
                                       index images, index height, index width, index channels) {
  typedef typename Math::Factor Factor;
  constexpr int kThreads = 256, kGroups = P::kChannels / 8, kOwn = P::kChannels / (kThreads / 32);
  extern __shared__ __align__(1024) u8 shared[];
  const int tid = (int)threadIdx.x, lane = tid % 32, warp = tid / 32;

  const index first_image = part_images * P::kImages, first_y = part_height * P::kRows * P::kTilesY,
              first_x = part_width * 8 * P::kTilesX, first_channel = part_channels * P::kChannels;

  // The taps of a channel lie side by side behind the planes.
  u16* taps = (u16*)(shared + P::offset(P::kChannels));
  const auto load_taps = [&] {
    constexpr int kAll = P::kChannels * P::kTaps;
    UNROLL for (int first = 0; first < kAll; first += kThreads) {
      const int i = first + tid, t = i / P::kChannels;
      const index channel = first_channel + i % P::kChannels;
      if (i >= kAll) break;
      const float value = channel < channels ? tap(channel, t / P::kTapsX, t % P::kTapsX) : 0.0f;
      taps[i % P::kChannels * P::kTaps + t] = (u16)Math::pair(value, 0);
    }
  };
  if (kWeights) load_taps();
  wait_for_inputs();
  if (!kWeights) load_taps();

  // A thread has two neighbours of a row, and those of other rows below them.
  constexpr int kAcross = P::kWidth / 2 * kGroups, kLines = P::kImages * P::kHeight;
  constexpr int kStep = kThreads / kAcross, kAtOnce = kLines > 3 * kStep ? 4 : 2;
  static_assert(kStep > 0);
  const index last_y = (height - 1) * P::kStride + P::kTapsY,
              last_x = (width - 1) * P::kStride + P::kTapsX;
  {
    const int group = tid % kGroups, column = tid % kAcross / kGroups;
    const index x = first_x * P::kStride + column * 2, channel = first_channel + group * 8;
    const bool inside = tid < kStep * kAcross && channel < channels;
    const bool left = inside && x < last_x, right = inside && x + 1 < last_x;
    u8* plane = shared + P::offset(group * 8) + column * 4;
    for (int first = tid / kAcross; first < kLines; first += kStep * kAtOnce) {
      uint4 even[kAtOnce], odd[kAtOnce];
      UNROLL for (int i = 0; i < kAtOnce; ++i) {
        const int line = first + i * kStep;
        const index image = first_image + line / P::kHeight,
                    y = first_y * P::kStride + line % P::kHeight;
        const bool valid = line < kLines && image < images && y < last_y;
        even[i] = pixels(image, y, x, channel, valid && left);
        odd[i] = pixels(image, y, x + 1, channel, valid && right);
      }
      UNROLL for (int i = 0; i < kAtOnce; ++i) {
        const int line = first + i * kStep;
        if (line >= kLines || tid >= kStep * kAcross) break;
        u8* to = plane + line * P::kWidth * 2;
        const u32 a[4] = {even[i].x, even[i].y, even[i].z, even[i].w},
                  b[4] = {odd[i].x, odd[i].y, odd[i].z, odd[i].w};
        UNROLL for (int c = 0; c < 4; ++c) {
          *(u32*)(to + 2 * c * P::kBytes) = __byte_perm(a[c], b[c], 0x5410);
          *(u32*)(to + (2 * c + 1) * P::kBytes) = __byte_perm(a[c], b[c], 0x7632);
        }
      }
    }
  }
  __syncthreads();

  // Where a tile's elements begin in its plane.
  const auto start = [](int tile) {
    const int x = tile % P::kTilesX, y = tile / P::kTilesX % P::kTilesY,
              image = tile / P::kTilesX / P::kTilesY;
    return (image * P::kHeight + y * P::kRows * P::kStride) * P::kWidth + x * 8 * P::kStride;
  };
  const int tile = lane % 16 < P::kTiles ? lane % 16 : 0;
  const u32 from = shared_address(shared) + start(tile) * 2 + lane / 16 * 16;
  _Pragma("unroll 1") for (int own = 0; own < kOwn; ++own) {
    const int plane = P::offset(warp * kOwn + own);
    const u16* own_taps = taps + (warp * kOwn + own) * P::kTaps;
    // Element k below the results contributes to result n by tap k - n * stride.
    u32 factors[P::kTapsY][P::kPieces];
    UNROLL for (int y = 0; y < P::kTapsY; ++y)
        UNROLL for (int piece = 0; piece < P::kPieces; ++piece) {
      const int x = piece * 8 + lane % 4 * 2 - lane / 4 * P::kStride;
      const auto at = [&](int column) -> u32 {
        return (u32)column < (u32)P::kTapsX ? own_taps[y * P::kTapsX + column] : 0;
      };
      factors[y][piece] = at(x) | at(x + 1) << 16;
    }
    float sums[P::kRows][4];
    UNROLL for (int r = 0; r < P::kRows; ++r) UNROLL for (int e = 0; e < 4; ++e) sums[r][e] = 0;
    UNROLL for (int y = 0; y < (P::kRows - 1) * P::kStride + P::kTapsY; ++y) {
      u32 pieces[4], last[4];
      load_matrices(pieces, from + plane + y * P::kWidth * 2);
      if (P::kPieces == 3) {
        load_matrices(last, from + plane + y * P::kWidth * 2 + 32 - lane / 16 * 16);
        last[2] = last[3] = 0;
      }
      UNROLL for (int r = 0; r < P::kRows; ++r) {
        const int t = y - r * P::kStride;
        if (t < 0 || t >= P::kTapsY) continue;
        Math::multiply(sums[r], pieces, factors[t][0], factors[t][1]);
        if (P::kPieces == 3) Math::multiply(sums[r], last, factors[t][P::kPieces - 1], 0);
      }
    }
    // A zero beside the taps times an infinity is NaN: such sums are computed again, tap by tap.
    float check = 0;
    UNROLL for (int r = 0; r < P::kRows; ++r) UNROLL for (int e = 0; e < 4; ++e) check =
        fmaf(sums[r][e], 0.0f, check);
    if (check != 0) {
      _Pragma("unroll 1") for (int result = 0; result < P::kRows * 4; ++result) {
        const int at = lane / 4 + result % 4 / 2 * 8;
        if (at >= P::kTiles) continue;
        const Factor* elements = (const Factor*)(shared + plane) + start(at) +
                                 result / 4 * P::kStride * P::kWidth +
                                 (lane % 4 * 2 + result % 2) * P::kStride;
        float sum = 0;
        _Pragma("unroll 1") for (int t = 0; t < P::kTaps; ++t) sum =
            fmaf(to_float(elements[t / P::kTapsX * P::kWidth + t % P::kTapsX]),
                 to_float(Factor{own_taps[t]}), sum);
        UNROLL for (int r = 0; r < P::kRows; ++r)
            UNROLL for (int e = 0; e < 4; ++e) if (r * 4 + e == result) sums[r][e] = sum;
      }
    }
    __syncwarp();
    UNROLL for (int half = 0; half < 2; ++half) {
      const int at = lane / 4 + half * 8, band_of_tile = at / P::kTilesX;
      if (at >= P::kTiles) continue;
      u8* to = shared + plane + (band_of_tile * P::kRows * P::kTilesX + at % P::kTilesX) * 32 +
               lane % 4 * 8;
      UNROLL for (int r = 0; r < P::kRows; ++r) * (float2*)(to + r * P::kTilesX * 32) =
          make_float2(sums[r][half * 2], sums[r][half * 2 + 1]);
    }
  }
  trigger_dependents();
  __syncthreads();

  // A thread has a column of results.
  constexpr int kColumns = P::kTilesX * 8 * kGroups, kBelow = kThreads / kColumns;
  static_assert(kBelow > 0);
  const int group = tid % kGroups, column = tid % kColumns / kGroups;
  const index x = first_x + column, channel = first_channel + group * 8;
  if (tid >= kBelow * kColumns || x >= width || channel >= channels) return;
  constexpr int kHigh = P::kTilesY * P::kRows;
  for (int line = tid / kColumns; line < P::kImages * kHigh; line += kBelow) {
    const index image = first_image + line / kHigh, y = first_y + line % kHigh;
    if (image >= images || y >= height) continue;
    const u8* from_sums = shared + P::offset(group * 8) + (line * P::kTilesX * 8 + column) * 4;
    float sums[8];
    UNROLL for (int c = 0; c < 8; ++c) sums[c] = *(const float*)(from_sums + c * P::kBytes);
    epilogue(image, y, x, channel, sums);
  }
}
