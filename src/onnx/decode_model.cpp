#include <filesystem>

#include "base/mapped_file.h"
#include "onnx/check_model.h"
#include "onnx/decode_parts.h"
#include "onnx/proto.h"
#include "onnx/sort_nodes.h"
#include "onnx/wire.h"

namespace onrush::onnx {
namespace {

std::string_view text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::pair<std::string, int64_t> decode_import(std::string_view message, const Place& place) {
  std::pair<std::string, int64_t> import;
  MessageReader reader(message, place);
  while (reader.next()) {
    if (reader.field() == proto::opset_domain) import.first = normal_domain(reader.bytes());
    if (reader.field() == proto::opset_version) import.second = reader.int64();
  }
  return import;
}

Function decode_function(std::string_view message, const Place& parent, int64_t index,
                         DecodeContext& context) {
  Place place{.parent = &parent, .kind = "function", .index = index};
  Function function;
  const auto size = [](const auto& list) { return static_cast<int64_t>(list.size()); };
  MessageReader reader(message, place);
  while (reader.next()) {
    switch (reader.field()) {
      case proto::function_name:
        place.name = reader.bytes();
        function.name = place.name;
        break;
      case proto::function_domain: function.domain = normal_domain(reader.bytes()); break;
      case proto::function_overload: function.overload = reader.string(); break;
      case proto::function_doc_string: function.doc_string = reader.string(); break;
      case proto::function_input: function.inputs.push_back(reader.string()); break;
      case proto::function_output: function.outputs.push_back(reader.string()); break;
      case proto::function_attribute: function.attributes.push_back(reader.string()); break;
      case proto::function_attribute_proto:
        function.attribute_defaults.push_back(
            decode_attribute(reader.bytes(), place, size(function.attribute_defaults), context, 0));
        break;
      case proto::function_node:
        function.nodes.push_back(
            decode_node(reader.bytes(), place, size(function.nodes), context, 0));
        break;
      case proto::function_opset_import:
        function.opset_import.push_back(decode_import(reader.bytes(), place));
        break;
      default: break;
    }
  }
  sort_nodes(function.nodes, place);
  return function;
}

void read_field(MessageReader& reader, Model& model, bool& has_graph, const Place& file,
                DecodeContext& context) {
  switch (reader.field()) {
    case proto::model_ir_version: model.ir_version = reader.int64(); break;
    case proto::model_producer_name: model.producer_name = reader.string(); break;
    case proto::model_producer_version: model.producer_version = reader.string(); break;
    case proto::model_domain: model.domain = reader.string(); break;
    case proto::model_model_version: model.model_version = reader.int64(); break;
    case proto::model_doc_string: model.doc_string = reader.string(); break;
    case proto::model_metadata: model.metadata.push_back(decode_entry(reader.bytes(), file)); break;
    case proto::model_opset_import:
      model.opset_import.push_back(decode_import(reader.bytes(), file));
      break;
    case proto::model_graph:
      model.graph = decode_graph(reader.bytes(), file, context, 0);
      has_graph = true;
      break;
    case proto::model_functions:
      model.functions.push_back(decode_function(
          reader.bytes(), file, static_cast<int64_t>(model.functions.size()), context));
      break;
    default: break;
  }
}

Model decode_model(std::string_view bytes, const std::string& path, DecodeContext& context) {
  const Place file{.name = path};
  if (bytes.empty()) fail_at(file, "the file is empty; fetch or export the model again");
  if (bytes.starts_with("version https://git-lfs"))
    fail_at(file, "this is a Git LFS pointer, not the model; fetch the model with 'git lfs pull'");
  Model model;
  model.path = path;
  bool has_graph = false;
  MessageReader reader(bytes, file);
  while (reader.next()) read_field(reader, model, has_graph, file, context);
  if (!has_graph)
    fail_at(file,
            "the file holds no graph; it is damaged or is no ONNX model, fetch or export it again");
  if (model.ir_version > 0 && model.ir_version < 3 && model.opset_import.empty())
    model.opset_import.emplace_back("", 1);
  check_model(model);
  return model;
}

}  // namespace

Model load(const std::string& path, const LoadOptions& options) {
  std::shared_ptr<const MappedFile> file = MappedFile::open(path);
  const std::string_view bytes = text(file->bytes());
  std::string directory = options.external_directory.empty()
                              ? std::filesystem::path(path).parent_path().string()
                              : options.external_directory;
  DecodeContext context(options, std::move(file), std::move(directory));
  return decode_model(bytes, path, context);
}

Model decode(const Bytes& bytes, const LoadOptions& options, const std::string& name) {
  std::optional<std::string> directory;
  if (!options.external_directory.empty()) directory = options.external_directory;
  DecodeContext context(options, bytes.owner, std::move(directory));
  return decode_model(text(bytes.data), name, context);
}

}  // namespace onrush::onnx
