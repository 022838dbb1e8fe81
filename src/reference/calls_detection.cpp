// non_max_suppression
#include <algorithm>
#include <cmath>

#include "base/numeric.h"
#include "reference/call_table.h"
#include "reference/element.h"

namespace onrush::reference {
namespace {

struct Box {
  float x_min, x_max, y_min, y_max;
  float area() const { return (x_max - x_min) * (y_max - y_min); }
};

// values: two opposite corners y, x, y, x; or center x, center y, width, height.
Box box_of(const float* values, bool center) {
  if (center) {
    const float half_width = values[2] / 2, half_height = values[3] / 2;
    return {values[0] - half_width, values[0] + half_width, values[1] - half_height,
            values[1] + half_height};
  }
  return {std::min(values[1], values[3]), std::max(values[1], values[3]),
          std::min(values[0], values[2]), std::max(values[0], values[2])};
}

bool overlap(const Box& a, const Box& b, float threshold) {
  const float width = std::min(a.x_max, b.x_max) - std::max(a.x_min, b.x_min);
  const float height = std::min(a.y_max, b.y_max) - std::max(a.y_min, b.y_min);
  if (!(width > 0 && height > 0)) return false;
  const float intersection = width * height;
  const float both = a.area() + b.area() - intersection;
  return a.area() > 0 && b.area() > 0 && both > 0 && intersection / both > threshold;
}

struct Limits {
  int64_t count = 0;
  float iou = 0;
  std::optional<float> score;
};

Limits limits_of(const CallArguments& arguments) {
  const auto number = [](const Tensor* t) {
    return static_cast<float>(load_f64(t->dtype(), t->data(), 0));
  };
  Limits limits;
  if (const Tensor* t = arguments.optional(2)) limits.count = load_i64(t->dtype(), t->data(), 0);
  if (const Tensor* t = arguments.optional(3)) limits.iou = number(t);
  if (const Tensor* t = arguments.optional(4)) limits.score = number(t);
  return limits;
}

// The boxes of one class that stay, best first; of equal scores the first box wins.
std::vector<int64_t> select(std::span<const Box> boxes, std::span<const float> scores,
                            const Limits& limits) {
  std::vector<int64_t> candidates;
  for (size_t i = 0; i < boxes.size(); ++i)
    if (!limits.score || scores[i] > *limits.score) candidates.push_back(static_cast<int64_t>(i));
  const auto score = [&](int64_t i) { return scores[static_cast<size_t>(i)]; };
  std::ranges::stable_sort(candidates, [&](int64_t i, int64_t j) {
    return score(i) > score(j) || (std::isnan(score(j)) && !std::isnan(score(i)));
  });
  std::vector<int64_t> kept;
  for (int64_t candidate : candidates) {
    if (static_cast<int64_t>(kept.size()) >= limits.count) break;
    const Box& box = boxes[static_cast<size_t>(candidate)];
    const bool suppressed = std::ranges::any_of(kept, [&](int64_t other) {
      return overlap(box, boxes[static_cast<size_t>(other)], limits.iou);
    });
    if (!suppressed) kept.push_back(candidate);
  }
  return kept;
}

}  // namespace

CallResults non_max_suppression(const CallArguments& arguments) {
  const Tensor &boxes = arguments[0], &scores = arguments[1];
  const int64_t batches = scores.shape()[0], classes = scores.shape()[1];
  const auto count = static_cast<size_t>(scores.shape()[2]);
  const bool center = arguments.integer("center_point_box", 0) != 0;
  const Limits limits = limits_of(arguments);
  const std::vector<float> corners = load_all<float>(boxes), values = load_all<float>(scores);
  std::vector<int64_t> selected;
  for (int64_t batch = 0; batch < batches; ++batch) {
    std::vector<Box> image;
    for (size_t i = 0; i < count; ++i)
      image.push_back(box_of(&corners[(static_cast<size_t>(batch) * count + i) * 4], center));
    for (int64_t c = 0; c < classes; ++c) {
      const size_t row = static_cast<size_t>(batch * classes + c);
      const auto class_scores = std::span(values).subspan(row * count, count);
      for (int64_t box : select(image, class_scores, limits))
        selected.insert(selected.end(), {batch, c, box});
    }
  }
  const auto rows = static_cast<int64_t>(selected.size() / 3);
  return {Tensor::of<int64_t>(DType::i64, {rows, 3}, selected)};
}

}  // namespace onrush::reference
