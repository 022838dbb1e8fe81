// Attention of one block of queries: softmax(score(q k)) v, without the scores in memory.
//
// The keys pass by in tiles; the maximum and the sum of each row's exponentials are corrected as
// they come (Dao, "FlashAttention-2", 2023). A warp has 16 queries. kWarpsQ warps have queries of
// their own; kWarpsK warps share queries and take turns with the keys, and join their results at
// the end.
#pragma once

// kKeys: of a warp's tile. kDepth: elements of a query, kWidth: of a value, both padded to powers
// of two. kNanToZero: rows without any key give zeros.
template <class Math, int kWarpsQ, int kWarpsK, int kKeys, int kDepth, int kWidth, bool kNanToZero,
          class Query, class Key, class Value, class Score, class Epilogue>
__device__ inline void attend(const Query& query, const Key& key, const Value& value,
                              const Score& score, const Epilogue& epilogue, index batch, index tile,
                              index m, index n, index width) {
  typedef typename Math::Factor Factor;
  constexpr int kThreads = 32 * kWarpsQ * kWarpsK, kRows = 16 * kWarpsQ;
  constexpr int kTile = kKeys * kWarpsK;  // keys that the block has at once
  typedef Loader<Query, Factor, kRows, kDepth / 8, kThreads> QueryLoader;
  typedef Loader<Key, Factor, kTile, kDepth / 8, kThreads> KeyLoader;
  typedef Loader<Value, Factor, kWidth, kTile / 8, kThreads> ValueLoader;
  static_assert(!QueryLoader::kAcross && !KeyLoader::kAcross);
  constexpr int kStage = KeyLoader::kBytes + ValueLoader::kBytes;
  extern __shared__ __align__(1024) u8 shared[];
  u8* stages = shared + QueryLoader::kBytes;
  const u32 base = shared_address(shared), stage_base = base + QueryLoader::kBytes;
  const int tid = (int)threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int warp_k = warp % kWarpsK, warp_q = warp / kWarpsK;
  const index m0 = tile * kRows;
  const int tiles = (int)((n + kTile - 1) / kTile);

  ValueLoader values(value, batch, 0, 0);
  const auto fetch = [&](int t) {
    const int at = t % 2 * kStage;
    KeyLoader keys(key, batch, (index)t * kTile, 0);
    keys.fetch(stage_base + at);
    values.fetch(stage_base + at + KeyLoader::kBytes);
    keys.keep(stages + at);
    values.keep(stages + at + KeyLoader::kBytes);
    close_stage();
  };
  begin_dependent();
  {
    QueryLoader queries(query, batch, m0, 0);
    queries.fetch(base);
    queries.keep(shared);
  }
  fetch(0);

  u32 q[kDepth / 16][4];
  float out[kWidth / 8][4];
  UNROLL for (int j = 0; j < kWidth / 8; ++j) UNROLL for (int e = 0; e < 4; ++e) out[j][e] = 0;
  const float kLowest = as_float(0xff800000u);
  float highest[2] = {kLowest, kLowest}, sum[2] = {0, 0};  // of rows lane / 4 and lane / 4 + 8
  const index row = m0 + warp_q * 16 + lane / 4;

  // Takes in the keys of a warp's tile from `first` on; kWhole: all of them exist.
  const auto take = [&]<bool kWhole>(u32 k_tile, u32 v_tile, index first) {
    const auto absent = [&](int piece) { return !kWhole && first + piece * 16 >= n; };
    float s[kKeys / 8][4];
    UNROLL for (int j = 0; j < kKeys / 8; ++j) UNROLL for (int e = 0; e < 4; ++e) s[j][e] = 0;
    UNROLL for (int j = 0; j < kKeys / 16; ++j) {
      if (absent(j)) continue;
      UNROLL for (int d = 0; d < kDepth / 16; ++d) {
        u32 b[4];
        load_matrices(
            b, k_tile + piece_offset<kDepth / 8>(warp_k * kKeys + j * 16 + lane / 16 * 8 + lane % 8,
                                                 2 * d + lane / 8 % 2));
        Math::multiply(s[2 * j], q[d], b[0], b[1]);
        Math::multiply(s[2 * j + 1], q[d], b[2], b[3]);
      }
    }
    float top[2] = {kLowest, kLowest};
    UNROLL for (int j = 0; j < kKeys / 8; ++j) UNROLL for (int e = 0; e < 4; ++e) {
      const index query_row = row + e / 2 * 8, column = first + j * 8 + lane % 4 * 2 + e % 2;
      s[j][e] = kWhole || column < n
                    ? score(batch, query_row < m ? query_row : m - 1, column, s[j][e])
                    : kLowest;
      top[e / 2] = op_max(top[e / 2], s[j][e]);
    }
    // Exponentials are powers of two: of scores times log2(e).
    constexpr float kLog2E = 1.4426950408889634f;
    float shift[2];
    UNROLL for (int r = 0; r < 2; ++r) {
      top[r] = op_max(top[r], shuffle(top[r], 1));
      top[r] = op_max(top[r], shuffle(top[r], 2));
      const float now = op_max(highest[r], top[r]);
      // Where nothing is left of a row the difference is no number.
      shift[r] = now == kLowest ? 0.0f : now * kLog2E;
      const float fade = power_of_two(multiply_add(highest[r], kLog2E, -shift[r]));
      highest[r] = now;
      sum[r] *= fade;
      UNROLL for (int j = 0; j < kWidth / 8; ++j) out[j][2 * r] *= fade, out[j][2 * r + 1] *= fade;
    }
    UNROLL for (int k = 0; k < kKeys / 16; ++k) {
      if (absent(k)) continue;
      u32 p[4];  // rounded to the factors' type, in pairs
      UNROLL for (int i = 0; i < 4; ++i) {
        const float* of = s[2 * k + i / 2] + i % 2 * 2;
        const float x = power_of_two(multiply_add(of[0], kLog2E, -shift[i % 2])),
                    y = power_of_two(multiply_add(of[1], kLog2E, -shift[i % 2]));
        sum[i % 2] += x + y;
        p[i] = Math::pair(x, y);
      }
      const int line = warp_k * kKeys + k * 16;
      UNROLL for (int j = 0; j < kWidth / 16; ++j) {
        u32 b[4];
        if constexpr (ValueLoader::kAcross)
          load_transposed(b, v_tile + piece_offset<ValueLoader::kPieces>(
                                          line + lane / 8 % 2 * 8 + lane % 8, j * 2 + lane / 16));
        else
          load_matrices(
              b, v_tile + piece_offset<ValueLoader::kPieces>(j * 16 + lane / 16 * 8 + lane % 8,
                                                             line / 8 + lane / 8 % 2));
        Math::multiply(out[2 * j], p, b[0], b[1]);
        Math::multiply(out[2 * j + 1], p, b[2], b[3]);
      }
    }
  };

  const bool active = m0 + warp_q * 16 < m;  // the warp has queries
  for (int t = 0; t < tiles; ++t) {
    if (t + 1 < tiles) {
      fetch(t + 1);
      wait_stages<1>();
    } else {
      wait_stages<0>();
    }
    __syncthreads();
    if (t == 0) {
      UNROLL for (int d = 0; d < kDepth / 16; ++d) load_matrices(
          q[d], base + piece_offset<kDepth / 8>(warp_q * 16 + lane / 8 % 2 * 8 + lane % 8,
                                                2 * d + lane / 16));
    }
    const u32 k_tile = stage_base + t % 2 * kStage, v_tile = k_tile + KeyLoader::kBytes;
    const index first = (index)t * kTile + warp_k * kKeys;
    if (active && first + kKeys <= n) take.template operator()<true>(k_tile, v_tile, first);
    else if (active && first < n) take.template operator()<false>(k_tile, v_tile, first);
    __syncthreads();
  }

  // Results meet in shared memory, with the maximum and the sum of each row.
  constexpr int kPitch = kWidth + 8;
  float* partial = (float*)shared;
  float* tops = partial + kWarpsK * kRows * kPitch;
  float* sums = tops + kWarpsK * kRows;
  UNROLL for (int r = 0; r < 2; ++r) {
    sum[r] += shuffle(sum[r], 1);
    sum[r] += shuffle(sum[r], 2);
    const int row = warp_k * kRows + warp_q * 16 + lane / 4 + r * 8;
    if (lane % 4 == 0) tops[row] = highest[r], sums[row] = sum[r];
    UNROLL for (int j = 0; j < kWidth / 8; ++j) *
        (float2*)(partial + row * kPitch + j * 8 + lane % 4 * 2) =
        make_float2(out[j][2 * r], out[j][2 * r + 1]);
  }
  __syncthreads();
  constexpr int kLanes = Epilogue::kWidth, kVectors = kWidth / kLanes;
  for (int e = tid; e < kRows * kVectors; e += kThreads) {
    const int r = Epilogue::kAlongM ? e % kRows : e / kVectors;
    const int c = (Epilogue::kAlongM ? e / kRows : e % kVectors) * kLanes;
    if (m0 + r >= m || c >= width) continue;
    float top = tops[r];
    UNROLL for (int w = 1; w < kWarpsK; ++w) top = op_max(top, tops[w * kRows + r]);
    float all = 0, total[kLanes];
    UNROLL for (int j = 0; j < kLanes; ++j) total[j] = 0;
    UNROLL for (int w = 0; w < kWarpsK; ++w) {
      const float own = tops[w * kRows + r];
      const float share = own == kLowest ? 0.0f : __expf(own - top);
      all += share * sums[w * kRows + r];
      UNROLL for (int j = 0; j < kLanes; ++j) total[j] +=
          share * partial[(w * kRows + r) * kPitch + c + j];
    }
    // A row whose scores are all minus infinity has no softmax.
    const bool empty = all == 0 || all != all;
    const float inverse = kNanToZero && empty ? 0.0f : 1 / all;
    UNROLL for (int j = 0; j < kLanes; ++j) total[j] =
        kNanToZero && empty ? 0.0f : total[j] * inverse;
    epilogue(batch, m0 + r, (index)c, total);
  }
}
