// Tables of families that are spread over several files; op_table.h has the joined ones.
#pragma once

#include <span>

#include "lower/op_context.h"

namespace onrush {

// elementwise_ops()
std::span<const OpRow> arithmetic_ops();  // elementwise_arithmetic.cpp
std::span<const OpRow> activation_ops();  // elementwise_activation.cpp
std::span<const OpRow> cast_ops();        // elementwise_cast.cpp

// generator_ops()
std::span<const OpRow> random_ops();  // generator_random.cpp

// reduction_ops()
std::span<const OpRow> softmax_ops();  // reduction_softmax.cpp
std::span<const OpRow> ordered_ops();  // reduction_ordered.cpp

// ml_ops()
std::span<const OpRow> ml_linear_ops();  // ml_linear.cpp
std::span<const OpRow> ml_svm_ops();     // ml_svm.cpp
std::span<const OpRow> ml_tree_ops();    // ml_tree.cpp

}  // namespace onrush
