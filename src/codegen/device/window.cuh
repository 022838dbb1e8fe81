// Convolutions of images with few channels: a block computes a patch of pixels from the part of the
// image that their windows cover, which it reads once, and from all weights of its columns.
//
// Both lie in shared memory. The weights are rows of 16-byte pieces along k, as contraction.cuh has
// them; the part of the image is stored as it is, and a fragment of the left operand is read from
// it straight: the taps of a window along x are neighbours there, for each pixel.
#pragma once

// kTilesM: rows of 16 pixels that a warp has; a block has 16 x (kWarps kTilesM) pixels.
// A window has kChannels x kTapsY x kTapsX taps; those along x are the last axis of k, which counts
// as a multiple of 16 bytes. kChannelsFirst: the channels are the first axis of k, not the second.
// Image: (rest, y, x, tap_y, channel, tap_x) is the value at a tap of the pixel's window, which may
// be further away than windows reach.
template <class Math, int kWarps, int kTilesM, int kN, int kChannels, int kTapsY, int kTapsX,
          int kStepY, int kStepX, bool kChannelsFirst, class Image, class Weights, class Epilogue>
__device__ inline void convolve_window(const Image& image, const Weights& weights,
                                       const Epilogue& epilogue, index rest, index tile_y,
                                       index tile_x, index tile_n, index height, index width,
                                       index n) {
  typedef typename Math::Factor Factor;
  constexpr int kThreads = 32 * kWarps, kElements = 16 / (int)sizeof(Factor);
  constexpr int kRowPieces = (kTapsX + kElements - 1) / kElements;
  constexpr int kPieces = kChannels * kTapsY * kRowPieces, kSteps = (kPieces + 1) / 2;
  constexpr int kRows = kWarps * kTilesM;  // of pixels
  constexpr int kHeight = (kRows - 1) * kStepY + kTapsY;
  // A pair of 16-bit elements is read at once where all of them are aligned.
  constexpr int kWord = 4 / (int)sizeof(Factor);
  constexpr int kPitch = (15 * kStepX + kRowPieces * kElements + kWord - 1) / kWord * kWord;
  constexpr int kPlane = kHeight * kPitch;
  constexpr int kWeightPitch = 2 * kSteps + 1;  // pieces; odd: rows begin in different banks
  extern __shared__ __align__(1024) u8 shared[];
  Factor* pixels = (Factor*)(shared + kN * kWeightPitch * 16);
  const u32 base = shared_address(shared);
  const int tid = (int)threadIdx.x, lane = tid % 32, warp = tid / 32;
  const index y0 = tile_y * kRows, x0 = tile_x * 16, n0 = tile_n * kN;

  for (int e = tid; e < kN * 2 * kSteps; e += kThreads) {
    const int row = e / (2 * kSteps), piece = e % (2 * kSteps);
    bool valid;
    const void* from =
        weights.at(weights.row(0, n0 + row), weights.column(piece * kElements), valid);
    copy_async(base + (row * kWeightPitch + piece) * 16, from, valid && piece < kPieces);
  }
  close_stage();
  wait_for_inputs();
  // No further than the windows of pixels that exist.
  const index most_y = (height - y0 - 1) * kStepY + kTapsY,
              most_x = (width - x0 - 1) * kStepX + kTapsX;
  constexpr int kAll = kChannels * kPlane, kAtOnce = 12;
  for (int first = tid; first < kAll; first += kThreads * kAtOnce) {
    Factor held[kAtOnce];  // all of them are under way before the first is stored
    UNROLL for (int i = 0; i < kAtOnce; ++i) {
      const int e = first + i * kThreads;
      const int x = e % kPitch, y = e / kPitch % kHeight, channel = e / kPlane;
      // The first tap stands in for one that is not there: no load waits for a branch.
      const bool there = e < kAll && y < most_y && x < most_x;
      const Factor value = image(rest, y0, x0, there ? y : 0, there ? channel : 0, there ? x : 0);
      held[i] = there ? value : Factor{};
    }
    UNROLL for (int i = 0; i < kAtOnce; ++i) if (first + i * kThreads < kAll)
        pixels[first + i * kThreads] = held[i];
  }
  wait_stages<0>();
  __syncthreads();

  float sums[kTilesM][kN / 8][4];
  UNROLL for (int i = 0; i < kTilesM; ++i) UNROLL for (int j = 0; j < kN / 8; ++j)
      UNROLL for (int e = 0; e < 4; ++e) sums[i][j][e] = 0;
  // The lane's word of a piece, for pixel lane / 4 of the warp's first row.
  const Factor* at =
      pixels + warp * kTilesM * kStepY * kPitch + lane / 4 * kStepX + lane % 4 * kWord;
  const auto word = [&](int element, int piece) {
    u32 bits;
    if constexpr (kWord == 2 && kStepX % 2) {
      const u16* pair = (const u16*)(at + element);
      bits = pair[0] | (u32)pair[1] << 16;
    } else {
      bits = *(const u32*)(at + element);
    }
    // Taps that only fill up the last piece of a row count as zeros.
    const int taps = kTapsX - piece % kRowPieces * kElements;
    if (taps >= kElements) return bits;
    const int here = taps - lane % 4 * kWord;
    return here >= kWord ? bits : here == 1 && kWord == 2 ? bits & 0xffff : 0;
  };
  UNROLL for (int step = 0; step < kSteps; ++step) {
    u32 a[kTilesM][4];
    UNROLL for (int half = 0; half < 2; ++half) {
      const int piece = 2 * step + half, row = piece / kRowPieces;
      const int channel = kChannelsFirst ? row / kTapsY : row % kChannels;
      const int y = kChannelsFirst ? row % kTapsY : row / kChannels;
      const int element = channel * kPlane + y * kPitch + piece % kRowPieces * kElements;
      UNROLL for (int i = 0; i < kTilesM; ++i) UNROLL for (int r = 0; r < 2; ++r)
          a[i][2 * half + r] =
              piece < kPieces ? word(element + i * kStepY * kPitch + r * 8 * kStepX, piece) : 0;
    }
    if constexpr (Math::kRounds) UNROLL for (int i = 0; i < kTilesM; ++i) round_to_tf32(a[i]);
    UNROLL for (int j = 0; j < kN / 16; ++j) {
      u32 b[4];
      load_matrices(
          b, base + ((j * 16 + lane / 16 * 8 + lane % 8) * kWeightPitch + 2 * step + lane / 8 % 2) *
                        16);
      if constexpr (Math::kRounds) round_to_tf32(b);
      UNROLL for (int i = 0; i < kTilesM; ++i) {
        Math::multiply(sums[i][2 * j], a[i], b[0], b[1]);
        Math::multiply(sums[i][2 * j + 1], a[i], b[2], b[3]);
      }
    }
  }

  // Each warp brings its sums into order by itself.
  trigger_dependents();
  __syncthreads();
  constexpr int kSumPitch = kN + 8, kWidth = Epilogue::kWidth, kVectors = kN / kWidth;
  float* own = (float*)shared + warp * 16 * kSumPitch;
  UNROLL for (int i = 0; i < kTilesM; ++i) {
    UNROLL for (int j = 0; j < kN / 8; ++j) UNROLL for (int r = 0; r < 2; ++r) *
        (float2*)(own + (lane / 4 + r * 8) * kSumPitch + j * 8 + lane % 4 * 2) =
        make_float2(sums[i][j][2 * r], sums[i][j][2 * r + 1]);
    __syncwarp();
    const index y = y0 + warp * kTilesM + i;
    for (int e = lane; e < 16 * kVectors; e += 32) {
      const int r = Epilogue::kAlongM ? e % 16 : e / kVectors;
      const int c = (Epilogue::kAlongM ? e / 16 : e % kVectors) * kWidth;
      if (y >= height || x0 + r >= width || n0 + c >= n) continue;
      float total[kWidth];
      UNROLL for (int j = 0; j < kWidth; ++j) total[j] = own[r * kSumPitch + c + j];
      epilogue(0, (rest * height + y) * width + x0 + r, n0 + c, total);
    }
    __syncwarp();
  }
}
