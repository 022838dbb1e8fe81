// tfidf_vectorizer
#include <algorithm>
#include <map>

#include "base/check.h"
#include "reference/call_table.h"
#include "reference/element.h"

namespace onrush::reference {
namespace {

struct GramRange {
  int64_t shortest, longest, skips;
};

// The place in the result of every n-gram of the pool whose length is in range. The pool lists
// the 1-grams, then the 2-grams ...; counts[i] is where the (i + 1)-grams start.
template <class Key>
using GramPlaces = std::map<std::vector<Key>, int64_t>;

template <class Key>
GramPlaces<Key> places_of(std::span<const Key> pool, std::span<const int64_t> counts,
                          std::span<const int64_t> indexes, const GramRange& range) {
  GramPlaces<Key> places;
  size_t gram = 0;
  for (size_t i = 0; i < counts.size(); ++i) {
    const size_t length = i + 1;
    const size_t end = i + 1 < counts.size() ? static_cast<size_t>(counts[i + 1]) : pool.size();
    for (size_t at = static_cast<size_t>(counts[i]); at + length <= end; at += length, ++gram) {
      const auto wanted = static_cast<int64_t>(length);
      if (wanted < range.shortest || wanted > range.longest) continue;
      const auto key = pool.subspan(at, length);
      places[std::vector<Key>(key.begin(), key.end())] = indexes[gram];
    }
  }
  return places;
}

// Counts the pool's n-grams in a row, their elements 1 .. skips + 1 apart; 1-grams only once.
template <class Key>
void count_grams(std::span<const Key> row, const GramPlaces<Key>& places, const GramRange& range,
                 std::span<float> counts) {
  for (int64_t distance = 1; distance <= range.skips + 1; ++distance) {
    for (int64_t length = range.shortest; length <= range.longest; ++length) {
      if (length == 1 && distance > 1) continue;
      const int64_t span = (length - 1) * distance + 1;
      for (int64_t start = 0; start + span <= static_cast<int64_t>(row.size()); ++start) {
        std::vector<Key> gram;
        for (int64_t i = 0; i < length; ++i)
          gram.push_back(row[static_cast<size_t>(start + i * distance)]);
        const auto place = places.find(gram);
        if (place != places.end()) counts[static_cast<size_t>(place->second)] += 1;
      }
    }
  }
}

void weigh(std::span<float> counts, const std::string& mode, const Tensor* weights) {
  for (size_t i = 0; i < counts.size(); ++i) {
    if (mode == "IDF") counts[i] = counts[i] > 0 ? 1.0f : 0.0f;
    if (mode != "TF" && weights) counts[i] *= weights->as<float>()[i];
  }
}

template <class Key>
void vectorize(const CallArguments& arguments, std::span<const Key> x, std::span<const Key> pool,
               Tensor& out) {
  const GramRange range = {arguments.integer("min_gram_length", 1),
                           arguments.integer("max_gram_length", 1),
                           arguments.integer("max_skip_count", 0)};
  const auto counts = arguments.parameter("ngram_counts").as<int64_t>();
  const auto indexes = arguments.parameter("ngram_indexes").as<int64_t>();
  const auto places = places_of<Key>(pool, counts, indexes, range);
  const std::string mode = arguments.text("mode", "TF");
  const size_t width = static_cast<size_t>(out.shape().back());
  const size_t rows = static_cast<size_t>(out.count()) / width;
  for (size_t row = 0; row < rows; ++row) {
    const auto result = out.as<float>().subspan(row * width, width);
    count_grams(x.subspan(row * (x.size() / rows), x.size() / rows), places, range, result);
    weigh(result, mode, arguments.find("weights"));
  }
}

}  // namespace

CallResults tfidf_vectorizer(const CallArguments& arguments) {
  const Tensor& x = arguments[0];
  const auto indexes = arguments.parameter("ngram_indexes").as<int64_t>();
  internal_check(!indexes.empty(), "tfidf_vectorizer has n-grams");
  Shape shape;
  if (x.rank() == 2) shape.push_back(x.shape()[0]);
  shape.push_back(*std::ranges::max_element(indexes) + 1);
  Tensor out(DType::f32, shape);
  std::ranges::fill(out.as<float>(), 0.0f);
  if (out.count() == 0) return {out};
  if (x.dtype() == DType::string)
    vectorize<std::string>(arguments, x.strings(), arguments.parameter("pool_strings").strings(),
                           out);
  else
    vectorize<int64_t>(arguments, load_all<int64_t>(x),
                       arguments.parameter("pool_int64s").as<int64_t>(), out);
  return {out};
}

}  // namespace onrush::reference
