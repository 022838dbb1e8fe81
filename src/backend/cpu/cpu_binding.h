// A plan of the CPU backend at concrete sizes.
#pragma once

#include <memory>
#include <vector>

#include "backend/cpu/cpu_executable.h"

namespace onrush::cpu {

std::shared_ptr<const Binding> make_binding(std::shared_ptr<const CpuExecutable> executable,
                                            SizeTable sizes);

// Runs one step whose operands are all prepared; gives its group's outputs.
std::vector<Tensor> run_once(const CpuExecutable& executable, const Step& step,
                             const SizeTable& sizes);

}  // namespace onrush::cpu
