// Values, sizes and times as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <onrush/session.h>

namespace onrush::cli {

std::string declared_shape(const Argument& argument);  // "[batch,3,224,?]"; "[...]": rank unknown
std::string argument_text(const Argument& argument);   // "x: tensor(float) [batch,3,224,?]"
std::string human_bytes(uint64_t bytes);               // "97.5 MiB"
std::string human_count(uint64_t count);               // "25.6 M"
std::string json_string(const std::string& text);  // quoted and escaped; bytes beyond ASCII stay

// The tensors that make up a value: itself, "NAME.0", "NAME.1" ... of a sequence, "NAME.keys" and
// "NAME.values.0" ... of a map. Nothing for an empty optional.
using NamedTensors = std::vector<std::pair<std::string, Tensor>>;
NamedTensors tensors_of(const std::string& name, const Value& value);

// Name, type, shape, the first elements, and the distribution of numbers; ends with a newline.
std::string summary(const std::string& name, const Tensor& tensor);

}  // namespace onrush::cli
