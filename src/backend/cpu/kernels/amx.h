// The matrix units of x86: eight tile registers of 16 rows of 64 bytes.
#pragma once

#include "backend/cpu/kernels/gemm.h"

#define ONRUSH_AMX __attribute__((target("amx-tile,amx-bf16")))

namespace onrush::cpu {

// Whether this process may use AMX for bf16. Linux gives a process the tile state when it asks;
// threads started later inherit it.
bool has_amx();

// A thread's use of the registers, all of them whole.
void amx_begin();
void amx_end();

// Spreads what tile.next asks for over the steps of k.
class Prefetch {
 public:
  Prefetch(const GemmTile& tile, int64_t steps)
      : at_(static_cast<const char*>(tile.next)),
        end_(at_ + tile.next_bytes),
        step_(steps == 0 ? 0 : (tile.next_bytes / steps + 127) / 64 * 64) {}
  void step() {
    const char* until = at_ + step_ < end_ ? at_ + step_ : end_;
    for (; at_ < until; at_ += 64) __builtin_prefetch(at_, 0, 2);
  }

 private:
  const char *at_, *end_;
  int64_t step_;
};

}  // namespace onrush::cpu
