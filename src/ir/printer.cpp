#include "ir/printer.h"

#include <fmt/format.h>

#include <iterator>

#include "ir/type_check.h"

namespace panda::ir {
namespace {

class Printer {
 public:
  explicit Printer(const Unit& unit) : unit_(unit), numbers_(unit.insts.size(), kNoValue) {}

  std::string run() {
    put("unit pc=[{}]:{} exits={}{}\n", unit_.pc_offset, type_name(unit_.pc_type), unit_.exit_count,
        unit_.exact ? " exact" : "");
    for (size_t i = 0; i < unit_.guest_insns.size(); i++) {
      const GuestInsn& g = unit_.guest_insns[i];
      put("guest {} pc={:#x} size={} refund={}\n", i, g.pc, g.size, g.refund);
    }
    for (size_t b = 0; b < unit_.blocks.size(); b++) {
      put("block {}:\n", b);
      const Block& block = unit_.blocks[b];
      for (uint32_t i = block.first; i < block.first + block.count && i < unit_.insts.size(); i++) inst(i);
    }
    return std::move(text_);
  }

 private:
  template <typename... Args>
  void put(fmt::format_string<Args...> format, Args&&... args) {
    fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
  }

  void inst(uint32_t i) {
    const Inst& in = unit_.insts[i];
    text_ += "  ";
    if (result_type(in) != Type::Void) {
      numbers_[i] = next_number_++;
      put("%{} = ", numbers_[i]);
    }
    text_ += op_name(in.op);
    const Sig result = info(in.op).result;
    const bool typed = result == Sig::T || result == Sig::X || in.op == Op::set || in.op == Op::store;
    if (typed && in.type != Type::Void) put(".{}", type_name(in.type));
    body(in);
    text_ += '\n';
  }

  void body(const Inst& in) {
    switch (in.op) {
      case Op::konst:
        return put(" {:#x}", in.imm);
      case Op::get:
        return put(" [{}]", in.imm);
      case Op::set:
        return put(" [{}], {}", in.imm, value(in.args[0]));
      case Op::load:
      case Op::store:
        args(in, " ");
        return memory(MemInfo::unpack(in.imm));
      case Op::icmp:
        put(" {}", in.imm < std::size(kCondNames) ? kCondNames[in.imm] : "?");
        return args(in, " ");
      case Op::deposit:
      case Op::extract:
        args(in, " ");
        return put(", bit={} width={}", in.imm & 0xff, in.imm >> 8);
      case Op::call:
        return call(in);
      case Op::insn:
      case Op::count:
        return put(" {}", in.imm);
      case Op::bump:
        return put(" {:#x}, by={}", in.imm, in.aux);
      case Op::br:
        return put(" block {}", in.aux);
      case Op::brc:
        return put(" {}, block {}, block {}", value(in.args[0]), in.aux, in.imm);
      case Op::exit_if:
        return exit_if(in);
      case Op::exit_direct:
        return put(" {:#x}, exit={}", in.imm, in.aux);
      default:
        args(in, " ");
        if (in.imm != 0) put(", imm={:#x}", in.imm);
        if (in.aux != 0) put(", aux={}", in.aux);
    }
  }

  void exit_if(const Inst& in) {
    const ExitIf e = ExitIf::unpack(in.aux);
    put(" {}{}, {:#x}", e.if_false ? "not " : "", value(in.args[0]), in.imm);
    e.looked_up ? put(", looked_up") : put(", exit={}", e.exit);
  }

  void memory(MemInfo m) {
    put(", mode={}", m.mode);
    if (m.for_write) text_ += " rmw";
    if (m.align != 0) put(" align={}", m.align);
    if (m.strict) put(" strict");
  }

  void call(const Inst& in) {
    const auto* helper = reinterpret_cast<const HelperDesc*>(in.imm);
    put(" {}(", helper != nullptr ? helper->name : "?");
    args(in, "");
    text_ += ')';
  }

  void args(const Inst& in, std::string_view before) {
    for (unsigned k = 0; k < in.nargs; k++) put("{}{}", k == 0 ? before : ", ", value(in.args[k]));
  }

  [[nodiscard]] std::string value(ValueId id) const {
    const bool known = id < numbers_.size() && numbers_[id] != kNoValue;
    return known ? fmt::format("%{}", numbers_[id]) : std::string("%?");
  }

  const Unit& unit_;
  std::string text_;
  std::vector<uint32_t> numbers_;
  uint32_t next_number_ = 0;
};

}  // namespace

std::string_view type_name(Type type) {
  switch (type) {
    case Type::Void:
      return "void";
    case Type::I1:
      return "i1";
    case Type::I8:
      return "i8";
    case Type::I16:
      return "i16";
    case Type::I32:
      return "i32";
    case Type::I64:
      return "i64";
    case Type::F32:
      return "f32";
    case Type::F64:
      return "f64";
    case Type::V128:
      return "v128";
    case Type::F80:
      return "f80";
  }
  return "?";
}

std::string_view op_name(Op op) {
  std::string_view name = info(op).name;
  if (name.ends_with('_')) name.remove_suffix(1);
  return name;
}

std::string print(const Unit& unit) { return Printer(unit).run(); }

}  // namespace panda::ir
