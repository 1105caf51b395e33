// Compares, and the branches and selects that fuse with them. Emitters bring every operand into
// its register before the flags are set; nothing between then and the flags' use may touch them.
#include <utility>

#include "backend/x64/lower.h"

namespace panda::x64 {

using ir::Cond;
using ir::Op;
using ir::Type;

namespace {

constexpr Cc kCc[] = {Cc::E, Cc::Ne, Cc::B, Cc::Be, Cc::A, Cc::Ae, Cc::L, Cc::Le, Cc::G, Cc::Ge};
constexpr Cond kSwapped[] = {Cond::Eq,  Cond::Ne,  Cond::Ugt, Cond::Uge, Cond::Ult,
                             Cond::Ule, Cond::Sgt, Cond::Sge, Cond::Slt, Cond::Sle};

}  // namespace

// Emits CMP or TEST; returns the condition that then holds where the icmp is true.
Cc Lowering::compare(const Inst& in) {
  ir::ValueId a = in.args[0], b = in.args[1];
  auto cond = static_cast<Cond>(in.imm);
  if (ra_.is_const(a) && !ra_.is_const(b)) {
    std::swap(a, b);
    cond = kSwapped[static_cast<unsigned>(cond)];
  }
  const Type t = ra_.type(a);
  const Cc cc = kCc[static_cast<unsigned>(cond)];
  int32_t imm;
  Xbyak::Address m = c_.ptr[c_.rbp];
  if (ra_.info(a).deferred) {  // (x & y) == 0
    const Inst& both = unit_->insts[a];
    ir::ValueId x = both.args[0], y = both.args[1];
    if (ra_.is_const(x)) std::swap(x, y);
    if (ra_.is_imm32(y, &imm)) {
      if (t >= Type::I32 && ra_.in_memory(x, &m)) {
        c_.test(m, static_cast<uint32_t>(imm));
        return cc;
      }
      const int r = ra_.use(x);
      if (imm >= 0 && imm <= 0xff) {
        c_.test(reg8(r), static_cast<uint32_t>(imm));
      } else {
        c_.test(reg(r, t), t <= Type::I8 ? static_cast<uint32_t>(imm) & 0xff : static_cast<uint32_t>(imm));
      }
      return cc;
    }
    const int r = ra_.use(x), s = ra_.use(y);
    c_.test(reg(r, t), reg(s, t));
    return cc;
  }
  if (ra_.is_imm32(b, &imm)) {
    if (ra_.in_memory(a, &m)) {
      c_.cmp(m, static_cast<uint32_t>(imm));
      return cc;
    }
    const int r = ra_.use(a);
    if (imm == 0) {
      c_.test(reg(r, t), reg(r, t));
    } else {
      c_.cmp(reg(r, t), static_cast<uint32_t>(imm));
    }
    return cc;
  }
  if (ra_.in_memory(b, &m)) {
    const int r = ra_.use(a);
    c_.cmp(reg(r, t), m);
    return cc;
  }
  const int r = ra_.use(a), s = ra_.use(b);
  c_.cmp(reg(r, t), reg(s, t));
  return cc;
}

// Brings what condition(v) will read into registers.
void Lowering::prepare_condition(ir::ValueId v) {
  if (!ra_.info(v).deferred) {
    ra_.use(v);
    return;
  }
  const Inst& in = unit_->insts[v];
  for (unsigned i = 0; i < in.nargs; i++) {
    const ir::ValueId a = in.args[i];
    if (ra_.info(a).deferred) {
      for (unsigned j = 0; j < 2; j++) {
        int32_t imm;
        if (!ra_.is_imm32(unit_->insts[a].args[j], &imm)) ra_.use(unit_->insts[a].args[j]);
      }
    } else {
      int32_t imm;
      if (!ra_.is_imm32(a, &imm)) ra_.use(a);
    }
  }
}

// Sets the flags; the I1 is true where the returned condition holds.
Cc Lowering::condition(ir::ValueId v) {
  if (ra_.info(v).deferred) {
    const Inst& in = unit_->insts[v];
    if (in.op == Op::icmp) return compare(in);
    const int r = ra_.use(in.args[0]);  // trunc to I1
    c_.test(reg8(r), 1);
    return Cc::Ne;
  }
  const int r = ra_.use(v);
  c_.test(reg8(r), reg8(r));
  return Cc::Ne;
}

void Lowering::lower_icmp(const Inst& in) {
  const int d = ra_.result(index_);
  c_.setcc(compare(in), d);
  ra_.define(index_, d);
}

void Lowering::select_int(const Inst& in) {
  ir::ValueId yes = in.args[1], no = in.args[2];
  const bool swap = ra_.dies(yes) && !ra_.dies(no);
  if (swap) std::swap(yes, no);
  prepare_condition(in.args[0]);
  const int r = ra_.use(yes);
  const int d = ra_.use_mutable(no);
  const Cc cc = condition(in.args[0]);
  c_.cmovcc(swap ? invert(cc) : cc, d, r, in.type == Type::I64);
  ra_.define(index_, d, in.type == Type::I64 ? 64 : 32);
}

void Lowering::select_xmm(const Inst& in) {
  prepare_condition(in.args[0]);
  const int r = ra_.use(in.args[1]);
  const int d = ra_.use_mutable(in.args[2]);
  const Assembler::Offset skip = c_.jcc_short(invert(condition(in.args[0])));
  move_xmm(d, r);
  c_.patch_short(skip, c_.here());
  ra_.define(index_, d);
}

void Lowering::lower_select(const Inst& in) { ir::is_int(in.type) ? select_int(in) : select_xmm(in); }

}  // namespace panda::x64
