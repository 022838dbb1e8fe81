// Matrix products by blocks that stay, a pair of them for each two multiprocessors, and take tile
// after tile, while the tensor copy unit brings the operands.
//
// A pair has a tile of 256 x 256 results, each block 256 x 128 of them. One thread of a block asks
// for its copies: of half of the left operand's rows, which both blocks get, and of its own rows of
// the right operand. Two groups of four warps multiply 128 rows each. Copies run ahead of them
// through the stages, and on to the next tile while they store their results.
#pragma once

// What the host encodes: CUtensorMap.
struct alignas(64) TensorMap {
  u64 words[16];
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Barriers in shared memory: a phase ends when all have arrived and all bytes asked for are there.
__device__ inline void barrier_init(u32 at, int arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(at), "r"(arrivals) : "memory");
}
// Of the block of that rank.
__device__ inline void barrier_arrive(u32 at, int rank) {
  asm volatile(
      "{\n.reg .b32 there;\n"
      "mapa.shared::cluster.u32 there, %0, %1;\n"
      "mbarrier.arrive.shared::cluster.b64 _, [there];\n}" ::"r"(at),
      "r"(rank)
      : "memory");
}
__device__ inline void barrier_arrive_expecting(u32 at, int bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
               : "memory");
}
// Until the phase of this parity has ended.
__device__ inline void barrier_wait(u32 at, u32 parity) {
  u32 ended;
  do {
    asm volatile(
        "{\n.reg .pred ended;\n"
        "mbarrier.try_wait.parity.shared::cta.b64 ended, [%1], %2;\n"
        "selp.u32 %0, 1, 0, ended;\n}"
        : "=r"(ended)
        : "r"(at), "r"(parity)
        : "memory");
  } while (!ended);
}

// A box of the map's matrix to the same place in the blocks of `blocks`, a bit each. What is
// outside of the matrix is 0.
__device__ inline void copy_box(u32 to, const TensorMap& map, int column, int row, int batch,
                                u32 barrier, int blocks) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(to),
      "l"(&map), "r"(column), "r"(row), "r"(batch), "r"(barrier), "h"((u16)blocks)
      : "memory");
}

// Registers of a thread, for the four warps that call it together.
template <int kCount>
__device__ inline void give_up_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kCount>
__device__ inline void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kCount));
}
template <int kPending>
__device__ inline void group_wait_all_but() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// A place in the ring of stages.
template <int kStages>
struct Ring {
  int stage = 0;
  u32 parity = 0;
  __device__ void advance() {
    if (++stage < kStages) return;
    stage = 0;
    parity ^= 1;
  }
};

// Four neighbouring lanes hold two columns each of four pieces of eight columns, p[piece]; after it
// each holds one whole piece, that of its own number, p[column / 2].
__device__ inline void gather_pieces(float (&p)[4][2], int lane) {
  UNROLL for (int bit = 1; bit <= 2; bit *= 2) {
    const bool upper = lane & bit;
    UNROLL for (int low = 0; low < 4; ++low) {
      if (low & bit) continue;
      UNROLL for (int e = 0; e < 2; ++e) {
        const float other = __shfl_xor_sync(~0u, upper ? p[low][e] : p[low + bit][e], bit);
        if (upper) p[low][e] = other;
        else p[low + bit][e] = other;
      }
    }
  }
}

// `left` and `right` have boxes of 128 rows of 128 bytes. Tiles are counted in pairs' tiles.
template <class Math, int kStages, class Epilogue>
__device__ inline void contract_persistent(const TensorMap& left, const TensorMap& right,
                                           const Epilogue& epilogue, index batches, index tiles_m,
                                           index tiles_n, index m, index n, index k) {
  constexpr int kRows = 128, kRowBytes = 128, kBox = kRows * kRowBytes;
  constexpr int kColumns = kRowBytes / (int)sizeof(typename Math::Factor);
  constexpr int kStage = 3 * kBox;  // two boxes of the left operand, one of the right
  // Registers of 384 threads are 64512 together.
  constexpr int kCopyRegisters = 40, kMultiplyRegisters = 232;
  extern __shared__ __align__(1024) u8 shared[];
  const u32 base = shared_address(shared);
  const u32 filled = base + kStages * kStage, emptied = filled + kStages * 8;
  const int rank = cluster_rank(), group = (int)threadIdx.x / 128, lane = (int)threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_init(filled + s * 8, 1);
      barrier_init(emptied + s * 8, 2 * 8);  // the multiplying warps of both blocks
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  cluster_sync();

  const index tiles = batches * tiles_m * tiles_n, stride = (index)cluster_of(gridDim.x);
  const int steps = (int)((k + kColumns - 1) / kColumns);
  struct Place {
    index batch, m0, n0;
  };
  // Tiles that are worked on at the same time share rows of both operands, for the cache's sake:
  // up to kTogether tiles below each other come first.
  constexpr int kTogether = 8;
  const auto place_of = [&](index tile) {
    const index batch = tile / (tiles_m * tiles_n), in_batch = tile - batch * tiles_m * tiles_n;
    const index above = in_batch / (kTogether * tiles_n) * kTogether;
    const index together = tiles_m - above < kTogether ? tiles_m - above : kTogether;
    const index in_group = in_batch - above * tiles_n, column = in_group / together;
    return Place{batch, (above + in_group - column * together) * (2 * kRows),
                 (column * 2 + rank) * kRows};
  };
  index tile = (index)cluster_of(blockIdx.x);
  Ring<kStages> at;
  if (group == 0) {
    give_up_registers<kCopyRegisters>();
    if (threadIdx.x == 0) {
      wait_for_inputs();
      for (; tile < tiles; tile += stride) {
        const Place place = place_of(tile);
        for (int step = 0; step < steps; ++step) {
          barrier_wait(emptied + at.stage * 8, at.parity ^ 1);
          const u32 stage = base + at.stage * kStage, barrier = filled + at.stage * 8;
          barrier_arrive_expecting(barrier, kStage);
          copy_box(stage + rank * kBox, left, step * kColumns, place.m0 + rank * kRows, place.batch,
                   barrier, 3);
          copy_box(stage + 2 * kBox, right, step * kColumns, place.n0, place.batch, barrier,
                   1 << rank);
          at.advance();
        }
      }
    }
    __syncwarp();
  } else {
    take_registers<kMultiplyRegisters>();
    wait_for_inputs();
    const int warp = (int)threadIdx.x / 32 % 4;
    const auto release = [&](int stage) {
      if (lane < 2) barrier_arrive(emptied + stage * 8, lane);
    };
    for (; tile < tiles; tile += stride) {
      const Place place = place_of(tile);
      float sums[2][kRows / 2];
      UNROLL for (int h = 0; h < 2; ++h) UNROLL for (int i = 0; i < kRows / 2; ++i) sums[h][i] = 0;
      int before = 0;
      for (int step = 0; step < steps; ++step) {
        barrier_wait(filled + at.stage * 8, at.parity);
        const u32 stage = base + at.stage * kStage;
        const u64 a = tile_descriptor(stage + (group - 1) * kBox),
                  b = tile_descriptor(stage + 2 * kBox);
        group_begin();
        UNROLL for (int q = 0; q < 4; ++q) UNROLL for (int h = 0; h < 2; ++h)
            Math::multiply(sums[h], a + h * (kBox / 2 / 16) + 2 * q, b + 2 * q);
        group_launch();
        group_wait_all_but<1>();
        if (step > 0) release(before);
        before = at.stage;
        at.advance();
      }
      group_wait_all_but<0>();
      if (steps > 0) release(before);
      if (tile + stride >= tiles) trigger_dependents();

      // The lanes of a warp store pieces of 8 results in 8 rows, straight from the registers. Where
      // the results allow no such pieces, neighbouring lanes store neighbours of one row.
      constexpr int kWidth = Epilogue::kWidth, kLanes = 32 / kWidth;
      float* const rows =
          (float*)(shared + kStages * (kStage + 16)) + (threadIdx.x / 32 - 4) * 8 * 33;
      UNROLL for (int h = 0; h < 2; ++h) UNROLL for (int i = 0; i < kRows / 32; ++i)
          UNROLL for (int below = 0; below < 2; ++below) {
        float p[4][2];
        UNROLL for (int j = 0; j < 4; ++j) UNROLL for (int e = 0; e < 2; ++e) p[j][e] =
            sums[h][(4 * i + j) * 4 + 2 * below + e];
        const index row = place.m0 + (group - 1) * kRows + h * 64 + warp * 16 + below * 8;
        float total[kWidth];
        if constexpr (kWidth > 2) {
          gather_pieces(p, lane);
          UNROLL for (int c = 0; c < 8; c += kWidth) {
            const index column = place.n0 + i * 32 + lane % 4 * 8 + c;
            if (row + lane / 4 >= m || column >= n) break;
            UNROLL for (int e = 0; e < kWidth; ++e) total[e] = p[(c + e) / 2][(c + e) % 2];
            epilogue(place.batch, row + lane / 4, column, total);
          }
        } else {
          __syncwarp();
          UNROLL for (int j = 0; j < 4; ++j) UNROLL for (int e = 0; e < 2; ++e)
              rows[lane / 4 * 33 + j * 8 + lane % 4 * 2 + e] = p[j][e];
          __syncwarp();
          const int c = lane % kLanes * kWidth;
          UNROLL for (int r = lane / kLanes; r < 8; r += 32 / kLanes) {
            if (row + r >= m || place.n0 + i * 32 + c >= n) break;
            UNROLL for (int e = 0; e < kWidth; ++e) total[e] = rows[r * 33 + c + e];
            epilogue(place.batch, row + r, place.n0 + i * 32 + c, total);
          }
        }
      }
    }
  }
  cluster_sync();  // nobody leaves while the other block copies to it or releases its stages
}

#endif
