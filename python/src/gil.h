// The global interpreter lock.
#pragma once

#include <Python.h>
#include <cxxabi.h>
#include <unistd.h>

namespace onrush::python {

// Lets other Python threads run for as long as it lives. REQUIRES that this thread holds the GIL.
//
// A thread that wants the GIL back while the interpreter is ending gets it no more: Python before
// 3.14 unwinds the thread, which C++ does not survive (the process would abort). Such a thread
// sleeps here until the process is gone, as with later versions of Python.
class ReleasedGil {
 public:
  ReleasedGil() : state_(PyEval_SaveThread()) {}
  ReleasedGil(const ReleasedGil&) = delete;
  ReleasedGil& operator=(const ReleasedGil&) = delete;
  ~ReleasedGil() {
    try {
      PyEval_RestoreThread(state_);
    } catch (const abi::__forced_unwind&) {
      for (;;) ::pause();
    }
  }

 private:
  PyThreadState* state_;
};

}  // namespace onrush::python
