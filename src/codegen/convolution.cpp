#include "codegen/convolution.h"

#include <algorithm>
#include <numeric>

#include "codegen/linear_epilogue.h"

namespace onrush {
namespace {

constexpr int64_t kMostStep = 16;  // that a window moves by, or its taps are apart

// An axis of space. Its axes in the contraction are -1 where their extent is 1.
struct Space {
  int m = -1, tap = -1;
  int64_t pitch = 0;  // from an element of the image to the next
  Convolution::Window window = {1, 1, 0, 0};
  int64_t extent = 0;  // of the image; 0: not known yet
};

class Reader {
 public:
  Reader(const CudaContraction& c, const SizeTable& sizes)
      : c_(c),
        whole_(c.unmerged),
        sizes_(sizes),
        m_begin_(whole_.batch_axes),
        n_begin_(m_begin_ + whole_.m_axes),
        k_begin_(n_begin_ + whole_.n_axes),
        end_(k_begin_ + whole_.k_axes) {}

  std::optional<Convolution> read() && {
    if (c_.direct || c_.sum != DType::f32) return std::nullopt;
    if (whole_.batch_axes > 1 || whole_.n_axes > 1) return std::nullopt;
    if (batch() >= 0) groups_ = extent(batch());
    channels_out_ = n() >= 0 ? extent(n()) : 1;
    for (int axis = 0; axis < end_; ++axis)
      if (extent(axis) < 1) return std::nullopt;
    if (!find_axes() || !add_image() || !add_filter() || !add_epilogue()) return std::nullopt;
    result_.math = c_.math;
    return std::move(result_);
  }

 private:
  int batch() const { return whole_.batch_axes ? 0 : -1; }
  int n() const { return whole_.n_axes ? n_begin_ : -1; }
  bool is_m(int axis) const { return axis >= m_begin_ && axis < n_begin_; }
  int64_t extent(int axis) const {
    return axis < 0 ? 1 : sizes_(whole_.epilogue.axes[static_cast<size_t>(axis)].extent);
  }
  int64_t stride(const Affine& address, int axis) const {
    return axis < 0 ? 0 : sizes_(stride_of(address, axis));
  }
  int64_t step(int axis) const { return stride(load_->address, axis); }  // in the image

  // What an operand is read from; null where it is computed.
  const LoadValue* plain_load(const Loops& loops) const {
    const LoopValue& value = loops.body[static_cast<size_t>(loops.stores[0].value)];
    const auto* load = std::get_if<LoadValue>(&value.data);
    if (!load || !load->dynamic.empty()) return nullptr;
    return loops.buffers[static_cast<size_t>(load->buffer)].dtype == c_.factor ? load : nullptr;
  }

  // --- which axis is what

  bool find_axes() {
    load_ = plain_load(whole_.lhs);
    if (!load_ || (!load_->bounds.empty() && load_->fill.f != 0)) return false;
    for (int axis = m_begin_; axis < n_begin_; ++axis) free_m_.push_back(axis);
    for (int axis = k_begin_; axis < end_; ++axis) free_k_.push_back(axis);
    for (const std::vector<int>* axes : {&free_m_, &free_k_})
      for (const int axis : *axes)
        if (step(axis) < 1) return false;
    for (const Bound& bound : load_->bounds)
      if (!add_bounded(bound)) return false;
    take_channels();
    while (!free_k_.empty()) add_unbounded_taps();
    add_untapped();
    // The slowest first.
    std::stable_sort(space_.begin(), space_.end(),
                     [](const Space& a, const Space& b) { return a.pitch > b.pitch; });
    while (space_.size() < 2) space_.insert(space_.begin(), Space{});
    return space_.size() <= 3;
  }

  // An axis along which windows pass the borders of the image.
  bool add_bounded(const Bound& bound) {
    Space space;
    space.extent = sizes_(bound.extent);
    space.window.before = -sizes_(bound.index.offset);
    for (const auto& [axis, coefficient] : bound.index.terms) {
      const int64_t count = sizes_(coefficient);
      int& place = is_m(axis) ? space.m : space.tap;
      std::vector<int>& free = is_m(axis) ? free_m_ : free_k_;
      if (place >= 0 || count < 1 || std::erase(free, axis) != 1) return false;
      place = axis;
      (is_m(axis) ? space.window.step : space.window.dilation) = count;
      const int64_t pitch = step(axis) / count;
      if (pitch < 1 || pitch * count != step(axis)) return false;
      if (space.pitch && space.pitch != pitch) return false;
      space.pitch = pitch;
    }
    space_.push_back(space);
    return space.pitch && space.window.before >= 0;
  }

  // Channels lie side by side, or they are the slowest.
  void take_channels() {
    if (free_k_.empty()) return;
    int64_t least = INT64_MAX;
    for (int axis = m_begin_; axis < n_begin_; ++axis) least = std::min(least, step(axis));
    channel_ = *std::max_element(free_k_.begin(), free_k_.end(),
                                 [&](int a, int b) { return step(a) < step(b); });
    for (const int axis : free_k_)
      if (step(axis) == 1 && extent(axis) <= least) channel_ = axis;
    std::erase(free_k_, channel_);
  }

  // Taps move along the axis of the result that takes the most similar steps.
  void add_unbounded_taps() {
    Space space{.tap = free_k_.back()};
    free_k_.pop_back();
    const int64_t taps = step(space.tap);
    int64_t least = kMostStep + 1;
    for (const int axis : free_m_) {
      const int64_t common = std::gcd(taps, step(axis));
      const int64_t apart = std::max(taps, step(axis)) / common;
      if (apart < least) least = apart, space.m = axis;
    }
    std::erase(free_m_, space.m);
    space.pitch = space.m < 0 ? taps : std::gcd(taps, step(space.m));
    space.window.dilation = taps / space.pitch;
    if (space.m >= 0) space.window.step = step(space.m) / space.pitch;
    space_.push_back(space);
  }

  // Of axes of the result along which there is one tap the slowest is that of the images.
  void add_untapped() {
    std::sort(free_m_.begin(), free_m_.end(), [&](int a, int b) { return step(a) < step(b); });
    const bool no_images = free_m_.size() == 2 && space_.empty();
    if (!free_m_.empty() && !no_images) {
      images_ = free_m_.back();
      free_m_.pop_back();
    }
    // As memory without gaps would have it; steps along all axes are alike, usually.
    int64_t common = 1;
    for (const int axis : free_m_) {
      const bool first = axis == free_m_[0];
      const int64_t inner = channel_stride() < step(axis) ? image_channels() * channel_stride() : 1;
      if (first && step(axis) % inner == 0 && step(axis) / inner <= kMostStep)
        common = step(axis) / inner;
      Space space{.m = axis, .pitch = step(axis)};
      if (step(axis) % common == 0) {
        space.window.step = common;
        space.pitch /= common;
      }
      space_.push_back(space);
    }
  }

  int64_t image_channels() const { return extent(channel_) * groups_; }
  int64_t channel_stride() const { return channel_ < 0 ? 1 : step(channel_); }

  // --- tensors

  // Strides of axes that have none are as in memory without gaps.
  static void fill_strides(Convolution::Tensor& tensor) {
    for (size_t i = tensor.strides.size(); i-- > 0;) {
      if (tensor.strides[i]) continue;
      tensor.strides[i] = 1;
      for (size_t j = i ? 1 : 0; j < tensor.strides.size(); ++j)
        if (j != i)
          tensor.strides[i] = std::max(tensor.strides[i], tensor.extents[j] * tensor.strides[j]);
    }
  }

  bool add_image() {
    Convolution::Tensor& image = result_.image;
    const LoopBuffer& buffer = whole_.lhs.buffers[static_cast<size_t>(load_->buffer)];
    if (batch() >= 0 && step(batch()) != extent(channel_) * channel_stride()) return false;
    image = {buffer.node, buffer.dtype, sizes_(load_->address.offset), {}, {}};
    image.extents = {extent(images_), image_channels()};
    image.strides = {images_ < 0 ? 0 : step(images_), channel_stride()};
    for (Space& space : space_) {
      Convolution::Window& window = space.window;
      const int64_t used = (extent(space.m) - 1) * window.step +
                           (extent(space.tap) - 1) * window.dilation + 1 - window.before;
      if (!space.extent) space.extent = std::max(used, room(space));
      space.extent = std::min(space.extent, used + window.step - 1);
      window.after = std::max<int64_t>(0, used - space.extent);
      if (space.extent < 1) return false;
      image.offset += space.pitch * window.before;
      image.extents.push_back(space.extent);
      image.strides.push_back(space.pitch);
      result_.windows.push_back(window);
    }
    fill_strides(image);
    return image.offset >= 0;
  }

  // How many elements lie along an axis before the next slower one goes on.
  int64_t room(const Space& space) const {
    if (!space.pitch) return 1;
    int64_t next = INT64_MAX;
    const auto consider = [&](int64_t stride, int64_t extent) {
      if (extent > 1 && stride > space.pitch) next = std::min(next, stride);
    };
    for (const Space& other : space_) consider(other.pitch, 2);
    consider(channel_stride(), image_channels());
    if (images_ >= 0) consider(step(images_), extent(images_));
    return next == INT64_MAX ? 0 : next / space.pitch;
  }

  bool add_filter() {
    Convolution::Tensor& filter = result_.filter;
    const Affine* address = nullptr;
    if (c_.packed) {
      address = &c_.packing.stores[0].address;
      filter = {NodeId{}, c_.factor, 0, {}, {}};
    } else {
      const LoadValue* load = plain_load(whole_.rhs);
      if (!load || !load->bounds.empty()) return false;
      address = &load->address;
      filter = {whole_.rhs.buffers[static_cast<size_t>(load->buffer)].node,
                c_.factor,
                sizes_(address->offset),
                {},
                {}};
    }
    for (int axis = m_begin_; axis < n_begin_; ++axis)
      if (stride(*address, axis)) return false;
    filter.extents = {groups_ * channels_out_, extent(channel_)};
    filter.strides = {stride(*address, n()), stride(*address, channel_)};
    for (const Space& space : space_) {
      filter.extents.push_back(extent(space.tap));
      filter.strides.push_back(stride(*address, space.tap));
    }
    if (!join_groups(filter.strides[0], stride(*address, batch()))) return false;
    return has_strides(filter);
  }

  // Channels of the result are those of one group after the other.
  bool join_groups(int64_t& stride_of_n, int64_t stride_of_groups) const {
    if (groups_ == 1) return true;
    if (n() < 0) stride_of_n = stride_of_groups;
    return stride_of_groups == channels_out_ * stride_of_n;
  }
  // Whether an axis that has more than one element has a stride; gives others one.
  static bool has_strides(Convolution::Tensor& tensor) {
    for (size_t i = 0; i < tensor.strides.size(); ++i)
      if (tensor.strides[i] < 0 || (tensor.extents[i] > 1 && tensor.strides[i] < 1)) return false;
    fill_strides(tensor);
    return true;
  }

  std::optional<Convolution::Tensor> tensor_like_result(int buffer, const Affine& address) const {
    const LoopBuffer& memory = whole_.epilogue.buffers[static_cast<size_t>(buffer)];
    Convolution::Tensor tensor{memory.node, memory.dtype, sizes_(address.offset), {}, {}};
    tensor.extents = {extent(images_), groups_ * channels_out_};
    tensor.strides = {stride(address, images_), stride(address, n())};
    for (const Space& space : space_) {
      tensor.extents.push_back(extent(space.m));
      tensor.strides.push_back(stride(address, space.m));
    }
    if (!join_groups(tensor.strides[1], stride(address, batch())) || !has_strides(tensor))
      return std::nullopt;
    return tensor;
  }

  bool add_epilogue() {
    const std::optional<LinearEpilogue> linear = as_linear(whole_.epilogue);
    if (!linear) return false;
    const Store& store = whole_.epilogue.stores[0];
    const auto result = tensor_like_result(store.buffer, store.address);
    if (!result || (result->dtype != c_.factor && result->dtype != DType::f32)) return false;
    result_.result = *result;
    result_.scale = linear->scale;
    result_.relu = linear->relu;
    return std::all_of(linear->terms.begin(), linear->terms.end(),
                       [&](const LoadValue* load) { return add_term(*load); });
  }

  bool add_term(const LoadValue& load) {
    const LoopBuffer& memory = whole_.epilogue.buffers[static_cast<size_t>(load.buffer)];
    const bool by_channel = std::none_of(load.address.terms.begin(), load.address.terms.end(),
                                         [&](const auto& term) { return is_m(term.first); });
    int64_t along_n = stride(load.address, n());
    const bool joined = join_groups(along_n, stride(load.address, batch()));
    const bool neighbours = along_n == 1 || groups_ * channels_out_ == 1;
    if (by_channel && joined && neighbours && !result_.bias && is_float(memory.dtype)) {
      result_.bias = {memory.node, memory.dtype, sizes_(load.address.offset)};
      return true;
    }
    if (result_.addend || memory.dtype != result_.result.dtype) return false;
    result_.addend = tensor_like_result(load.buffer, load.address);
    return result_.addend.has_value();
  }

  const CudaContraction& c_;
  const Contraction& whole_;
  const SizeTable& sizes_;
  int m_begin_, n_begin_, k_begin_, end_;
  int64_t groups_ = 1, channels_out_ = 1;  // the latter of a group
  const LoadValue* load_ = nullptr;        // of the image
  std::vector<int> free_m_, free_k_;       // axes that are nothing yet
  int images_ = -1, channel_ = -1;
  std::vector<Space> space_;
  Convolution result_ = {};
};

}  // namespace

std::optional<Convolution> as_convolution(const CudaContraction& contraction,
                                          const SizeTable& sizes) {
  return Reader(contraction, sizes).read();
}

}  // namespace onrush
