// Control and debug registers, MSRs, the TSC, CPUID, TLB and cache control, STAC and CLAC.
#include "guest/x86/cpuid.h"
#include "guest/x86/debug.h"
#include "guest/x86/decoder.h"
#include "guest/x86/descriptor.h"
#include "guest/x86/msr.h"
#include "guest/x86/translate_system.h"
#include "memory/cpu_observer.h"
#include "memory/guest_memory.h"
#include "memory/outside.h"

namespace panda::x86 {

using exec::InsnEnd;

namespace {

// --- helpers
void write_cr_helper(void* state, uint32_t n, uint64_t value) noexcept { write_cr(Cpu(state), n, value); }

uint64_t read_cr8_helper(void* state) noexcept {
  Cpu cpu(state);
  Outside* outside = cpu.context().outside;
  const auto v = outside == nullptr ? std::nullopt : outside->register_read(OutsideRegister::TaskPriority, 0);
  if (!v) {
    raise(cpu, kGP, uint16_t{0});
    return 0;
  }
  return *v & 15;
}

void lmsw_helper(void* state, uint32_t value) noexcept {
  Cpu cpu(state);
  const uint64_t old = cpu.cr(0);
  // PE can be set but not cleared.
  write_cr(cpu, 0, (old & ~uint64_t{0xe}) | (value & 0xf));
}

bool aliased(Cpu cpu, uint32_t& n) {
  if (n != 4 && n != 5) return true;
  if ((cpu.cr(4) & kCr4De) != 0) return raise(cpu, kUD);
  n += 2;
  return true;
}
uint64_t read_dr_helper(void* state, uint32_t n) noexcept {
  Cpu cpu(state);
  if (!aliased(cpu, n) || guarded_debug_access(cpu)) return 0;
  return cpu.dr(n);
}
void write_dr_helper(void* state, uint32_t n, uint64_t value) noexcept {
  Cpu cpu(state);
  if (!aliased(cpu, n) || guarded_debug_access(cpu)) return;
  write_dr(cpu, n, value);
}

void invlpg_helper(void* state, uint64_t address) noexcept {
  Cpu cpu(state);
  if (is_canonical(address) || (cpu.s().efer & kEferLma) == 0) invalidate_page(cpu, address);
}

void rdmsr_helper(void* state, uint64_t count) noexcept {
  Cpu cpu(state);
  uint64_t v = 0;
  if (!read_msr(cpu, static_cast<uint32_t>(cpu.reg(R_ECX)), count, v)) return;
  cpu.set_reg(R_EAX, v & 0xffff'ffff);
  cpu.set_reg(R_EDX, v >> 32);
}
void wrmsr_helper(void* state, uint64_t count, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  const uint64_t hflags = cpu.s().hflags;
  const uint64_t v = (cpu.reg(R_EAX) & 0xffff'ffff) | cpu.reg(R_EDX) << 32;
  if (!write_msr(cpu, static_cast<uint32_t>(cpu.reg(R_ECX)), count, v)) return;
  if (cpu.s().hflags != hflags) {
    cpu.s().eip = next_pc;
    cpu.context().request(ExitRequest::Dispatch);
  }
}
// aux: 1 for RDTSCP.
void rdtsc_helper(void* state, uint64_t count, uint32_t aux) noexcept {
  Cpu cpu(state);
  if ((cpu.cr(4) & kCr4Tsd) != 0 && cpu.cpl() != 0) {
    raise(cpu, kGP, uint16_t{0});
    return;
  }
  const uint64_t v = read_tsc(cpu, count);
  cpu.set_reg(R_EAX, v & 0xffff'ffff);
  cpu.set_reg(R_EDX, v >> 32);
  if (aux != 0) cpu.set_reg(R_ECX, cpu.s().tsc_aux & 0xffff'ffff);
}

void cpuid_helper(void* state) noexcept {
  Cpu cpu(state);
  VcpuContext& c = cpu.context();
  if (c.observer != nullptr && c.observer->hypercall(c)) return;
  const CpuidResult r = cpuid(cpu.s(), static_cast<uint32_t>(cpu.reg(R_EAX)), static_cast<uint32_t>(cpu.reg(R_ECX)));
  cpu.set_reg(R_EAX, r.eax);
  cpu.set_reg(R_EBX, r.ebx);
  cpu.set_reg(R_ECX, r.ecx);
  cpu.set_reg(R_EDX, r.edx);
}

void set_ac_helper(void* state, uint32_t on, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  State& s = cpu.s();
  s.eflags = on != 0 ? s.eflags | kACflag : s.eflags & ~uint64_t{kACflag};
  refresh_mode(cpu, next_pc);
}

const ir::HelperDesc kWriteCr = system_helper("x86_write_cr", write_cr_helper);
const ir::HelperDesc kReadCr8 = system_helper("x86_read_cr8", read_cr8_helper);
const ir::HelperDesc kLmsw = system_helper("x86_lmsw", lmsw_helper);
const ir::HelperDesc kReadDr = system_helper("x86_read_dr", read_dr_helper);
const ir::HelperDesc kWriteDr = system_helper("x86_write_dr", write_dr_helper);
const ir::HelperDesc kInvlpg = system_helper("x86_invlpg", invlpg_helper);
const ir::HelperDesc kRdmsr = system_helper("x86_rdmsr", rdmsr_helper);
const ir::HelperDesc kWrmsr = system_helper("x86_wrmsr", wrmsr_helper);
const ir::HelperDesc kRdtsc = system_helper("x86_rdtsc", rdtsc_helper);
const ir::HelperDesc kCpuid = system_helper("x86_cpuid", cpuid_helper);
const ir::HelperDesc kSetAc = system_helper("x86_set_ac", set_ac_helper);

// --- MOV
int register_number(const ZydisDecodedOperand& op, ZydisRegisterClass c) {
  if (op.type != ZYDIS_OPERAND_TYPE_REGISTER || ZydisRegisterGetClass(op.reg.value) != c) return -1;
  return ZydisRegisterGetId(op.reg.value);
}

InsnEnd read_cr(InsnContext& x, unsigned n) {
  if (n == 8) {
    if (!x.request.exact) return InsnEnd::NeedExact;
    x.set_reg(x.ops[0].reg.value, x.call(kReadCr8));
    return x.end_dispatch();
  }
  x.set_reg(x.ops[0].reg.value, x.b.get(x.layout.word(), x.layout.cr(n)));
  return done(x);
}

InsnEnd mov_cr(InsnContext& x, unsigned n, bool write) {
  const bool exists = n == 0 || n == 2 || n == 3 || n == 4 || (n == 8 && x.is64());
  if (!exists) return fault(x, kUD);
  if (x.cpl() != 0) return fault(x, kGP);
  const ZydisDecodedOperand& gpr = x.ops[write ? 1 : 0];
  // In 64-bit mode the operand is always 64 bits, else 32.
  if (!write) {
    if (x.layout.is64 && !x.is64()) {
      x.set_reg(gpr.reg.value, x.b.trunc(Type::I32, x.b.get(Type::I64, x.layout.cr(n))));
      return done(x);
    }
    return read_cr(x, n);
  }
  if (n == 8 && !x.request.exact) return InsnEnd::NeedExact;
  const Value v = x.reg(gpr.reg.value);
  x.set_pc(x.pc());  // for those who hear of a new address space
  x.call(kWriteCr, {x.b.i32(n), x.b.zext(Type::I64, v)});
  return x.end_dispatch();
}

InsnEnd mov_dr(InsnContext& x, unsigned n, bool write) {
  if (n > 7) return fault(x, kUD);
  if (x.cpl() != 0) return fault(x, kGP);
  const ZydisDecodedOperand& gpr = x.ops[write ? 1 : 0];
  if (write) {
    x.call(kWriteDr, {x.b.i32(n), x.b.zext(Type::I64, x.reg(gpr.reg.value))});
    return x.end_dispatch();  // breakpoints may be enabled now
  }
  const Value v = x.call(kReadDr, {x.b.i32(n)});
  x.set_reg(gpr.reg.value, x.is64() ? v : x.b.trunc(Type::I32, v));
  return done(x);
}

InsnEnd mov(InsnContext& x) {
  for (const bool write : {true, false}) {
    const ZydisDecodedOperand& op = x.ops[write ? 0 : 1];
    if (const int n = register_number(op, ZYDIS_REGCLASS_CONTROL); n >= 0) {
      return mov_cr(x, static_cast<unsigned>(n), write);
    }
    if (const int n = register_number(op, ZYDIS_REGCLASS_DEBUG); n >= 0) {
      return mov_dr(x, static_cast<unsigned>(n), write);
    }
    if (register_number(op, ZYDIS_REGCLASS_TEST) >= 0) return fault(x, kUD);
  }
  return mov_segment(x);
}

InsnEnd clts(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kGP);
  if (!x.mode(kModeTs)) return done(x);
  const Value cr0 = x.word(x.layout.cr(0));
  x.b.set(x.layout.cr(0), x.b.and_(cr0, x.b.konst(cr0.type, ~uint64_t{kCr0Ts} & ir::mask_of(cr0.type))));
  x.b.set(offsetof(State, hflags), x.b.i64(x.flags() & ~uint64_t{kModeTs}));
  return x.end_dispatch();
}

InsnEnd lmsw(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kGP);
  const Value v = is_memory_operand(x.ops[0]) ? x.load(x.address(x.ops[0], 2, false), Type::I16)
                                              : x.b.trunc(Type::I16, x.read(x.ops[0]));
  x.call(kLmsw, {x.b.zext(Type::I32, v)});
  return x.end_dispatch();
}

InsnEnd smsw(InsnContext& x) {
  if (x.mode(kModeUmip)) return fault(x, kGP);
  const Value cr0 = x.b.get(x.layout.word(), x.layout.cr(0));
  if (is_memory_operand(x.ops[0])) {
    x.store(x.address(x.ops[0], 2, true), x.b.trunc(Type::I16, cr0));
  } else {
    const Type type = x.type_of(x.ops[0]);
    x.write(x.ops[0], ir::size_bytes(type) > ir::size_bytes(cr0.type) ? x.b.zext(type, cr0) : x.b.trunc(type, cr0));
  }
  return InsnEnd::Next;
}

InsnEnd invlpg(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kGP);
  if (!is_memory_operand(x.ops[0])) return fault(x, kUD);
  const ZydisRegister segment = x.ops[0].mem.segment;
  const unsigned seg = segment == ZYDIS_REGISTER_NONE ? unsigned{R_DS} : segment_register(segment);
  Value linear = x.b.zext(Type::I64, x.effective_address(x.ops[0]));
  // No limit or type check: only the base is added.
  if (!x.is64() || seg == R_FS || seg == R_GS) {
    const auto at =
        static_cast<uint32_t>(offsetof(State, segs) + seg * sizeof(SegmentCache) + offsetof(SegmentCache, base));
    linear = x.b.add(linear, x.b.zext(Type::I64, x.word(at)));
    if (!x.is64()) linear = x.b.and_(linear, x.b.i64(0xffff'ffff));
  }
  x.call(kInvlpg, {linear});
  return x.end_dispatch();
}

InsnEnd privileged_nop(InsnContext& x) { return x.cpl() != 0 ? fault(x, kGP) : done(x); }

Value count_now(InsnContext& x) { return x.b.emit(ir::Op::insn_count, Type::I64, {}); }

InsnEnd rdmsr(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kGP);
  x.call(kRdmsr, {count_now(x)});
  return done(x);
}
InsnEnd wrmsr(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kGP);
  x.call(kWrmsr, {count_now(x), next_pc_value(x)});
  return done(x);
}
template <uint32_t Aux>
InsnEnd rdtsc(InsnContext& x) {
  x.call(kRdtsc, {count_now(x), x.b.i32(Aux)});
  return done(x);
}
InsnEnd rdpmc(InsnContext& x) { return fault(x, kGP); }

// Analyses use it as their hypercall, and may want the exact count.
InsnEnd translate_cpuid(InsnContext& x) {
  if (!x.request.exact) return InsnEnd::NeedExact;
  x.call(kCpuid);
  return x.end_dispatch();
}

template <uint32_t On>
InsnEnd set_ac(InsnContext& x) {
  if (x.cpl() != 0) return fault(x, kUD);
  x.call(kSetAc, {x.b.i32(On), next_pc_value(x)});
  return done(x);
}

const Row kRows[] = {
    {ZYDIS_MNEMONIC_MOV, mov},
    {ZYDIS_MNEMONIC_CLTS, clts},
    {ZYDIS_MNEMONIC_LMSW, lmsw},
    {ZYDIS_MNEMONIC_SMSW, smsw},
    {ZYDIS_MNEMONIC_INVLPG, invlpg},
    {ZYDIS_MNEMONIC_INVD, privileged_nop},
    {ZYDIS_MNEMONIC_WBINVD, privileged_nop},
    {ZYDIS_MNEMONIC_RDMSR, rdmsr, Feature::Msr},
    {ZYDIS_MNEMONIC_WRMSR, wrmsr, Feature::Msr},
    {ZYDIS_MNEMONIC_RDTSC, rdtsc<0>, Feature::Tsc},
    {ZYDIS_MNEMONIC_RDTSCP, rdtsc<1>, Feature::Rdtscp},
    {ZYDIS_MNEMONIC_RDPMC, rdpmc},
    {ZYDIS_MNEMONIC_CPUID, translate_cpuid},
    {ZYDIS_MNEMONIC_CLAC, set_ac<0>, Feature::Smap},
    {ZYDIS_MNEMONIC_STAC, set_ac<1>, Feature::Smap},
};

}  // namespace

std::span<const Row> control_register_rows() { return kRows; }

}  // namespace panda::x86
