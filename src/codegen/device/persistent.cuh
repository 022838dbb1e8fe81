// Matrix products by blocks that stay, in pairs, and take tile after tile, while the tensor copy
// unit brings the operands.
//
// A pair has a tile of 256 x kN results, each block 128 rows of it. One thread of a block asks for
// its copies: of its own rows of the left operand, and of half of the right operand's rows, which
// both blocks get. Two groups of four warps take the tiles by turns: while one multiplies, the
// other stores its results. Copies run ahead of both through the stages.
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

// Brings neighbours in memory near.
template <class T>
__device__ inline void prefetch_row(const T* row, index columns) {
  for (index at = 0; at < columns; at += 128 / (int)sizeof(T))
    asm volatile("prefetch.global.L2 [%0];" ::"l"(row + at));
}

// The same of a map that is ordered by lanes, see CudaTensorMap.
__device__ inline void copy_box_by_lanes(u32 to, const TensorMap& map, int column, int row,
                                         u32 barrier, int blocks) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes"
      ".multicast::cluster [%0], [%1, {%2, 0, 0, 0, %3}], [%4], %5;" ::"r"(to),
      "l"(&map), "r"(column), "r"(row / 32), "r"(barrier), "h"((u16)blocks)
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
  __device__ void advance(int count) {
    const u32 places = (u32)(stage + count), rounds = places / kStages;
    stage = (int)(places - rounds * kStages);
    parity ^= rounds & 1;
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

// What the kernel reads for the results of a tile is brought near while their products are summed.
template <int kRows, int kN, class Epilogue>
__device__ inline void prefetch_tile(const Epilogue& epilogue, index batch, index m0, index n0,
                                     index m, index n, int lane) {
  UNROLL for (int r = lane; r < kRows; r += 32) if (m0 + r < m)
      epilogue.prefetch(batch, m0 + r, n0, n - n0 < kN ? n - n0 : kN);
}

// `left` has boxes of 128 rows of 128 bytes, `right` of kN / 2. kWeights: the right operand may be
// read before the kernels ahead are done. kByLanes: its map is ordered so. Tiles are counted in
// pairs' tiles.
template <class Math, int kN, int kStages, bool kWeights, bool kByLanes, class Epilogue>
__device__ inline void contract_persistent(const TensorMap& left, const TensorMap& right,
                                           const Epilogue& epilogue, index batches, index tiles_m,
                                           index tiles_n, index m, index n, index k) {
  constexpr int kRows = 128, kRowBytes = 128;
  constexpr int kColumns = kRowBytes / (int)sizeof(typename Math::Factor);
  constexpr int kLeft = kRows * kRowBytes, kHalf = kN / 2 * kRowBytes, kStage = kLeft + 2 * kHalf;
  // Registers of 384 threads are 64512 together.
  constexpr int kCopyRegisters = 40, kMultiplyRegisters = 232;
  extern __shared__ __align__(1024) u8 shared[];
  const u32 base = shared_address(shared);
  const u32 filled = base + kStages * kStage, emptied = filled + kStages * 8;
  const u32 turns = emptied + kStages * 8;
  const int rank = cluster_rank(), group = (int)threadIdx.x / 128, lane = (int)threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      barrier_init(filled + s * 8, 1);
      barrier_init(emptied + s * 8, 2 * 4);  // the warps of a group of both blocks
    }
    for (int g = 0; g < 2; ++g) barrier_init(turns + g * 8, 4);
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
    return Place{batch, ((above + in_group - column * together) * 2 + rank) * kRows, column * kN};
  };
  index tile = (index)cluster_of(blockIdx.x);
  Ring<kStages> at;
  if (group == 0) {
    give_up_registers<kCopyRegisters>();
    if (threadIdx.x < 32) {
      const auto ask_right = [&](const Place& place, int step, int stage) {
        barrier_arrive_expecting(filled + stage * 8, kStage);
        const u32 to = base + stage * kStage + kLeft + rank * kHalf, barrier = filled + stage * 8;
        const index row = place.n0 + rank * (kN / 2);
        if constexpr (kByLanes) copy_box_by_lanes(to, right, step * kColumns, row, barrier, 3);
        else copy_box(to, right, step * kColumns, row, place.batch, barrier, 3);
      };
      int asked = 0;  // steps of the first tile whose right operand is under way
      if (kWeights && lane == 0 && tile < tiles) {
        const Place place = place_of(tile);
        for (; asked < kStages && asked < steps; ++asked) ask_right(place, asked, asked);
      }
      wait_for_inputs();
      for (; tile < tiles; tile += stride) {
        const Place place = place_of(tile);
        prefetch_tile<kRows, kN>(epilogue, place.batch, place.m0, place.n0, m, n, lane);
        if (lane == 0) {
          for (int step = 0; step < steps; ++step) {
            barrier_wait(emptied + at.stage * 8, at.parity ^ 1);
            if (step >= asked) ask_right(place, step, at.stage);
            copy_box(base + at.stage * kStage, left, step * kColumns, place.m0, place.batch,
                     filled + at.stage * 8, 1 << rank);
            at.advance();
          }
          asked = 0;
        }
        __syncwarp();
      }
    }
  } else {
    take_registers<kMultiplyRegisters>();
    wait_for_inputs();
    const int warp = (int)threadIdx.x / 32 % 4, self = group - 1;
    const auto release = [&](int stage) {
      if (lane < 2) barrier_arrive(emptied + stage * 8, lane);
    };
    u32 turn = self ^ 1;  // the first is that of the first group
    if (self) at.advance(steps);
    for (tile += self * stride; tile < tiles; tile += 2 * stride) {
      const Place place = place_of(tile);
      float sums[2][kN / 2];
      UNROLL for (int h = 0; h < 2; ++h) UNROLL for (int i = 0; i < kN / 2; ++i) sums[h][i] = 0;
      barrier_wait(turns + self * 8, turn);
      turn ^= 1;
      int before = 0;
      for (int step = 0; step < steps; ++step) {
        barrier_wait(filled + at.stage * 8, at.parity);
        const u32 stage = base + at.stage * kStage;
        const u64 a = tile_descriptor(stage), b = tile_descriptor(stage + kLeft);
        group_begin();
        UNROLL for (int q = 0; q < 4; ++q) UNROLL for (int h = 0; h < 2; ++h)
            Math::multiply(sums[h], a + h * (kLeft / 2 / 16) + 2 * q, b + 2 * q);
        group_launch();
        group_wait_all_but<1>();
        if (step > 0) release(before);
        before = at.stage;
        at.advance();
      }
      if (lane == 0) barrier_arrive(turns + (self ^ 1) * 8, rank);
      at.advance(steps);  // those of the other group

      constexpr int kWidth = Epilogue::kWidth;
      if constexpr (kWidth > 2) {
        // The lanes of a warp store pieces of 8 results in 8 rows, straight from the registers.
        // What is read for them comes some pieces ahead.
        constexpr int kParts = 8 / kWidth, kUnits = kN / 32 * 4 * kParts;
        constexpr int kHeld = ((int)sizeof(typename Epilogue::Matrix) + 3) / 4;  // registers
        constexpr int kSpare = kN > 128 ? 8 : 32, kAhead = kHeld >= kSpare ? 1 : kSpare / kHeld;
        // While all sums are still there, registers are few.
        constexpr int kFirst = kN > 128 ? 1 : kAhead;
        const index row0 = place.m0 + warp * 16 + lane / 4, column0 = place.n0 + lane % 4 * 8;
        const auto row_of = [&](int unit) {
          return row0 + unit / kParts / 2 % 2 * 64 + unit / kParts % 2 * 8;
        };
        const auto column_of = [&](int unit) {
          return column0 + unit / kParts / 4 * 32 + unit % kParts * kWidth;
        };
        // What is beyond the last row or column is computed like the last one, and not stored:
        // without branches, units are computed side by side.
        const auto in_row = [&](int unit) { return row_of(unit) < m ? row_of(unit) : m - 1; };
        const auto in_column = [&](int unit) {
          return column_of(unit) < n ? column_of(unit) : n - kWidth;
        };
        typename Epilogue::Matrix matrix[kAhead];
        typename Epilogue::Vector vector[kParts];
        const auto fetch = [&](int unit) {
          if (unit < kUnits)
            epilogue.fetch(place.batch, in_row(unit), in_column(unit), matrix[unit % kAhead]);
        };
        const auto fetch_vectors = [&](int unit) {
          if (unit < kUnits)
            UNROLL for (int part = 0; part < kParts; ++part)
                epilogue.fetch(place.batch, in_column(unit + part), vector[part]);
        };
        UNROLL for (int unit = 0; unit < kFirst; ++unit) fetch(unit);
        fetch_vectors(0);
        group_wait_all_but<0>();
        if (steps > 0) release(before);
        if (tile + stride >= tiles) trigger_dependents();
        // Pieces change lanes one ahead of their use.
        float p[2][4][2];
        const auto gather = [&](int piece) {
          UNROLL for (int j = 0; j < 4; ++j) UNROLL for (int e = 0; e < 2; ++e) p[piece % 2][j][e] =
              sums[piece / 2 % 2][(4 * (piece / 4) + j) * 4 + piece % 2 * 2 + e];
          if constexpr (!kByLanes) gather_pieces(p[piece % 2], lane);
        };
        gather(0);
        UNROLL for (int unit = 0; unit < kUnits; ++unit) {
          const int part = unit % kParts, piece = unit / kParts;
          if (part == 0 && piece + 1 < kUnits / kParts) gather(piece + 1);
          float total[kWidth];
          UNROLL for (int e = 0; e < kWidth; ++e) total[e] =
              p[piece % 2][(part * kWidth + e) / 2][(part * kWidth + e) % 2];
          epilogue(place.batch, in_row(unit), in_column(unit), total, vector[part],
                   matrix[unit % kAhead], row_of(unit) < m && column_of(unit) < n);
          UNROLL for (int next = unit ? unit + kAhead : kFirst; next <= unit + kAhead; ++next)
              fetch(next);
          if ((unit + 1) % (4 * kParts) == 0) fetch_vectors(unit + 1);
        }
      } else {
        // Neighbouring lanes store neighbours of one row, by way of shared memory.
        group_wait_all_but<0>();
        if (steps > 0) release(before);
        if (tile + stride >= tiles) trigger_dependents();
        constexpr int kLanes = 32 / kWidth;
        float* const rows =
            (float*)(shared + kStages * (kStage + 16) + 16) + (threadIdx.x / 32 - 4) * 8 * 33;
        UNROLL for (int h = 0; h < 2; ++h) UNROLL for (int i = 0; i < kN / 32; ++i)
            UNROLL for (int below = 0; below < 2; ++below) {
          const index row = place.m0 + h * 64 + warp * 16 + below * 8;
          const index column = place.n0 + i * 32 + lane % kLanes * kWidth;
          __syncwarp();
          UNROLL for (int j = 0; j < 4; ++j) UNROLL for (int e = 0; e < 2; ++e)
              rows[lane / 4 * 33 + j * 8 + lane % 4 * 2 + e] =
                  sums[h][(4 * i + j) * 4 + 2 * below + e];
          __syncwarp();
          const index in_column = column < n ? column : n - kWidth;
          typename Epilogue::Vector vector;
          epilogue.fetch(place.batch, in_column, vector);
          UNROLL for (int r = lane / kLanes; r < 8; r += 32 / kLanes) {
            const index in_row = row + r < m ? row + r : m - 1;
            typename Epilogue::Matrix matrix;
            epilogue.fetch(place.batch, in_row, in_column, matrix);
            float total[kWidth];
            UNROLL for (int e = 0; e < kWidth; ++e) total[e] =
                rows[r * 33 + lane % kLanes * kWidth + e];
            epilogue(place.batch, in_row, in_column, total, vector, matrix,
                     row + r < m && column < n);
          }
        }
      }
    }
  }
  cluster_sync();  // nobody leaves while the other block copies to it or releases its stages
}

#endif
