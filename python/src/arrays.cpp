#include "arrays.h"

#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#include <array>
#include <cstring>
#include <nanobind/stl/string.h>
#include <numpy/arrayobject.h>
#include <utility>

#include "base/check.h"
#include <onrush/device_memory.h>

namespace onrush::python {
namespace {

// Dtypes that numpy itself lacks, by the name that ml_dtypes gives them; `raw` where that is not
// installed.
struct ExtendedDType {
  DType dtype;
  const char* name;
  int raw;
};
constexpr std::array kExtendedDTypes = {
    ExtendedDType{DType::bf16, "bfloat16", NPY_UINT16},
    ExtendedDType{DType::f8e4m3fn, "float8_e4m3fn", NPY_UINT8},
    ExtendedDType{DType::f8e4m3fnuz, "float8_e4m3fnuz", NPY_UINT8},
    ExtendedDType{DType::f8e5m2, "float8_e5m2", NPY_UINT8},
    ExtendedDType{DType::f8e5m2fnuz, "float8_e5m2fnuz", NPY_UINT8},
    ExtendedDType{DType::f8e8m0, "float8_e8m0fnu", NPY_UINT8},
    ExtendedDType{DType::f4e2m1, "float4_e2m1fn", NPY_UINT8},
    ExtendedDType{DType::u4, "uint4", NPY_UINT8},
    ExtendedDType{DType::i4, "int4", NPY_INT8},
    ExtendedDType{DType::u2, "uint2", NPY_UINT8},
    ExtendedDType{DType::i2, "int2", NPY_INT8},
};

const ExtendedDType* extended(DType dtype) {
  for (const ExtendedDType& row : kExtendedDTypes)
    if (row.dtype == dtype) return &row;
  return nullptr;
}

nb::object steal(PyObject* object) {
  if (!object) throw nb::python_error();
  return nb::steal(object);
}

PyArrayObject* as_array(nb::handle array) { return reinterpret_cast<PyArrayObject*>(array.ptr()); }

bool is_text(PyArray_Descr* descr) {
  return descr->type_num == NPY_OBJECT || descr->type_num == NPY_UNICODE ||
         descr->type_num == NPY_STRING || descr->kind == 'T';  // 'T': numpy.dtypes.StringDType
}

DType extended_dtype(PyArray_Descr* descr) {
  const auto name =
      nb::cast<std::string>(nb::borrow(reinterpret_cast<PyObject*>(descr)).attr("name"));
  for (const ExtendedDType& row : kExtendedDTypes)
    if (name == row.name) return row.dtype;
  return DType::undefined;
}

DType dtype_of(PyArray_Descr* descr) {
  if (is_text(descr)) return DType::string;
  if (descr->type_num >= NPY_USERDEF) return extended_dtype(descr);
  const auto size = PyDataType_ELSIZE(descr);
  switch (descr->kind) {
    case 'b': return DType::boolean;
    case 'f':
      return size == 2   ? DType::f16
             : size == 4 ? DType::f32
             : size == 8 ? DType::f64
                         : DType::undefined;
    case 'c': return size == 8 ? DType::c64 : size == 16 ? DType::c128 : DType::undefined;
    case 'i':
      return size == 1 ? DType::i8 : size == 2 ? DType::i16 : size == 4 ? DType::i32 : DType::i64;
    case 'u':
      return size == 1 ? DType::u8 : size == 2 ? DType::u16 : size == 4 ? DType::u32 : DType::u64;
    default: return DType::undefined;
  }
}

// What an array of `actual` elements stands for where a model wants `expected` ones.
DType reinterpreted(DType actual, DType expected) {
  if (const ExtendedDType* row = extended(expected)) {
    if (actual == DType::u16 && row->raw == NPY_UINT16) return expected;
    if (actual == DType::u8 && row->raw != NPY_UINT16) return expected;
    if (actual == DType::i8 && is_sub_byte(expected)) return expected;
  }
  return actual;
}

[[noreturn]] void throw_unknown_dtype(PyArray_Descr* descr) {
  throw std::runtime_error("ONNX has no element type for numpy's " +
                           nb::cast<std::string>(nb::str(reinterpret_cast<PyObject*>(descr))));
}

Shape shape_of(PyArrayObject* array) {
  return {PyArray_DIMS(array), PyArray_DIMS(array) + PyArray_NDIM(array)};
}

std::string utf8(PyObject* object) {
  nb::object text = nb::borrow(object);
  if (PyBytes_Check(object)) text = steal(PyUnicode_FromEncodedObject(object, "utf-8", "strict"));
  else if (!PyUnicode_Check(object)) text = steal(PyObject_Str(object));
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (!data) throw nb::python_error();
  return {data, static_cast<size_t>(size)};
}

Tensor strings_from_array(PyArrayObject* array) {
  const nb::object objects = steal(PyArray_FromArray(array, PyArray_DescrFromType(NPY_OBJECT),
                                                     NPY_ARRAY_CARRAY_RO | NPY_ARRAY_FORCECAST));
  auto* const* elements = static_cast<PyObject**>(PyArray_DATA(as_array(objects)));
  Tensor tensor(DType::string, shape_of(array));
  for (std::string& element : tensor.strings()) element = utf8(*elements++);
  return tensor;
}

nb::object strings_to_array(const Tensor& tensor, const npy_intp* dims) {
  nb::object array = steal(PyArray_SimpleNew(tensor.rank(), dims, NPY_OBJECT));
  auto** elements = static_cast<PyObject**>(PyArray_DATA(as_array(array)));
  for (const std::string& text : tensor.strings()) {
    PyObject* element =
        PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "strict");
    if (!element) throw nb::python_error();
    Py_XDECREF(std::exchange(*elements++, element));
  }
  return array;
}

// One element a byte to packed elements, least significant bits first.
Tensor packed(DType dtype, Shape shape, const uint8_t* elements) {
  Tensor tensor(dtype, std::move(shape));
  const int width = bits(dtype), per_byte = 8 / width;
  auto* out = static_cast<uint8_t*>(tensor.data());
  std::memset(out, 0, tensor.bytes());
  for (int64_t i = 0; i < tensor.count(); ++i) {
    const int value = elements[i] & ((1 << width) - 1);
    out[i / per_byte] = static_cast<uint8_t>(out[i / per_byte] | value << i % per_byte * width);
  }
  return tensor;
}

void unpack(const Tensor& tensor, uint8_t* elements) {
  const int width = bits(tensor.dtype()), per_byte = 8 / width;
  const auto* in = static_cast<const uint8_t*>(tensor.data());
  const int sign = is_signed_integer(tensor.dtype()) ? 1 << (width - 1) : 0;
  for (int64_t i = 0; i < tensor.count(); ++i) {
    const int value = in[i / per_byte] >> i % per_byte * width & ((1 << width) - 1);
    elements[i] = static_cast<uint8_t>((value ^ sign) - sign);
  }
}

int numpy_type(DType dtype) {
  switch (dtype) {
    case DType::f32: return NPY_FLOAT32;
    case DType::u8: return NPY_UINT8;
    case DType::i8: return NPY_INT8;
    case DType::u16: return NPY_UINT16;
    case DType::i16: return NPY_INT16;
    case DType::i32: return NPY_INT32;
    case DType::i64: return NPY_INT64;
    case DType::string: return NPY_OBJECT;
    case DType::boolean: return NPY_BOOL;
    case DType::f16: return NPY_FLOAT16;
    case DType::f64: return NPY_FLOAT64;
    case DType::u32: return NPY_UINT32;
    case DType::u64: return NPY_UINT64;
    case DType::c64: return NPY_COMPLEX64;
    case DType::c128: return NPY_COMPLEX128;
    default: return -1;
  }
}

// A new reference.
PyArray_Descr* descr_for(DType dtype) {
  if (const int type = numpy_type(dtype); type >= 0) return PyArray_DescrFromType(type);
  const ExtendedDType* row = extended(dtype);
  internal_check(row != nullptr, "every dtype has a numpy counterpart");
  PyArray_Descr* descr = nullptr;
  const nb::object module = nb::steal(PyImport_ImportModule("ml_dtypes"));
  const nb::object type =
      nb::steal(module.is_valid() ? PyObject_GetAttrString(module.ptr(), row->name) : nullptr);
  if (type.is_valid() && PyArray_DescrConverter(type.ptr(), &descr)) return descr;
  PyErr_Clear();  // not installed, or older than the dtype
  return PyArray_DescrFromType(row->raw);
}

void* load_numpy() {
  import_array1(nullptr);
  return nullptr;
}

}  // namespace

void import_numpy() {
  load_numpy();
  if (PyErr_Occurred()) throw nb::python_error();
}

bool is_array(nb::handle object) { return PyArray_Check(object.ptr()); }

std::shared_ptr<const void> keep_alive(nb::object object) {
  return {object.release().ptr(), [](const void* kept) {
            if (!Py_IsInitialized()) return;  // the interpreter has ended and its memory with it
            const nb::gil_scoped_acquire gil;
            Py_DECREF(static_cast<PyObject*>(const_cast<void*>(kept)));
          }};
}

Tensor tensor_from_array(nb::handle object, DType expected) {
  PyArrayObject* array = as_array(object);
  PyArray_Descr* descr = PyArray_DESCR(array);
  const DType actual = dtype_of(descr);
  if (actual == DType::string) return strings_from_array(array);
  if (actual == DType::undefined) throw_unknown_dtype(descr);
  nb::object dense = nb::borrow(object);
  if (!PyArray_IS_C_CONTIGUOUS(array) || !PyArray_ISALIGNED(array) ||
      !PyArray_ISNOTSWAPPED(array)) {
    // A new reference, which PyArray_FromArray takes.
    PyArray_Descr* native = PyArray_DescrNewByteorder(descr, NPY_NATIVE);
    dense = steal(PyArray_FromArray(array, native, NPY_ARRAY_CARRAY_RO));
  }
  void* data = PyArray_DATA(as_array(dense));
  const DType dtype = reinterpreted(actual, expected);
  if (is_sub_byte(dtype)) return packed(dtype, shape_of(array), static_cast<uint8_t*>(data));
  return Tensor(dtype, shape_of(array), data, keep_alive(std::move(dense)));
}

nb::object array_from_tensor(const Tensor& given) {
  const Tensor tensor = moved_to({}, given);
  const std::vector<npy_intp> dims(tensor.shape().begin(), tensor.shape().end());
  if (tensor.dtype() == DType::string) return strings_to_array(tensor, dims.data());
  PyArray_Descr* descr = descr_for(tensor.dtype());  // taken by the array
  if (is_sub_byte(tensor.dtype()) || tensor.count() == 0) {
    nb::object array = steal(PyArray_NewFromDescr(&PyArray_Type, descr, tensor.rank(), dims.data(),
                                                  nullptr, nullptr, 0, nullptr));
    if (tensor.count()) unpack(tensor, static_cast<uint8_t*>(PyArray_DATA(as_array(array))));
    return array;
  }
  nb::object array = steal(PyArray_NewFromDescr(&PyArray_Type, descr, tensor.rank(), dims.data(),
                                                nullptr, tensor.data(), NPY_ARRAY_CARRAY, nullptr));
  nb::capsule owner(new Tensor(tensor),
                    [](void* held) noexcept { delete static_cast<Tensor*>(held); });
  if (PyArray_SetBaseObject(as_array(array), owner.release().ptr()) < 0) throw nb::python_error();
  return array;
}

nb::object numpy_dtype(DType dtype) { return steal(reinterpret_cast<PyObject*>(descr_for(dtype))); }

DType dtype_from_numpy(nb::handle dtype) {
  PyArray_Descr* descr = nullptr;
  if (!PyArray_DescrConverter(dtype.ptr(), &descr)) throw nb::python_error();
  const nb::object owner = nb::steal(reinterpret_cast<PyObject*>(descr));
  const DType result = dtype_of(descr);
  if (result == DType::undefined) throw_unknown_dtype(descr);
  return result;
}

std::string typestr(DType dtype) { return nb::cast<std::string>(numpy_dtype(dtype).attr("str")); }

}  // namespace onrush::python
