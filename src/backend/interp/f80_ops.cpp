// F80: every op is one host x87 instruction between loading its operands from memory with an empty
// status word under the guest's control word, and taking over what the host's status word then says.
#include <cstring>

#include "backend/interp/step.h"
#include "memory/access.h"

namespace panda::interp::ops {
namespace {

constexpr uint16_t kFlags = 0x3f, kC1 = 0x200, kConditions = 0x4700;
constexpr uint16_t kHostControl = 0x37f;

// What an op made, and the status word of it alone.
struct Run {
  Reg value;
  uint16_t status = 0;
};

uint16_t control(const Frame& f) {
  uint16_t v;
  std::memcpy(&v, f.state + f.program->f80_control, sizeof v);
  return v;
}

// Takes over the exception flags and those bits of `status` that the op defines.
void take(Frame& f, uint16_t status, uint16_t defined) {
  uint16_t v;
  uint8_t* at = f.state + f.program->f80_status;
  std::memcpy(&v, at, sizeof v);
  v = static_cast<uint16_t>((v & ~defined) | (status & (defined | kFlags)));
  std::memcpy(at, &v, sizeof v);
}

using Binary = Run (*)(uint16_t control, const Reg& a, const Reg& b) noexcept;

// `insn` with a in ST(0) and b in ST(1). FNINIT leaves the host as C++ code expects it.
#define PANDA_F80_RUN(name, insn)                                                                      \
  Run name(uint16_t control, const Reg& a, const Reg& b) noexcept {                                    \
    Run r;                                                                                             \
    const uint16_t host = kHostControl;                                                                \
    __asm__ volatile("fnclex\n fldt %[b]\n fldt %[a]\n fldcw %[control]\n " insn                       \
                     "\n fnstsw %[status]\n fnclex\n fldcw %[host]\n fstpt %[value]\n fninit\n"        \
                     : [value] "+m"(r.value), [status] "=m"(r.status)                                  \
                     : [a] "m"(a), [b] "m"(b), [control] "m"(control), [host] "m"(host)                \
                     : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory"); \
    return r;                                                                                          \
  }
// The same with b as it stands in memory.
#define PANDA_F80_RUN_MEMORY(name, insn)                                                               \
  Run name(uint16_t control, const Reg& a, const Reg& b) noexcept {                                    \
    Run r;                                                                                             \
    const uint16_t host = kHostControl;                                                                \
    __asm__ volatile("fnclex\n fldt %[a]\n fldcw %[control]\n " insn                                   \
                     " %[b]\n fnstsw %[status]\n fnclex\n fldcw %[host]\n fstpt %[value]\n fninit\n"   \
                     : [value] "+m"(r.value), [status] "=m"(r.status)                                  \
                     : [a] "m"(a), [b] "m"(b), [control] "m"(control), [host] "m"(host)                \
                     : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory"); \
    return r;                                                                                          \
  }
// By format: those that arithmetic has.
#define PANDA_F80_RUN_FORMATS(op)                     \
  PANDA_F80_RUN_MEMORY(run_f##op##_f32, "f" #op "s")  \
  PANDA_F80_RUN_MEMORY(run_f##op##_f64, "f" #op "l")  \
  PANDA_F80_RUN_MEMORY(run_f##op##_i16, "fi" #op "s") \
  PANDA_F80_RUN_MEMORY(run_f##op##_i32, "fi" #op "l") \
  constexpr Binary k_##op[] = {run_f##op##_f32, run_f##op##_f64, nullptr, run_f##op##_i16, run_f##op##_i32};

PANDA_F80_RUN(run_add, "fadd %%st(1), %%st")
PANDA_F80_RUN(run_sub, "fsub %%st(1), %%st")
PANDA_F80_RUN(run_mul, "fmul %%st(1), %%st")
PANDA_F80_RUN(run_div, "fdiv %%st(1), %%st")
PANDA_F80_RUN(run_neg, "fchs")
PANDA_F80_RUN(run_abs, "fabs")
PANDA_F80_RUN(run_sqrt, "fsqrt")
PANDA_F80_RUN(run_round, "frndint")
PANDA_F80_RUN(run_com, "fcom %%st(1)")
PANDA_F80_RUN(run_ucom, "fucom %%st(1)")
PANDA_F80_RUN(run_tst, "ftst")
PANDA_F80_RUN(run_xam, "fxam")
PANDA_F80_RUN_FORMATS(add)
PANDA_F80_RUN_FORMATS(sub)
PANDA_F80_RUN_FORMATS(subr)
PANDA_F80_RUN_FORMATS(mul)
PANDA_F80_RUN_FORMATS(div)
PANDA_F80_RUN_FORMATS(divr)
PANDA_F80_RUN_FORMATS(com)
// a is not looked at, but keeps the stack from being empty where nothing is pushed.
PANDA_F80_RUN_MEMORY(run_fld_f32, "flds")
PANDA_F80_RUN_MEMORY(run_fld_f64, "fldl")
PANDA_F80_RUN_MEMORY(run_fld_f80, "fldt")
PANDA_F80_RUN_MEMORY(run_fld_i16, "filds")
PANDA_F80_RUN_MEMORY(run_fld_i32, "fildl")
PANDA_F80_RUN_MEMORY(run_fld_i64, "fildll")
constexpr Binary kLoads[] = {run_fld_f32, run_fld_f64, run_fld_f80, run_fld_i16, run_fld_i32, run_fld_i64};
PANDA_F80_RUN(run_fld1, "fld1")
PANDA_F80_RUN(run_fldl2t, "fldl2t")
PANDA_F80_RUN(run_fldl2e, "fldl2e")
PANDA_F80_RUN(run_fldpi, "fldpi")
PANDA_F80_RUN(run_fldlg2, "fldlg2")
PANDA_F80_RUN(run_fldln2, "fldln2")
PANDA_F80_RUN(run_fldz, "fldz")
constexpr Binary kConstants[] = {run_fld1, run_fldl2t, run_fldl2e, run_fldpi, run_fldlg2, run_fldln2, run_fldz};

// Stores leave their bytes in `value`. The popping forms, so that one shape serves all.
#define PANDA_F80_RUN_STORE(name, insn)                                                                      \
  Run name(uint16_t control, const Reg& a, const Reg&) noexcept {                                            \
    Run r;                                                                                                   \
    __asm__ volatile("fnclex\n fldt %[a]\n fldcw %[control]\n " insn " %[out]\n fnstsw %[status]\n fninit\n" \
                     : [out] "+m"(r.value), [status] "=m"(r.status)                                          \
                     : [a] "m"(a), [control] "m"(control)                                                    \
                     : "st", "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "memory");       \
    return r;                                                                                                \
  }
PANDA_F80_RUN_STORE(run_fst_f32, "fstps")
PANDA_F80_RUN_STORE(run_fst_f64, "fstpl")
PANDA_F80_RUN_STORE(run_fst_f80, "fstpt")
PANDA_F80_RUN_STORE(run_fist_i16, "fistps")
PANDA_F80_RUN_STORE(run_fist_i32, "fistpl")
PANDA_F80_RUN_STORE(run_fist_i64, "fistpll")
PANDA_F80_RUN_STORE(run_fisttp_i16, "fisttps")
PANDA_F80_RUN_STORE(run_fisttp_i32, "fisttpl")
PANDA_F80_RUN_STORE(run_fisttp_i64, "fisttpll")
constexpr Binary kStores[] = {run_fst_f32,  run_fst_f64,    run_fst_f80,    run_fist_i16,  run_fist_i32,
                              run_fist_i64, run_fisttp_i16, run_fisttp_i32, run_fisttp_i64};
static_assert(std::size(kStores) == ir::kF80Formats);

void arithmetic(Frame& f, const Step& s, Binary run) {
  const Run r = run(control(f), f.reg(s, 0), s.nargs > 1 ? f.reg(s, 1) : f.reg(s, 0));
  take(f, r.status, kC1);
  f.define(s, r.value);
}

bool read(Frame& f, const Step& s, unsigned address, Reg& out) {
  if (f.cpu->exact != 0) f.leave_guest_fp();  // it may reach a device
  const unsigned size = ir::size_bytes(static_cast<ir::F80Format>(s.aux));
  if (load_unreported(*f.cpu, f.arg(s, address), size, ir::MemInfo::unpack(s.imm), &out)) return true;
  f.leave(exec::Exit::Request, f.insn);
  return false;
}

void arithmetic_load(Frame& f, const Step& s, const Binary* by_format) {
  Reg b;
  if (!read(f, s, 1, b)) return;
  const Run r = by_format[s.aux](control(f), f.reg(s, 0), b);
  take(f, r.status, kC1);
  f.define(s, r.value);
}

// FCOM and kin leave C1 clear.
void compare(Frame& f, const Reg& a, const Reg& b, Binary run) { take(f, run(control(f), a, b).status, kConditions); }

void compare_eflags(Frame& f, const Step& s, Binary run) {
  const uint16_t sw = run(control(f), f.reg(s, 0), f.reg(s, 1)).status;
  take(f, static_cast<uint16_t>(sw & kFlags), kC1);
  f.define(s, ((sw & 0x100) != 0 ? 1u : 0u) | ((sw & 0x400) != 0 ? 4u : 0u) | ((sw & 0x4000) != 0 ? 0x40u : 0u));
}

}  // namespace

void f80_load(Frame& f, const Step& s) noexcept {
  Reg b;
  if (!read(f, s, 0, b)) return;
  const Reg nothing;
  const Run r = kLoads[s.aux](control(f), nothing, b);
  take(f, r.status, kC1);
  f.define(s, r.value);
}

void f80_store(Frame& f, const Step& s) noexcept {
  if (f.cpu->exact != 0) f.leave_guest_fp();
  const unsigned size = ir::size_bytes(static_cast<ir::F80Format>(s.aux));
  const Run r = kStores[s.aux](control(f), f.reg(s, 1), f.reg(s, 1));
  if (!store_unreported(*f.cpu, f.arg(s, 0), size, ir::MemInfo::unpack(s.imm), &r.value)) {
    return f.leave(exec::Exit::Request, f.insn);
  }
  take(f, r.status, kC1);
}

void f80_const(Frame& f, const Step& s) noexcept {
  const Reg nothing;
  const Run r = kConstants[s.imm](control(f), nothing, nothing);
  take(f, r.status, kC1);
  f.define(s, r.value);
}

#define F80_ARITHMETIC(op) \
  void f80_##op(Frame& f, const Step& s) noexcept { arithmetic(f, s, run_##op); }
#define F80_ARITHMETIC_LOAD(op) \
  void f80_##op##_load(Frame& f, const Step& s) noexcept { arithmetic_load(f, s, k_##op); }
F80_ARITHMETIC(add)
F80_ARITHMETIC(sub)
F80_ARITHMETIC(mul)
F80_ARITHMETIC(div)
F80_ARITHMETIC(neg)
F80_ARITHMETIC(abs)
F80_ARITHMETIC(sqrt)
F80_ARITHMETIC(round)
F80_ARITHMETIC_LOAD(add)
F80_ARITHMETIC_LOAD(sub)
F80_ARITHMETIC_LOAD(subr)
F80_ARITHMETIC_LOAD(mul)
F80_ARITHMETIC_LOAD(div)
F80_ARITHMETIC_LOAD(divr)
#undef F80_ARITHMETIC
#undef F80_ARITHMETIC_LOAD

void f80_com(Frame& f, const Step& s) noexcept { compare(f, f.reg(s, 0), f.reg(s, 1), run_com); }
void f80_ucom(Frame& f, const Step& s) noexcept { compare(f, f.reg(s, 0), f.reg(s, 1), run_ucom); }
void f80_tst(Frame& f, const Step& s) noexcept { compare(f, f.reg(s, 0), f.reg(s, 0), run_tst); }
void f80_xam(Frame& f, const Step& s) noexcept { compare(f, f.reg(s, 0), f.reg(s, 0), run_xam); }
void f80_com_load(Frame& f, const Step& s) noexcept {
  Reg b;
  if (read(f, s, 1, b)) compare(f, f.reg(s, 0), b, k_com[s.aux]);
}
void f80_comi(Frame& f, const Step& s) noexcept { compare_eflags(f, s, run_com); }
void f80_ucomi(Frame& f, const Step& s) noexcept { compare_eflags(f, s, run_ucom); }

void f80_clear_c1(Frame& f, const Step&) noexcept { take(f, 0, kC1); }

void f80_status(Frame& f, const Step& s) noexcept {
  uint16_t v;
  std::memcpy(&v, f.state + f.program->f80_status, sizeof v);
  f.define(s, v);
}
void f80_control(Frame& f, const Step& s) noexcept { f.define(s, control(f)); }
void f80_set_control(Frame& f, const Step& s) noexcept {
  const auto v = static_cast<uint16_t>(f.arg(s, 0));
  std::memcpy(f.state + f.program->f80_control, &v, sizeof v);
}

}  // namespace panda::interp::ops
