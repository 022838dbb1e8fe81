#include "dlpack.h"

#include <array>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include "arrays.h"
#include "base/check.h"

namespace onrush::python {
namespace {

using Code = nb::dlpack::dtype_code;

struct DLPackDType {
  DType dtype;
  Code code;
  uint8_t bits;
};
constexpr std::array kDLPackDTypes = {
    DLPackDType{DType::f16, Code::Float, 16},
    DLPackDType{DType::f32, Code::Float, 32},
    DLPackDType{DType::f64, Code::Float, 64},
    DLPackDType{DType::bf16, Code::Bfloat, 16},
    DLPackDType{DType::i8, Code::Int, 8},
    DLPackDType{DType::i16, Code::Int, 16},
    DLPackDType{DType::i32, Code::Int, 32},
    DLPackDType{DType::i64, Code::Int, 64},
    DLPackDType{DType::u8, Code::UInt, 8},
    DLPackDType{DType::u16, Code::UInt, 16},
    DLPackDType{DType::u32, Code::UInt, 32},
    DLPackDType{DType::u64, Code::UInt, 64},
    DLPackDType{DType::boolean, Code::Bool, 8},
    DLPackDType{DType::c64, Code::Complex, 64},
    DLPackDType{DType::c128, Code::Complex, 128},
    DLPackDType{DType::f8e4m3fn, Code::Float8_E4M3FN, 8},
    DLPackDType{DType::f8e4m3fnuz, Code::Float8_E4M3FNUZ, 8},
    DLPackDType{DType::f8e5m2, Code::Float8_E5M2, 8},
    DLPackDType{DType::f8e5m2fnuz, Code::Float8_E5M2FNUZ, 8},
    DLPackDType{DType::f8e8m0, Code::Float8_E8M0FNU, 8},
};

DType dtype_from_dlpack(nb::dlpack::dtype dtype) {
  for (const DLPackDType& row : kDLPackDTypes)
    if (static_cast<uint8_t>(row.code) == dtype.code && row.bits == dtype.bits && dtype.lanes == 1)
      return row.dtype;
  fail(ErrorCode::invalid_argument, "ONNX has no dtype for DLPack's code {} with {} bits",
       dtype.code, dtype.bits);
}

nb::dlpack::dtype dlpack_dtype(DType dtype) {
  for (const DLPackDType& row : kDLPackDTypes)
    if (row.dtype == dtype) return {static_cast<uint8_t>(row.code), row.bits, 1};
  fail(ErrorCode::invalid_argument, "tensors of {} cannot be passed on by DLPack",
       onnx_name(dtype));
}

// Why the object gives no array.
std::string reason(nb::handle object) {
  try {
    nb::getattr(object, "__dlpack__")();
    return "its elements have no dtype of ONNX, or its capsule is used up";
  } catch (nb::python_error& error) {
    return nb::cast<std::string>(nb::str(error.value()));
  }
}

}  // namespace

Tensor tensor_from_dlpack(nb::handle object) {
  nb::ndarray<nb::c_contig, nb::ro> array;
  if (!nb::try_cast(object, array)) {
    if (!nb::hasattr(object, "__dlpack__")) {
      PyErr_Format(PyExc_TypeError, "a %R has no DLPack", object.type().ptr());
      throw nb::python_error();
    }
    fail(ErrorCode::invalid_argument, "a {} cannot be read by DLPack: {}",
         nb::cast<std::string>(nb::repr(object.type())), reason(object));
  }
  if (array.device_type() != nb::device::cpu::value)
    fail(ErrorCode::invalid_argument,
         "the tensor lies on device {} of DLPack's type {}, this build reads host memory only",
         array.device_id(), array.device_type());
  Shape shape;
  for (size_t axis = 0; axis < array.ndim(); ++axis)
    shape.push_back(static_cast<int64_t>(array.shape(axis)));
  const DType dtype = dtype_from_dlpack(array.dtype());
  auto* data = const_cast<void*>(static_cast<const void*>(array.data()));
  return Tensor(dtype, std::move(shape), data, keep_alive(nb::cast(std::move(array))));
}

nb::object dlpack_from_tensor(const Tensor& tensor) {
  const std::vector<size_t> shape(tensor.shape().begin(), tensor.shape().end());
  const nb::capsule owner(new Tensor(tensor),
                          [](void* held) noexcept { delete static_cast<Tensor*>(held); });
  return nb::cast(nb::ndarray<nb::array_api>(tensor.data(), shape.size(), shape.data(), owner,
                                             nullptr, dlpack_dtype(tensor.dtype())));
}

}  // namespace onrush::python
