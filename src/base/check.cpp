#include "base/check.h"

namespace onrush {

const char* to_string(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_model: return "invalid model";
    case ErrorCode::invalid_argument: return "invalid argument";
    case ErrorCode::not_found: return "not found";
    case ErrorCode::unsupported: return "unsupported";
    case ErrorCode::out_of_memory: return "out of memory";
    case ErrorCode::cancelled: return "cancelled";
    case ErrorCode::device: return "device error";
    case ErrorCode::internal: return "internal error";
  }
  return "unknown";
}

void internal_error(std::string_view what, std::source_location where) {
  fail(ErrorCode::internal, "internal error at {}:{}: {} (a defect in Onrush; please report it)",
       where.file_name(), where.line(), what);
}

void internal_check(bool condition, std::string_view what, std::source_location where) {
  if (!condition) internal_error(what, where);
}

int64_t checked_add(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_add_overflow(a, b, &result))
    fail(ErrorCode::invalid_model, "a size overflows 64 bits: {} + {}", a, b);
  return result;
}

int64_t checked_mul(int64_t a, int64_t b) {
  int64_t result;
  if (__builtin_mul_overflow(a, b, &result))
    fail(ErrorCode::invalid_model, "a size overflows 64 bits: {} * {}", a, b);
  return result;
}

}  // namespace onrush
