#include "dlpack.h"

#include <array>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "arrays.h"
#include "base/check.h"
#include <onrush/device_memory.h>

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

[[noreturn]] void fail_to_read(nb::handle object) {
  if (!nb::hasattr(object, "__dlpack__")) {
    PyErr_Format(PyExc_TypeError, "a %R has no DLPack", object.type().ptr());
    throw nb::python_error();
  }
  fail(ErrorCode::invalid_argument, "a {} cannot be read by DLPack: {}",
       nb::cast<std::string>(nb::repr(object.type())), reason(object));
}

// Streams by their numbers in DLPack and in __cuda_array_interface__.
constexpr intptr_t kDefaultStream = 1, kDefaultStreamOfThread = 2;

// Orders the device's default stream, which runs come after, behind another stream.
void follow(Device device, intptr_t stream) {
  if (stream == kDefaultStream || stream <= 0) return;
  if (stream == kDefaultStreamOfThread)
    fail(ErrorCode::unsupported, "arrays on the default stream of a thread cannot be exchanged");
  // NOLINTNEXTLINE(performance-no-int-to-ptr): Python passes handles as numbers
  stream_follows(device, nullptr, reinterpret_cast<void*>(stream));
}

// A tensor that another library reads on its stream.
struct Exported {
  Tensor tensor;
  intptr_t stream;

  // What the stream has yet to do with the memory comes before its next use.
  ~Exported() {
    if (tensor.device().kind != Device::Kind::cuda) return;
    try {
      follow(tensor.device(), stream);
    } catch (const Error&) {  // the stream is gone, and its work with it
    }
  }
};

// The host for an object that does not say.
Device dlpack_device(nb::handle object) {
  if (!nb::hasattr(object, "__dlpack_device__")) return {};
  try {
    const nb::object device = object.attr("__dlpack_device__")();
    if (nb::cast<int>(device[0]) != nb::device::cuda::value) return {};
    return {Device::Kind::cuda, nb::cast<int>(device[1])};
  } catch (const nb::python_error&) {
    return {};  // it will not be read either
  }
}

// Pinned memory is the host's, and managed memory can be read there.
bool is_host(int device_type) {
  return device_type == nb::device::cpu::value || device_type == nb::device::cuda_host::value ||
         device_type == nb::device::cuda_managed::value;
}

template <class Array>
Tensor tensor_of(Array array, Device device) {
  Shape shape;
  for (size_t axis = 0; axis < array.ndim(); ++axis)
    shape.push_back(static_cast<int64_t>(array.shape(axis)));
  const DType dtype = dtype_from_dlpack(array.dtype());
  auto* data = const_cast<void*>(static_cast<const void*>(array.data()));
  return Tensor(dtype, std::move(shape), data,
                keep_alive(nb::cast(array, nb::rv_policy::reference)), device);
}

template <class Array>
bool is_dense(const Array& array) {
  int64_t elements = 1;
  for (size_t axis = array.ndim(); axis-- > 0;) {
    if (array.shape(axis) != 1 && array.stride(axis) != elements) return array.size() == 0;
    elements *= static_cast<int64_t>(array.shape(axis));
  }
  return true;
}

// The producer lets the default stream wait for what its own stream has yet to write.
Tensor tensor_on_gpu(nb::handle object) {
  nb::ndarray<nb::ro> array;
  try {
    const nb::object capsule = object.attr("__dlpack__")(nb::arg("stream") = kDefaultStream);
    if (!nb::try_cast(capsule, array)) fail_to_read(object);
  } catch (nb::python_error& error) {
    fail(ErrorCode::invalid_argument, "a {} cannot be read by DLPack: {}",
         nb::cast<std::string>(nb::repr(object.type())),
         nb::cast<std::string>(nb::str(error.value())));
  }
  const Device device = {Device::Kind::cuda, array.device_id()};
  if (!is_dense(array)) {
    if (!nb::hasattr(object, "contiguous"))
      fail(ErrorCode::invalid_argument, "the elements must be dense and in C order");
    return tensor_on_gpu(object.attr("contiguous")());
  }
  return tensor_of(std::move(array), device);
}

}  // namespace

Tensor tensor_from_dlpack(nb::handle object) {
  const Device device = dlpack_device(object);
  if (device.kind == Device::Kind::cuda) return tensor_on_gpu(object);
  nb::ndarray<nb::c_contig, nb::ro> array;
  if (!nb::try_cast(object, array)) fail_to_read(object);
  if (const int kind = array.device_type(); !is_host(kind))
    fail(ErrorCode::invalid_argument,
         "the elements lie on a device of DLPack's type {}, which is neither the host nor a GPU of "
         "NVIDIA's",
         kind);
  return tensor_of(std::move(array), {});
}

Tensor tensor_from_cuda_array_interface(nb::handle object) {
  const nb::dict fields = nb::cast<nb::dict>(object.attr("__cuda_array_interface__"));
  const auto address = nb::cast<uintptr_t>(fields["data"][nb::int_(0)]);
  const auto shape = nb::cast<Shape>(fields["shape"]);
  const DType dtype = dtype_from_numpy(fields["typestr"]);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): Python passes addresses as numbers
  void* data = reinterpret_cast<void*>(address);
  const Device device = device_of(data);
  if (fields.contains("strides") && !fields["strides"].is_none()) {
    Shape dense;
    int64_t bytes = bits(dtype) / 8;
    for (size_t axis = shape.size(); axis-- > 0; bytes *= shape[axis])
      dense.insert(dense.begin(), bytes);
    if (element_count(shape) && nb::cast<Shape>(fields["strides"]) != dense)
      fail(ErrorCode::invalid_argument,
           "an array on {} must have dense elements in C order: make it contiguous first",
           to_string(device));
  }
  if (fields.contains("stream") && !fields["stream"].is_none())
    follow(device, nb::cast<intptr_t>(fields["stream"]));
  return Tensor(dtype, shape, data, keep_alive(nb::borrow(object)), device);
}

nb::object dlpack_from_tensor(const Tensor& tensor, intptr_t stream) {
  const std::vector<size_t> shape(tensor.shape().begin(), tensor.shape().end());
  const nb::capsule owner(new Exported{tensor, stream},
                          [](void* held) noexcept { delete static_cast<Exported*>(held); });
  const bool on_gpu = tensor.device().kind == Device::Kind::cuda;
  return nb::cast(
             nb::ndarray<nb::array_api>(tensor.data(), shape.size(), shape.data(), owner, nullptr,
                                        dlpack_dtype(tensor.dtype()),
                                        on_gpu ? nb::device::cuda::value : nb::device::cpu::value,
                                        tensor.device().index))
      .attr("__dlpack__")();
}

nb::tuple dlpack_device_of(const Tensor& tensor) {
  const bool on_gpu = tensor.device().kind == Device::Kind::cuda;
  return nb::make_tuple(on_gpu ? nb::device::cuda::value : nb::device::cpu::value,
                        tensor.device().index);
}

nb::dict cuda_array_interface(const Tensor& tensor) {
  if (tensor.device().kind != Device::Kind::cuda)
    throw nb::attribute_error("__cuda_array_interface__: the tensor lies on the host");
  nb::dict fields;
  fields["version"] = 3;
  fields["shape"] = nb::tuple(nb::cast(tensor.shape()));
  fields["typestr"] = typestr(tensor.dtype());
  fields["data"] = nb::make_tuple(reinterpret_cast<uintptr_t>(tensor.data()), false);
  fields["strides"] = nb::none();  // dense
  fields["stream"] = nb::none();   // what it holds is there
  return fields;
}

}  // namespace onrush::python
