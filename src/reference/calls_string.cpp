// string_concat, string_equal, string_split, string_normalizer, regex_full_match
#include <algorithm>
#include <locale.h>
#include <re2/re2.h>
#include <set>
#include <wctype.h>

#include "base/check.h"
#include "reference/call_table.h"
#include "reference/walk.h"

namespace onrush::reference {
namespace {

Shape broadcast_shape(const Shape& a, const Shape& b) {
  Shape shape(std::max(a.size(), b.size()), 1);
  for (const Shape* operand : {&a, &b}) {
    const size_t skip = shape.size() - operand->size();
    for (size_t axis = 0; axis < operand->size(); ++axis) {
      int64_t& extent = shape[axis + skip];
      const int64_t other = (*operand)[axis];
      if (extent != 1 && other != 1 && extent != other)
        fail(ErrorCode::invalid_argument, "shapes {} and {} do not broadcast", to_string(a),
             to_string(b));
      if (extent == 1) extent = other;
    }
  }
  return shape;
}

// out[i] = f(a[i], b[i]), broadcast
template <class T, class F>
Tensor map_pairs(DType dtype, const Tensor& a, const Tensor& b, F f) {
  Tensor out(dtype, broadcast_shape(a.shape(), b.shape()));
  const size_t rank = out.shape().size();
  const std::array<Strides, 3> strides = {broadcast_strides(a.shape(), rank),
                                          broadcast_strides(b.shape(), rank),
                                          row_major(out.shape())};
  const auto x = a.strings(), y = b.strings();
  walk<3>(out.shape(), strides, [&](const Offsets<3>& at) {
    out.as<T>()[static_cast<size_t>(at[2])] =
        f(x[static_cast<size_t>(at[0])], y[static_cast<size_t>(at[1])]);
  });
  return out;
}

// At most `limit` splits at runs of ASCII white space; the rest starts at a word.
std::vector<std::string> split_at_space(std::string_view text, int64_t limit) {
  constexpr std::string_view kSpace = " \t\n\v\f\r";
  std::vector<std::string> words;
  size_t at = text.find_first_not_of(kSpace);
  while (at != std::string_view::npos) {
    const bool rest = static_cast<int64_t>(words.size()) == limit;
    const size_t end = rest ? text.size() : std::min(text.find_first_of(kSpace, at), text.size());
    words.emplace_back(text.substr(at, end - at));
    at = text.find_first_not_of(kSpace, end);
  }
  return words;
}

std::vector<std::string> split(std::string_view text, std::string_view delimiter, int64_t limit) {
  if (delimiter.empty()) return split_at_space(text, limit);
  std::vector<std::string> parts;
  while (static_cast<int64_t>(parts.size()) < limit) {
    const size_t at = text.find(delimiter);
    if (at == std::string_view::npos) break;
    parts.emplace_back(text.substr(0, at));
    text.remove_prefix(at + delimiter.size());
  }
  parts.emplace_back(text);
  return parts;
}

// Maps characters between cases, independent of the process's locale.
class CaseMap {
 public:
  CaseMap() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", locale_t{})) {}
  ~CaseMap() {
    if (locale_) freelocale(locale_);
  }
  CaseMap(const CaseMap&) = delete;
  CaseMap& operator=(const CaseMap&) = delete;

  std::string apply(const std::string& text, bool upper) const {
    std::string result;
    for (size_t at = 0; at < text.size();) {
      const size_t length = std::min(sequence_length(text[at]), text.size() - at);
      const uint32_t code = decode(text, at, length), mapped = convert(code, upper);
      if (mapped == code) result.append(text, at, length);  // broken UTF-8 stays as it is
      else append(result, mapped);
      at += length;
    }
    return result;
  }

 private:
  // Bytes of the UTF-8 sequence that starts with `lead`.
  static size_t sequence_length(char lead) {
    const auto byte = static_cast<uint8_t>(lead);
    return byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
  }
  static uint32_t decode(const std::string& text, size_t at, size_t length) {
    const auto lead = static_cast<uint8_t>(text[at]);
    uint32_t code = length == 1 ? lead : lead & (0x7fu >> length);
    for (size_t i = 1; i < length; ++i)
      code = code << 6 | (static_cast<uint8_t>(text[at + i]) & 0x3f);
    return code;
  }
  static void append(std::string& text, uint32_t code) {
    if (code < 0x80) return text.push_back(static_cast<char>(code));
    const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    text.push_back(static_cast<char>((0xff80 >> more & 0xff) | code >> 6 * more));
    for (int i = more - 1; i >= 0; --i)
      text.push_back(static_cast<char>(0x80 | (code >> 6 * i & 0x3f)));
  }
  uint32_t convert(uint32_t code, bool upper) const {
    if (!locale_) {
      if (upper) return code >= 'a' && code <= 'z' ? code - 32 : code;
      return code >= 'A' && code <= 'Z' ? code + 32 : code;
    }
    const auto wide = static_cast<wint_t>(code);
    return static_cast<uint32_t>(upper ? towupper_l(wide, locale_) : towlower_l(wide, locale_));
  }

  locale_t locale_;
};

}  // namespace

CallResults string_concat(const CallArguments& arguments) {
  return {map_pairs<std::string>(DType::string, arguments[0], arguments[1],
                                 [](const auto& a, const auto& b) { return a + b; })};
}

CallResults string_equal(const CallArguments& arguments) {
  return {map_pairs<uint8_t>(DType::boolean, arguments[0], arguments[1],
                             [](const auto& a, const auto& b) { return a == b; })};
}

CallResults string_split(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  const std::string delimiter = arguments.text("delimiter", "");
  const int64_t limit = arguments.integer("maxsplit", INT64_MAX);
  std::vector<std::vector<std::string>> rows;
  std::vector<int64_t> lengths;
  int64_t longest = 0;
  for (const std::string& text : x.strings()) {
    rows.push_back(split(text, delimiter, limit < 0 ? INT64_MAX : limit));
    lengths.push_back(static_cast<int64_t>(rows.back().size()));
    longest = std::max(longest, lengths.back());
  }
  Shape shape = x.shape();
  shape.push_back(longest);
  Tensor parts(DType::string, shape);
  for (size_t i = 0; i < rows.size(); ++i)
    std::ranges::move(rows[i], parts.strings().data() + static_cast<int64_t>(i) * longest);
  return {parts, Tensor::of<int64_t>(DType::i64, x.shape(), lengths)};
}

CallResults string_normalizer(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  const std::string action = arguments.text("case_change_action", "NONE");
  const bool sensitive = arguments.integer("is_case_sensitive", 0) != 0;
  const CaseMap cases;
  const auto comparable = [&](const std::string& text) {
    return sensitive ? text : cases.apply(text, /*upper=*/false);
  };
  std::set<std::string> stopwords;
  if (const Tensor* words = arguments.find("stopwords"))
    for (const std::string& word : words->strings()) stopwords.insert(comparable(word));

  std::vector<std::string> kept;
  for (const std::string& text : x.strings()) {
    if (stopwords.contains(comparable(text))) continue;
    kept.push_back(action == "NONE" ? text : cases.apply(text, action == "UPPER"));
  }
  if (kept.empty()) kept.emplace_back();
  const auto count = static_cast<int64_t>(kept.size());
  return {Tensor::of_strings(x.rank() == 2 ? Shape{1, count} : Shape{count}, std::move(kept))};
}

CallResults regex_full_match(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  const std::string pattern = arguments.text("pattern", "");
  const RE2 regex(pattern, RE2::Quiet);
  if (!regex.ok())
    fail(ErrorCode::invalid_model, "the pattern '{}' is not a regular expression: {}", pattern,
         regex.error());
  Tensor matches(DType::boolean, x.shape());
  for (size_t i = 0; i < x.strings().size(); ++i)
    matches.as<uint8_t>()[i] = RE2::FullMatch(x.strings()[i], regex);
  return {matches};
}

}  // namespace onrush::reference
