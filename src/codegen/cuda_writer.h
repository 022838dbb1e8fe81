// The text of one kernel, and the values of Loops inside it.
//
// The text depends on sizes only through facts: whether a stride or an extent divides by the width
// of a vector. A kernel serves all sizes for which the same facts hold.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/cuda_source.h"
#include "codegen/loops.h"

namespace onrush {

// The C++ type that values of a dtype are computed in, and the one that elements have in memory
// (packed ones are addressed by bytes).
std::string_view cuda_compute_type(DType dtype);
std::string_view cuda_storage_type(DType dtype);

// An element in the compute type; what is stored for a value `v` computed from dtype `from`.
std::string loaded(DType dtype, std::string_view memory, std::string_view address);
std::string stored(DType dtype, DType from, std::string_view v, bool saturate = false);
// The statement that stores it.
std::string store_statement(DType dtype, DType from, std::string_view memory,
                            std::string_view address, std::string_view v, bool saturate = false);

// What an integer narrower than its compute type keeps of `expression`.
std::string wrapped(DType dtype, std::string expression);

// The elements that a thread computes at once: `chunks` runs of `width` neighbours along `axis`,
// whose index variable is the first; runs start `step` apart, and with several of them those
// beyond the axis' extent do not count.
struct Lanes {
  int axis = -1;
  int width = 1;
  int chunks = 1;
  int64_t step = 0;
  bool partial = false;  // the last run may reach beyond the axis' extent
  bool whole = false;    // several runs are exactly the axis' extent
  int count() const { return width * chunks; }
};

class Writer {
 public:
  explicit Writer(const PrintSizes& sizes) : printed_for_(sizes) {}

  void line(std::string text) {
    body_ += std::string(static_cast<size_t>(indent_) * 2, ' ') + std::move(text) + "\n";
  }
  void open(std::string_view text) {
    line(fmt::format("{} {{", text));
    ++indent_;
  }
  void close(std::string_view end = "}") {
    --indent_;
    line(std::string(end));
  }

  std::string size(const Extent& extent);                          // an index
  std::string quotient(std::string_view x, const Extent& extent);  // x / extent for 0 <= x
  std::string number(Dim dim);                                     // an i64
  std::string pass();                                              // an int
  // `element` replaces the name of axis `along`.
  std::string affine(const Affine& a, int along = -1, std::string_view element = {});
  std::string holds(const std::vector<Bound>& bounds, int along = -1,
                    std::string_view element = {});
  // Declares the indices a<axis> of the given axes at position `flat` of their product, the last
  // one fastest. An axis of lanes counts in steps of their width.
  void split(const std::string& flat, const std::vector<int>& axes, const std::vector<Axis>& all,
             const Lanes& lanes = {});

  // Facts, which the kernel then depends on.
  bool divides(Dim dim, int width);
  int64_t value_at_hand(Dim dim) const { return printed_for_(dim); }

  int add_buffers(const std::vector<LoopBuffer>& buffers);
  const std::vector<LoopBuffer>& buffers() const { return buffers_; }
  void add_map(CudaTensorMap map) { maps_.push_back(std::move(map)); }  // the argument t<count>
  CudaKernel finish(int threads);                                       // of a block

 private:
  int argument(const Extent& extent, SizeArgument::Kind kind);

  PrintSizes printed_for_;
  std::string body_;
  int indent_ = 1;
  std::vector<SizeArgument> sizes_;
  std::vector<LoopBuffer> buffers_;
  std::vector<SizeFact> facts_;
  std::vector<CudaTensorMap> maps_;
};

// Values of one Loops inside a kernel, named with a prefix. A value that differs between the lanes
// is an array.
class Body {
 public:
  // narrow_factor: what a contraction's operand gives is rounded to 16 bits.
  Body(Writer& writer, const Loops& loops, std::string prefix, Lanes lanes = {},
       bool narrow_factor = false);

  const Loops& loops() const { return loops_; }
  const LoopValue& value(ValueId id) const { return loops_.body[static_cast<size_t>(id)]; }
  int count() const { return static_cast<int>(loops_.body.size()); }
  bool varies(ValueId id) const;                     // between the lanes
  std::string name_of(ValueId id) const;             // the array or the scalar
  std::string element(ValueId id) const;             // lane j
  std::string axis_element() const;                  // the lanes' axis at lane j
  std::string in_range() const;                      // whether lane j counts; empty: all do
  void each_lane(std::string_view statement) const;  // prints the loop over j
  std::string buffer(int index) const { return fmt::format("b{}", first_buffer_ + index); }
  std::string_view type_of(ValueId id) const { return cuda_compute_type(value(id).dtype); }

  bool is_reduce(ValueId id) const { return std::holds_alternative<ReduceValue>(value(id).data); }
  bool is_inner(ValueId id) const { return (value(id).axes & reduce_mask_) != 0; }
  std::vector<ValueId> operands(ValueId id) const;
  int depth(ValueId id) const;  // reductions that must be complete before the value is
  void collect_inner(ValueId id, std::vector<bool>& wanted) const;

  void define(ValueId id);
  void define_all() {
    for (ValueId id = 0; id < count(); ++id) define(id);
  }
  // A load of neighbours in memory as they lie there, to an array `to` of the storage type, and its
  // value from that array. fetches: whether the load is of that form.
  bool fetches(ValueId id);
  void fetch(ValueId id, const std::string& to);
  void define_fetched(ValueId id, const std::string& from);
  void store(const Store& store);
  void store_all() {
    for (const Store& s : loops_.stores) store(s);
  }

  // Whether the lanes are neighbours in memory at this address, and aligned to their width.
  bool adjacent(const Affine& address, const std::vector<DynamicTerm>& dynamic);

 private:
  std::string expression(ValueId id) const;
  std::string operation(const OpValue& v, DType dtype) const;
  std::string conversion(const ConvertValue& v, DType dtype) const;
  void define_load(ValueId id, const LoadValue& v);
  void load_lanes(ValueId id, const LoadValue& v);
  bool depends(const Affine& affine) const;

  Writer& w_;
  const Loops& loops_;
  std::string prefix_;
  Lanes lanes_;
  int first_buffer_;
  uint64_t reduce_mask_ = 0;
  bool fast_;  // all results are rounded to 16 bits: functions need not be exact
};

std::vector<int> axes_where(const Loops& loops, bool reduce);
Extent extent_of(const Loops& loops, const std::vector<int>& axes);

// The axis along which the stores are contiguous (-1: none) and a width of lanes along it that its
// extent divides by.
Lanes store_lanes(Writer& w, const Loops& loops, const std::vector<int>& candidates);
// The axes with that of the lanes last, so that neighbouring threads work on neighbours in memory.
std::vector<int> lanes_last(std::vector<int> axes, const Lanes& lanes);
// The widest lanes of 16 bytes along `axis` that divide its extent.
Lanes lanes_along(Writer& w, const Loops& loops, int axis);

std::string literal(DType dtype, const ConstantValue& value);

}  // namespace onrush
