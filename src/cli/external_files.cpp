#include "cli/external_files.h"

#include <filesystem>
#include <string_view>

#include "onnx/external_data.h"
#include "onnx/proto.h"
#include "onnx/wire.h"
#include <onrush/tensor.h>

namespace onrush::cli {
namespace {

using onnx::MessageReader;
using onnx::Place;
namespace proto = onnx::proto;

// Walks the messages down to every tensor.
class Scan {
 public:
  explicit Scan(const Place& place) : place_(place) {}

  ExternalFiles files;

  void model(std::string_view message) {
    MessageReader reader(message, place_);
    while (reader.next()) {
      if (reader.field() == proto::model_graph) graph(reader.bytes());
      if (reader.field() == proto::model_functions) function(reader.bytes());
    }
  }

 private:
  void graph(std::string_view message) {
    MessageReader reader(message, place_);
    while (reader.next()) {
      if (reader.field() == proto::graph_initializer) tensor(reader.bytes());
      if (reader.field() == proto::graph_node) node(reader.bytes());
    }
  }

  void function(std::string_view message) {
    MessageReader reader(message, place_);
    while (reader.next())
      if (reader.field() == proto::function_node) node(reader.bytes());
  }

  void node(std::string_view message) {
    MessageReader reader(message, place_);
    while (reader.next())
      if (reader.field() == proto::node_attribute) attribute(reader.bytes());
  }

  void attribute(std::string_view message) {
    MessageReader reader(message, place_);
    while (reader.next()) switch (reader.field()) {
        case proto::attribute_t:
        case proto::attribute_tensors: tensor(reader.bytes()); break;
        case proto::attribute_g:
        case proto::attribute_graphs: graph(reader.bytes()); break;
        default: break;
      }
  }

  void tensor(std::string_view message) {
    MessageReader reader(message, place_);
    Shape shape;
    DType dtype = DType::undefined;
    bool external = false;
    onnx::ExternalLocation location;
    while (reader.next()) switch (reader.field()) {
        case proto::tensor_dims:
          onnx::append_varints(reader.run(onnx::WireType::varint), shape, place_);
          break;
        case proto::tensor_data_type: dtype = static_cast<DType>(reader.int32()); break;
        case proto::tensor_data_location:
          external = reader.int32() == proto::kDataLocationExternal;
          break;
        case proto::tensor_external_data: entry(reader.bytes(), location); break;
        default: break;
      }
    if (!external) return;
    ExternalFile& file = files[location.location];
    ++file.tensors;
    file.bytes += byte_size(dtype, element_count(shape));
  }

  void entry(std::string_view message, onnx::ExternalLocation& location) {
    MessageReader reader(message, place_);
    std::string_view key, value;
    while (reader.next()) {
      if (reader.field() == proto::entry_key) key = reader.bytes();
      if (reader.field() == proto::entry_value) value = reader.bytes();
    }
    location.set(key, value, place_);
  }

  const Place& place_;
};

}  // namespace

ExternalFiles external_files(std::span<const std::byte> model, const std::string& path) {
  const Place place{.name = path};
  Scan scan(place);
  scan.model({reinterpret_cast<const char*>(model.data()), model.size()});
  const auto folder = std::filesystem::path(path).parent_path();
  for (auto& [location, file] : scan.files) {
    std::error_code error;
    file.present = std::filesystem::is_regular_file(folder / location, error);
  }
  return std::move(scan.files);
}

}  // namespace onrush::cli
