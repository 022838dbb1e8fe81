#include "backend/cuda/cudnn_graph.h"

#include <fmt/format.h>

namespace onrush::cuda {
namespace {

constexpr uint32_t kMostTensorAlignment = 16;  // that an engine asks for

int type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return cudnn::r_32f;
    case DType::f16: return cudnn::r_16f;
    case DType::bf16: return cudnn::r_16bf;
    default: internal_error("a convolution of a type that cuDNN is not asked for");
  }
}

uint32_t alignment_of(const Convolution::Tensor& tensor) {
  return alignment_at(tensor.offset * static_cast<int64_t>(byte_size(tensor.dtype, 1)),
                      kMostTensorAlignment);
}

}  // namespace

CudnnGraph::CudnnGraph(const CudnnApi& api, CudnnHandle handle, const ConvolutionShape& shape)
    : api_(api), form_(shape.form), graph_(api, cudnn::operation_graph) {
  left_ = (form_.scale != 1) + form_.addend.has_value() + (shape.bias != 0) + form_.relu;
  convolve();
  if (form_.scale != 1) combine(cudnn::mul, value(CudnnId::scale));
  if (form_.addend) combine(cudnn::add, tensor(CudnnId::addend, *form_.addend));
  if (shape.bias) {
    Convolution::Tensor vector{{}, form_.result.dtype, 0, {}, {}};
    vector.extents.assign(form_.result.extents.size(), 1);
    vector.extents[1] = form_.result.extents[1];
    vector.strides.assign(form_.result.extents.size(), vector.extents[1]);
    vector.strides[1] = 1;
    combine(cudnn::add,
            tensor(CudnnId::bias, vector,
                   alignment_at(static_cast<int64_t>(shape.bias), kMostTensorAlignment)));
  }
  if (form_.relu) combine(cudnn::relu, std::nullopt);
  graph_.set(cudnn::graph_operations, operations_);
  graph_.set(cudnn::graph_handle, cudnn::type_handle, handle);
  graph_.finish();
}

CudnnObject CudnnGraph::described(CudnnId id, int type, const std::vector<int64_t>& extents,
                                  const std::vector<int64_t>& strides, uint32_t alignment) {
  CudnnObject made(api_, cudnn::tensor);
  made.set(cudnn::tensor_id, cudnn::type_int64, static_cast<int64_t>(id));
  made.set(cudnn::tensor_type, cudnn::type_data_type, type);
  made.set(cudnn::tensor_extents, extents);
  made.set(cudnn::tensor_strides, strides);
  made.set(cudnn::tensor_alignment, cudnn::type_int64, int64_t{alignment});
  text_ += fmt::format("{} {} {} {} {}\n", static_cast<int64_t>(id), type, fmt::join(extents, ","),
                       fmt::join(strides, ","), alignment);
  return made;
}

size_t CudnnGraph::tensor(CudnnId id, const Convolution::Tensor& from) {
  return tensor(id, from, alignment_of(from));
}

size_t CudnnGraph::tensor(CudnnId id, const Convolution::Tensor& from, uint32_t alignment) {
  return add(described(id, type_of(from.dtype), from.extents, from.strides, alignment));
}

size_t CudnnGraph::value(CudnnId id) {
  const std::vector<int64_t> ones(form_.result.extents.size(), 1);
  CudnnObject made = described(id, cudnn::r_32f, ones, ones, sizeof(float));
  made.set(cudnn::tensor_is_value, cudnn::type_boolean, true);
  return add(std::move(made));
}

size_t CudnnGraph::next() {
  if (left_ == 0) return tensor(CudnnId::result, form_.result);
  --left_;
  CudnnObject made =
      described(CudnnId{static_cast<int64_t>(CudnnId::first_between) + left_}, cudnn::r_32f,
                form_.result.extents, form_.result.strides, kMostTensorAlignment);
  made.set(cudnn::tensor_is_virtual, cudnn::type_boolean, true);
  return add(std::move(made));
}

size_t CudnnGraph::add(CudnnObject made) {
  made.finish();
  parts_.push_back(std::move(made));
  return parts_.size() - 1;
}

void CudnnGraph::convolve() {
  CudnnObject windows(api_, cudnn::convolution);
  const auto all = [&](int attribute, int64_t Convolution::Window::*member) {
    std::vector<int64_t> values;
    for (const Convolution::Window& window : form_.windows) values.push_back(window.*member);
    windows.set(attribute, values);
    text_ += fmt::format("{}\n", fmt::join(values, ","));
  };
  windows.set(cudnn::convolution_rank, cudnn::type_int64,
              static_cast<int64_t>(form_.windows.size()));
  windows.set(cudnn::convolution_precision, cudnn::type_data_type, int{cudnn::r_32f});
  windows.set(cudnn::convolution_mode, cudnn::type_convolution_mode, int{cudnn::cross_correlation});
  all(cudnn::convolution_strides, &Convolution::Window::step);
  all(cudnn::convolution_dilations, &Convolution::Window::dilation);
  all(cudnn::convolution_before, &Convolution::Window::before);
  all(cudnn::convolution_after, &Convolution::Window::after);
  const size_t made = add(std::move(windows)), x = tensor(CudnnId::image, form_.image),
               w = tensor(CudnnId::filter, form_.filter);
  last_ = next();
  CudnnObject operation(api_, cudnn::convolution_operation);
  operation.set(cudnn::convolution_descriptor, parts_[made]);
  operation.set(cudnn::convolution_x, parts_[x]);
  operation.set(cudnn::convolution_w, parts_[w]);
  operation.set(cudnn::convolution_y, parts_[last_]);
  operation.set(cudnn::convolution_alpha, cudnn::type_float, 1.0F);
  operation.set(cudnn::convolution_beta, cudnn::type_float, 0.0F);
  operation.finish();
  operations_.push_back(std::move(operation));
}

void CudnnGraph::combine(int mode, std::optional<size_t> other) {
  CudnnObject pointwise(api_, cudnn::pointwise);
  pointwise.set(cudnn::pointwise_mode, cudnn::type_pointwise_mode, mode);
  pointwise.set(cudnn::pointwise_precision, cudnn::type_data_type, int{cudnn::r_32f});
  text_ += fmt::format("{}\n", mode);
  const size_t made = add(std::move(pointwise)), from = std::exchange(last_, next());
  CudnnObject operation(api_, cudnn::pointwise_operation);
  operation.set(cudnn::pointwise_descriptor, parts_[made]);
  operation.set(cudnn::pointwise_x, parts_[from]);
  if (other) operation.set(cudnn::pointwise_b, parts_[*other]);
  operation.set(cudnn::pointwise_y, parts_[last_]);
  operation.finish();
  operations_.push_back(std::move(operation));
}

}  // namespace onrush::cuda
