// Errors inside the library. A wrong model or call: throw Error through fail(). A defect of ours:
// internal_check. "No match" is an std::optional, never an exception.
#pragma once

#include <fmt/format.h>
#include <source_location>
#include <string_view>

#include <onrush/error.h>

namespace onrush {

template <class... Args>
[[noreturn]] void fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

// Throws Error{internal} with the source position unless `condition` holds.
void internal_check(bool condition, std::string_view what,
                    std::source_location where = std::source_location::current());
[[noreturn]] void internal_error(std::string_view what,
                                 std::source_location where = std::source_location::current());

// Integer arithmetic on sizes; throws Error{invalid_model} on overflow of 64 bits.
int64_t checked_add(int64_t a, int64_t b);
int64_t checked_mul(int64_t a, int64_t b);

}  // namespace onrush
