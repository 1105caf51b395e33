#include "ir/verifier.h"

#include <algorithm>

#include "ir/type_check.h"

namespace panda::ir {
namespace {

struct Slot {
  uint64_t offset;
  Type type;
  friend bool operator<(const Slot& a, const Slot& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.type < b.type;
  }
};

class Verifier {
 public:
  explicit Verifier(const Unit& unit) : unit_(unit) {}

  Status run() {
    PANDA_TRY_STATUS(check_layout());
    slots_.push_back({unit_.pc_offset, unit_.pc_type});
    exit_used_.assign(unit_.exit_count, false);
    for (uint32_t b = 0; b < unit_.blocks.size(); b++) PANDA_TRY_STATUS(check_block(b));
    return check_slots();
  }

 private:
  // Blocks partition the instructions.
  Status check_layout() {
    if (unit_.blocks.empty()) return fail("unit has no block");
    if (unit_.pc_type != Type::I32 && unit_.pc_type != Type::I64) return fail("pc slot is neither I32 nor I64");
    std::vector<bool> taken(unit_.insts.size(), false);
    uint64_t total = 0;
    for (size_t b = 0; b < unit_.blocks.size(); b++) {
      const Block& block = unit_.blocks[b];
      if (block.count == 0) return fail("block {} is empty", b);
      if (uint64_t{block.first} + block.count > unit_.insts.size()) return fail("block {} goes past the end", b);
      for (uint32_t i = block.first; i < block.first + block.count; i++) {
        if (taken[i]) return fail("block {} overlaps another", b);
        taken[i] = true;
      }
      total += block.count;
    }
    if (total != unit_.insts.size()) return fail("instructions outside blocks");
    return {};
  }

  Status check_block(uint32_t index) {
    const Block& block = unit_.blocks[index];
    block_ = index;
    count_allowed_ = true;
    has_insn_ = false;
    for (uint32_t i = block.first; i < block.first + block.count; i++) {
      if (is_end(unit_.insts[i].op) != (i + 1 == block.first + block.count)) {
        return error(i, "a block ends in its terminator and nowhere else");
      }
      if (const auto what = inst_error(i, block.first); !what.empty()) return error(i, what);
    }
    return {};
  }

  std::string_view inst_error(uint32_t i, uint32_t first) {
    const Inst& in = unit_.insts[i];
    if (static_cast<unsigned>(in.op) >= kOpCount) return "no such op";
    if (in.type > Type::F80) return "no such type";
    if (in.nargs > 4) return "too many operands";
    Type types[4] = {};
    for (unsigned k = 0; k < in.nargs; k++) {
      if (in.args[k] < first || in.args[k] >= i) return "operand is not an earlier value of this block";
      types[k] = result_type(unit_.insts[in.args[k]]);
      if (types[k] == Type::Void) return "operand is an instruction without a value";
    }
    if (const auto what = type_error(in, types); !what.empty()) return what;
    if (const auto what = order_error(in, i); !what.empty()) return what;
    return reference_error(in);
  }

  // Where in its block an op may stand.
  std::string_view order_error(const Inst& in, uint32_t i) {
    const bool first_of_unit = block_ == 0 && i == unit_.blocks[0].first;
    if (unit_.exact && first_of_unit && in.op != Op::exact_begin) return "an exact unit begins with exact_begin";
    switch (in.op) {
      case Op::exact_begin:
        if (!unit_.exact || !first_of_unit) return "exact_begin is only the first op of an exact unit";
        return {};
      case Op::exit_direct:
      case Op::exit_indirect:
        if (unit_.exact) return "an exact unit ends in exit_dispatch";
        return {};
      case Op::count:
        if (!count_allowed_) return "count must precede what has effects, once in a block";
        count_allowed_ = false;
        return {};
      case Op::insn:
        has_insn_ = true;
        count_allowed_ = false;
        return {};
      case Op::exit_if:
        if (unit_.exact) return "an exact unit ends in exit_dispatch";
        if (!has_insn_) return "no insn mark precedes it in its block";
        count_allowed_ = false;
        return {};
      case Op::load:
      case Op::store:
      case Op::guard:
      case Op::f80_load:
      case Op::f80_store:
      case Op::f80_add_load:
      case Op::f80_sub_load:
      case Op::f80_subr_load:
      case Op::f80_mul_load:
      case Op::f80_div_load:
      case Op::f80_divr_load:
      case Op::f80_com_load:
      case Op::insn_count:
        if (!has_insn_) return "no insn mark precedes it in its block";
        count_allowed_ = false;
        return {};
      case Op::call: {
        const auto& helper = *reinterpret_cast<const HelperDesc*>(in.imm);
        // Before the unit's first mark it belongs to instruction 0 (callbacks at the unit's start).
        if (helper.may_exit && !has_insn_ && block_ != 0) return "no insn mark precedes it in its block";
        count_allowed_ = false;
        return {};
      }
      case Op::set:
      case Op::bump:
        count_allowed_ = false;
        return {};
      default:
        return {};
    }
  }

  // Indices into the unit.
  std::string_view reference_error(const Inst& in) {
    switch (in.op) {
      case Op::get:
      case Op::set:
        if (in.imm > kMaxOffset) return "offset too large";
        slots_.push_back({in.imm, in.type});
        return {};
      case Op::insn:
        if (in.imm >= unit_.guest_insns.size()) return "no such guest instruction";
        return {};
      case Op::brc:
        if (in.imm >= unit_.blocks.size()) return "no such block";
        [[fallthrough]];
      case Op::br:
        if (in.aux >= unit_.blocks.size()) return "no such block";
        return {};
      case Op::exit_direct:
        return use_exit(in.aux);
      case Op::exit_if:
        if (const ExitIf e = ExitIf::unpack(in.aux); !e.looked_up) return use_exit(e.exit);
        return {};
      default:
        return {};
    }
  }

  std::string_view use_exit(uint32_t number) {
    if (number >= exit_used_.size()) return "exit number out of range";
    if (exit_used_[number]) return "exit number used twice";
    exit_used_[number] = true;
    return {};
  }

  Status check_slots() {
    std::sort(slots_.begin(), slots_.end());
    for (size_t i = 1; i < slots_.size(); i++) {
      const Slot& a = slots_[i - 1];
      const Slot& b = slots_[i];
      if (a.offset == b.offset && a.type != b.type) return fail("slot [{}] is accessed with two types", a.offset);
      if (a.offset != b.offset && a.offset + size_bytes(a.type) > b.offset) {
        return fail("slots [{}] and [{}] overlap", a.offset, b.offset);
      }
    }
    return {};
  }

  [[nodiscard]] Status error(uint32_t i, std::string_view what) const {
    const Op op = unit_.insts[i].op;
    const auto name = static_cast<unsigned>(op) < kOpCount ? info(op).name : std::string_view("?");
    return fail("block {}, instruction {} ({}): {}", block_, i, name, what);
  }

  static constexpr uint64_t kMaxOffset = 1u << 30;

  const Unit& unit_;
  std::vector<Slot> slots_;
  std::vector<bool> exit_used_;
  uint32_t block_ = 0;
  bool count_allowed_ = true;
  bool has_insn_ = false;
};

}  // namespace

Status verify(const Unit& unit) { return Verifier(unit).run(); }

}  // namespace panda::ir
