// Matrix products on tiles: a block computes kM x kN results, for a part of k if it shares them
// with the other blocks of its cluster.
//
// Tiles of both operands pass through shared memory in kStages stages of kChunks pieces of 16 bytes
// a row. A step of the tensor cores takes 32 bytes of k whatever the type, so one arrangement
// serves all of them. Pieces are permuted within a row so that neither the copies nor the
// fragments' loads meet in a bank.
//
// Operands are structs that the generator prints:
//   kCopied     at(row, column) is 16 bytes in memory, along k
//   kAcross     the same, along the rows; the tile is stored with k as its rows
//   otherwise   get(row, column, out) computes 16 bytes along k
//   kAlongRows  neighbouring threads get neighbouring rows
//   kWeights    may be read before the kernels ahead are done
#pragma once

__device__ inline u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }

__device__ inline void copy_async(u32 to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
               "r"(valid ? 16 : 0)
               : "memory");
}
__device__ inline void close_stage() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
__device__ inline void wait_stages() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}
__device__ inline void load_matrices(u32 (&r)[4], u32 from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}
__device__ inline void load_transposed(u32 (&r)[4], u32 from) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(from)
               : "memory");
}

__device__ inline void round_to_tf32(u32 (&x)[4]) {
  UNROLL for (int i = 0; i < 4;
              ++i) asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(x[i]) : "f"(as_float(x[i])));
}

// A product of 16 x 32 bytes and 32 bytes x 8, by a warp.
#define ONRUSH_MMA(shape_and_types)                                                 \
  static __device__ void multiply(float(&c)[4], const u32(&a)[4], u32 b0, u32 b1) { \
    asm volatile("mma.sync.aligned." shape_and_types                                \
                 " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"           \
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])                   \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));   \
  }
// kTensor: products by the tensor cores. kRounds: factors are rounded to nearest here, since the
// tensor cores ignore their lower bits. kGroup: four warps multiply tiles of 64 rows together,
// straight from shared memory.
struct F16Math {
  typedef f16 Factor;
  typedef float Sum;
  enum { kTensor = 1, kRounds = 0, kGroup = 0 };
  static __device__ u32 pair(float a, float b) { return pair_f16(a, b); }
  ONRUSH_MMA("m16n8k16.row.col.f32.f16.f16.f32")
};
struct Bf16Math {
  typedef bf16 Factor;
  typedef float Sum;
  enum { kTensor = 1, kRounds = 0, kGroup = 0 };
  static __device__ u32 pair(float a, float b) { return pair_bf16(a, b); }
  ONRUSH_MMA("m16n8k16.row.col.f32.bf16.bf16.f32")
};
struct Tf32Math {
  typedef float Factor;
  typedef float Sum;
  enum { kTensor = 1, kRounds = 1, kGroup = 0 };
  ONRUSH_MMA("m16n8k8.row.col.f32.tf32.tf32.f32")
};
#undef ONRUSH_MMA
template <class T>
struct ScalarMath {
  typedef T Factor;
  typedef T Sum;
  enum { kTensor = 0, kRounds = 0, kGroup = 0 };
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define ONRUSH_4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define ONRUSH_16(d, i) ONRUSH_4(d, i), ONRUSH_4(d, i + 4), ONRUSH_4(d, i + 8), ONRUSH_4(d, i + 12)
// d += a * b, 64 rows of 32 bytes and kN rows of 32 bytes, both by their descriptors.
#define ONRUSH_GROUP_MATH(name, factor, type)                                                     \
  struct name {                                                                                   \
    typedef factor Factor;                                                                        \
    typedef float Sum;                                                                            \
    enum { kTensor = 1, kRounds = 0, kGroup = 1 };                                                \
    static __device__ void multiply(float (&d)[16], u64 a, u64 b) {                               \
      asm volatile("wgmma.mma_async.sync.aligned.m64n32k16.f32." type "." type                    \
                   " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, %16, %17, 1, 1, "   \
                   "1, 0, 0;"                                                                     \
                   : ONRUSH_16(d, 0)                                                              \
                   : "l"(a), "l"(b));                                                             \
    }                                                                                             \
    static __device__ void multiply(float (&d)[32], u64 a, u64 b) {                               \
      asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." type "." type                    \
                   " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,"     \
                   "%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, 1, 1, 1, 0, 0;"   \
                   : ONRUSH_16(d, 0), ONRUSH_16(d, 16)                                            \
                   : "l"(a), "l"(b));                                                             \
    }                                                                                             \
    static __device__ void multiply(float (&d)[48], u64 a, u64 b) {                               \
      asm volatile("wgmma.mma_async.sync.aligned.m64n96k16.f32." type "." type                    \
                   " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20," \
                   "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39," \
                   "%40,%41,%42,%43,%44,%45,%46,%47}, %48, %49, 1, 1, 1, 0, 0;"                   \
                   : ONRUSH_16(d, 0), ONRUSH_16(d, 16), ONRUSH_16(d, 32)                          \
                   : "l"(a), "l"(b));                                                             \
    }                                                                                             \
    static __device__ void multiply(float (&d)[64], u64 a, u64 b) {                               \
      asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." type "." type                   \
                   " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20," \
                   "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39," \
                   "%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58," \
                   "%59,%60,%61,%62,%63}, %64, %65, 1, 1, 1, 0, 0;"                               \
                   : ONRUSH_16(d, 0), ONRUSH_16(d, 16), ONRUSH_16(d, 32), ONRUSH_16(d, 48)        \
                   : "l"(a), "l"(b));                                                             \
    }                                                                                             \
    static __device__ void multiply(float (&d)[96], u64 a, u64 b) {                               \
      asm volatile("wgmma.mma_async.sync.aligned.m64n192k16.f32." type "." type                   \
                   " {%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20," \
                   "%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39," \
                   "%40,%41,%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58," \
                   "%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77," \
                   "%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"      \
                   "}, %96, %97, 1, 1, 1, 0, 0;"                                                  \
                   : ONRUSH_16(d, 0), ONRUSH_16(d, 16), ONRUSH_16(d, 32), ONRUSH_16(d, 48),       \
                     ONRUSH_16(d, 64), ONRUSH_16(d, 80)                                           \
                   : "l"(a), "l"(b));                                                             \
    }                                                                                             \
  };
ONRUSH_GROUP_MATH(F16GroupMath, f16, "f16")
ONRUSH_GROUP_MATH(Bf16GroupMath, bf16, "bf16")
#undef ONRUSH_GROUP_MATH
#undef ONRUSH_16
#undef ONRUSH_4
#endif

// Rows of 128 bytes with their pieces permuted as piece_offset() does, in groups of 8 rows.
__device__ inline u64 tile_descriptor(u32 address) {
  return (u64)((address & 0x3ffff) >> 4) | 1ull << 16 | 64ull << 32 | 1ull << 62;
}
// Around the products of a group, which are under way until group_wait().
__device__ inline void group_begin() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
#endif
}
__device__ inline void group_launch() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
#endif
}
__device__ inline void group_wait() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
#endif
}
// Makes what this thread has written to shared memory visible to units that read it by themselves.
__device__ inline void publish_shared() {
#if __CUDA_ARCH__ >= 900
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

// Where piece `piece` of row `row` is in a tile of kPieces pieces a row, in bytes.
template <int kPieces>
__device__ inline u32 piece_offset(int row, int piece) {
  constexpr int kPermuted = kPieces < 8 ? kPieces : 8;
  return (u32)((row * kPieces + (piece ^ row / (8 / kPermuted) % kPermuted)) * 16);
}

// Brings one operand's tiles to shared memory. The thread has the same pieces of every stage.
template <class Operand, class Factor, int kRows, int kChunks, int kThreads>
struct Loader {
  enum {
    kElements = 16 / (int)sizeof(Factor),  // of a piece
    kStep = kChunks * kElements,           // of a stage, along k
    kAcross = Operand::kAcross,
    kAlongRows = Operand::kAlongRows,
    kComputed = !Operand::kCopied && !kAcross,
    kBytes = kRows * kChunks * 16,
    kPieces = kAcross ? kRows / 8 : kChunks,  // of a row of the tile as stored
    kCount = (kRows * kChunks + kThreads - 1) / kThreads,
    kWhole = kRows * kChunks % kThreads == 0,
    // Whether all pieces of a thread are in one row, or in one column.
    kOneRow = kAcross || (kAlongRows && kThreads % kRows == 0),
    kOneColumn = !kAcross && !kAlongRows && kThreads % kChunks == 0,
  };
  const Operand& operand;
  typename Operand::Row rows[kOneRow ? 1 : kCount];
  typename Operand::Column columns[kOneColumn ? 1 : kCount];
  __align__(16) Factor held[kComputed ? kCount : 1][kElements];

  __device__ Loader(const Operand& o, index batch, index row, index k) : operand(o) {
    UNROLL for (int i = 0; i < kCount; ++i) {
      const int p = (int)threadIdx.x + i * kThreads;
      if (i == 0 || !kOneRow) rows[i] = o.row(batch, row + (kAcross ? piece(p) * 8 : line(p)));
      if (i == 0 || !kOneColumn)
        columns[i] = o.column(k + (kAcross ? line(p) : piece(p) * kElements));
    }
  }
  // Row and piece in the tile as stored.
  static __device__ int line(int p) { return kAlongRows ? p % kRows : p / kPieces; }
  static __device__ int piece(int p) { return kAlongRows ? p / kRows : p % kPieces; }

  // Starts the next stage; keep() completes it where values are computed.
  __device__ void fetch(u32 stage) {
    UNROLL for (int i = 0; i < kCount; ++i) {
      const int p = (int)threadIdx.x + i * kThreads;
      if (!kWhole && p >= kRows * kChunks) break;
      const auto& row = rows[kOneRow ? 0 : i];
      auto& column = columns[kOneColumn ? 0 : i];
      if constexpr (kComputed) {
        operand.get(row, column, held[i]);
      } else {
        bool valid;
        const void* from = operand.at(row, column, valid);
        copy_async(stage + piece_offset<kPieces>(line(p), piece(p)), from, valid);
      }
    }
    UNROLL for (int i = 0; i < (kOneColumn ? 1 : kCount); ++i) operand.advance(columns[i], kStep);
  }
  // Brings the following stages of weights near: each piece is read by few blocks, from far away.
  __device__ void prefetch(int stages) {
    if constexpr (!kComputed && !kAcross && kOneColumn) {
      // A line of memory holds the pieces of several threads.
      if (kChunks == 8 && piece((int)threadIdx.x) != 0) return;
      typename Operand::Column column = columns[0];
      for (int s = 0; s < stages; ++s) {
        UNROLL for (int i = 0; i < kCount; ++i) {
          bool valid;
          const void* from = operand.at(rows[i], column, valid);
          if (valid) asm volatile("prefetch.global.L2 [%0];" ::"l"(from));
        }
        operand.advance(column, kStep);
      }
    }
  }
  __device__ void keep(u8* stage) {
    if constexpr (kComputed) {
      UNROLL for (int i = 0; i < kCount; ++i) {
        const int p = (int)threadIdx.x + i * kThreads;
        if (!kWhole && p >= kRows * kChunks) break;
        *(uint4*)(stage + piece_offset<kPieces>(line(p), piece(p))) = *(const uint4*)held[i];
      }
    }
  }
};

template <class Math, int kM, int kN, int kWarpsM, int kWarpsN, int kWarpsK, int kChunks,
          int kStages, class Lhs, class Rhs, class Epilogue>
__device__ inline void contract(const Lhs& lhs, const Rhs& rhs, const Epilogue& epilogue,
                                index batch, index tile_m, index tile_n, index m, index n,
                                index k) {
  typedef typename Math::Factor Factor;
  typedef typename Math::Sum Sum;
  constexpr int kThreads = 32 * kWarpsM * kWarpsN * kWarpsK;
  typedef Loader<Lhs, Factor, kM, kChunks, kThreads> LhsLoader;
  typedef Loader<Rhs, Factor, kN, kChunks, kThreads> RhsLoader;
  constexpr int kStage = LhsLoader::kBytes + RhsLoader::kBytes;
  extern __shared__ __align__(1024) u8 shared[];
  const u32 base = shared_address(shared);
  const int tid = (int)threadIdx.x, lane = tid % 32, warp = tid / 32;

  const int blocks = cluster_size(), rank = cluster_rank();
  const index m0 = tile_m * kM, n0 = tile_n * kN;
  const index all_steps = (k + LhsLoader::kStep - 1) / LhsLoader::kStep;
  const index share = (index)cluster_of((u32)(all_steps + blocks - 1)), first = share * rank;
  const index left_over = all_steps - first;
  const int steps = (int)(left_over < 0 ? 0 : left_over < share ? left_over : share);

  LhsLoader left(lhs, batch, m0, first * LhsLoader::kStep);
  RhsLoader right(rhs, batch, n0, first * LhsLoader::kStep);
  const auto fetch_left = [&](int stage) { left.fetch(base + stage * kStage); };
  const auto fetch_right = [&](int stage) {
    right.fetch(base + stage * kStage + LhsLoader::kBytes);
  };
  const auto keep_left = [&](int stage) { left.keep(shared + stage * kStage); };
  const auto keep_right = [&](int stage) {
    right.keep(shared + stage * kStage + LhsLoader::kBytes);
  };

  if constexpr (Rhs::kWeights) {
    for (int s = 0; s < kStages - 1; ++s)
      if (s < steps) fetch_right(s);
    if (m <= 2 * kM) right.prefetch(steps - (kStages - 1));
  }
  wait_for_inputs();
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < steps) {
      if constexpr (!Rhs::kWeights) fetch_right(s), keep_right(s);
      fetch_left(s), keep_left(s);
    }
    close_stage();
  }

  constexpr int kTileM = Math::kTensor ? kM / (16 * kWarpsM) : kM / 16;
  constexpr int kTileN = Math::kTensor ? kN / (8 * kWarpsN) : kN / 16;
  constexpr int kSums = Math::kTensor ? 4 : 1;
  Sum sums[kTileM][kTileN][kSums];
  UNROLL for (int i = 0; i < kTileM; ++i) UNROLL for (int j = 0; j < kTileN; ++j)
      UNROLL for (int e = 0; e < kSums; ++e) sums[i][j][e] = 0;

  // The four warps of a group are neighbours, one above the other.
  constexpr int kUnit = Math::kGroup ? 4 : 1;
  const int unit = warp / kUnit, warp_k = unit % kWarpsK, warp_n = unit / kWarpsK % kWarpsN,
            warp_m = unit / kWarpsK / kWarpsN * kUnit + warp % kUnit;
  const int row = tid / 16, column = tid % 16;  // of a scalar thread's first result

  for (int step = 0; step < steps; ++step) {
    wait_stages<kStages - 2>();
    if constexpr (Math::kGroup) publish_shared();
    __syncthreads();
    const int ahead = step + kStages - 1, target = ahead % kStages;
    const bool more = ahead < steps;
    // While products are under way.
    const auto fetch_ahead = [&] {
      if (more) fetch_right(target), fetch_left(target);
      close_stage();
    };
    const u32 a_tile = base + step % kStages * kStage, b_tile = a_tile + LhsLoader::kBytes;
    if constexpr (Math::kGroup) {
      static_assert(kTileM == 1 && kChunks == 8 && !LhsLoader::kAcross && !RhsLoader::kAcross);
      const u64 a = tile_descriptor(a_tile + warp_m / 4 * (64 * 128));
      const u64 b = tile_descriptor(b_tile + warp_n * (kN / kWarpsN) * 128);
      group_begin();
      UNROLL for (int q = 0; q < 4 / kWarpsK; ++q) {
        const int at = q * kWarpsK + warp_k;
        Math::multiply(*(float(*)[kTileN * 4]) sums, a + 2 * at, b + 2 * at);
      }
      group_launch();
      fetch_ahead();
      group_wait();
    } else if constexpr (Math::kTensor) {
      constexpr int kSteps = kChunks / 2 / kWarpsK;
      u32 a[2][kTileM][4], b[2][kTileN / 2][4];
      const auto load = [&](int q) {
        const int at = q * kWarpsK + warp_k;  // 32 bytes of k
        UNROLL for (int i = 0; i < kTileM; ++i) {
          const int m_at = (warp_m * kTileM + i) * 16;
          if constexpr (LhsLoader::kAcross)
            load_transposed(a[q % 2][i], a_tile + piece_offset<LhsLoader::kPieces>(
                                                      at * 16 + lane / 16 * 8 + lane % 8,
                                                      m_at / 8 + lane / 8 % 2));
          else
            load_matrices(a[q % 2][i],
                          a_tile + piece_offset<kChunks>(m_at + lane / 8 % 2 * 8 + lane % 8,
                                                         2 * at + lane / 16));
          if constexpr (Math::kRounds) round_to_tf32(a[q % 2][i]);
        }
        UNROLL for (int j = 0; j < kTileN / 2; ++j) {
          const int n_at = (warp_n * kTileN / 2 + j) * 16;
          if constexpr (RhsLoader::kAcross)
            load_transposed(b[q % 2][j], b_tile + piece_offset<RhsLoader::kPieces>(
                                                      at * 16 + lane / 8 % 2 * 8 + lane % 8,
                                                      n_at / 8 + lane / 16));
          else
            load_matrices(b[q % 2][j],
                          b_tile + piece_offset<kChunks>(n_at + lane / 16 * 8 + lane % 8,
                                                         2 * at + lane / 8 % 2));
          if constexpr (Math::kRounds) round_to_tf32(b[q % 2][j]);
        }
      };
      load(0);
      UNROLL for (int q = 0; q < kSteps; ++q) {
        if (q + 1 < kSteps) load(q + 1);
        UNROLL for (int i = 0; i < kTileM; ++i) UNROLL for (int j = 0; j < kTileN; ++j)
            Math::multiply(sums[i][j], a[q % 2][i], b[q % 2][j / 2][j % 2 * 2],
                           b[q % 2][j / 2][j % 2 * 2 + 1]);
        if (q == 0) fetch_ahead();
      }
    } else {
      const u8* a_at = shared + step % kStages * kStage;
      const u8* b_at = a_at + LhsLoader::kBytes;
      fetch_ahead();
      UNROLL for (int c = 0; c < kChunks; ++c) {
        __align__(16) Factor a[kTileM][LhsLoader::kElements];
        __align__(16) Factor b[kTileN][LhsLoader::kElements];
        UNROLL for (int i = 0; i < kTileM; ++i) * (uint4*)a[i] =
            *(const uint4*)(a_at + piece_offset<kChunks>(row + i * 16, c));
        UNROLL for (int j = 0; j < kTileN; ++j) * (uint4*)b[j] =
            *(const uint4*)(b_at + piece_offset<kChunks>(column + j * 16, c));
        UNROLL for (int e = 0; e < LhsLoader::kElements; ++e)
            UNROLL for (int i = 0; i < kTileM; ++i) UNROLL for (int j = 0; j < kTileN; ++j)
                sums[i][j][0] = multiply_add(a[i][e], b[j][e], sums[i][j][0]);
      }
    }
    if (more) keep_right(target), keep_left(target);
  }

  // Partial sums meet in shared memory: of the warps that share k, then of the cluster's blocks.
  // Blocks that start now take what is left of multiprocessors that are still busy. Earlier they
  // would crowd on idle ones: measured, that costs more than it hides.
  trigger_dependents();
  wait_stages<0>();
  __syncthreads();
  constexpr int kPitch = kN + 8;
  Sum* partial = (Sum*)shared;
  UNROLL for (int i = 0; i < kTileM; ++i) UNROLL for (int j = 0; j < kTileN; ++j) {
    if constexpr (Math::kTensor) {
      Sum* at = partial + (warp_k * kM + (warp_m * kTileM + i) * 16 + lane / 4) * kPitch +
                (warp_n * kTileN + j) * 8 + lane % 4 * 2;
      *(float2*)at = make_float2(sums[i][j][0], sums[i][j][1]);
      *(float2*)(at + 8 * kPitch) = make_float2(sums[i][j][2], sums[i][j][3]);
    } else {
      partial[(row + i * 16) * kPitch + column + j * 16] = sums[i][j][0];
    }
  }
  __syncthreads();
  if (blocks > 1) {
    if constexpr (kWarpsK > 1) {  // others read one sum of the block, not one of each warp
      for (int e = tid * 4; e < kM * kN; e += kThreads * 4) {
        Sum* at = partial + e / kN * kPitch + e % kN;
        UNROLL for (int j = 0; j < 4; ++j) UNROLL for (int w = 1; w < kWarpsK; ++w) at[j] =
            op_add(at[j], at[w * kM * kPitch + j]);
      }
    }
    cluster_sync();
  }

  constexpr int kWidth = Epilogue::kWidth;
  constexpr int kVectors = kN / kWidth;
  const int rows = kM / blocks;  // of the tile, that this block completes
  for (int e = tid; e < rows * kVectors; e += kThreads) {
    const int r = rank * rows + (Epilogue::kAlongM ? e % rows : e / kVectors);
    const int c = (Epilogue::kAlongM ? e / rows : e % kVectors) * kWidth;
    if (m0 + r >= m || n0 + c >= n) continue;
    Sum total[kWidth];
    UNROLL for (int j = 0; j < kWidth; ++j) total[j] = 0;
    const auto add = [&](const Sum* from) {
      __align__(16) Sum part[kWidth];
      if constexpr (kWidth * sizeof(Sum) % 16 == 0) {
        UNROLL for (int j = 0; j < kWidth; j += 16 / (int)sizeof(Sum)) * (uint4*)(part + j) =
            *(const uint4*)(from + j);
      } else {
        UNROLL for (int j = 0; j < kWidth; ++j) part[j] = from[j];
      }
      UNROLL for (int j = 0; j < kWidth; ++j) total[j] = op_add(total[j], part[j]);
    };
    const Sum* own = partial + r * kPitch + c;
    if (blocks > 1) {
      _Pragma("unroll 4") for (int b = 0; b < blocks; ++b) add(in_block(own, b));
    } else {
      UNROLL for (int w = 0; w < kWarpsK; ++w) add(own + w * kM * kPitch);
    }
    epilogue(batch, m0 + r, n0 + c, total);
  }
  if (blocks > 1) cluster_sync();  // nobody leaves while others read its sums
}
