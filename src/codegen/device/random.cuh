// The generator of Op::random_bits: the numbers of reference/philox.h.
#pragma once

// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011: Philox4x32-10.
__device__ inline u32 philox(u64 seed, u64 stream, u64 at) {
  u32 c0 = (u32)at, c1 = (u32)(at >> 32), c2 = (u32)stream, c3 = (u32)(stream >> 32);
  u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
  UNROLL for (int round = 0; round < 10; ++round) {
    const u64 a = 0xD2511F53ull * c0, b = 0xCD9E8D57ull * c2;
    c0 = (u32)(b >> 32) ^ c1 ^ k0, c1 = (u32)b;
    c2 = (u32)(a >> 32) ^ c3 ^ k1, c3 = (u32)a;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return c0;
}

// The next seed of a run's own sequence, which lies behind the error flag; by one thread.
__device__ inline void draw_seed(u64* seed, u32* error) {
  u64* next = (u64*)(error + 2);
  *seed = *next;
  *next += 0xd1342543de82ef95ull;  // not the step between the first seeds of runs side by side
}
