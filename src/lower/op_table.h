// The operators that can be lowered, one table a family, each at the end of its file.
#pragma once

#include <span>
#include <string_view>

#include "lower/op_context.h"

namespace onrush {

std::span<const OpRow> elementwise_ops();  // math, logic, activations, Cast, Where, Clip
std::span<const OpRow> tensor_ops();  // Reshape, Slice, Gather, Scatter, Pad, Resize-free movement
std::span<const OpRow> generator_ops();      // Constant, Range, OneHot, EyeLike, random, windows
std::span<const OpRow> reduction_ops();      // Reduce*, ArgMax, Softmax family, CumSum, TopK
std::span<const OpRow> contraction_ops();    // MatMul, Gemm, Einsum, Conv family
std::span<const OpRow> pooling_ops();        // MaxPool, AveragePool, LpPool, Global*, MaxUnpool
std::span<const OpRow> normalization_ops();  // BatchNormalization, LayerNormalization, LRN ...
std::span<const OpRow> attention_ops();      // Attention, RotaryEmbedding, LinearAttention ...
std::span<const OpRow> quantization_ops();   // QuantizeLinear ... QLinearMatMul
std::span<const OpRow> resampling_ops();     // Resize, Upsample, GridSample, AffineGrid, RoiAlign
std::span<const OpRow> recurrent_ops();      // RNN, GRU, LSTM
std::span<const OpRow> signal_ops();         // DFT, STFT, MelWeightMatrix
std::span<const OpRow> structure_ops();      // sequences, optionals
std::span<const OpRow> string_ops();
std::span<const OpRow> selection_ops();  // NonZero, Unique, Compress, NonMaxSuppression
std::span<const OpRow> training_ops();   // losses, ai.onnx.preview.training
std::span<const OpRow> ml_ops();         // domain ai.onnx.ml
std::span<const OpRow> microsoft_ops();  // domain com.microsoft: quantised operators

// The row for an operator; null if there is none. domain "" is ai.onnx.
const OpRow* find_op(std::string_view domain, std::string_view op_type);

}  // namespace onrush
