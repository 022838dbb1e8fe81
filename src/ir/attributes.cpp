#include "ir/attributes.h"

#include <cstring>
#include <fmt/format.h>

#include "base/check.h"

namespace onrush {
namespace {

constexpr size_t kHashedByContent = 4096;

// Writes fields either as a compact key or as readable text, so that each attribute lists its
// fields once.
class Writer {
 public:
  Writer(std::string& out, bool readable) : out_(out), readable_(readable) {}

  Writer& field(std::string_view label, int64_t value) {
    return readable_ ? raw(label, std::to_string(value)) : key(value);
  }
  Writer& field(std::string_view label, bool value) {
    if (readable_ && !value) return *this;
    return raw(label, value ? "1" : "0");
  }
  Writer& field(std::string_view label, std::string_view value) { return raw(label, value); }
  Writer& field(std::string_view label, DType dtype) { return raw(label, name(dtype)); }
  Writer& field(std::string_view label, Dim dim) {
    return readable_ ? raw(label, to_string(dim)) : key(dim);
  }
  template <class T>
  Writer& field(std::string_view label, const std::vector<T>& values) {
    if (!readable_) {
      key(std::ssize(values));
      for (const T& value : values) key(value);
      return *this;
    }
    std::string list = "[";
    for (const T& value : values) {
      if (list.size() > 1) list += ',';
      list += text(value);
    }
    return raw(label, list + "]");
  }

  void tensor(const Tensor& t) {
    if (readable_) return void(out_ += describe(t));
    field("dtype", t.dtype()).field("shape", t.shape());
    const auto* bytes = static_cast<const char*>(t.data());
    if (t.dtype() != DType::string && t.bytes() <= kHashedByContent) out_.append(bytes, t.bytes());
    else out_ += fmt::format("@{}", static_cast<const void*>(bytes));
  }

 private:
  Writer& key(int64_t value) {
    out_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  Writer& key(Dim dim) {
    onrush::append_key(out_, dim);
    return *this;
  }
  static std::string text(Dim dim) { return to_string(dim); }
  static std::string text(int value) { return std::to_string(value); }
  static std::string text(int64_t value) { return std::to_string(value); }

  Writer& raw(std::string_view label, std::string_view value) {
    if (readable_) out_ += fmt::format("{}{}={}", out_.empty() ? "" : " ", label, value);
    else out_.append(value).push_back(';');
    return *this;
  }

  static std::string describe(const Tensor& t);

  std::string& out_;
  bool readable_;
};

template <class T>
std::string list_elements(const Tensor& t) {
  return fmt::format("{{{}}}", fmt::join(t.as<T>(), ","));
}

std::string Writer::describe(const Tensor& t) {
  if (t.count() > 8 || t.dtype() == DType::string) return fmt::format("{} bytes", t.bytes());
  switch (t.dtype()) {
    case DType::f32: return list_elements<float>(t);
    case DType::f64: return list_elements<double>(t);
    case DType::i64: return list_elements<int64_t>(t);
    case DType::i32: return list_elements<int32_t>(t);
    case DType::boolean:
    case DType::u8: return list_elements<uint8_t>(t);
    default: return fmt::format("{} bytes", t.bytes());
  }
}

void write(Writer&, const std::monostate&) {}
void write(Writer& w, const InputAttr& a) { w.field("index", int64_t{a.index}); }
void write(Writer& w, const ConstantAttr& a) { w.tensor(a.tensor); }
void write(Writer& w, const DimsAttr& a) { w.field("elements", a.elements); }
void write(Writer& w, const IotaAttr& a) { w.field("axis", int64_t{a.axis}); }
void write(Writer& w, const RandomAttr& a) {
  w.field("seed", static_cast<int64_t>(a.seed)).field("stream", static_cast<int64_t>(a.stream));
  w.field("seeded", a.seeded);
}
void write(Writer& w, const CastAttr& a) { w.field("to", a.dtype).field("saturate", a.saturate); }
void write(Writer& w, const ReshapeAttr& a) { w.field("shape", a.shape); }
void write(Writer& w, const TransposeAttr& a) { w.field("permutation", a.permutation); }
void write(Writer& w, const BroadcastAttr& a) { w.field("shape", a.shape); }
void write(Writer& w, const SliceAttr& a) {
  w.field("start", a.start).field("step", a.step).field("shape", a.shape);
}
void write(Writer& w, const PadAttr& a) { w.field("low", a.low).field("high", a.high); }
void write(Writer& w, const ConcatAttr& a) { w.field("axis", int64_t{a.axis}); }
void write(Writer& w, const ReduceAttr& a) {
  w.field("kind", name(a.kind)).field("axes", a.axes).field("last", a.last);
}
void write(Writer& w, const WindowAttr& a) {
  w.field("kind", name(a.kind)).field("size", a.size).field("stride", a.stride);
  w.field("dilation", a.dilation).field("low", a.low).field("high", a.high);
}
void write(Writer& w, const ScanAttr& a) {
  w.field("kind", name(a.kind)).field("axis", int64_t{a.axis});
  w.field("exclusive", a.exclusive).field("reverse", a.reverse);
}
void write(Writer& w, const SortAttr& a) {
  w.field("axis", int64_t{a.axis}).field("descending", a.descending).field("limit", a.limit);
}
void write(Writer& w, const IndexAttr& a) { w.field("source", a.source); }
void write(Writer& w, const ScatterAttr& a) {
  w.field("source", a.source).field("kind", name(a.kind));
}
void write(Writer& w, const DotAttr& a) {
  w.field("lhs_batch", a.lhs_batch).field("rhs_batch", a.rhs_batch);
  w.field("lhs_contract", a.lhs_contract).field("rhs_contract", a.rhs_contract);
  w.field("dtype", a.dtype);
}
void write(Writer& w, const ConvAttr& a) {
  w.field("stride", a.stride).field("dilation", a.dilation);
  w.field("input_dilation", a.input_dilation).field("low", a.low).field("high", a.high);
  w.field("groups", a.groups).field("dtype", a.dtype);
}
void write(Writer& w, const CallAttr& a) {
  w.field("callee", a.callee);
  for (const auto& [key, tensor] : a.parameters) {
    w.field("parameter", key);
    w.tensor(tensor);
  }
}
void write(Writer& w, const LoopAttr& a) {
  w.field("trips", a.trips).field("carried", int64_t{a.carried});
  w.field("scanned", int64_t{a.scanned}).field("reverse", a.reverse);
}
void write(Writer& w, const GetAttr& a) { w.field("index", int64_t{a.index}); }

}  // namespace

void append_key(std::string& key, const Attr& attr) {
  key += std::to_string(attr.index()) + ':';
  Writer writer(key, /*readable=*/false);
  std::visit([&](const auto& a) { write(writer, a); }, attr);
  if (const auto* loop = std::get_if<LoopAttr>(&attr))
    key += fmt::format("@{}", static_cast<const void*>(loop->body.get()));
}

std::string to_string(const Attr& attr) {
  std::string text;
  Writer writer(text, /*readable=*/true);
  std::visit([&](const auto& a) { write(writer, a); }, attr);
  return text;
}

std::string_view name(ReduceKind kind) {
  switch (kind) {
    case ReduceKind::sum: return "sum";
    case ReduceKind::product: return "product";
    case ReduceKind::max: return "max";
    case ReduceKind::min: return "min";
    case ReduceKind::argmax: return "argmax";
    case ReduceKind::argmin: return "argmin";
  }
  internal_error("unknown reduce kind");
}

std::string_view name(ScatterKind kind) {
  switch (kind) {
    case ScatterKind::set: return "set";
    case ScatterKind::add: return "add";
    case ScatterKind::mul: return "mul";
    case ScatterKind::max: return "max";
    case ScatterKind::min: return "min";
  }
  internal_error("unknown scatter kind");
}

}  // namespace onrush
