#include "ir/dim.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <numeric>

#include "base/check.h"

namespace onrush {
namespace {

enum class AtomKind : uint8_t { symbol, floordiv, mod, min, max, floating };

struct Atom {
  AtomKind kind;
  int symbol = 0;                     // AtomKind::symbol
  Dim a, b;                           // operands
  std::vector<FloatStep> steps = {};  // AtomKind::floating, of a
  bool single = false;
  int id = 0;
  int64_t value = 0;
  int form = 0;  // of the atom by itself
};

struct Monomial {
  int64_t coefficient;
  std::vector<const Atom*> factors;  // ascending by id, never empty
};

bool factors_less(const std::vector<const Atom*>& a, const std::vector<const Atom*>& b) {
  if (a.size() != b.size()) return a.size() > b.size();  // higher degree first
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return a[i]->id < b[i]->id;
  return false;
}

struct Polynomial {
  int64_t constant = 0;
  std::vector<Monomial> terms;  // sorted by factors_less, coefficients nonzero
};

int64_t floor_div(int64_t a, int64_t b) {
  if (b == 0) fail(ErrorCode::invalid_model, "a size is divided by zero");
  const int64_t q = a / b;
  return q * b != a && (a < 0) != (b < 0) ? q - 1 : q;
}
int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

template <class Float>
Float step_result(const FloatStep& step, Float x) {
  const auto operand = static_cast<Float>(step.operand);
  switch (step.kind) {
    case FloatStep::Kind::multiply: return x * operand;
    case FloatStep::Kind::divide: return x / operand;
    case FloatStep::Kind::add: return x + operand;
    case FloatStep::Kind::floor: return std::floor(x);
    case FloatStep::Kind::ceil: return std::ceil(x);
    case FloatStep::Kind::round: return std::nearbyint(x);
    case FloatStep::Kind::truncate: return std::trunc(x);
  }
  internal_error("unknown step of arithmetic");
}

template <class Float>
int64_t floating(int64_t a, std::span<const FloatStep> steps) {
  auto x = static_cast<Float>(a);
  for (const FloatStep& step : steps) x = step_result(step, x);
  constexpr double kLimit = 9e18;
  return static_cast<int64_t>(std::clamp(static_cast<double>(x), -kLimit, kLimit));
}
int64_t floating(int64_t a, std::span<const FloatStep> steps, bool single) {
  return single ? floating<float>(a, steps) : floating<double>(a, steps);
}

int64_t apply(const Atom& atom, int64_t a, int64_t b) {
  switch (atom.kind) {
    case AtomKind::floordiv: return floor_div(a, b);
    case AtomKind::mod: return floor_mod(a, b);
    case AtomKind::min: return std::min(a, b);
    case AtomKind::max: return std::max(a, b);
    case AtomKind::floating: return floating(a, atom.steps, atom.single);
    case AtomKind::symbol: break;
  }
  internal_error("a symbol has no operands");
}

// Whether a greater size never gives a smaller result.
bool is_monotonic(std::span<const FloatStep> steps) {
  return std::ranges::all_of(steps, [](const FloatStep& step) {
    const bool scales =
        step.kind == FloatStep::Kind::multiply || step.kind == FloatStep::Kind::divide;
    return !scales || step.operand > 0;
  });
}

struct Range {
  int64_t low;
  int64_t high;
};
constexpr int64_t kInfinity = std::numeric_limits<int64_t>::max();

bool infinite(int64_t x) { return x == kInfinity || x == -kInfinity; }
int64_t saturating_add(int64_t a, int64_t b) {
  if (infinite(a)) return a;
  if (infinite(b)) return b;
  int64_t r;
  if (__builtin_add_overflow(a, b, &r)) return a > 0 ? kInfinity : -kInfinity;
  return r;
}
int64_t saturating_mul(int64_t a, int64_t b) {
  if (a == 0 || b == 0) return 0;
  int64_t r;
  if (infinite(a) || infinite(b) || __builtin_mul_overflow(a, b, &r))
    return (a < 0) != (b < 0) ? -kInfinity : kInfinity;
  return r;
}
Range operator+(Range a, Range b) {
  return {saturating_add(a.low, b.low), saturating_add(a.high, b.high)};
}
Range operator*(Range a, Range b) {
  const int64_t corners[] = {saturating_mul(a.low, b.low), saturating_mul(a.low, b.high),
                             saturating_mul(a.high, b.low), saturating_mul(a.high, b.high)};
  return {*std::min_element(corners, corners + 4), *std::max_element(corners, corners + 4)};
}

}  // namespace

namespace {

// A polynomial is scale * form + constant, where a form has no constant term, coprime coefficients
// and a positive leading one. What guards tell is kept by form, so that a guard about 2*s0 - 4
// answers questions about s0.
struct Form {
  Range range{-kInfinity, kInfinity};
  std::vector<int64_t> excluded;
};

}  // namespace

struct Expr {
  ShapeContext* context;
  int id;
  Polynomial polynomial;
  int64_t value;  // at hand
  int form;
  int64_t scale;
};

struct ShapeContext::Impl {
  std::deque<Expr> exprs;
  std::deque<Atom> atoms;
  // In creation order, which evaluation follows: exactly one of the two is set.
  struct Slot {
    const Expr* expr;
    const Atom* atom;
  };
  std::vector<Slot> slots;
  std::unordered_map<std::string, const Expr*> expr_by_key;
  std::unordered_map<std::string, const Atom*> atom_by_key;
  std::unordered_map<std::string, int> form_by_key;
  std::vector<Form> forms;
  struct SymbolFacts {
    const Atom* atom;
    int64_t low;
  };
  std::vector<Symbol> symbols;
  std::vector<SymbolFacts> symbol_facts;
  std::vector<Guard> guards;
  int fixed_atoms = 0;  // those that guards leave one value
};

namespace {

ShapeContext* context_of(Dim a, Dim b = 0) {
  if (a.is_unknown() || b.is_unknown()) internal_error("arithmetic on a size not known yet");
  if (a.expr()) return a.expr()->context;
  return b.expr() ? b.expr()->context : nullptr;
}

Polynomial polynomial_of(Dim dim) {
  return dim.expr() ? dim.expr()->polynomial : Polynomial{dim.value(), {}};
}

void normalise(Polynomial& p) {
  std::sort(p.terms.begin(), p.terms.end(), [](const Monomial& a, const Monomial& b) {
    return factors_less(a.factors, b.factors);
  });
  std::vector<Monomial> merged;
  for (Monomial& term : p.terms) {
    if (!merged.empty() && merged.back().factors == term.factors)
      merged.back().coefficient = checked_add(merged.back().coefficient, term.coefficient);
    else merged.push_back(std::move(term));
  }
  std::erase_if(merged, [](const Monomial& term) { return term.coefficient == 0; });
  p.terms = std::move(merged);
}

Polynomial add(const Polynomial& a, const Polynomial& b, int64_t sign) {
  Polynomial r = a;
  r.constant = checked_add(r.constant, checked_mul(sign, b.constant));
  for (const Monomial& term : b.terms)
    r.terms.push_back({checked_mul(sign, term.coefficient), term.factors});
  normalise(r);
  return r;
}

Monomial multiply(const Monomial& a, const Monomial& b) {
  Monomial r{checked_mul(a.coefficient, b.coefficient), a.factors};
  r.factors.insert(r.factors.end(), b.factors.begin(), b.factors.end());
  std::sort(r.factors.begin(), r.factors.end(), [](auto* x, auto* y) { return x->id < y->id; });
  return r;
}

Polynomial multiply(const Polynomial& a, const Polynomial& b) {
  Polynomial r;
  r.constant = checked_mul(a.constant, b.constant);
  for (const Monomial& x : a.terms) {
    if (b.constant) r.terms.push_back({checked_mul(x.coefficient, b.constant), x.factors});
    for (const Monomial& y : b.terms) r.terms.push_back(multiply(x, y));
  }
  if (a.constant)
    for (const Monomial& y : b.terms)
      r.terms.push_back({checked_mul(y.coefficient, a.constant), y.factors});
  normalise(r);
  return r;
}

int64_t value_of(const Polynomial& p) {
  int64_t value = p.constant;
  for (const Monomial& term : p.terms) {
    int64_t product = term.coefficient;
    for (const Atom* atom : term.factors) product = checked_mul(product, atom->value);
    value = checked_add(value, product);
  }
  return value;
}

// A text that tells polynomials with equal constants apart.
void append_terms(std::string& key, const Polynomial& p, int64_t divisor) {
  const auto append = [&](int64_t number) {
    key.append(reinterpret_cast<const char*>(&number), sizeof number);
  };
  for (const Monomial& term : p.terms) {
    append(term.coefficient / divisor);
    append(static_cast<int64_t>(term.factors.size()));
    for (const Atom* atom : term.factors) append(atom->id);
  }
}

std::string key_of(const Polynomial& p) {
  std::string key(reinterpret_cast<const char*>(&p.constant), sizeof p.constant);
  append_terms(key, p, 1);
  return key;
}

int64_t scale_of(const Polynomial& p) {
  int64_t scale = 0;
  for (const Monomial& term : p.terms) scale = std::gcd(scale, term.coefficient);
  return p.terms[0].coefficient < 0 ? -scale : scale;
}

int form_of(ShapeContext::Impl& impl, const Polynomial& p) {
  std::string key;
  append_terms(key, p, scale_of(p));
  const auto [entry, is_new] =
      impl.form_by_key.try_emplace(std::move(key), static_cast<int>(impl.forms.size()));
  if (is_new) impl.forms.emplace_back();
  return entry->second;
}

Range intersection(Range a, Range b) { return {std::max(a.low, b.low), std::min(a.high, b.high)}; }

Range range_of(const ShapeContext::Impl& impl, Dim dim);

Range range_from_operands(const ShapeContext::Impl& impl, const Atom& atom) {
  const Range a = range_of(impl, atom.a);
  const Range b = range_of(impl, atom.b);
  switch (atom.kind) {
    case AtomKind::min: return {std::min(a.low, b.low), std::min(a.high, b.high)};
    case AtomKind::max: return {std::max(a.low, b.low), std::max(a.high, b.high)};
    case AtomKind::mod:
      if (b.low > 0) return {0, infinite(b.high) ? kInfinity : b.high - 1};
      return {-kInfinity, kInfinity};
    case AtomKind::floordiv:
      if (b.low > 0 && a.low >= 0)
        return {infinite(b.high) ? 0 : a.low / b.high,
                infinite(a.high) ? kInfinity : a.high / b.low};
      if (atom.b.is_constant() && b.low > 0)
        return {infinite(a.low) ? -kInfinity : floor_div(a.low, b.low),
                infinite(a.high) ? kInfinity : floor_div(a.high, b.low)};
      return {-kInfinity, kInfinity};
    case AtomKind::floating:
      if (!is_monotonic(atom.steps)) return {-kInfinity, kInfinity};
      return {infinite(a.low) ? -kInfinity : apply(atom, a.low, 0),
              infinite(a.high) ? kInfinity : apply(atom, a.high, 0)};
    case AtomKind::symbol: break;
  }
  internal_error("unknown atom");
}

Range range_of(const ShapeContext::Impl& impl, const Atom& atom) {
  const Range known = impl.forms[static_cast<size_t>(atom.form)].range;
  return atom.kind == AtomKind::symbol ? known
                                       : intersection(known, range_from_operands(impl, atom));
}

Range range_of(const ShapeContext::Impl& impl, const Polynomial& p) {
  Range sum{p.constant, p.constant};
  for (const Monomial& term : p.terms) {
    Range r{term.coefficient, term.coefficient};
    for (const Atom* atom : term.factors) r = r * range_of(impl, *atom);
    sum = sum + r;
  }
  return sum;
}

Range range_of(const ShapeContext::Impl& impl, Dim dim) {
  if (!dim.expr()) return {dim.value(), dim.value()};
  const Expr& expr = *dim.expr();
  const Range known = impl.forms[static_cast<size_t>(expr.form)].range;
  const int64_t constant = expr.polynomial.constant;
  return intersection(range_of(impl, expr.polynomial),
                      known * Range{expr.scale, expr.scale} + Range{constant, constant});
}

Range range_of(Dim dim) {
  return dim.expr() ? range_of(dim.expr()->context->impl(), dim) : Range{dim.value(), dim.value()};
}

}  // namespace

// Interns a polynomial as a Dim; one place that builds Dims.
class DimFactory {
 public:
  static Dim intern(ShapeContext* context, Polynomial p);
  static Dim atom(ShapeContext* context, Atom atom);
  static Dim symbol(ShapeContext* context, int symbol, int64_t value, int64_t low);

 private:
  static Dim of_atom(ShapeContext* context, const Atom* atom);
  static const Atom* add_atom(ShapeContext::Impl& impl, Atom atom, std::string key);
};

namespace {
// Replaces atoms that guards have fixed to one value.
Polynomial with_fixed_atoms(const ShapeContext::Impl& impl, const Polynomial& p) {
  Polynomial r{p.constant, {}};
  for (const Monomial& term : p.terms) {
    Monomial kept{term.coefficient, {}};
    for (const Atom* atom : term.factors) {
      const Range range = impl.forms[static_cast<size_t>(atom->form)].range;
      if (range.low == range.high) kept.coefficient = checked_mul(kept.coefficient, range.low);
      else kept.factors.push_back(atom);
    }
    if (kept.factors.empty()) r.constant = checked_add(r.constant, kept.coefficient);
    else r.terms.push_back(std::move(kept));
  }
  normalise(r);
  return r;
}
}  // namespace

Dim DimFactory::intern(ShapeContext* context, Polynomial p) {
  if (context && context->impl().fixed_atoms) p = with_fixed_atoms(context->impl(), p);
  if (p.terms.empty()) return Dim(p.constant);
  ShapeContext::Impl& impl = context->impl();
  auto [entry, is_new] = impl.expr_by_key.try_emplace(key_of(p), nullptr);
  if (is_new) {
    const int64_t value = value_of(p), scale = scale_of(p);
    const int form = form_of(impl, p);
    impl.exprs.push_back(
        {context, static_cast<int>(impl.slots.size()), std::move(p), value, form, scale});
    entry->second = &impl.exprs.back();
    impl.slots.push_back({entry->second, nullptr});
  }
  return context->dim_of(*entry->second, entry->second->value);
}

const Atom* DimFactory::add_atom(ShapeContext::Impl& impl, Atom atom, std::string key) {
  auto [entry, is_new] = impl.atom_by_key.try_emplace(std::move(key), nullptr);
  if (is_new) {
    atom.id = static_cast<int>(impl.slots.size());
    impl.atoms.push_back(std::move(atom));
    entry->second = &impl.atoms.back();
    impl.atoms.back().form = form_of(impl, Polynomial{0, {Monomial{1, {entry->second}}}});
    impl.slots.push_back({nullptr, entry->second});
  }
  return entry->second;
}

Dim DimFactory::of_atom(ShapeContext* context, const Atom* atom) {
  return intern(context, Polynomial{0, {Monomial{1, {atom}}}});
}

Dim DimFactory::atom(ShapeContext* context, Atom atom) {
  std::string key = std::to_string(static_cast<int>(atom.kind)) + (atom.single ? "f:" : ":");
  append_key(key, atom.a);
  key += ',';
  append_key(key, atom.b);
  for (const FloatStep& step : atom.steps)
    key += fmt::format(",{}:{}", static_cast<int>(step.kind), std::bit_cast<int64_t>(step.operand));
  atom.value = apply(atom, atom.a.value(), atom.b.value());
  return of_atom(context, add_atom(context->impl(), std::move(atom), std::move(key)));
}

Dim DimFactory::symbol(ShapeContext* context, int symbol, int64_t value, int64_t low) {
  ShapeContext::Impl& impl = context->impl();
  Atom made{.kind = AtomKind::symbol, .symbol = symbol};
  made.value = value;
  const Atom* atom = add_atom(impl, std::move(made), "s" + std::to_string(symbol));
  impl.symbol_facts.push_back({atom, low});
  impl.forms[static_cast<size_t>(atom->form)].range.low = low;
  return of_atom(context, atom);
}

Dim Dim::unknown() {
  Dim dim(-1);
  dim.unknown_ = true;
  return dim;
}

Dim operator+(Dim a, Dim b) {
  ShapeContext* context = context_of(a, b);
  return DimFactory::intern(context, add(polynomial_of(a), polynomial_of(b), 1));
}
Dim operator-(Dim a, Dim b) {
  ShapeContext* context = context_of(a, b);
  return DimFactory::intern(context, add(polynomial_of(a), polynomial_of(b), -1));
}
Dim operator*(Dim a, Dim b) {
  ShapeContext* context = context_of(a, b);
  return DimFactory::intern(context, multiply(polynomial_of(a), polynomial_of(b)));
}

namespace {

// Splits p into c * q + rest with every coefficient of c * q divisible by the constant c > 0.
void split_divisible(const Polynomial& p, int64_t c, Polynomial& q, Polynomial& rest) {
  q.constant = floor_div(p.constant, c);
  rest.constant = floor_mod(p.constant, c);
  for (const Monomial& term : p.terms) {
    const int64_t whole = floor_div(term.coefficient, c);
    const int64_t left = floor_mod(term.coefficient, c);
    if (whole) q.terms.push_back({whole, term.factors});
    if (left) rest.terms.push_back({left, term.factors});
  }
}

std::optional<Monomial> divide(const Monomial& a, const Monomial& b) {
  if (a.coefficient % b.coefficient) return std::nullopt;
  Monomial r{a.coefficient / b.coefficient, {}};
  size_t j = 0;
  for (const Atom* atom : a.factors) {
    if (j < b.factors.size() && b.factors[j] == atom) ++j;
    else r.factors.push_back(atom);
  }
  if (j != b.factors.size()) return std::nullopt;
  return r;
}

Monomial leading(const Polynomial& p) {
  return p.terms.empty() ? Monomial{p.constant, {}} : p.terms.front();
}
bool is_zero(const Polynomial& p) { return p.constant == 0 && p.terms.empty(); }

Polynomial as_polynomial(Monomial m) {
  if (m.factors.empty()) return {m.coefficient, {}};
  return {0, {std::move(m)}};
}

// Multivariate long division by one divisor; nullopt unless it goes without remainder.
std::optional<Polynomial> divide(Polynomial a, const Polynomial& b) {
  if (is_zero(b)) return std::nullopt;
  Polynomial quotient;
  for (int step = 0; !is_zero(a) && step < 64; ++step) {
    const auto m = divide(leading(a), leading(b));
    if (!m) return std::nullopt;
    const Polynomial term = as_polynomial(*m);
    quotient = add(quotient, term, 1);
    a = add(a, multiply(term, b), -1);
  }
  if (!is_zero(a)) return std::nullopt;
  return quotient;
}

}  // namespace

std::optional<Dim> exact_quotient(Dim a, Dim b) {
  if (b.is_constant() && b.value() == 0) return std::nullopt;
  ShapeContext* context = context_of(a, b);
  auto quotient = divide(polynomial_of(a), polynomial_of(b));
  if (!quotient) return std::nullopt;
  return DimFactory::intern(context, *quotient);
}

Dim floordiv(Dim a, Dim b) {
  ShapeContext* context = context_of(a, b);
  if (!context) return Dim(floor_div(a.value(), b.value()));
  if (const auto exact = exact_quotient(a, b)) return *exact;
  if (b.is_constant() && b.value() > 0) {
    Polynomial q, rest;
    split_divisible(polynomial_of(a), b.value(), q, rest);
    if (rest.terms.empty()) return DimFactory::intern(context, q);
    const Dim left = DimFactory::intern(context, rest);
    const Range range = range_of(left);
    const Dim whole = DimFactory::intern(context, q);
    if (range.low >= 0 && range.high < b.value()) return whole;
    return whole + DimFactory::atom(context, {.kind = AtomKind::floordiv, .a = left, .b = b});
  }
  return DimFactory::atom(context, {.kind = AtomKind::floordiv, .a = a, .b = b});
}

Dim mod(Dim a, Dim b) {
  ShapeContext* context = context_of(a, b);
  if (!context) return Dim(floor_mod(a.value(), b.value()));
  if (exact_quotient(a, b)) return 0;
  if (b.is_constant() && b.value() > 0) {
    Polynomial q, rest;
    split_divisible(polynomial_of(a), b.value(), q, rest);
    const Dim left = DimFactory::intern(context, rest);
    const Range range = range_of(left);
    if (range.low >= 0 && range.high < b.value()) return left;
    return DimFactory::atom(context, {.kind = AtomKind::mod, .a = left, .b = b});
  }
  return DimFactory::atom(context, {.kind = AtomKind::mod, .a = a, .b = b});
}

Dim ceildiv(Dim a, Dim b) { return floordiv(a + b - 1, b); }

Dim min(Dim a, Dim b) {
  ShapeContext* context = context_of(a, b);
  if (!context) return Dim(std::min(a.value(), b.value()));
  if (const auto less = prove(less_equal(a, b))) return *less ? a : b;
  if (prove(less_equal(b, a)) == true) return b;
  return DimFactory::atom(context, {.kind = AtomKind::min, .a = a, .b = b});
}
Dim max(Dim a, Dim b) {
  ShapeContext* context = context_of(a, b);
  if (!context) return Dim(std::max(a.value(), b.value()));
  if (const auto less = prove(less_equal(a, b))) return *less ? b : a;
  if (prove(less_equal(b, a)) == true) return a;
  return DimFactory::atom(context, {.kind = AtomKind::max, .a = a, .b = b});
}

namespace {

bool is_rounding(FloatStep::Kind kind) {
  return kind != FloatStep::Kind::multiply && kind != FloatStep::Kind::divide &&
         kind != FloatStep::Kind::add;
}

// Walks the steps with an integer in hand.
class FloatArithmetic {
 public:
  FloatArithmetic(Dim a, std::span<const FloatStep> steps, bool single)
      : context_(context_of(a)), value_(a), steps_(steps), single_(single) {}

  Dim run() {
    while (next_ < steps_.size())
      if (!integer_step() && !quotient_step()) floating_step();
    return value_;
  }

 private:
  using Kind = FloatStep::Kind;

  // Whether the format has the integer for all sizes that the plan serves. No size is too large for
  // f64.
  bool is_exact(Dim d) const {
    return !single_ || (decide(less_equal(d, kLargest), "exact in f32") &&
                        decide(less_equal(-kLargest, d), "exact in f32"));
  }
  static bool is_integer(double x) { return x == std::floor(x) && std::fabs(x) < 1e9; }

  bool integer_step() {
    const auto [kind, operand] = steps_[next_];
    if (kind == Kind::divide || (!is_rounding(kind) && !is_integer(operand))) return false;
    if (!is_exact(value_)) return false;
    const auto number = static_cast<int64_t>(operand);
    const Dim result = kind == Kind::multiply ? value_ * number
                       : kind == Kind::add    ? value_ + number
                                              : value_;
    if (!is_exact(result)) return false;
    value_ = result;
    ++next_;
    return true;
  }

  // Rounded down or up, the quotient of exact integers that comes out is the true one's.
  bool quotient_step() {
    const auto [kind, operand] = steps_[next_];
    int exponent = 0;
    double divisor = 0;
    if (kind == Kind::divide) divisor = operand;
    if (kind == Kind::multiply && std::frexp(operand, &exponent) == 0.5) divisor = 1 / operand;
    if (divisor < 1 || !is_integer(divisor) || !is_exact(value_)) return false;
    const Kind rounding = next_ + 1 < steps_.size() ? steps_[next_ + 1].kind : Kind::truncate;
    const bool down = rounding == Kind::floor ||
                      (rounding == Kind::truncate && decide(less_equal(0, value_), "truncation"));
    if (!down && rounding != Kind::ceil) return false;
    const Dim d = static_cast<int64_t>(divisor);
    value_ = down ? floordiv(value_, d) : ceildiv(value_, d);
    next_ += 2;
    return true;
  }

  // All up to the next rounding is one atom.
  void floating_step() {
    const size_t begin = next_;
    while (next_ < steps_.size() && !is_rounding(steps_[next_].kind)) ++next_;
    if (next_ < steps_.size()) ++next_;
    const std::span<const FloatStep> steps = steps_.subspan(begin, next_ - begin);
    value_ = DimFactory::atom(context_, {.kind = AtomKind::floating,
                                         .a = value_,
                                         .steps = {steps.begin(), steps.end()},
                                         .single = single_});
  }

  ShapeContext* context_;
  Dim value_;
  std::span<const FloatStep> steps_;
  bool single_;
  static constexpr int64_t kLargest = int64_t{1} << 24;  // up to there f32 has all integers
  size_t next_ = 0;
};

}  // namespace

Dim float_arithmetic(Dim a, std::span<const FloatStep> steps, bool single) {
  if (!context_of(a)) return floating(a.value(), steps, single);
  return FloatArithmetic(a, steps, single).run();
}

Dim floor_scaled(Dim a, double scale) {
  const FloatStep steps[] = {{FloatStep::Kind::multiply, scale}, {FloatStep::Kind::floor}};
  return float_arithmetic(a, steps, /*single=*/false);
}

Dim product(std::span<const Dim> dims) {
  Dim result = 1;
  for (const Dim& dim : dims) result = result * dim;
  return result;
}

bool same(Dim a, Dim b) {
  if (a.is_unknown() || b.is_unknown()) return false;
  return a.expr() == b.expr() && a.value() == b.value();
}
bool same(std::span<const Dim> a, std::span<const Dim> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](Dim x, Dim y) { return same(x, y); });
}

bool Condition::holds() const { return kind == Kind::zero ? lhs.value() == 0 : lhs.value() >= 0; }
Condition equal(Dim a, Dim b) { return {Condition::Kind::zero, a - b}; }
Condition less_equal(Dim a, Dim b) { return {Condition::Kind::nonnegative, b - a}; }
Condition less(Dim a, Dim b) { return {Condition::Kind::nonnegative, b - a - 1}; }
Condition divisible(Dim a, Dim b) { return {Condition::Kind::zero, mod(a, b)}; }

namespace {

// The same statement without atoms that have been fixed since it was made.
Condition simplified(const Condition& condition) {
  if (!condition.lhs.expr()) return condition;
  const Expr& expr = *condition.lhs.expr();
  if (!expr.context->impl().fixed_atoms) return condition;
  return {condition.kind, DimFactory::intern(expr.context, expr.polynomial)};
}

// Keeps in mind that the expression is at least `least`, or at most `most`.
void narrow_low(Form& form, const Expr& expr, int64_t least) {
  const int64_t size = std::abs(expr.scale), rest = expr.polynomial.constant - least;
  if (expr.scale > 0) form.range.low = std::max(form.range.low, -floor_div(rest, size));
  else form.range.high = std::min(form.range.high, floor_div(rest, size));
}
void narrow_high(Form& form, const Expr& expr, int64_t most) {
  const int64_t size = std::abs(expr.scale), rest = most - expr.polynomial.constant;
  if (expr.scale > 0) form.range.high = std::min(form.range.high, floor_div(rest, size));
  else form.range.low = std::max(form.range.low, -floor_div(rest, size));
}

// Keeps in mind what a guard tells of the form of its expression.
void learn(ShapeContext::Impl& impl, const Guard& guard) {
  const Condition condition = simplified(guard.condition);
  if (!condition.lhs.expr()) return;
  const Expr& expr = *condition.lhs.expr();
  if (std::abs(expr.polynomial.constant / 2) >= kInfinity / 2) return;
  Form& form = impl.forms[static_cast<size_t>(expr.form)];
  if (condition.kind == Condition::Kind::nonnegative) {
    if (guard.truth) narrow_low(form, expr, 0);
    else narrow_high(form, expr, -1);
    return;
  }
  if (guard.truth) {
    narrow_low(form, expr, 0);
    narrow_high(form, expr, 0);
    return;
  }
  const int64_t root = -(expr.polynomial.constant / expr.scale);
  if (expr.polynomial.constant % expr.scale == 0 && !std::ranges::count(form.excluded, root))
    form.excluded.push_back(root);
  const Range range = range_of(impl, condition.lhs);
  if (range.low == 0) narrow_low(form, expr, 1);
  if (range.high == 0) narrow_high(form, expr, -1);
}

int count_fixed_atoms(const ShapeContext::Impl& impl) {
  return static_cast<int>(std::ranges::count_if(impl.atoms, [&](const Atom& atom) {
    const Range range = impl.forms[static_cast<size_t>(atom.form)].range;
    return range.low == range.high;
  }));
}

// What the guards tell, again until no further atom is fixed, since that may fix others.
void learn_from_guards(ShapeContext::Impl& impl) {
  int fixed;
  do {
    fixed = impl.fixed_atoms;
    for (const Guard& guard : impl.guards) learn(impl, guard);
    impl.fixed_atoms = count_fixed_atoms(impl);
  } while (impl.fixed_atoms != fixed);
}

}  // namespace

std::optional<bool> prove(const Condition& original) {
  const Condition condition = simplified(original);
  if (!condition.lhs.expr()) return condition.holds();
  const Expr& expr = *condition.lhs.expr();
  const Range range = range_of(condition.lhs);
  if (condition.kind == Condition::Kind::nonnegative) {
    if (range.low >= 0) return true;
    if (range.high < 0) return false;
    return std::nullopt;
  }
  if (range.low == 0 && range.high == 0) return true;
  if (range.low > 0 || range.high < 0 || expr.polynomial.constant % std::abs(expr.scale))
    return false;
  const int64_t root = -(expr.polynomial.constant / expr.scale);
  const Form& form = expr.context->impl().forms[static_cast<size_t>(expr.form)];
  if (std::ranges::count(form.excluded, root)) return false;
  return std::nullopt;
}

bool always_equal(Dim a, Dim b) {
  if (a.is_unknown() || b.is_unknown() || a.value() != b.value()) return false;
  if (same(a, b)) return true;
  if (a.is_constant()) std::swap(a, b);
  if (!b.is_constant() || a.expr()->context->impl().fixed_atoms) return prove(equal(a, b)) == true;
  // Most questions are whether a size is a number: answered without a new expression.
  const Range range = range_of(a);
  return range.low == b.value() && range.high == b.value();
}
bool always_equal(std::span<const Dim> a, std::span<const Dim> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](Dim x, Dim y) { return always_equal(x, y); });
}
bool is_one(Dim dim) { return always_equal(dim, 1); }
bool is_zero(Dim dim) { return always_equal(dim, 0); }

bool decide(const Condition& original, std::string_view origin) {
  if (const auto truth = prove(original)) return *truth;
  const Condition condition = simplified(original);
  ShapeContext::Impl& impl = condition.lhs.expr()->context->impl();
  impl.guards.push_back({condition, condition.holds(), std::string(origin)});
  learn(impl, impl.guards.back());
  if (count_fixed_atoms(impl) != impl.fixed_atoms) learn_from_guards(impl);
  return condition.holds();
}

int64_t fix(Dim dim, std::string_view origin) {
  if (!dim.is_constant()) decide(equal(dim, dim.value()), origin);
  return dim.value();
}

int64_t SizeTable::operator()(Dim dim) const {
  if (dim.is_unknown()) internal_error("a size not known yet is read");
  if (!dim.expr()) return dim.value();
  const auto id = static_cast<size_t>(dim.expr()->id);
  internal_check(id < values_.size(), "a size is read from a table made after its expression");
  return values_[id];
}

bool SizeTable::holds(const Guard& guard) const {
  const int64_t value = (*this)(guard.condition.lhs);
  const bool truth = guard.condition.kind == Condition::Kind::zero ? value == 0 : value >= 0;
  return truth == guard.truth;
}

ShapeContext::ShapeContext() : impl_(std::make_unique<Impl>()) {}
ShapeContext::~ShapeContext() = default;

Dim ShapeContext::dim_of(const Expr& expr, int64_t value) { return Dim(value, &expr); }

Dim ShapeContext::symbol(std::string name, SymbolSource source, int64_t value, int64_t low) {
  const int index = static_cast<int>(impl_->symbols.size());
  impl_->symbols.push_back({std::move(name), source, value});
  return DimFactory::symbol(this, index, value, low);
}

const std::vector<Symbol>& ShapeContext::symbols() const { return impl_->symbols; }
const std::vector<Guard>& ShapeContext::guards() const { return impl_->guards; }

void ShapeContext::roll_back(size_t checkpoint) {
  if (checkpoint >= impl_->guards.size()) return;
  impl_->guards.erase(impl_->guards.begin() + static_cast<std::ptrdiff_t>(checkpoint),
                      impl_->guards.end());
  std::ranges::fill(impl_->forms, Form{});
  for (const auto& symbol : impl_->symbol_facts)
    impl_->forms[static_cast<size_t>(symbol.atom->form)].range.low = symbol.low;
  impl_->fixed_atoms = 0;
  learn_from_guards(*impl_);
}

SizeTable ShapeContext::evaluate(std::span<const int64_t> symbol_values) const {
  SizeTable table;
  table.values_.resize(impl_->slots.size());
  for (size_t id = 0; id < impl_->slots.size(); ++id) {
    const auto [expr, atom] = impl_->slots[id];
    if (atom) {
      // A division that cannot be done is only reachable behind a guard that fails.
      const bool by_zero =
          (atom->kind == AtomKind::floordiv || atom->kind == AtomKind::mod) && table(atom->b) == 0;
      table.values_[id] = atom->kind == AtomKind::symbol
                              ? symbol_values[static_cast<size_t>(atom->symbol)]
                          : by_zero ? 0
                                    : apply(*atom, table(atom->a), table(atom->b));
      continue;
    }
    int64_t sum = expr->polynomial.constant;
    for (const Monomial& term : expr->polynomial.terms) {
      int64_t product = term.coefficient;
      for (const Atom* factor : term.factors)
        product = checked_mul(product, table.values_[static_cast<size_t>(factor->id)]);
      sum = checked_add(sum, product);
    }
    table.values_[id] = sum;
  }
  return table;
}

namespace {

std::string float_text(const Atom& atom) {
  std::string text = to_string(atom.a);
  for (const FloatStep& step : atom.steps) {
    const std::string operand = fmt::format("{}{}", step.operand, atom.single ? "f" : "");
    switch (step.kind) {
      case FloatStep::Kind::multiply: text = fmt::format("({}) * {}", text, operand); break;
      case FloatStep::Kind::divide: text = fmt::format("({}) / {}", text, operand); break;
      case FloatStep::Kind::add: text = fmt::format("({}) + {}", text, operand); break;
      case FloatStep::Kind::floor: text = fmt::format("floor({})", text); break;
      case FloatStep::Kind::ceil: text = fmt::format("ceil({})", text); break;
      case FloatStep::Kind::round: text = fmt::format("round({})", text); break;
      case FloatStep::Kind::truncate: text = fmt::format("trunc({})", text); break;
    }
  }
  return is_rounding(atom.steps.back().kind) ? text : fmt::format("trunc({})", text);
}

std::string to_string(const Atom& atom) {
  switch (atom.kind) {
    case AtomKind::symbol: return "s" + std::to_string(atom.symbol);
    case AtomKind::floordiv:
      return "floordiv(" + to_string(atom.a) + ", " + to_string(atom.b) + ")";
    case AtomKind::mod: return "mod(" + to_string(atom.a) + ", " + to_string(atom.b) + ")";
    case AtomKind::min: return "min(" + to_string(atom.a) + ", " + to_string(atom.b) + ")";
    case AtomKind::max: return "max(" + to_string(atom.a) + ", " + to_string(atom.b) + ")";
    case AtomKind::floating: return float_text(atom);
  }
  internal_error("unknown atom");
}

std::string to_string(const Monomial& term) {
  std::string text;
  for (const Atom* atom : term.factors) text += (text.empty() ? "" : "*") + to_string(*atom);
  const int64_t size = std::abs(term.coefficient);
  return size == 1 ? text : std::to_string(size) + "*" + text;
}

}  // namespace

std::string to_string(Dim dim) {
  if (dim.is_unknown()) return "?";
  if (!dim.expr()) return std::to_string(dim.value());
  const Polynomial& p = dim.expr()->polynomial;
  std::string text;
  for (const Monomial& term : p.terms) {
    const bool negative = term.coefficient < 0;
    if (text.empty()) text = negative ? "-" : "";
    else text += negative ? " - " : " + ";
    text += to_string(term);
  }
  if (p.constant) text += (p.constant < 0 ? " - " : " + ") + std::to_string(std::abs(p.constant));
  return text;
}

std::string to_string(std::span<const Dim> dims) {
  std::string text = "[";
  for (const Dim& dim : dims) text += (text.size() > 1 ? "," : "") + to_string(dim);
  return text + "]";
}

std::string to_string(const Condition& condition) {
  return to_string(condition.lhs) + (condition.kind == Condition::Kind::zero ? " == 0" : " >= 0");
}

std::string to_string(const Guard& guard) {
  const bool zero = guard.condition.kind == Condition::Kind::zero;
  return fmt::format("{} {} 0: {}", to_string(guard.condition.lhs),
                     zero ? (guard.truth ? "==" : "!=") : (guard.truth ? ">=" : "<"), guard.origin);
}

void append_key(std::string& key, Dim dim) {
  const int64_t number = dim.expr() ? dim.expr()->id : dim.value();
  key += dim.expr() ? 'e' : dim.is_unknown() ? '?' : 'c';
  key.append(reinterpret_cast<const char*>(&number), sizeof number);
}

}  // namespace onrush
