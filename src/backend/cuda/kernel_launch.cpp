#include "backend/cuda/kernel_launch.h"

namespace onrush::cuda {
namespace {

// As device/persistent.cuh reads it.
CUtensorMap encode(const BoundMap& map, CUdeviceptr address) {
  constexpr cuuint32_t kSteps[] = {1, 1, 1, 1, 1};
  CUtensorMap result;
  check(driver().cuTensorMapEncodeTiled(
            &result, map.dtype, map.rank, reinterpret_cast<void*>(address), map.extents.data(),
            map.strides.data(), map.box.data(), kSteps, CU_TENSOR_MAP_INTERLEAVE_NONE,
            CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
            CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeTiled");
  return result;
}

}  // namespace

BoundMap bind_map(const CudaTensorMap& map, const LoopBuffer& buffer, const SizeTable& sizes) {
  const auto at = [&](const Extent& extent) { return static_cast<cuuint64_t>(extent.at(sizes)); };
  const cuuint64_t batches = at(map.batches), bytes = byte_size(buffer.dtype, 1);
  const cuuint64_t row = at(map.row_stride) * bytes;
  const CUtensorMapDataType dtype = buffer.dtype == DType::bf16 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16
                                                                : CU_TENSOR_MAP_DATA_TYPE_FLOAT16;
  const auto box_columns = static_cast<cuuint32_t>(128 / bytes),
             box_rows = static_cast<cuuint32_t>(map.box_rows);
  if (map.by_lanes)
    return {map.buffer,
            5,
            {at(map.columns), 2, 4, 4, at(map.rows) / 32},
            {row, 8 * row, 2 * row, 32 * row},
            {box_columns, 2, 4, 4, box_rows / 32},
            dtype};
  return {map.buffer,
          3,
          {at(map.columns), at(map.rows), batches},
          {row, batches > 1 ? at(map.batch_stride) * bytes : row},
          {box_columns, box_rows, 1},
          dtype};
}

LaunchShape launch_shape(const CudaLaunch& launch) {
  LaunchShape shape;
  shape.grid.x = static_cast<uint32_t>(launch.blocks);
  shape.block = {static_cast<uint32_t>(launch.threads_x), static_cast<uint32_t>(launch.threads_y)};
  shape.cluster.x = static_cast<uint32_t>(launch.cluster);
  shape.shared_bytes = static_cast<uint32_t>(launch.shared_bytes);
  return shape;
}

KernelArguments::KernelArguments(const KernelLaunch& launch, CUdeviceptr words)
    : pointers_(launch.pointers), words_(words) {
  addresses_.reserve(pointers_.size() + 2 + launch.maps.size());
  for (CUdeviceptr& pointer : pointers_) addresses_.push_back(&pointer);
  addresses_.push_back(const_cast<int64_t*>(launch.sizes.data()));
  addresses_.push_back(&words_);
  maps_.reserve(launch.maps.size());
  for (const BoundMap& map : launch.maps) {
    maps_.push_back(encode(map, pointers_[static_cast<size_t>(map.buffer)]));
    addresses_.push_back(&maps_.back());
  }
}

void put_on_stream(const KernelLaunch& launch, bool programmatic, CUdeviceptr words,
                   const Stream& stream) {
  if (launch.library) {
    const std::vector<CUdeviceptr>& p = launch.pointers;
    return launch.library->launch(p[0], p[1], p[2], p[3], p[4], stream);
  }
  LaunchShape shape = launch.shape;
  shape.programmatic = programmatic;
  cuda::launch(launch.function, shape, stream, KernelArguments(launch, words).addresses());
}

}  // namespace onrush::cuda
