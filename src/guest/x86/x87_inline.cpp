#include "guest/x86/x87_inline.h"

#include <algorithm>

#include "guest/x86/fpu_state.h"
#include "guest/x86/frontend.h"
#include "ir/helper.h"

namespace panda::x86 {

using ir::F80Format;
using ir::Op;

namespace {

constexpr ir::StateRange kStackState{offsetof(State, fpstt), offsetof(State, fpregs)};

constexpr uint32_t register_offset(unsigned phys) { return static_cast<uint32_t>(offsetof(State, fpregs)) + 16 * phys; }

constexpr uint64_t tags_of(unsigned empty) {
  uint64_t tags = 0;
  for (unsigned i = 0; i < 8; ++i) tags |= uint64_t{empty >> i & 1} << (8 * i);
  return tags;
}

// May this op, which another instruction or a plugin emitted, change the stack?
bool changes_stack(const ir::Inst& in) {
  if (in.op == Op::set) return kStackState.touches(static_cast<uint32_t>(in.imm), ir::size_bytes(in.type));
  if (in.op != Op::call) return false;
  const ir::StateRange& writes = reinterpret_cast<const ir::HelperDesc*>(in.imm)->writes;
  return writes.begin < kStackState.end && writes.end > kStackState.begin;
}

void look_at_ops_since(X87Known& k, const ir::Unit& unit) {
  const size_t end = unit.insts.size();
  if (unit.blocks.size() != k.blocks) k.valid = false;
  for (size_t i = std::min(k.scanned, end); i < end && k.valid; ++i) {
    if (changes_stack(unit.insts[i])) k.valid = false;
  }
  k.scanned = end;
  k.blocks = unit.blocks.size();
}

uint64_t guard_function() { return reinterpret_cast<uint64_t>(static_cast<ir::GuardFailed>(&x87_guard_failed)); }

}  // namespace

void X87Known::moved(int registers) {
  valid = false;
  for (; registers < 0; ++registers) {
    top = (top - 1) & 7;
    empty = static_cast<uint8_t>(empty & ~(1u << top));
  }
  for (; registers > 0; --registers) {
    empty = static_cast<uint8_t>(empty | 1u << top);
    top = (top + 1) & 7;
  }
}

void X87Misses::note(uint64_t pc) {
  Entry& e = entries_[index(pc)];
  if (e.pc != pc) e = {pc, 0};
  e.count++;
}

bool X87Misses::hopeless(uint64_t pc) {
  Entry& e = entries_[index(pc)];
  if (e.pc != pc || e.count < kEnough) return false;
  if (++e.count > kEnough + kAskings) e.count = 0;
  return true;
}

void x87_guard_failed(void* state, uint64_t pc) noexcept {
  VcpuContext& c = VcpuContext::of(state);
  static_cast<X86Frontend*>(static_cast<exec::Frontend*>(c.frontend))->x87_misses().note(pc);
  c.request(ExitRequest::Retranslate);
}

void name_f80_slots(InsnContext& x) {
  x.b.unit().f80_control = offsetof(State, fpuc);
  x.b.unit().f80_status = offsetof(State, fpus);
}

bool may_guard(const InsnContext& x) {
  if (x.b.access_hook() != nullptr) return false;  // F80 ops do not report their accesses
  return x.x87 != nullptr && x.x87->guess && !x.request.exact && x.mode(kModeFpuFlat) && x.x87->misses != nullptr &&
         !x.x87->misses->hopeless(x.pc());
}

bool InlineX87::ready(std::initializer_list<unsigned> used, bool pushes) {
  if (!may_guard(x_) || x_.x87->uses_mmx) return false;
  X87Known& k = *x_.x87;
  for (const unsigned i : used) {
    if ((k.empty >> phys(i) & 1) != 0) return false;
  }
  if (pushes && (k.empty >> phys(7) & 1) == 0) return false;
  name_f80_slots(x_);
  look_at_ops_since(k, x_.b.unit());
  if (!k.valid) {
    x_.b.emit(Op::guard, Type::Void, {x_.b.get(Type::I64, offsetof(State, fptags)), x_.b.i64(tags_of(k.empty))},
              guard_function());
    x_.b.emit(Op::guard, Type::Void, {x_.b.get(Type::I32, offsetof(State, fpstt)), x_.b.i32(k.top)}, guard_function());
    k.valid = true;
  }
  k.uses_f80 = true;
  top_ = k.top;
  empty_ = k.empty;
  return true;
}

Value InlineX87::st(unsigned i) { return x_.b.get(Type::F80, register_offset(phys(i))); }

void InlineX87::set_st(unsigned i, Value v) {
  x_.b.set(register_offset(phys(i)), v);
  x_.x87->empty = static_cast<uint8_t>(x_.x87->empty & ~(1u << phys(i)));
}

void InlineX87::push(Value v) {
  rotate(-1);
  set_st(0, v);
}

void InlineX87::free(unsigned i) { x_.x87->empty = static_cast<uint8_t>(x_.x87->empty | 1u << phys(i)); }

void InlineX87::rotate(int by) { x_.x87->top = static_cast<uint8_t>((x_.x87->top + by) & 7); }

void InlineX87::pop() {
  free(0);
  rotate(1);
}

uint64_t InlineX87::mem_info(F80Format format) const {
  const unsigned bytes = ir::size_bytes(format);
  return x_.mem_info(bytes == 10 ? Type::I64 : ir::int_of_bytes(bytes), false, 0).pack();
}

Value InlineX87::load(Op op, const ZydisDecodedOperand& at, F80Format format, Value a) {
  const Value address = x_.address(at, ir::size_bytes(format), false).linear;
  const Type type = op == Op::f80_com_load ? Type::Void : Type::F80;
  const auto aux = static_cast<uint32_t>(format);
  if (!a.valid()) return x_.b.emit(op, type, {address}, mem_info(format), aux);
  return x_.b.emit(op, type, {a, address}, mem_info(format), aux);
}

void InlineX87::store(const ZydisDecodedOperand& at, F80Format format) {
  const Value address = x_.address(at, ir::size_bytes(format), true).linear;
  x_.b.emit(Op::f80_store, Type::Void, {address, st(0)}, mem_info(format), static_cast<uint32_t>(format));
}

exec::InsnEnd InlineX87::done() {
  X87Known& k = *x_.x87;
  if (k.top != top_) x_.b.set(offsetof(State, fpstt), x_.b.i32(k.top));
  if (k.empty != empty_) x_.b.set(offsetof(State, fptags), x_.b.i64(tags_of(k.empty)));
  k.scanned = x_.b.unit().insts.size();
  return exec::InsnEnd::Next;
}

}  // namespace panda::x86
