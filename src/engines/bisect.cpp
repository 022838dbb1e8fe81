#include "engines/bisect.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>

#include "base/check.h"

namespace onrush::engines {
namespace {

constexpr size_t kValuesAtOnce = 200;  // that one run gives as outputs

// Names that a node reads, those that its subgraphs take from around them among them.
void collect_used(const onnx::Node& node, std::set<std::string>& used) {
  used.insert(node.inputs.begin(), node.inputs.end());
  const auto collect_from = [&](const onnx::Graph& graph) {
    std::set<std::string> inside, defined;
    for (const onnx::Node& inner : graph.nodes) {
      collect_used(inner, inside);
      defined.insert(inner.outputs.begin(), inner.outputs.end());
    }
    for (const auto& output : graph.outputs) inside.insert(output.name);
    for (const auto& input : graph.inputs) defined.insert(input.name);
    for (const auto& initializer : graph.initializers) defined.insert(initializer.name);
    for (const std::string& name : inside)
      if (!defined.contains(name)) used.insert(name);
  };
  for (const onnx::Attribute& attribute : node.attributes) {
    if (const auto* graph = std::get_if<std::shared_ptr<const onnx::Graph>>(&attribute.value))
      collect_from(**graph);
    if (const auto* graphs =
            std::get_if<std::vector<std::shared_ptr<const onnx::Graph>>>(&attribute.value))
      for (const auto& graph : *graphs) collect_from(*graph);
  }
}

std::set<std::string> used_by(const onnx::Node& node) {
  std::set<std::string> used;
  collect_used(node, used);
  used.erase("");
  return used;
}

std::string node_text(const onnx::Node& node) {
  return node.name.empty() ? fmt::format("the {} that makes '{}'", node.op_type, node.outputs[0])
                           : fmt::format("{} ({})", node.name, node.op_type);
}

onnx::ValueInfo input_info(const std::string& name, const Tensor& tensor) {
  onnx::ValueInfo info;
  info.name = name;
  info.type.kind = onnx::Type::Kind::tensor;
  info.type.element = tensor.dtype();
  info.type.shape.emplace();
  for (const int64_t extent : tensor.shape()) info.type.shape->push_back({extent, {}});
  return info;
}

// A value in which the engines were compared.
struct Compared {
  std::string value;
  Difference difference;
  Tensor expected;
};

class Bisection {
 public:
  Bisection(const onnx::Model& model, const NamedTensors& inputs, const RunModel& own,
            const RunModel& expected, double tolerance,
            const std::function<void(std::string_view)>& show)
      : model_(model),
        inputs_(inputs),
        own_(own),
        expected_(expected),
        tolerance_(tolerance),
        show_(show) {
    for (size_t i = 0; i < model.graph.nodes.size(); ++i)
      for (const std::string& output : model.graph.nodes[i].outputs)
        if (!output.empty()) {
          producer_[output] = i;
          values_.push_back(output);
        }
    for (const auto& output : model.graph.outputs) types_[output.name] = output.type;
    for (const auto& info : model.graph.value_info) types_.emplace(info.name, info.type);
  }

  std::optional<Culprit> find() {
    std::optional<Compared> first = first_of_all_values();
    if (!first) first = first_of_cut_models();
    if (compared_ == 0)
      fail(ErrorCode::unsupported, "the engines can give no value of the model as an output");
    if (!first) return std::nullopt;
    return smallest_part(*first);
  }

 private:
  // The nodes that `values` need, up to values in `known`, as a model with these inputs.
  onnx::Model part(const std::vector<std::string>& values, const NamedTensors& known) const {
    std::set<std::string> given, wanted(values.begin(), values.end());
    for (const auto& [name, tensor] : known) given.insert(name);
    std::set<size_t> needed;
    std::vector<std::string> open(values.begin(), values.end());
    while (!open.empty()) {
      const std::string value = open.back();
      open.pop_back();
      const auto found = producer_.find(value);
      if (found == producer_.end() || given.contains(value)) continue;
      if (!needed.insert(found->second).second) continue;
      for (const std::string& used : used_by(model_.graph.nodes[found->second]))
        open.push_back(used);
    }
    onnx::Model result = model_;
    onnx::Graph& graph = result.graph;
    graph.nodes.clear();
    graph.inputs.clear();
    graph.outputs.clear();
    graph.value_info.clear();
    std::set<std::string> used;
    for (const size_t i : needed) {
      graph.nodes.push_back(model_.graph.nodes[i]);
      collect_used(graph.nodes.back(), used);
    }
    std::erase_if(graph.initializers,
                  [&](const onnx::Initializer& i) { return !used.contains(i.name); });
    for (const auto& [name, tensor] : known)
      if (used.contains(name)) graph.inputs.push_back(input_info(name, tensor));
    for (const std::string& value : values) {
      onnx::ValueInfo info;
      info.name = value;
      if (const auto found = types_.find(value); found != types_.end()) info.type = found->second;
      graph.outputs.push_back(std::move(info));
    }
    return result;
  }

  NamedTensors inputs_of(const onnx::Model& model, const NamedTensors& known) const {
    NamedTensors result;
    for (const auto& [name, tensor] : known)
      if (std::ranges::any_of(model.graph.inputs, [&, &name = name](const onnx::ValueInfo& info) {
            return info.name == name;
          }))
        result.emplace_back(name, tensor);
    return result;
  }

  // Values that an engine cannot give as outputs (sequences, for one) are left out.
  std::vector<Compared> compare(const std::vector<std::string>& values, const NamedTensors& known) {
    const onnx::Model model = part(values, known);
    const NamedTensors inputs = inputs_of(model, known);
    std::vector<Tensor> own, expected;
    try {
      own = own_(model, inputs);
      expected = expected_(model, inputs);
    } catch (const std::runtime_error&) {
      if (values.size() == 1) return {};
    }
    if (own.size() != values.size() || expected.size() != values.size()) {
      if (values.size() == 1) return {};
      const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
      std::vector<Compared> all = compare({values.begin(), middle}, known);
      for (Compared& more : compare({middle, values.end()}, known)) all.push_back(std::move(more));
      return all;
    }
    std::vector<Compared> result;
    for (size_t i = 0; i < values.size(); ++i)
      result.push_back({values[i], difference(own[i], expected[i], values[i]), expected[i]});
    compared_ += result.size();
    return result;
  }

  std::optional<Compared> first_of_all_values() {
    for (size_t begin = 0; begin < values_.size(); begin += kValuesAtOnce) {
      const size_t end = std::min(values_.size(), begin + kValuesAtOnce);
      show_(fmt::format("comparing values {} to {} of {}", begin + 1, end, values_.size()));
      const auto first = values_.begin();
      for (Compared& compared :
           compare({first + static_cast<ptrdiff_t>(begin), first + static_cast<ptrdiff_t>(end)},
                   inputs_))
        if (parts(compared.difference, tolerance_)) return std::move(compared);
    }
    return std::nullopt;
  }

  std::optional<Compared> compare_cut(size_t value) {
    show_(fmt::format("comparing the model that ends at '{}'", values_[value]));
    std::vector<Compared> found = compare({values_[value]}, inputs_);
    if (found.empty() || !parts(found[0].difference, tolerance_)) return std::nullopt;
    return std::move(found[0]);
  }

  // Between the inputs, which agree, and an output that does not lies a value that does not while
  // the one before it does.
  std::optional<Compared> first_of_cut_models() {
    size_t bad = values_.size();
    std::optional<Compared> result;
    for (const auto& output : model_.graph.outputs) {
      const auto found = std::ranges::find(values_, output.name);
      if (found == values_.end()) continue;
      const auto at = static_cast<size_t>(found - values_.begin());
      if (at >= bad) continue;
      if (std::optional<Compared> compared = compare_cut(at)) {
        result = std::move(compared);
        bad = at;
      }
    }
    if (!result) return std::nullopt;
    for (size_t good = 0; good < bad;) {
      const size_t middle = good + (bad - good) / 2;
      if (std::optional<Compared> compared = compare_cut(middle)) {
        result = std::move(compared);
        bad = middle;
      } else {
        good = middle + 1;
      }
    }
    return result;
  }

  // What the second engine computes for the values that the nodes `levels` up from a value read.
  NamedTensors boundary(const std::string& value, int levels) {
    std::set<std::string> inside = {value};
    for (int level = 1; level < levels; ++level) {
      std::set<std::string> next = inside;
      for (const std::string& name : inside)
        if (const auto found = producer_.find(name); found != producer_.end())
          next.merge(used_by(model_.graph.nodes[found->second]));
      inside = std::move(next);
    }
    std::set<std::string> read;
    for (const std::string& name : inside)
      if (const auto found = producer_.find(name); found != producer_.end())
        read.merge(used_by(model_.graph.nodes[found->second]));
    std::vector<std::string> wanted;
    for (const std::string& name : values_)
      if (read.contains(name) && !inside.contains(name)) wanted.push_back(name);
    NamedTensors known = inputs_;
    if (wanted.empty()) return known;
    const onnx::Model model = part(wanted, inputs_);
    const std::vector<Tensor> tensors = expected_(model, inputs_of(model, inputs_));
    for (size_t i = 0; i < wanted.size(); ++i) known.emplace_back(wanted[i], tensors.at(i));
    return known;
  }

  Culprit smallest_part(const Compared& first) {
    const onnx::Node& node = model_.graph.nodes[producer_.at(first.value)];
    Culprit culprit{node_text(node), first.value, first.difference, {}, {}, {}};
    for (int levels = 1;; levels *= 2) {
      show_(fmt::format("looking for a small model that shows it: {} levels of nodes", levels));
      NamedTensors known = inputs_;
      try {
        known = boundary(first.value, levels);
      } catch (const std::runtime_error&) {
        // A value on the way is no tensor: the model from its inputs on will do.
      }
      const bool whole = known.size() == inputs_.size();
      culprit.model = part({first.value}, known);
      culprit.inputs = inputs_of(culprit.model, known);
      std::vector<Compared> found = compare({first.value}, known);
      if (!found.empty()) culprit.in_part = found[0].difference;
      if (whole || (!found.empty() && parts(found[0].difference, tolerance_))) return culprit;
    }
  }

  const onnx::Model& model_;
  const NamedTensors& inputs_;
  const RunModel &own_, &expected_;
  double tolerance_;
  const std::function<void(std::string_view)>& show_;
  std::map<std::string, size_t> producer_;
  std::map<std::string, onnx::Type> types_;
  std::vector<std::string> values_;  // in topological order
  size_t compared_ = 0;              // in all models so far
};

}  // namespace

bool parts(const Difference& difference, double tolerance) {
  return !difference.mismatch.empty() || !difference.first_nan.empty() ||
         !(difference.relative <= tolerance);
}

std::optional<Culprit> bisect(const onnx::Model& model, const NamedTensors& inputs,
                              const RunModel& own, const RunModel& expected, double tolerance,
                              const std::function<void(std::string_view)>& show) {
  return Bisection(model, inputs, own, expected, tolerance, show).find();
}

}  // namespace onrush::engines
