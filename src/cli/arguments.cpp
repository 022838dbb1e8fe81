#include "cli/arguments.h"

#include <charconv>
#include <fmt/format.h>
#include <optional>
#include <string_view>
#include <utility>

#include "npy/npy.h"

namespace onrush::cli {
namespace {

template <class... Args>
[[noreturn]] void wrong(fmt::format_string<Args...> format, Args&&... args) {
  throw UsageError(fmt::format(format, std::forward<Args>(args)...));
}

// A decimal number without sign that fills the text.
template <class T>
std::optional<T> number(std::string_view text) {
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.starts_with('-'))
    return std::nullopt;
  return value;
}

std::pair<std::string, std::string> split(const std::string& text, std::string_view option,
                                          std::string_view form) {
  const size_t at = text.find('=');
  if (at == std::string::npos || at == 0) wrong("{} '{}': expected {}", option, text, form);
  return {text.substr(0, at), text.substr(at + 1)};
}

template <class T>
void insert(std::map<std::string, T>& into, std::string_view option, const std::string& name,
            T value) {
  if (!into.emplace(name, std::move(value)).second) wrong("{} '{}' is given twice", option, name);
}

InputSource parse_source(const std::string& text, const std::string& value) {
  constexpr std::string_view kRandom = "random";
  if (value == kRandom) return RandomValues{};
  if (value.starts_with("random:"))
    if (const auto seed = number<uint64_t>(std::string_view(value).substr(kRandom.size() + 1)))
      return RandomValues{*seed};
  if (value.ends_with(".npy") || value.ends_with(".npz")) return ArrayFile{value};
  wrong("--input '{}': expected NAME=FILE.npy, NAME=FILE.npz or NAME=random[:SEED]", text);
}

Shape parse_shape(const std::string& text, std::string_view value) {
  Shape shape;
  while (!value.empty()) {
    const size_t end = value.find('x');
    const auto extent = number<int64_t>(value.substr(0, end));
    if (!extent || end == value.size() - 1)
      wrong("--shape '{}': expected sizes as in NAME=1x3x224x224", text);
    shape.push_back(*extent);
    value.remove_prefix(end == std::string_view::npos ? value.size() : end + 1);
  }
  return shape;
}

}  // namespace

InputChoices parse(const InputTexts& texts) {
  InputChoices choices;
  for (const std::string& text : texts.inputs) {
    if (text.ends_with(".npz") && text.find('=') == std::string::npos) {
      const NpzFile archive(text);
      for (const std::string& name : archive.names())
        insert(choices.sources, "--input", name, InputSource(ArrayFile{text}));
      continue;
    }
    auto [name, value] = split(text, "--input", "NAME=FILE.npy|FILE.npz|random[:SEED] or FILE.npz");
    insert(choices.sources, "--input", name, parse_source(text, value));
  }
  for (const std::string& text : texts.shapes) {
    auto [name, value] = split(text, "--shape", "NAME=1x3x224x224");
    insert(choices.shapes, "--shape", name, parse_shape(text, value));
  }
  for (const std::string& text : texts.dims) {
    auto [name, value] = split(text, "--dim", "NAME=SIZE");
    const auto size = number<int64_t>(value);
    if (!size) wrong("--dim '{}': expected NAME=SIZE", text);
    insert(choices.dims, "--dim", name, *size);
  }
  return choices;
}

}  // namespace onrush::cli
