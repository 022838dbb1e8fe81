// Sorting of rows by merging: tiles in shared memory, then runs of tiles, pair by pair.
//
// An entry is a key of the order and the position in its row, which makes all entries of a row
// distinct: the order is total, and equal values keep theirs.
#pragma once

constexpr int kSortTile = 2048;  // the host knows it, too

// --- values as keys: NaN is the largest, the two zeros are equal

__device__ inline u32 sort_key(int x) { return (u32)x ^ 0x80000000u; }
__device__ inline u64 sort_key(i64 x) { return (u64)x ^ 0x8000000000000000ull; }
__device__ inline u64 sort_key(u64 x) { return x; }
__device__ inline u32 sort_key(float x) {
  if (x != x) return 0xffffffffu;
  const u32 bits = x == 0 ? 0 : as_bits(x);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ inline u64 sort_key(double x) {
  if (x != x) return ~0ull;
  const u64 bits = x == 0 ? 0 : (u64)__double_as_longlong(x);
  return bits >> 63 ? ~bits : bits | 0x8000000000000000ull;
}

// --- entries: one word where key and position have 32 bits each

struct WideEntry {
  u64 key, at;
};
template <int kKeyBits>
struct EntryOf {
  using type = WideEntry;
};
#if !ONRUSH_WIDE_INDEX
template <>
struct EntryOf<32> {
  using type = u64;
};
#endif
__device__ inline void make_entry(u64& entry, u64 key, index at) { entry = key << 32 | (u32)at; }
__device__ inline void make_entry(WideEntry& entry, u64 key, index at) { entry = {key, (u64)at}; }
__device__ inline void make_last(u64& entry) { entry = ~0ull; }
__device__ inline void make_last(WideEntry& entry) { entry = {~0ull, ~0ull}; }
__device__ inline u64 key_of(u64 entry) { return entry >> 32; }
__device__ inline u64 key_of(WideEntry entry) { return entry.key; }
__device__ inline index place_of(u64 entry) { return (index)(u32)entry; }
__device__ inline index place_of(WideEntry entry) { return (index)entry.at; }
__device__ inline bool before(u64 a, u64 b) { return a < b; }
__device__ inline bool before(WideEntry a, WideEntry b) {
  return a.key < b.key || (a.key == b.key && a.at < b.at);
}

// --- rows cut into runs, of which the first `limit` entries are kept

struct Runs {
  index extent, limit, tiles;

  __device__ Runs(index row_extent, index row_limit)
      : extent(row_extent), limit(row_limit), tiles((row_extent + kSortTile - 1) / kSortTile) {}
  __device__ index kept(i64 entries) const { return entries < limit ? (index)entries : limit; }
  __device__ index row_entries() const { return tiles * kept(kSortTile); }  // of the workspace
  // Run `run` after `pass` passes: where it begins in its row's entries, and how many it has.
  __device__ index begin(int pass, index run) const { return run * kept((i64)kSortTile << pass); }
  __device__ index size(int pass, index run) const {
    const i64 length = (i64)kSortTile << pass, left = extent - run * length;
    return left <= 0 ? 0 : kept(left < length ? left : length);
  }
  // Which half of the workspace holds the runs after a pass.
  __device__ int half(int pass) const { return pass & 1; }
  __device__ int passes() const {
    int count = 0;
    while (((i64)kSortTile << count) < extent) ++count;
    return count;
  }
};

// Spans of `span` entries, a power of two, in ascending order: a bitonic network.
template <class Entry>
__device__ void sort_spans(Entry* entries, int span) {
  for (int block = 2; block <= span; block *= 2)
    for (int distance = block / 2; distance; distance /= 2) {
      __syncthreads();
      for (int pair = threadIdx.x; pair < kSortTile / 2; pair += blockDim.x) {
        const int i = 2 * pair - (pair & (distance - 1)), j = i + distance;
        const bool ascending = (i & block & (span - 1)) == 0;
        const Entry a = entries[i], b = entries[j];
        if (before(b, a) == ascending) entries[i] = b, entries[j] = a;
      }
    }
  __syncthreads();
}

// Sorts tiles of rows. key(row, at) gives keys. Rows of one tile are finished: emit(row, rank,
// entry) is called for the first `limit`. Others become runs in the workspace.
template <class Entry, class Key, class Emit>
__device__ void sort_tiles(index rows, Runs runs, void* workspace, Key key, Emit emit) {
  __shared__ Entry entries[kSortTile];
  int log_span = 1;
  while (log_span < 11 && (1 << log_span) < runs.extent) ++log_span;
  const int span = 1 << log_span, spans = kSortTile >> log_span;
  const index all = rows * runs.tiles;
  for (index first = (index)blockIdx.x * spans; first < all; first += (index)gridDim.x * spans) {
    for (int i = threadIdx.x; i < kSortTile; i += blockDim.x) {
      const index tile = first + (i >> log_span), row = tile / runs.tiles;
      const index at = (tile - row * runs.tiles) * kSortTile + (i & (span - 1));
      if (tile < all && at < runs.extent) make_entry(entries[i], key(row, at), at);
      else make_last(entries[i]);
    }
    sort_spans(entries, span);
    for (int i = threadIdx.x; i < kSortTile; i += blockDim.x) {
      const index tile = first + (i >> log_span), row = tile / runs.tiles;
      const index run = tile - row * runs.tiles, rank = i & (span - 1);
      if (tile >= all || rank >= runs.size(0, run)) continue;
      if (runs.tiles == 1) emit(row, rank, entries[i]);
      else ((Entry*)workspace)[row * runs.row_entries() + runs.begin(0, run) + rank] = entries[i];
    }
    __syncthreads();
  }
}

// How many of the first `count` entries of two sorted runs together come from `a`.
template <class Entry>
__device__ index split_of(const Entry* a, index size_a, const Entry* b, index size_b, index count) {
  index low = count > size_b ? count - size_b : 0, high = count < size_a ? count : size_a;
  while (low < high) {
    const index middle = low + (high - low) / 2;
    if (before(a[middle], b[count - 1 - middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}
// How many of `entries`, sorted, come before `entry`.
template <class Entry>
__device__ int rank_of(Entry entry, const Entry* entries, int count) {
  int low = 0, high = count;
  while (low < high) {
    const int middle = (low + high) / 2;
    if (before(entries[middle], entry)) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Merges pairs of neighbouring runs; the last pass finishes each row, as above. A block merges
// kSortTile entries at a time: it finds which ones, and each finds its place among the others.
template <class Entry, class Emit>
__device__ void merge_runs(int pass, index rows, Runs runs, void* workspace, Emit emit) {
  __shared__ Entry entries[kSortTile];
  __shared__ index splits[2];
  const i64 half_entries = (i64)rows * runs.row_entries();
  const Entry* from = (const Entry*)workspace + runs.half(pass) * half_entries;
  Entry* to = (Entry*)workspace + runs.half(pass + 1) * half_entries;
  const i64 length = (i64)kSortTile << (pass + 1);
  const index pairs = (index)((runs.extent + length - 1) / length);
  const index windows = (runs.kept(length) + kSortTile - 1) / kSortTile;  // of a pair
  const bool last = pairs == 1;
  const index all = rows * pairs * windows;
  for (index piece = (index)blockIdx.x; piece < all; piece += (index)gridDim.x) {
    const index row = piece / (pairs * windows), rest = piece - row * (pairs * windows);
    const index pair = rest / windows, window = rest - pair * windows;
    const index size = runs.size(pass + 1, pair), first = window * kSortTile;
    if (first >= size) continue;
    const index end = size - first < kSortTile ? size : first + kSortTile;
    const Entry* a = from + row * runs.row_entries() + runs.begin(pass, 2 * pair);
    const Entry* b = from + row * runs.row_entries() + runs.begin(pass, 2 * pair + 1);
    const index size_a = runs.size(pass, 2 * pair), size_b = runs.size(pass, 2 * pair + 1);
    if (threadIdx.x < 2)
      splits[threadIdx.x] = split_of(a, size_a, b, size_b, threadIdx.x ? end : first);
    __syncthreads();
    const index begin_a = splits[0], begin_b = first - begin_a;
    const int count_a = (int)(splits[1] - begin_a), count = (int)(end - first);
    for (int i = threadIdx.x; i < count; i += blockDim.x)
      entries[i] = i < count_a ? a[begin_a + i] : b[begin_b + i - count_a];
    __syncthreads();
    Entry* merged = to + row * runs.row_entries() + runs.begin(pass + 1, pair);
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
      const Entry entry = entries[i];
      const int rank = i < count_a ? i + rank_of(entry, entries + count_a, count - count_a)
                                   : i - count_a + rank_of(entry, entries, count_a);
      if (last) emit(row, first + rank, entry);
      else merged[first + rank] = entry;
    }
    __syncthreads();
  }
}
