#include "onnx/function_table.h"

#include <algorithm>
#include <unordered_map>

#include "onnx/sort_nodes.h"

namespace onrush::onnx {
namespace {

// Refuses functions that reach themselves, by depth-first search over the calls.
class CircleSearch {
 public:
  CircleSearch(const FunctionTable& table, const Place& file) : table_(table), file_(file) {}

  void visit(const Function& function) {
    const auto [entry, is_new] = state_.emplace(&function, State::open);
    if (!is_new && entry->second == State::done) return;
    if (!is_new) fail_for_circle(function);
    path_.push_back(&function);
    if (path_.size() > kMaxCallDepth)
      fail_at(ErrorCode::unsupported, file_, "functions call each other more than {} levels deep",
              kMaxCallDepth);
    visit_nodes(function.nodes);
    path_.pop_back();
    state_[&function] = State::done;
  }

 private:
  enum class State { open, done };

  void visit_nodes(const std::vector<Node>& nodes) {
    for (const Node& node : nodes) {
      if (const Function* callee = table_.callee(node)) visit(*callee);
      for (const Attribute& attribute : node.attributes)
        for (const Graph* graph : subgraphs(attribute)) visit_nodes(graph->nodes);
    }
  }

  [[noreturn]] void fail_for_circle(const Function& function) const {
    std::string text;
    for (auto at = std::find(path_.begin(), path_.end(), &function); at != path_.end(); ++at)
      text += quoted((*at)->name) + " calls ";
    fail_at(file_, "functions call each other in a circle: {}{}; a model must not recurse", text,
            quoted(function.name));
  }

  const FunctionTable& table_;
  const Place& file_;
  std::unordered_map<const Function*, State> state_;
  std::vector<const Function*> path_;
};

}  // namespace

FunctionTable::FunctionTable(const std::vector<Function>& functions) {
  for (const Function& f : functions) table_.emplace(Key(f.domain, f.name, f.overload), &f);
}

const Function* FunctionTable::callee(const Node& node) const {
  const auto found = table_.find({node.domain, node.op_type, node.overload});
  return found == table_.end() ? nullptr : found->second;
}

void check_calls(const std::vector<Function>& functions, const FunctionTable& table,
                 const Place& file) {
  CircleSearch search(table, file);
  for (const Function& function : functions) search.visit(function);
}

}  // namespace onrush::onnx
