// UTF-8 and code points.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace onrush {

// Empty if the text is not valid UTF-8 (overlong forms and surrogates included).
std::optional<std::u32string> from_utf8(std::string_view text);
// Values that are no code points become U+FFFD.
std::string to_utf8(std::u32string_view points);

}  // namespace onrush
