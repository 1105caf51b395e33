// F80 on the host's x87: X87Stack knows where values lie, here are the instructions (SDM vol. 2, D8 to DF).
//
// Order within an op: what must be on the stack is fetched, the memory access is found possible (up to
// there a slow path sees the guest as before this op), then the stack is rearranged, and the op's own
// instruction comes last, so that C1 is its.
#include "backend/x64/lower.h"

namespace panda::x64 {

using ir::F80Format;

namespace {

struct MemoryForm {
  uint8_t opcode;
  uint8_t digit;
};
// By F80Format. 0: there is none.
constexpr MemoryForm kLoads[] = {{0xd9, 0}, {0xdd, 0}, {0xdb, 5}, {0xdf, 0}, {0xdb, 0}, {0xdf, 5}};
constexpr MemoryForm kStores[] = {{0xd9, 2}, {0xdd, 2}, {0, 0}, {0xdf, 2}, {0xdb, 2}, {0, 0}, {0, 0}, {0, 0}, {0, 0}};
constexpr MemoryForm kStorePops[] = {{0xd9, 3}, {0xdd, 3}, {0xdb, 7}, {0xdf, 3}, {0xdb, 3},
                                     {0xdf, 7}, {0xdf, 1}, {0xdb, 1}, {0xdd, 1}};
constexpr uint8_t kArithOpcodes[] = {0xd8, 0xdc, 0, 0xde, 0xda};
constexpr unsigned kAdd = 0, kMul = 1, kCom = 2, kSub = 4, kSubR = 5, kDiv = 6, kDivR = 7;

}  // namespace

// --- the status word

void Lowering::x87_sync() {
  if (!x87_.status_pending()) return;
  const Xbyak::Address status = c_.word[c_.rbp + static_cast<int>(unit_->f80_status)];
  // Always the whole word: a store of one byte would not be forwarded to the next load of both.
  ra_.fixed(0);
  if (x87_.taken() == 0) {
    c_.movzx(c_.eax, status);
    c_.and_(c_.eax, ~x87_.replaced());
  } else {
    const int t = ra_.scratch();
    c_.fnstsw(c_.ax);
    c_.movzx(reg32(t), status);
    c_.and_(c_.eax, x87_.taken());
    if (x87_.replaced() != 0) c_.and_(reg32(t), ~x87_.replaced());
    c_.or_(c_.eax, reg32(t));
  }
  c_.mov(status, c_.ax);
  x87_.synchronised();
}

void Lowering::x87_flush() {
  x87_sync();
  x87_.flush();
}

void Lowering::x87_slow_stub(SlowStub& stub) {
  for (const X87Stack::Dirty& d : x87_.dirty()) {
    add_dirty(stub, {static_cast<uint16_t>(d.offset), static_cast<uint8_t>(ir::size_bytes(ir::Type::F80)),
                     static_cast<uint8_t>(kX87Reg + d.st)});
  }
  stub.x87 = true;
  stub.x87_access.status = static_cast<uint16_t>(unit_->f80_status);
  stub.x87_access.taken = static_cast<uint16_t>(x87_.taken());
  stub.x87_access.replaced = static_cast<uint16_t>(x87_.replaced());
}

void Lowering::lower_f80_clear_c1(const Inst&) { x87_.cleared_c1(); }

void Lowering::lower_f80_status(const Inst&) {
  x87_sync();
  const int d = ra_.result(index_);
  c_.movzx(reg32(d), c_.word[c_.rbp + static_cast<int>(unit_->f80_status)]);
  ra_.define(index_, d, 16);
}

void Lowering::lower_f80_control(const Inst&) {
  const int d = ra_.result(index_);
  c_.movzx(reg32(d), c_.word[c_.rbp + static_cast<int>(unit_->f80_control)]);
  ra_.define(index_, d, 16);
}

void Lowering::lower_f80_set_control(const Inst& in) {
  const Xbyak::Address at = c_.word[c_.rbp + static_cast<int>(unit_->f80_control)];
  c_.mov(at, reg16(ra_.use(in.args[0])));
  if (x87_.active()) c_.fldcw(at);
}

// --- registers

void Lowering::x87_binary(const Inst& in, const X87Arith& arith) {
  x87_.enter();
  x87_.ensure(in.args[0]);
  x87_.ensure(in.args[1]);
  x87_.release_slot_of_result(index_);
  x87_.prepare(false);
  x87_.binary(index_, in.args[0], in.args[1], arith);
  x87_.raised();
}
void Lowering::lower_f80_add(const Inst& in) { x87_binary(in, kX87Add); }
void Lowering::lower_f80_sub(const Inst& in) { x87_binary(in, kX87Sub); }
void Lowering::lower_f80_mul(const Inst& in) { x87_binary(in, kX87Mul); }
void Lowering::lower_f80_div(const Inst& in) { x87_binary(in, kX87Div); }

void Lowering::x87_unary(const Inst& in, uint8_t second_byte) {
  x87_.enter();
  x87_.ensure(in.args[0]);
  x87_.release_slot_of_result(index_);
  x87_.prepare(false);
  x87_.take_top(in.args[0]);
  c_.db(0xd9);
  c_.db(second_byte);
  x87_.define_top(index_);
}
void Lowering::lower_f80_neg(const Inst& in) {
  x87_unary(in, 0xe0);
  x87_.cleared_c1();
}
void Lowering::lower_f80_abs(const Inst& in) {
  x87_unary(in, 0xe1);
  x87_.cleared_c1();
}
void Lowering::lower_f80_sqrt(const Inst& in) {
  x87_unary(in, 0xfa);
  x87_.raised();
}
void Lowering::lower_f80_round(const Inst& in) {
  x87_unary(in, 0xfc);
  x87_.raised();
}

void Lowering::lower_f80_const(const Inst& in) {
  x87_.enter();
  x87_.release_slot_of_result(index_);
  x87_.prepare(true);
  c_.db(0xd9);
  c_.db(0xe8 + static_cast<int>(in.imm));
  x87_.define_push(index_);
  x87_.cleared_c1();
}

// --- compares

void Lowering::x87_compare(const Inst& in, int first_byte, int second_byte) {
  x87_.enter();
  x87_.ensure(in.args[0]);
  if (in.nargs > 1) x87_.ensure(in.args[1]);
  x87_.prepare(false);
  x87_.bring_top(in.args[0]);
  c_.db(first_byte);
  c_.db(second_byte + (in.nargs > 1 ? x87_.st(in.args[1]) : 0));
}
void Lowering::lower_f80_com(const Inst& in) {
  x87_compare(in, 0xd8, 0xd0);
  x87_.compared();
}
void Lowering::lower_f80_ucom(const Inst& in) {
  x87_compare(in, 0xdd, 0xe0);
  x87_.compared();
}
void Lowering::lower_f80_tst(const Inst& in) {
  x87_compare(in, 0xd9, 0xe4);
  x87_.compared();
}
void Lowering::lower_f80_xam(const Inst& in) {
  x87_compare(in, 0xd9, 0xe5);
  x87_.examined();
}

void Lowering::x87_compare_flags(const Inst& in, int second_byte) {
  ra_.fixed(0);
  x87_compare(in, 0xdb, second_byte);
  x87_.cleared_c1(true);
  flags_to(in, 0x45);
}
void Lowering::lower_f80_comi(const Inst& in) { x87_compare_flags(in, 0xf0); }
void Lowering::lower_f80_ucomi(const Inst& in) { x87_compare_flags(in, 0xe8); }

// --- memory

int Lowering::x87_address(const Inst& in, unsigned size, ir::ValueId address, X87Access::Kind kind,
                          ir::ValueId stored) {
  const int at = ra_.use(address);
  const int t1 = ra_.scratch(), pointer = ra_.scratch();
  slow_stub(in, size, at, pointer, 0);
  SlowStub& stub = slow_stubs_.back();
  stub.header.is_store = kind == X87Access::Store;
  stub.x87_access.kind = kind;
  stub.x87_access.format = static_cast<uint8_t>(in.aux & 0xf);
  if (stored != ir::kNoValue) stub.x87_access.st = static_cast<uint8_t>(x87_.st(stored));
  tlb_lookup(ir::MemInfo::unpack(in.imm), size, kind == X87Access::Store, address, at, t1, pointer);
  c_.lea(reg64(pointer), c_.ptr[reg64(t1) + reg64(at)]);
  slow_stubs_.back().resume = c_.here();
  return pointer;
}

// [pointer] as operand.
void Lowering::x87_memory_operand(int first_byte, int digit, int pointer) {
  const int low = pointer & 7;
  if (pointer >= 8) c_.db(0x41);
  c_.db(first_byte);
  c_.db((low == 5 ? 0x40 : 0) | digit << 3 | low);
  if (low == 4) c_.db(0x24);
  if (low == 5) c_.db(0);
}

void Lowering::lower_f80_load(const Inst& in) {
  const auto format = static_cast<F80Format>(in.aux);
  x87_.enter();
  const int pointer = x87_address(in, ir::size_bytes(format), in.args[0], X87Access::Load, ir::kNoValue);
  x87_.release_slot_of_result(index_);
  x87_.prepare(true);
  x87_memory_operand(kLoads[in.aux].opcode, kLoads[in.aux].digit, pointer);
  x87_.define_push(index_);
  x87_.cleared_c1(format == F80Format::F32 || format == F80Format::F64);
}

void Lowering::lower_f80_store(const Inst& in) {
  const auto format = static_cast<F80Format>(in.aux);
  const ir::ValueId v = in.args[1];
  if (x87_.c1_in_host() && !x87_.on_stack(v)) x87_sync();
  x87_.enter();
  x87_.ensure(v);
  const int pointer = x87_address(in, ir::size_bytes(format), in.args[0], X87Access::Store, v);
  x87_.prepare(false);
  if (x87_.needed_later(v) && kStores[in.aux].opcode != 0) {
    x87_.bring_top(v);
    x87_memory_operand(kStores[in.aux].opcode, kStores[in.aux].digit, pointer);
  } else {
    x87_.take_top(v);
    x87_memory_operand(kStorePops[in.aux].opcode, kStorePops[in.aux].digit, pointer);
    x87_.popped();
  }
  if (format == F80Format::F80)
    x87_.cleared_c1();
  else
    x87_.raised();
}

void Lowering::x87_arith_load(const Inst& in, unsigned digit) {
  const ir::ValueId a = in.args[0];
  if (x87_.c1_in_host() && !x87_.on_stack(a)) x87_sync();
  x87_.enter();
  x87_.ensure(a);
  const unsigned size = ir::size_bytes(static_cast<F80Format>(in.aux));
  const int pointer = x87_address(in, size, in.args[1], X87Access::Load, ir::kNoValue);
  if (digit != kCom) x87_.release_slot_of_result(index_);
  x87_.prepare(false);
  if (digit == kCom)
    x87_.bring_top(a);
  else
    x87_.take_top(a);
  x87_memory_operand(kArithOpcodes[in.aux], static_cast<int>(digit), pointer);
  if (digit == kCom) return x87_.compared();
  x87_.define_top(index_);
  x87_.raised();
}
void Lowering::lower_f80_add_load(const Inst& in) { x87_arith_load(in, kAdd); }
void Lowering::lower_f80_sub_load(const Inst& in) { x87_arith_load(in, kSub); }
void Lowering::lower_f80_subr_load(const Inst& in) { x87_arith_load(in, kSubR); }
void Lowering::lower_f80_mul_load(const Inst& in) { x87_arith_load(in, kMul); }
void Lowering::lower_f80_div_load(const Inst& in) { x87_arith_load(in, kDiv); }
void Lowering::lower_f80_divr_load(const Inst& in) { x87_arith_load(in, kDivR); }
void Lowering::lower_f80_com_load(const Inst& in) { x87_arith_load(in, kCom); }

// --- guards

void Lowering::lower_guard(const Inst& in) {
  uint64_t constant = 0;
  int32_t imm = 0;
  const bool wide = ir::size_bytes(ra_.type(in.args[0])) == 8;
  Xbyak::Address memory = c_.qword[c_.rbp];
  const bool in_memory = ra_.in_memory(in.args[0], &memory);
  const int a = in_memory ? 0 : use_zero_extended(in.args[0]);
  const Xbyak::Reg left = wide ? Xbyak::Reg(reg64(a)) : Xbyak::Reg(reg32(a));
  const auto compare = [&](const auto& right) {
    if (in_memory)
      c_.cmp(memory, right);
    else
      c_.cmp(left, right);
  };
  int right = 0;
  const bool is_imm = ra_.is_const(in.args[1], &constant) && ra_.is_imm32(in.args[1], &imm) && (wide || imm >= 0);
  if (!is_imm) right = use_zero_extended(in.args[1]);
  slow_stub(in, 0, 0, kConstantReg, in.imm);
  SlowStub& stub = slow_stubs_.back();
  stub.x87 = true;
  stub.x87_access.kind = X87Access::Guard;
  if (is_imm)
    compare(static_cast<uint32_t>(imm));
  else if (wide)
    compare(reg64(right));
  else
    compare(reg32(right));
  stub.jumps[0] = c_.jcc_forward(Cc::Ne);
  stub.resume = c_.here();
}

}  // namespace panda::x64
