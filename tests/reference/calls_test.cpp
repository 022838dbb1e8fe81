#include "reference/calls.h"

#include "network.h"

namespace onrush {
namespace {

using Parameters = std::vector<std::pair<std::string, Tensor>>;

std::vector<Tensor> call(std::string callee, Parameters parameters, std::vector<Tensor> operands) {
  return run_call({std::move(callee), std::move(parameters)}, operands);
}
Tensor number(int64_t value) { return i64({}, {value}); }
Tensor text(std::string value) { return strings({}, {std::move(value)}); }
Tensor numbers(const std::vector<int64_t>& values) {
  return i64({static_cast<int64_t>(values.size())}, values);
}

TEST(Call, Nonzero) {
  expect_tensor(call("nonzero", {}, {f32({2, 2}, {1, 0, kNan, 3})})[0], DType::i64, {2, 3},
                {0, 1, 1, 0, 0, 1});
  expect_tensor(call("nonzero", {}, {make(DType::boolean, {}, {1})})[0], DType::i64, {0, 1}, {});
  expect_tensor(call("nonzero", {}, {make(DType::i8, {0}, {})})[0], DType::i64, {1, 0}, {});
}

TEST(Call, UniqueOfElements) {
  const Tensor x = f32({6}, {2, 1, 1, 3, 4, 3});
  const auto sorted = call("unique", {}, {x});
  expect_tensor(sorted[0], DType::f32, {4}, {1, 2, 3, 4});
  expect_tensor(sorted[1], DType::i64, {4}, {1, 0, 3, 4});
  expect_tensor(sorted[2], DType::i64, {6}, {1, 0, 0, 2, 3, 2});
  expect_tensor(sorted[3], DType::i64, {4}, {2, 1, 2, 1});
  const auto unsorted = call("unique", {{"sorted", number(0)}}, {x});
  expect_tensor(unsorted[0], DType::f32, {4}, {2, 1, 3, 4});
  expect_tensor(unsorted[1], DType::i64, {4}, {0, 1, 3, 4});
  expect_tensor(unsorted[2], DType::i64, {6}, {0, 1, 1, 2, 3, 2});
  expect_tensor(unsorted[3], DType::i64, {4}, {1, 2, 2, 1});
}

TEST(Call, UniqueAlongAnAxis) {
  const Tensor x = f32({2, 4, 2}, {1, 1, 0, 1, 2, 1, 0, 1, 1, 1, 0, 1, 2, 1, 0, 1});
  const auto results = call("unique", {{"axis", number(1)}}, {x});
  expect_tensor(results[0], DType::f32, {2, 3, 2}, {0, 1, 1, 1, 2, 1, 0, 1, 1, 1, 2, 1});
  expect_tensor(results[1], DType::i64, {3}, {1, 0, 2});
  expect_tensor(results[2], DType::i64, {4}, {1, 0, 2, 0});
  expect_tensor(results[3], DType::i64, {3}, {2, 1, 1});
  const auto last = call("unique", {{"axis", number(-1)}}, {f32({1, 2}, {5, 5})});
  expect_tensor(last[0], DType::f32, {1, 1}, {5});
}

TEST(Call, UniqueOfStringsAndNothing) {
  expect_strings(call("unique", {}, {strings({3}, {"b", "a", "b"})})[0], {2}, {"a", "b"});
  expect_tensor(call("unique", {}, {f32({0}, {})})[0], DType::f32, {0}, {});
  expect_tensor(call("unique", {}, {f32({3}, {kNan, 1, kNan})})[3], DType::i64, {2}, {1, 2});
}

std::vector<double> six_boxes() {
  return {0, 0,  1, 1,  0, 0.1f,  1, 1.1f,  0, -0.1f, 1, 0.9f,
          0, 10, 1, 11, 0, 10.1f, 1, 11.1f, 0, 100,   1, 101};
}

TEST(Call, NonMaxSuppression) {
  const Tensor boxes = f32({1, 6, 4}, six_boxes());
  const Tensor scores = f32({1, 1, 6}, {0.9f, 0.75, 0.6f, 0.95f, 0.5, 0.3f});
  const Tensor iou = f32({1}, {0.5});
  const auto run = [&](int64_t count, std::vector<Tensor> more) {
    std::vector<Tensor> operands = {boxes, scores, numbers({count}), iou};
    operands.insert(operands.end(), more.begin(), more.end());
    return call("non_max_suppression", {}, operands)[0];
  };
  expect_tensor(run(3, {f32({1}, {0})}), DType::i64, {3, 3}, {0, 0, 3, 0, 0, 0, 0, 0, 5});
  expect_tensor(run(2, {}), DType::i64, {2, 3}, {0, 0, 3, 0, 0, 0});
  expect_tensor(run(3, {f32({1}, {0.4f})}), DType::i64, {2, 3}, {0, 0, 3, 0, 0, 0});
  expect_tensor(run(0, {}), DType::i64, {0, 3}, {});
  expect_tensor(call("non_max_suppression", {}, {boxes, scores})[0], DType::i64, {0, 3}, {});
}

TEST(Call, NonMaxSuppressionWithCenters) {
  const Tensor boxes = f32({1, 2, 4}, {0.5, 0.5, 1, 1, 0.5, 0.6f, 1, 1});
  const Tensor scores = f32({1, 1, 2}, {0.5, 0.75});
  expect_tensor(call("non_max_suppression", {{"center_point_box", number(1)}},
                     {boxes, scores, numbers({5}), f32({1}, {0.5})})[0],
                DType::i64, {1, 3}, {0, 0, 1});
}

TEST(Call, Det) {
  expect_tensor(call("det", {}, {f32({2, 2, 2}, {0, 1, 2, 3, 1, 2, 2, 4})})[0], DType::f32, {2},
                {-2, 0});
  expect_tensor(call("det", {}, {f32({0, 0}, {})})[0], DType::f32, {}, {1});
}

TEST(Call, StringConcatAndEqualBroadcast) {
  const Tensor x = strings({3}, {"cat", "dog", "s"}), s = strings({1}, {"s"});
  expect_strings(call("string_concat", {}, {x, s})[0], {3}, {"cats", "dogs", "ss"});
  expect_tensor(call("string_equal", {}, {s, x})[0], DType::boolean, {3}, {0, 0, 1});
  EXPECT_THROW(call("string_concat", {}, {x, strings({2}, {"a", "b"})}), Error);
}

TEST(Call, StringSplit) {
  const auto dashed = call("string_split", {{"delimiter", text("-")}},
                           {strings({3}, {"o-n-n--x-", "o-n----nx", ""})});
  expect_strings(dashed[0], {3, 6},
                 {"o", "n", "n", "", "x", "", "o", "n", "", "", "", "nx", "", "", "", "", "", ""});
  expect_tensor(dashed[1], DType::i64, {3}, {6, 6, 1});
  const auto spaced = call("string_split", {{"maxsplit", number(2)}},
                           {strings({2, 2}, {" hello \t world ", "x", "", "the quick brown fox"})});
  expect_strings(spaced[0], {2, 2, 3},
                 {"hello", "world", "", "x", "", "", "", "", "", "the", "quick", "brown fox"});
  expect_tensor(spaced[1], DType::i64, {2, 2}, {2, 1, 0, 3});
  expect_strings(call("string_split", {}, {strings({0}, {})})[0], {0, 0}, {});
}

TEST(Call, StringNormalizer) {
  const Tensor days = strings({3}, {"Monday", "tuesday", "monday"});
  const Tensor stop = strings({1}, {"monday"});
  const auto run = [&](Parameters parameters, const Tensor& x) {
    parameters.emplace_back("stopwords", stop);
    return call("string_normalizer", parameters, {x})[0];
  };
  expect_strings(run({{"is_case_sensitive", number(1)}}, days), {2}, {"Monday", "tuesday"});
  expect_strings(run({{"case_change_action", text("UPPER")}}, days), {1}, {"TUESDAY"});
  expect_strings(run({}, strings({1, 2}, {"monday", "MONDAY"})), {1, 1}, {""});
  expect_strings(run({{"case_change_action", text("UPPER")}}, strings({2}, {"été", "żółw 的"})),
                 {2}, {"ÉTÉ", "ŻÓŁW 的"});
}

TEST(Call, RegexFullMatch) {
  expect_tensor(call("regex_full_match", {{"pattern", text(R"(www\.[\w.-]+\.\bcom\b)")}},
                     {strings({3}, {"www.google.com", "www.bbc.co.uk", "www.google.com/x"})})[0],
                DType::boolean, {3}, {1, 0, 0});
  EXPECT_THROW(call("regex_full_match", {{"pattern", text("(")}}, {strings({1}, {"a"})}), Error);
}

Parameters vectorizer(int64_t shortest, int64_t skips) {
  return {{"mode", text("TF")},
          {"min_gram_length", number(shortest)},
          {"max_gram_length", number(2)},
          {"max_skip_count", number(skips)},
          {"ngram_counts", numbers({0, 4})},
          {"ngram_indexes", numbers({0, 1, 2, 3, 4, 5, 6})},
          {"pool_int64s", numbers({2, 3, 5, 4, 5, 6, 7, 8, 6, 7})}};
}

TEST(Call, TfidfVectorizer) {
  const Tensor x = make(DType::i32, {12}, {1, 1, 3, 3, 3, 7, 8, 6, 7, 5, 6, 8});
  expect_tensor(call("tfidf_vectorizer", vectorizer(2, 0), {x})[0], DType::f32, {7},
                {0, 0, 0, 0, 1, 1, 1});
  expect_tensor(call("tfidf_vectorizer", vectorizer(2, 5), {x})[0], DType::f32, {7},
                {0, 0, 0, 0, 1, 3, 1});
  expect_tensor(call("tfidf_vectorizer", vectorizer(1, 5), {x})[0], DType::f32, {7},
                {0, 3, 1, 0, 1, 3, 1});
  expect_tensor(call("tfidf_vectorizer", vectorizer(1, 5), {x.reshaped({2, 6})})[0], DType::f32,
                {2, 7}, {0, 3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, 1, 1});
}

TEST(Call, TfidfVectorizerWeighsStrings) {
  const Parameters parameters = {{"mode", text("TFIDF")},
                                 {"ngram_counts", numbers({0})},
                                 {"ngram_indexes", numbers({1, 0})},
                                 {"pool_strings", strings({2}, {"a", "b"})},
                                 {"weights", f32({2}, {2, 3})}};
  expect_tensor(call("tfidf_vectorizer", parameters, {strings({3}, {"a", "b", "a"})})[0],
                DType::f32, {2}, {2, 6});
}

TEST(Call, CastToString) {
  expect_strings(
      call("cast_to_string", {},
           {f32({9}, {0.47892547f, 1, -0.0, 1e16, 1e-5, 1.5e-4f, 123456789, kNan, -kInf})})[0],
      {9},
      {"0.47892547", "1.0", "-0.0", "1e+16", "1e-05", "0.00015", "123456790.0", "NaN", "-INF"});
  expect_strings(call("cast_to_string", {}, {make(DType::f16, {2}, {0.47892547, 65504})})[0], {2},
                 {"0.479", "65500.0"});
  expect_strings(call("cast_to_string", {}, {make(DType::f64, {1}, {0.1})})[0], {1}, {"0.1"});
  expect_strings(call("cast_to_string", {}, {make(DType::i8, {1}, {-3})})[0], {1}, {"-3"});
  expect_strings(call("cast_to_string", {}, {make(DType::boolean, {1}, {1})})[0], {1}, {"1"});
}

TEST(Call, CastFromString) {
  const auto cast = [](DType dtype, std::vector<std::string> values) {
    const auto count = static_cast<int64_t>(values.size());
    return call("cast_from_string", {{"dtype", number(static_cast<int64_t>(dtype))}},
                {strings({count}, std::move(values))})[0];
  };
  expect_tensor(cast(DType::f32, {"0.5", "+INF", "-inf", "nan", " 1E8 ", "1e999"}), DType::f32, {6},
                {0.5, kInf, -kInf, kNan, 1e8, kInf});
  expect_tensor(cast(DType::i64, {"-7", "+3", "1e3"}), DType::i64, {3}, {-7, 3, 1000});
  expect_tensor(cast(DType::boolean, {"True", "0", "2"}), DType::boolean, {3}, {1, 0, 1});
  EXPECT_THROW(cast(DType::f32, {"hello"}), Error);
  EXPECT_THROW(cast(DType::i32, {""}), Error);
}

TEST(Call, UnknownCalleeIsADefect) {
  try {
    call("no_such_function", {}, {});
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
  }
}

}  // namespace
}  // namespace onrush
