#include "onnx/model.h"

#include <algorithm>

namespace onrush::onnx {

const Attribute* Node::find(std::string_view attribute) const {
  const auto found = std::find_if(attributes.begin(), attributes.end(),
                                  [&](const Attribute& a) { return a.name == attribute; });
  return found == attributes.end() ? nullptr : &*found;
}

int64_t Model::opset(std::string_view domain_name) const {
  if (domain_name == "ai.onnx") domain_name = "";
  for (const auto& [imported, version] : opset_import)
    if (imported == domain_name) return version;
  return 0;
}

int64_t Model::opset_of(const Node& node) const {
  return node.opset_version != 0 ? node.opset_version : opset(node.domain);
}

}  // namespace onrush::onnx
