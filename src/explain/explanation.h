// Where the time of a model's runs goes, and why.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "explain/roofs.h"
#include "explain/step.h"
#include "explain/timeline.h"
#include "measure/verdict.h"

namespace onrush::explain {

// An ONNX node, as the file has it.
struct ModelNode {
  std::string op;      // "Conv", "com.microsoft.Gelu"
  std::string source;  // where the exporter found it: "model.py:12 x = self.conv1(x)"; may be empty
};
using ModelNodes = std::map<std::string, ModelNode>;  // by name; unnamed ones by first output
// With those of subgraphs.
ModelNodes nodes_of(const Session& session);

// A step with all its events in a run.
struct StepFigures {
  std::shared_ptr<const ProfiledStep> step;
  size_t calls = 0;
  double time_us = 0;  // of all calls, as parts of the run (see TimelineEvent)
  Speed speed;
  // The ONNX nodes that it computes: step->nodes, and what is inlined nowhere else.
  std::vector<std::string> nodes;
  std::vector<double> shares;  // of its time, by node; together 1
};

// How a step's arithmetic is shared out among nodes: products among those that multiply, the rest
// among the others, and nothing to those that only move elements.
std::vector<double> shares_of(const ProfiledStep& step, const std::vector<std::string>& nodes,
                              const ModelNodes& known);

struct NodeFigures {
  std::string name;
  double time_us = 0;  // its shares of the steps that compute it
};

// Another way to run the model, by turns with the session's own.
struct Alternative {
  std::string name;   // "threads 1", "precision bf16", "no optimisation"
  std::string error;  // why it could not be run; then there are no figures
  double time_us = 0;
  measure::Comparison comparison;  // over 1: the alternative is the faster
  double difference = 0;           // the largest of the outputs, as a part of the largest element
};

struct PeerRun;  // causes.h

struct Explanation {
  std::string model;
  SessionOptions options;
  std::string device;  // its name
  Timeline timeline;
  Roofs roofs;
  ModelNodes model_nodes;
  std::vector<StepFigures> steps;  // in order of execution
  std::vector<NodeFigures> nodes;  // slowest first
  std::vector<Alternative> alternatives;
  double load_ms = 0, first_ms = 0;     // of the session and of its first run
  std::string nan;                      // see first_nan()
  std::shared_ptr<const PeerRun> peer;  // null: none was asked for, or it failed
  std::string peer_failure;             // why it did

  // Of the run that nothing watches, what no part accounts for; negative where watching slowed the
  // run down.
  double unattributed_us() const { return timeline.wall_us - timeline.profiled_us; }
};

struct ExplainOptions {
  std::string model;  // a path
  SessionOptions session;
  RecordOptions record;
  bool alternatives = true;
};
// Throws what sessions throw.
Explanation explain(const ExplainOptions& options, const Session& session,
                    const NamedValues& inputs);

}  // namespace onrush::explain
