// Scratch memory of runs.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include <onrush/tensor.h>

namespace onrush::cpu {

// Arenas that pass from run to run, whatever the plan and the sizes, so that a new size finds pages
// that are there already. As many as runs at the same time ever needed. Thread safe.
class Arenas {
 public:
  // An arena of at least so many bytes, aligned to 64, with any contents, for as long as it lives.
  class Loan {
   public:
    Loan(Arenas& arenas, int64_t bytes)
        : arenas_(arenas), memory_(bytes ? arenas.take(bytes) : Tensor()) {}
    ~Loan() {
      if (memory_) arenas_.give_back(std::move(memory_));
    }
    Loan(const Loan&) = delete;
    Loan& operator=(const Loan&) = delete;
    char* address() const { return memory_ ? static_cast<char*>(memory_.data()) : no_bytes_; }

   private:
    alignas(64) inline static char no_bytes_[64];
    Arenas& arenas_;
    Tensor memory_;  // none for 0 bytes
  };

  size_t bytes() const { return bytes_; }  // of all, lent or not

 private:
  Tensor take(int64_t bytes);
  void give_back(Tensor arena);

  std::mutex mutex_;
  std::vector<Tensor> idle_;
  std::atomic<size_t> bytes_{0};
};

}  // namespace onrush::cpu
