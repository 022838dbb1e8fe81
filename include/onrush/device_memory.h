// Tensors in the memory of GPUs, for callers that keep inputs and results there.
//
// All functions work in the primary context of a device, which CUDA's runtime and other frameworks
// share, and in the order of its default stream. They throw Error{not_found} where there is no such
// device, and Error{device} with the driver's text.
#pragma once

#include <string>

#include <onrush/tensor.h>

namespace onrush {

// Why this process can use no GPU, and what to do about it; empty if it can. Initialises the
// driver, after which a fork of the process cannot use GPUs.
std::string why_no_cuda();

int cuda_device_count();

// "0000:1a:00.0", the name of a GPU for other tools, as NVML. Initialises the driver only.
std::string pci_address(Device device);

// Uninitialised elements; strings are always on the host. Memory of a GPU comes from a pool, and
// goes back to it when the default stream has done what it was given until then. Throws
// Error{out_of_memory}.
Tensor new_tensor(DType dtype, Shape shape, Device device);

// The tensor itself if it lies there or is of strings, else a copy that lies there.
Tensor moved_to(Device device, const Tensor& tensor);

// Copies the elements; both have one dtype and element count. Waits until they are there.
void copy(const Tensor& from, const Tensor& to);

// Streams are CUstreams (cudaStream_t) of the device's primary context; null is the default stream.

// Waits for all work on the device, or on one of its streams.
void synchronize(Device device);
void synchronize_stream(Device device, void* stream);

// Whether what is given to the stream is recorded into a graph, and not done.
bool is_capturing(Device device, void* stream);

// Lets `stream` wait, and not the host, for the work given to `other` until now.
void stream_follows(Device device, void* stream, void* other);

// Where memory lies by its address: that of a GPU, or of the host for any other.
Device device_of(const void* pointer);

}  // namespace onrush
