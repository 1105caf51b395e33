// Far jumps, calls and returns, IRET, SYSENTER and SYSCALL, HLT.
#include "guest/x86/fast_syscall.h"
#include "guest/x86/translate_system.h"

namespace panda::x86 {

using exec::InsnEnd;

namespace {

// --- helpers. what: selector | operand bytes << 16.
void far_jump_helper(void* state, uint32_t what, uint64_t offset, uint64_t next_eip) noexcept {
  far_jump(Cpu(state), static_cast<uint16_t>(what), offset, what >> 16, next_eip);
}
void far_call_helper(void* state, uint32_t what, uint64_t offset, uint64_t next_eip) noexcept {
  far_call(Cpu(state), static_cast<uint16_t>(what), offset, what >> 16, next_eip);
}
void far_return_helper(void* state, uint32_t op_bytes, uint32_t release) noexcept {
  far_return(Cpu(state), op_bytes, static_cast<uint16_t>(release));
}
void iret_helper(void* state, uint32_t op_bytes, uint64_t next_eip) noexcept {
  interrupt_return(Cpu(state), op_bytes, next_eip);
}
void sysenter_helper(void* state) noexcept { sysenter(Cpu(state)); }
void sysexit_helper(void* state, uint32_t to64) noexcept { sysexit(Cpu(state), to64 != 0); }
void syscall_helper(void* state, uint64_t next_eip) noexcept { syscall_insn(Cpu(state), next_eip); }
void sysret_helper(void* state, uint32_t to64) noexcept { sysret(Cpu(state), to64 != 0); }

const ir::HelperDesc kFarJump = system_helper("x86_far_jump", far_jump_helper);
const ir::HelperDesc kFarCall = system_helper("x86_far_call", far_call_helper);
const ir::HelperDesc kFarReturn = system_helper("x86_far_return", far_return_helper);
const ir::HelperDesc kIret = system_helper("x86_iret", iret_helper);
const ir::HelperDesc kSysenter = system_helper("x86_sysenter", sysenter_helper);
const ir::HelperDesc kSysexit = system_helper("x86_sysexit", sysexit_helper);
const ir::HelperDesc kSyscall = system_helper("x86_syscall", syscall_helper);
const ir::HelperDesc kSysret = system_helper("x86_sysret", sysret_helper);

InsnEnd far_branch(InsnContext& x, const ir::HelperDesc& helper) {
  const ZydisDecodedOperand& op = x.ops[0];
  ir::Builder& b = x.b;
  const unsigned bytes = x.insn.operand_width / 8u;
  Value offset, what;
  if (op.type == ZYDIS_OPERAND_TYPE_POINTER) {
    offset = b.i64(op.ptr.offset);
    what = b.i32(op.ptr.segment | bytes << 16);
  } else if (is_memory_operand(op)) {
    const Memory m = x.address(op, bytes + 2, false);
    offset = b.zext(Type::I64, x.load(m, ir::int_of_bytes(bytes)));
    const Value selector = x.load({b.add(m.linear, b.i64(bytes))}, Type::I16);
    what = b.or_(b.zext(Type::I32, selector), b.i32(bytes << 16));
  } else {
    return fault(x, kUD);
  }
  x.call(helper, {what, offset, next_pc_value(x)});
  return leave(x);
}
InsnEnd jmp_far(InsnContext& x) { return far_branch(x, kFarJump); }
InsnEnd call_far(InsnContext& x) { return far_branch(x, kFarCall); }

InsnEnd ret_far(InsnContext& x) {
  const bool has_release = x.insn.operand_count_visible > 0 && x.ops[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  const uint32_t release = has_release ? static_cast<uint32_t>(x.ops[0].imm.value.u & 0xffff) : 0;
  x.call(kFarReturn, {x.b.i32(x.insn.operand_width / 8u), x.b.i32(release)});
  return leave(x);
}

template <unsigned Bytes>
InsnEnd iret(InsnContext& x) {
  x.call(kIret, {x.b.i32(Bytes), next_pc_value(x)});
  return leave(x);
}

bool rex_w(const InsnContext& x) { return x.is64() && x.insn.raw.rex.W != 0; }

InsnEnd translate_sysenter(InsnContext& x) {
  x.call(kSysenter);
  return leave(x);
}
InsnEnd translate_sysexit(InsnContext& x) {
  x.call(kSysexit, {x.b.i32(rex_w(x))});
  return leave(x);
}
InsnEnd translate_syscall(InsnContext& x) {
  if (!x.is64()) return fault(x, kUD);
  x.call(kSyscall, {next_pc_value(x)});
  return leave(x);
}
InsnEnd translate_sysret(InsnContext& x) {
  if (!x.is64()) return fault(x, kUD);
  x.call(kSysret, {x.b.i32(rex_w(x))});
  return leave(x);
}

InsnEnd hlt(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kGP);
  if (!x.request.exact) return InsnEnd::NeedExact;
  x.b.set(offsetof(State, halted), x.b.i32(1));
  return x.end_dispatch();
}

const Row kRows[] = {
    {ZYDIS_MNEMONIC_JMP, jmp_far},
    {ZYDIS_MNEMONIC_CALL, call_far},
    {ZYDIS_MNEMONIC_RET, ret_far},
    {ZYDIS_MNEMONIC_IRET, iret<2>},
    {ZYDIS_MNEMONIC_IRETD, iret<4>},
    {ZYDIS_MNEMONIC_IRETQ, iret<8>},
    {ZYDIS_MNEMONIC_SYSENTER, translate_sysenter, Feature::Sep},
    {ZYDIS_MNEMONIC_SYSEXIT, translate_sysexit, Feature::Sep},
    {ZYDIS_MNEMONIC_SYSCALL, translate_syscall, Feature::Syscall},
    {ZYDIS_MNEMONIC_SYSRET, translate_sysret, Feature::Syscall},
    {ZYDIS_MNEMONIC_HLT, hlt},
};

}  // namespace

std::span<const Row> transfer_system_rows() { return kRows; }

}  // namespace panda::x86
