// Operators on strings: calls of src/reference/calls.h.
#include <algorithm>

#include "lower/op_table.h"

namespace onrush {
namespace {

using Parameters = std::vector<std::pair<std::string, Tensor>>;

Tensor text(std::string value) { return Tensor::of_strings({}, {std::move(value)}); }

Tensor texts(std::vector<std::string> values) {
  const Shape shape = {static_cast<int64_t>(values.size())};
  return Tensor::of_strings(shape, std::move(values));
}

template <class T>
Tensor numbers(DType dtype, const std::vector<T>& values) {
  return Tensor::of<T>(dtype, {static_cast<int64_t>(values.size())}, values);
}

Tensor number(int64_t value) { return Tensor::of<int64_t>(DType::i64, {}, std::span(&value, 1)); }

// A call of all inputs with one result.
NodeId call(OpContext& c, std::string callee, Parameters parameters, TensorType result) {
  const NodeId tuple =
      c.b.call({std::move(callee), std::move(parameters)}, c.all_inputs(), {result});
  return c.b.get(tuple, 0);
}

void require_strings(const OpContext& c, int input) {
  c.require(c.dtype(input) == DType::string, "the input must be a tensor of strings");
}

Results string_concat(OpContext& c) {
  require_strings(c, 0);
  require_strings(c, 1);
  return call(c, "string_concat", {}, {DType::string, broadcast_shapes(c.shape(0), c.shape(1))});
}

Results string_split(OpContext& c) {
  require_strings(c, 0);
  Parameters parameters = {{"delimiter", text(c.attr("delimiter", ""))}};
  if (c.has_attr("maxsplit"))
    parameters.emplace_back("maxsplit", number(c.attr("maxsplit", int64_t{0})));
  Dims shape = c.shape(0);
  shape.push_back(Dim::unknown());
  const NodeId tuple = c.b.call({"string_split", std::move(parameters)}, c.all_inputs(),
                                {{DType::string, std::move(shape)}, {DType::i64, c.shape(0)}});
  return {c.b.get(tuple, 0), c.b.get(tuple, 1)};
}

Results string_normalizer(OpContext& c) {
  require_strings(c, 0);
  const Dims& shape = c.shape(0);
  const bool matrix = c.rank(0) == 2 && decide(equal(shape[0], 1), "StringNormalizer");
  c.require(c.rank(0) == 1 || matrix, "the input must have shape [C] or [1, C]");
  const std::string action = c.attr("case_change_action", "NONE");
  c.require(action == "NONE" || action == "LOWER" || action == "UPPER",
            "'case_change_action' must be NONE, LOWER or UPPER");
  Parameters parameters = {
      {"case_change_action", text(action)},
      {"is_case_sensitive", number(c.attr("is_case_sensitive", int64_t{0}))},
      {"stopwords", texts(c.strings("stopwords").value_or(std::vector<std::string>{}))}};
  Dims result = {Dim::unknown()};
  if (matrix) result.insert(result.begin(), Dim(1));
  return call(c, "string_normalizer", std::move(parameters), {DType::string, std::move(result)});
}

Results regex_full_match(OpContext& c) {
  require_strings(c, 0);
  return call(c, "regex_full_match", {{"pattern", text(c.attr("pattern", ""))}},
              {DType::boolean, c.shape(0)});
}

// --- TfIdfVectorizer

std::vector<int64_t> required_ints(const OpContext& c, std::string_view name) {
  const auto values = c.ints(name);
  if (!values) c.fail(fmt::format("attribute '{}' is required", name));
  return *values;
}

// Number of n-grams in a pool of `size` elements, after checking where each length starts.
size_t gram_count(const OpContext& c, const std::vector<int64_t>& starts, int64_t size) {
  c.require(std::is_sorted(starts.begin(), starts.end()) &&
                (starts.empty() || (starts.front() >= 0 && starts.back() <= size)),
            "'ngram_counts' must ascend within the pool");
  size_t count = 0;
  for (size_t i = 0; i < starts.size(); ++i) {
    const int64_t end = i + 1 < starts.size() ? starts[i + 1] : size;
    count += static_cast<size_t>((end - starts[i]) / static_cast<int64_t>(i + 1));
  }
  return count;
}

// ONNX gives a weight for each n-gram of the pool; the callee takes one for each result column.
std::vector<float> column_weights(const OpContext& c, const std::vector<int64_t>& columns,
                                  int64_t width) {
  const std::vector<float> weights =
      c.floats("weights").value_or(std::vector<float>(columns.size(), 1));
  c.require(weights.size() == columns.size(), "'weights' must be as long as 'ngram_indexes'");
  std::vector<float> result(static_cast<size_t>(width), 1);
  for (size_t i = 0; i < columns.size(); ++i) result[static_cast<size_t>(columns[i])] = weights[i];
  return result;
}

Results tfidf_vectorizer(OpContext& c) {
  const bool strings = c.dtype(0) == DType::string;
  c.require(c.rank(0) == 1 || c.rank(0) == 2, "the input must have rank 1 or 2");
  const auto starts = required_ints(c, "ngram_counts");
  const auto columns = required_ints(c, "ngram_indexes");
  c.require(!columns.empty() && *std::min_element(columns.begin(), columns.end()) >= 0,
            "'ngram_indexes' must be there and not negative");
  const int64_t width = *std::max_element(columns.begin(), columns.end()) + 1;
  Parameters parameters = {{"mode", text(c.attr("mode", "TF"))},
                           {"ngram_counts", numbers(DType::i64, starts)},
                           {"ngram_indexes", numbers(DType::i64, columns)},
                           {"weights", numbers(DType::f32, column_weights(c, columns, width))}};
  for (const char* name : {"min_gram_length", "max_gram_length", "max_skip_count"}) {
    c.require(c.has_attr(name), "min_gram_length, max_gram_length and max_skip_count are required");
    parameters.emplace_back(name, number(c.attr(name, int64_t{0})));
  }
  Tensor pool = strings ? texts(c.strings("pool_strings").value_or(std::vector<std::string>{}))
                        : numbers(DType::i64, required_ints(c, "pool_int64s"));
  c.require(gram_count(c, starts, pool.count()) <= columns.size(),
            "'ngram_indexes' must name a column for each n-gram of the pool");
  parameters.emplace_back(strings ? "pool_strings" : "pool_int64s", std::move(pool));
  Dims shape = c.shape(0);
  shape.back() = width;
  return call(c, "tfidf_vectorizer", std::move(parameters), {DType::f32, std::move(shape)});
}

constexpr OpRow kOps[] = {
    {"StringConcat", string_concat},         {"StringSplit", string_split},
    {"StringNormalizer", string_normalizer}, {"RegexFullMatch", regex_full_match},
    {"TfIdfVectorizer", tfidf_vectorizer},
};

}  // namespace

std::span<const OpRow> string_ops() { return kOps; }

}  // namespace onrush
