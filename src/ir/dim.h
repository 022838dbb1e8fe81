// Sizes that are concrete to read and symbolic to keep.
//
// A Dim holds the value at hand and an expression over the symbols of its ShapeContext (sizes and
// small integers of the inputs). Expressions are polynomials in normal form over atoms (a symbol,
// floordiv, mod, min, max, the result of floating-point arithmetic), hash-consed, so two dims that
// are equal as polynomials are one expression. There is no operator==: `same` compares structure,
// `prove` answers from ranges and recorded guards, `decide` follows the value at hand and records
// what it relied on as a guard.
//
// A ShapeContext belongs to one lowering and is used by one thread; evaluate() is const and may be
// called from several.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace onrush {

class ShapeContext;
struct Expr;

class Dim {
 public:
  Dim(int64_t value = 0) : value_(value) {}  // NOLINT: a number is a constant dim
  // A size that only the run will tell (the count of NonZero). Nothing may be computed with it.
  static Dim unknown();

  int64_t value() const { return value_; }    // at hand: the sizes the graph was lowered with
  const Expr* expr() const { return expr_; }  // null for a constant
  bool is_constant() const { return expr_ == nullptr && !is_unknown(); }
  bool is_unknown() const { return unknown_; }

 private:
  friend class ShapeContext;
  Dim(int64_t value, const Expr* expr) : value_(value), expr_(expr) {}

  int64_t value_;
  const Expr* expr_ = nullptr;
  bool unknown_ = false;
};

using Dims = std::vector<Dim>;

// Arithmetic throws Error{invalid_model} on overflow of 64 bits and on division by zero.
Dim operator+(Dim a, Dim b);
Dim operator-(Dim a, Dim b);
Dim operator*(Dim a, Dim b);
Dim floordiv(Dim a, Dim b);  // rounds toward minus infinity
Dim ceildiv(Dim a, Dim b);
Dim mod(Dim a, Dim b);  // sign of b, so floordiv(a,b)*b + mod(a,b) == a
Dim min(Dim a, Dim b);
Dim max(Dim a, Dim b);
// A step of floating-point arithmetic with a constant, or to an integer (round: ties to even).
struct FloatStep {
  enum class Kind : uint8_t { multiply, divide, add, floor, ceil, round, truncate };
  Kind kind;
  double operand = 0;
};
// What such arithmetic makes of a size: `a` as f32 (`single`) or f64, every step rounded to that
// format, the last result truncated. Guards that results are exact keep it a polynomial or a
// division where it is one in effect.
Dim float_arithmetic(Dim a, std::span<const FloatStep> steps, bool single);
Dim floor_scaled(Dim a, double scale);  // floor(a * scale), the product in f64
Dim product(std::span<const Dim> dims);

bool same(Dim a, Dim b);
bool same(std::span<const Dim> a, std::span<const Dim> b);
// a / b where b divides a as a polynomial.
std::optional<Dim> exact_quotient(Dim a, Dim b);

// A statement about dims: lhs == 0, or lhs >= 0.
struct Condition {
  enum class Kind : uint8_t { zero, nonnegative };
  Kind kind;
  Dim lhs;
  bool holds() const;  // for the values at hand
};
Condition equal(Dim a, Dim b);
Condition less(Dim a, Dim b);
Condition less_equal(Dim a, Dim b);
Condition divisible(Dim a, Dim b);

// True or false where every value of the symbols that meets the recorded guards agrees.
std::optional<bool> prove(const Condition& condition);
// Proven equal: for all sizes that a plan serves. Unknown sizes equal nothing.
bool always_equal(Dim a, Dim b);
bool always_equal(std::span<const Dim> a, std::span<const Dim> b);
bool is_one(Dim dim);
bool is_zero(Dim dim);
// The truth for the values at hand; unless proven it is recorded as a guard. `origin` says why.
bool decide(const Condition& condition, std::string_view origin);
// Decides `dim == value at hand`, and returns that value.
int64_t fix(Dim dim, std::string_view origin);

struct Guard {
  Condition condition;
  bool truth;
  std::string origin;
};

// Where a symbol's value is found when a plan is bound.
struct SymbolSource {
  enum class Kind : uint8_t { extent, element };
  Kind kind = Kind::extent;
  int input = 0;      // index into the graph's inputs
  int64_t index = 0;  // axis, or flat index of the element of a small integer input
};

struct Symbol {
  std::string name;
  SymbolSource source;
  int64_t value;  // at hand
};

// Values of every expression of a context for one set of symbol values.
class SizeTable {
 public:
  int64_t operator()(Dim dim) const;
  bool holds(const Guard& guard) const;

 private:
  friend class ShapeContext;
  std::vector<int64_t> values_;  // by Expr::id and Atom::id
};

class ShapeContext {
 public:
  ShapeContext();
  ~ShapeContext();
  ShapeContext(const ShapeContext&) = delete;
  ShapeContext& operator=(const ShapeContext&) = delete;

  // A new symbol known to lie in [low, infinity).
  Dim symbol(std::string name, SymbolSource source, int64_t value, int64_t low = 0);
  const std::vector<Symbol>& symbols() const;
  const std::vector<Guard>& guards() const;

  // Undo everything decided since: for a match that is tried and abandoned.
  size_t checkpoint() const { return guards().size(); }
  void roll_back(size_t checkpoint);

  // symbol_values[i] belongs to symbols()[i]. A few nanoseconds an expression.
  SizeTable evaluate(std::span<const int64_t> symbol_values) const;

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  friend class DimFactory;
  static Dim dim_of(const Expr& expr, int64_t value);
  std::unique_ptr<Impl> impl_;
};

// "768", "s0", "2*s0*s1 + 1", "floordiv(s0 + 1, 2)".
std::string to_string(Dim dim);
std::string to_string(std::span<const Dim> dims);  // "[s0,768]"
std::string to_string(const Condition& condition);
std::string to_string(const Guard& guard);  // "s0 - 2 >= 0 is true: Conv conv1 ..."

// A text that is equal for two dims exactly if same() holds; for hash keys.
void append_key(std::string& key, Dim dim);

}  // namespace onrush
