// Einsum: operands are contracted from left to right, each pair by one dot.
#include <algorithm>
#include <map>

#include "lower/contraction_ops.h"
#include "lower/helpers.h"

namespace onrush {
namespace {

// A letter, or kEllipsis + i for axis i of the broadcast axes that "..." stands for, counted from
// the last one.
using Label = int;
using Labels = std::vector<Label>;
constexpr Label kEllipsis = 256;

struct Term {
  NodeId x;
  Labels labels;  // one an axis
};

bool contains(const Labels& labels, Label label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

int position(const Labels& labels, Label label) {
  return static_cast<int>(std::find(labels.begin(), labels.end(), label) - labels.begin());
}

// One term of the equation; "..." stands for `ellipsis` axes.
Labels parse_term(const OpContext& c, std::string_view text, int ellipsis) {
  Labels labels;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.substr(i, 3) == "...") {
      for (int k = ellipsis; k-- > 0;) labels.push_back(kEllipsis + k);
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(text[i]))) {
      labels.push_back(text[i]);
    } else {
      c.fail(fmt::format("'{}' in the equation is neither a letter nor '...'", text[i]));
    }
  }
  return labels;
}

struct Equation {
  std::vector<std::string> terms;
  std::optional<std::string> result;
};

Equation parse_equation(const OpContext& c) {
  std::string text = c.attr("equation", "");
  std::erase(text, ' ');
  Equation equation;
  if (const size_t arrow = text.find("->"); arrow != std::string::npos) {
    equation.result = text.substr(arrow + 2);
    text.resize(arrow);
  }
  size_t begin = 0;
  for (size_t comma; (comma = text.find(',', begin)) != std::string::npos; begin = comma + 1)
    equation.terms.push_back(text.substr(begin, comma - begin));
  equation.terms.push_back(text.substr(begin));
  c.require(static_cast<int>(equation.terms.size()) == c.input_count(),
            "the equation must have one term an input");
  return equation;
}

// A label that a term has twice stands for the diagonal.
Term take_diagonals(Builder& b, const Term& term) {
  Term result{term.x, {}};
  std::vector<int> source;
  Dims shape;
  for (size_t i = 0; i < term.labels.size(); ++i) {
    if (!contains(result.labels, term.labels[i])) {
      result.labels.push_back(term.labels[i]);
      shape.push_back(b.shape(term.x)[i]);
    }
    source.push_back(position(result.labels, term.labels[i]));
    if (!decide(equal(shape[source.back()], b.shape(term.x)[i]), "Einsum: a diagonal"))
      fail(ErrorCode::invalid_model,
           "a letter that a term has twice stands for axes of unequal extent");
  }
  if (result.labels.size() < term.labels.size())
    result.x = b.gather(term.x, {}, std::move(source), std::move(shape));
  return result;
}

// Axes of extent 1 whose label is longer elsewhere broadcast: without them the term says the same.
void drop_broadcast_axes(Builder& b, std::vector<Term>& terms) {
  std::map<Label, int64_t> longest;
  for (const Term& term : terms)
    for (size_t i = 0; i < term.labels.size(); ++i) {
      int64_t& extent = longest[term.labels[i]];
      extent = std::max(extent, b.shape(term.x)[i].value());
    }
  for (Term& term : terms) {
    Axes dropped;
    Labels kept;
    for (size_t i = 0; i < term.labels.size(); ++i) {
      const Dim extent = b.shape(term.x)[i];
      if (extent.value() == 1 && longest[term.labels[i]] > 1 &&
          decide(equal(extent, 1), "Einsum: an axis broadcasts"))
        dropped.push_back(static_cast<int>(i));
      else kept.push_back(term.labels[i]);
    }
    term = {b.squeeze(term.x, dropped), std::move(kept)};
  }
}

// Sums over the labels that nothing else needs.
Term sum_out(Builder& b, const Term& term, const Labels& needed) {
  Axes axes;
  Labels kept;
  for (size_t i = 0; i < term.labels.size(); ++i) {
    if (contains(needed, term.labels[i])) kept.push_back(term.labels[i]);
    else axes.push_back(static_cast<int>(i));
  }
  return {b.squeeze(b.reduce(ReduceKind::sum, term.x, axes), axes), std::move(kept)};
}

// The term with its axes in the order of `labels`, of which it may lack some: those get extent 1.
NodeId arrange(Builder& b, const Term& term, const Labels& labels) {
  Axes order, missing;
  for (size_t i = 0; i < labels.size(); ++i) {
    if (contains(term.labels, labels[i])) order.push_back(position(term.labels, labels[i]));
    else missing.push_back(static_cast<int>(i));
  }
  return b.unsqueeze(b.transpose(term.x, std::move(order)), missing);
}

// The product of two terms, summed over the labels of both that are not needed.
Term contract(Builder& b, const Term& lhs, const Term& rhs, const Labels& needed) {
  DotAttr attr{{}, {}, {}, {}, b.dtype(lhs.x)};
  Labels batch, result;
  for (size_t i = 0; i < lhs.labels.size(); ++i) {
    const Label label = lhs.labels[i];
    if (!contains(rhs.labels, label)) {
      result.push_back(label);
      continue;
    }
    const bool kept = contains(needed, label);
    (kept ? attr.lhs_batch : attr.lhs_contract).push_back(static_cast<int>(i));
    (kept ? attr.rhs_batch : attr.rhs_contract).push_back(position(rhs.labels, label));
    if (kept) batch.push_back(label);
  }
  result.insert(result.begin(), batch.begin(), batch.end());
  for (Label label : rhs.labels)
    if (!contains(lhs.labels, label)) result.push_back(label);
  if (attr.lhs_contract.empty())
    return {b.mul(arrange(b, lhs, result), arrange(b, rhs, result)), result};
  return {b.dot(lhs.x, rhs.x, std::move(attr)), std::move(result)};
}

// Without "->": the broadcast axes, then the letters that occur once, in alphabetical order.
Labels implicit_result(const std::vector<Term>& terms) {
  std::map<Label, int> count;
  for (const Term& term : terms)
    for (Label label : term.labels) ++count[label];
  Labels result;
  for (const auto& [label, uses] : count)
    if (label < kEllipsis && uses == 1) result.push_back(label);
  for (const auto& [label, uses] : count)
    if (label >= kEllipsis) result.insert(result.begin(), label);
  return result;
}

}  // namespace

Results lower_einsum(OpContext& c) {
  Builder& b = c.b;
  const Equation equation = parse_equation(c);
  std::vector<Term> terms;
  int broadcast_axes = 0;
  for (int i = 0; i < c.input_count(); ++i) {
    const std::string& text = equation.terms[i];
    const bool has_ellipsis = text.find("...") != std::string::npos;
    const int letters = static_cast<int>(text.size()) - (has_ellipsis ? 3 : 0);
    const int ellipsis = c.rank(i) - letters;
    c.require(has_ellipsis ? ellipsis >= 0 : ellipsis == 0,
              fmt::format("term '{}' does not fit an input of rank {}", text, c.rank(i)));
    c.require(c.dtype(i) == c.dtype(0), "the inputs of Einsum must have one element type");
    broadcast_axes = std::max(broadcast_axes, ellipsis);
    terms.push_back({c.in(i), parse_term(c, text, ellipsis)});
  }
  const Labels result =
      equation.result ? parse_term(c, *equation.result, broadcast_axes) : implicit_result(terms);
  for (Term& term : terms) term = take_diagonals(b, term);
  drop_broadcast_axes(b, terms);
  // What is needed after term i: the result, and the terms that follow.
  std::vector<Labels> needed(terms.size(), result);
  for (size_t i = terms.size(); i-- > 1;) {
    needed[i - 1] = needed[i];
    needed[i - 1].insert(needed[i - 1].end(), terms[i].labels.begin(), terms[i].labels.end());
  }
  Term sum = sum_out(b, terms[0], needed[0]);
  for (size_t i = 1; i < terms.size(); ++i) {
    Labels of_pair = needed[i];
    of_pair.insert(of_pair.end(), sum.labels.begin(), sum.labels.end());
    sum = contract(b, sum, sum_out(b, terms[i], of_pair), needed[i]);
  }
  for (size_t i = 0; i < result.size(); ++i)
    c.require(contains(sum.labels, result[i]) && position(result, result[i]) == static_cast<int>(i),
              "each letter of the result must occur in a term, and once in the result");
  return arrange(b, sum, result);
}

}  // namespace onrush
