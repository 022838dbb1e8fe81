// Areas in a rectangle, each as square as can be (Bruls, Huizing and van Wijk 2000).
#pragma once

#include <span>
#include <vector>

namespace onrush::explain {

struct Rectangle {
  double x = 0, y = 0, width = 0, height = 0;
};
// One rectangle each, in order; areas are in proportion to `sizes`, which descend and are positive.
std::vector<Rectangle> treemap(std::span<const double> sizes, Rectangle within);

}  // namespace onrush::explain
