// Running sums and products along lines of elements.
//
// A line's elements are `step` apart in memory. Lines are cut into chunks that are computed side by
// side: the totals of the chunks, the running totals, the chunks' elements. What is added to what
// depends on the extent alone, so results are the same in every run.
//
// Where lines lie side by side in memory a thread computes a chunk of one, else a block does.
#pragma once

constexpr int kScanThreads = 256, kScanElements = 8;
constexpr int kRowChunk = kScanThreads * kScanElements;  // the host knows these three, too
constexpr int kColumnChunk = 128;
constexpr int kFewestColumns = 32;

struct ScanLines {
  index lines, extent, inner;  // `inner` neighbouring lines lie side by side
  bool reverse;

  __device__ bool columns() const { return inner >= kFewestColumns; }
  __device__ index chunk() const { return columns() ? kColumnChunk : kRowChunk; }
  __device__ index chunks() const { return (extent + chunk() - 1) / chunk(); }
  __device__ index first(index line) const {
    const index outer = line / inner;
    return (outer * extent + (reverse ? extent - 1 : 0)) * inner + (line - outer * inner);
  }
  __device__ index step() const { return reverse ? -inner : inner; }
  // Of a chunk's total in the workspace.
  __device__ i64 total(index line, index chunk) const {
    return columns() ? (i64)chunk * lines + line : (i64)line * chunks() + chunk;
  }
  __device__ index end(index begin) const {
    return extent - begin < chunk() ? extent : begin + chunk();
  }
};

// What the values of the threads before this one combine to, and those of all in `all`.
template <class Combine, class T>
__device__ T combine_before(T x, T identity, T& all) {
  __shared__ T totals[kScanThreads / 32];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  T sum = x;
  UNROLL for (int distance = 1; distance < 32; distance *= 2) {
    const T other = __shfl_up_sync(0xffffffffu, sum, distance);
    if (lane >= distance) sum = Combine::apply(other, sum);
  }
  __syncthreads();
  if (lane == 31) totals[warp] = sum;
  __syncthreads();
  const T neighbour = __shfl_up_sync(0xffffffffu, sum, 1);
  T before = identity;
  all = identity;
  UNROLL for (int i = 0; i < kScanThreads / 32; ++i) {
    if (i == warp) before = all;
    all = Combine::apply(all, totals[i]);
  }
  return lane ? Combine::apply(before, neighbour) : before;
}

// A block's work: elements begin to end of a line, which follow `carry`. Gives what all combine to.
template <class Combine, bool kExclusive, class T, class Read, class Write>
__device__ T scan_row(index begin, index end, T carry, T identity, Read read, Write write) {
  for (index at = begin; at < end; at += kRowChunk) {
    const index mine = at + (index)threadIdx.x * kScanElements;
    T x[kScanElements], sum = identity, all;
    UNROLL for (int j = 0; j < kScanElements; ++j) {
      x[j] = mine + j < end ? read(mine + j) : identity;
      sum = Combine::apply(sum, x[j]);
    }
    sum = Combine::apply(carry, combine_before<Combine>(sum, identity, all));
    UNROLL for (int j = 0; j < kScanElements; ++j) {
      const T next = Combine::apply(sum, x[j]);
      if (mine + j < end) write(mine + j, kExclusive ? sum : next);
      sum = next;
    }
    carry = Combine::apply(carry, all);
  }
  return carry;
}
// A thread's.
template <class Combine, bool kExclusive, class T, class Read, class Write>
__device__ T scan_column(index begin, index end, T carry, Read read, Write write) {
  UNROLL_4 for (index at = begin; at < end; ++at) {
    const T next = Combine::apply(carry, read(at));
    write(at, kExclusive ? carry : next);
    carry = next;
  }
  return carry;
}

// Calls work(line, chunk) for this thread's (block's) part of all chunks, or of all lines.
template <class Work>
__device__ void each_chunk(const ScanLines& l, index chunks, Work work) {
  const index all = l.lines * chunks;
  if (l.columns())
    for (index w = (index)first_element(); w < all; w += (index)grid_step())
      work(w % l.lines, w / l.lines);
  else
    for (index w = (index)blockIdx.x; w < all; w += (index)gridDim.x) work(w / chunks, w % chunks);
}
template <class Combine, bool kExclusive, class T, class Read, class Write>
__device__ T scan_part(const ScanLines& l, index begin, index end, T carry, T identity, Read read,
                       Write write) {
  if (l.columns()) return scan_column<Combine, kExclusive>(begin, end, carry, read, write);
  return scan_row<Combine, kExclusive>(begin, end, carry, identity, read, write);
}

// The totals of all chunks: read(address) gives elements.
template <class Combine, class T, class Read>
__device__ void scan_totals(ScanLines l, T* totals, T identity, Read read) {
  each_chunk(l, l.chunks(), [&](index line, index chunk) {
    const index first = l.first(line), begin = chunk * l.chunk();
    totals[l.total(line, chunk)] = scan_part<Combine, false>(
        l, begin, l.end(begin), identity, identity,
        [&](index i) { return read(first + i * l.step()); }, [](index, T) {});
  });
}
// Totals become those of all elements up to the chunk's end.
template <class Combine, class T>
__device__ void scan_running_totals(ScanLines l, T* totals, T identity) {
  each_chunk(l, 1, [&](index line, index) {
    scan_part<Combine, false>(
        l, 0, l.chunks(), identity, identity, [&](index i) { return totals[l.total(line, i)]; },
        [&](index i, T sum) { totals[l.total(line, i)] = sum; });
  });
}
template <class Combine, bool kExclusive, class T, class Read, class Write>
__device__ void scan_elements(ScanLines l, const T* totals, T identity, Read read, Write write) {
  each_chunk(l, l.chunks(), [&](index line, index chunk) {
    const index first = l.first(line), begin = chunk * l.chunk();
    scan_part<Combine, kExclusive>(
        l, begin, l.end(begin), chunk ? totals[l.total(line, chunk - 1)] : identity, identity,
        [&](index i) { return read(first + i * l.step()); },
        [&](index i, T sum) { write(first + i * l.step(), sum); });
  });
}
