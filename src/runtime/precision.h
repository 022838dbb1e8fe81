// The names of precisions, as options and reports spell them.
#pragma once

#include <algorithm>
#include <optional>
#include <string_view>

#include <onrush/session.h>

namespace onrush {

struct NamedPrecision {
  std::string_view name;
  Precision precision;
};
inline constexpr NamedPrecision kPrecisions[] = {{"standard", Precision::standard},
                                                 {"fp32", Precision::fp32},
                                                 {"tf32", Precision::tf32},
                                                 {"fp16", Precision::fp16},
                                                 {"bf16", Precision::bf16}};

inline std::string_view name_of(Precision precision) {
  return std::ranges::find(kPrecisions, precision, &NamedPrecision::precision)->name;
}
inline std::optional<Precision> precision_of(std::string_view name) {
  const auto* found = std::ranges::find(kPrecisions, name, &NamedPrecision::name);
  if (found == std::end(kPrecisions)) return std::nullopt;
  return found->precision;
}
}  // namespace onrush
