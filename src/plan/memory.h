// Places buffers with known lifetimes in one arena.
#pragma once

#include <cstdint>
#include <vector>

namespace onrush {

struct BufferLife {
  int64_t bytes;
  int first, last;     // steps that write it first and read it last
  int64_t offset = 0;  // result: a multiple of 64
};

// Buffers that live at the same time do not overlap. Gives the arena's size in bytes. Time grows
// with the number of buffers times the number alive at once.
int64_t pack(std::vector<BufferLife>& buffers);

}  // namespace onrush
