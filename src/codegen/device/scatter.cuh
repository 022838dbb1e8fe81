// Updates that meet at one element of the result: which of them counts, or in which order they are
// combined.
#pragma once

// --- memory as bits

// In pieces of 16 bytes where both addresses are multiples of that.
__device__ inline void copy_bytes(const void* from, void* to, i64 bytes) {
  const i64 pieces = ((u64)from | (u64)to) % 16 ? 0 : bytes / 16;
  for (i64 i = first_element(); i < pieces; i += grid_step())
    ((uint4*)to)[i] = ((const uint4*)from)[i];
  for (i64 i = pieces * 16 + first_element(); i < bytes; i += grid_step())
    ((u8*)to)[i] = ((const u8*)from)[i];
}

template <class T>
__device__ inline u64 bits_of(T x) {
  if constexpr (sizeof(T) == 1) return *(const u8*)&x;
  else if constexpr (sizeof(T) == 2) return *(const u16*)&x;
  else if constexpr (sizeof(T) == 4) return *(const u32*)&x;
  else return *(const u64*)&x;
}
template <class T>
__device__ inline T of_bits(u64 bits) {
  T x;
  if constexpr (sizeof(T) == 1) *(u8*)&x = (u8)bits;
  else if constexpr (sizeof(T) == 2) *(u16*)&x = (u16)bits;
  else if constexpr (sizeof(T) == 4) *(u32*)&x = (u32)bits;
  else *(u64*)&x = bits;
  return x;
}

__device__ inline u32 exchange_if(u32* p, u32 expected, u32 wanted) {
  return atomicCAS(p, expected, wanted);
}
__device__ inline u64 exchange_if(u64* p, u64 expected, u64 wanted) {
  return atomicCAS(p, expected, wanted);
}

template <int kBits>
struct WordOf {
  using type = u32;
};
template <>
struct WordOf<64> {
  using type = u64;
};

// Replaces the bits of element `at`, kBits wide, by change(bits), as one step to all other threads.
template <int kBits, class Change>
__device__ void change_element(void* memory, i64 at, Change change) {
  using Word = typename WordOf<kBits>::type;
  const u64 byte = (u64)memory + (u64)at * kBits / 8;
  Word* word = (Word*)(byte & ~(u64)(sizeof(Word) - 1));
  const int shift = kBits >= 32 ? 0 : (int)(byte & 3) * 8 + (int)((u64)at * kBits % 8);
  const Word mask = (Word)(~0ull >> (64 - kBits));
  Word seen = *(volatile Word*)word;
  while (true) {
    const Word changed = (Word)change((u64)(seen >> shift & mask));
    const Word next = (Word)((seen & (Word) ~(mask << shift)) | (changed & mask) << shift);
    if (next == seen) return;
    const Word before = exchange_if(word, seen, next);
    if (before == seen) return;
    seen = before;
  }
}

// --- of the updates of one element, the last

// A hash table from an element of the result to the last update that reaches it.
struct Owners {
  uindex* targets;  // all ones: a free slot
  uindex* last;
  uindex mask;

  // For `count` updates: 2 to 4 slots for each. The host computes its size alike.
  __device__ Owners(void* memory, index count) {
    uindex slots = 2;
    while (slots < 2 * (uindex)count) slots *= 2;
    targets = (uindex*)memory;
    last = targets + slots;
    mask = slots - 1;
  }
  __device__ uindex slot_of(uindex target) const {
    return (uindex)((u64)target * 0x9e3779b97f4a7c15ull >> 32) & mask;
  }
  __device__ void clear() const {
    for (i64 i = first_element(); i <= (i64)mask; i += grid_step())
      targets[i] = ~(uindex)0, last[i] = 0;
  }
  __device__ void claim(uindex target, uindex update) const {
    for (uindex slot = slot_of(target);; slot = (slot + 1) & mask) {
      const uindex before = exchange_if(targets + slot, ~(uindex)0, target);
      if (before != ~(uindex)0 && before != target) continue;
      atomicMax(last + slot, update);
      return;
    }
  }
  // REQUIRES that the target was claimed.
  __device__ uindex owner(uindex target) const {
    uindex slot = slot_of(target);
    while (targets[slot] != target) slot = (slot + 1) & mask;
    return last[slot];
  }
};
