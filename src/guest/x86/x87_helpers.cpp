#include "guest/x86/x87_helpers.h"

#include "guest/x86/system.h"
#include "guest/x86/x87_arith.h"
#include "memory/guest_memory.h"

namespace panda::x86 {

bool fpu_pending(void* state) noexcept {
  Cpu cpu(state);
  if ((cpu.s().fpus & kFpES) == 0 || (cpu.s().hflags & kModeNe) == 0) return false;
  raise(cpu, kMF);
  return true;
}

namespace {
void check_pending(void* state) noexcept { (void)fpu_pending(state); }
}  // namespace

const ir::HelperDesc kFpuCheckPending{.name = "fpu_check_pending",
                                      .function = reinterpret_cast<const void*>(&check_pending),
                                      .result = ir::Type::Void,
                                      .params = {}};

namespace x87 {
namespace {

PANDA_X87_RUN(run_ftst, "ftst")

// Loads with a conversion. FNINIT at the end empties the host's stack and brings its control word back,
// whatever the instruction did or did not do.
HostRun run_load_f32(uint16_t control, uint32_t bits) {
  HostRun r;
  const uint16_t host = kHostControl;
  __asm__ volatile(
      "fnclex\n fldz\n fldcw %[control]\n flds %[b]\n fnstsw %[status]\n fnclex\n fldcw %[host]\n fstpt %[value]\n "
      "fninit\n"
      : [value] "=m"(r.value), [status] "=m"(r.status)
      : [b] "m"(bits), [control] "m"(control), [host] "m"(host)
      : "st", "st(1)", "memory");
  return r;
}

HostRun run_load_f64(uint16_t control, uint64_t bits) {
  HostRun r;
  const uint16_t host = kHostControl;
  __asm__ volatile(
      "fnclex\n fldz\n fldcw %[control]\n fldl %[b]\n fnstsw %[status]\n fnclex\n fldcw %[host]\n fstpt %[value]\n "
      "fninit\n"
      : [value] "=m"(r.value), [status] "=m"(r.status)
      : [b] "m"(bits), [control] "m"(control), [host] "m"(host)
      : "st", "st(1)", "memory");
  return r;
}

// An unmasked denormal operand is reported, but loaded all the same.
void push_run(const Fpu& f, const HostRun& r) {
  (void)f.commit(r.status);
  if ((r.status & ~f.s.fpuc & kFpIE) != 0) return f.clear_c1();
  f.clear_c1();
  f.push(r.value);
}

// What a store instruction does on the host: the bytes for memory and the status word.
struct StoreRun {
  uint64_t low = 0;
  uint16_t high = 0;
  uint16_t status = 0;
};

#define PANDA_X87_STORE(name, type, insn)                                                                    \
  StoreRun name(uint16_t control, long double a) {                                                           \
    StoreRun r;                                                                                              \
    type out{};                                                                                              \
    __asm__ volatile("fnclex\n fldt %[a]\n fldcw %[control]\n " insn " %[out]\n fnstsw %[status]\n fninit\n" \
                     : [out] "+m"(out), [status] "=m"(r.status)                                              \
                     : [a] "m"(a), [control] "m"(control)                                                    \
                     : "st", "st(1)", "memory");                                                             \
    std::memcpy(static_cast<void*>(&r), &out, sizeof out);                                                   \
    return r;                                                                                                \
  }
struct Bcd {
  uint64_t low;
  uint16_t high;
} __attribute__((packed));
PANDA_X87_STORE(run_fst_m32, uint32_t, "fsts")
PANDA_X87_STORE(run_fst_m64, uint64_t, "fstl")
PANDA_X87_STORE(run_fist_m16, uint16_t, "fists")
PANDA_X87_STORE(run_fist_m32, uint32_t, "fistl")
PANDA_X87_STORE(run_fist_m64, uint64_t, "fistpll")
PANDA_X87_STORE(run_fisttp_m16, uint16_t, "fisttps")
PANDA_X87_STORE(run_fisttp_m32, uint32_t, "fisttpl")
PANDA_X87_STORE(run_fisttp_m64, uint64_t, "fisttpll")
PANDA_X87_STORE(run_fbstp, Bcd, "fbstp")
#undef PANDA_X87_STORE

StoreRun run_store(uint16_t control, long double a, uint32_t kind) {
  switch (kind & ~kStorePop) {
    case kInt16:
      return run_fist_m16(control, a);
    case kInt32:
      return run_fist_m32(control, a);
    case kInt64:
      return run_fist_m64(control, a);
    case kInt16 | kTrunc:
      return run_fisttp_m16(control, a);
    case kInt32 | kTrunc:
      return run_fisttp_m32(control, a);
    case kInt64 | kTrunc:
      return run_fisttp_m64(control, a);
    case kStoreF32:
      return run_fst_m32(control, a);
    case kStoreF64:
      return run_fst_m64(control, a);
    case kStoreBcd:
      return run_fbstp(control, a);
    default:
      break;
  }
  StoreRun r;  // FSTP m80 raises nothing
  std::memcpy(&r.low, &a, 8);
  std::memcpy(&r.high, reinterpret_cast<const char*>(&a) + 8, 2);
  return r;
}

// What a masked invalid operation stores.
StoreRun indefinite_store(uint32_t kind) {
  switch (kind & ~kStorePop) {
    case kInt16:
    case kInt16 | kTrunc:
      return {.low = 0x8000};
    case kInt32:
    case kInt32 | kTrunc:
      return {.low = 0x80000000};
    case kInt64:
    case kInt64 | kTrunc:
      return {.low = 0x8000000000000000};
    case kStoreF32:
      return {.low = 0xffc00000};
    case kStoreF64:
      return {.low = 0xfff8000000000000};
    default:
      return {.low = 0xc000000000000000, .high = 0xffff};  // F80 and BCD alike
  }
}

// Moves what happens to the status word while it lives into fpus_next_.
class LaterStatus {
 public:
  explicit LaterStatus(const Fpu& f) : s_(f.s), before_(f.s.fpus) {}
  ~LaterStatus() {
    s_.fpus_next_ = s_.fpus;
    s_.fpus = before_;
  }
  LaterStatus(const LaterStatus&) = delete;
  LaterStatus& operator=(const LaterStatus&) = delete;

 private:
  State& s_;
  uint16_t before_;
};

// All masked: the value to store, flags set.
[[gnu::noinline]] StoreRun store_slow(const Fpu& f, uint32_t kind) {
  if (f.empty(0)) {
    (void)f.stack_fault(false);
    return indefinite_store(kind);
  }
  const StoreRun r = run_store(f.s.fpuc, f.st(0), kind);
  (void)f.commit(r.status);
  return r;
}

struct Bits80 {
  uint64_t low;
  uint16_t high;
  explicit Bits80(const FPReg& r) : low(r.d.low), high(r.d.high) {}
  [[nodiscard]] unsigned exponent() const { return high & 0x7fffu; }
  [[nodiscard]] bool sign() const { return high >> 15 != 0; }
};

}  // namespace

void fld_f32(void* state, uint32_t bits) noexcept {
  const Fpu f(state);
  if (!f.empty(7)) [[unlikely]]
    return f.push_checked(0);
  if (f.plain()) [[likely]] {
    const long double v = load_source<Source::F32>(bits);
    if (f.accept(host_status(v))) [[likely]] {
      f.clear_c1();
      return f.push(v);
    }
  }
  push_run(f, run_load_f32(f.s.fpuc, bits));
}

void fld_f64(void* state, uint64_t bits) noexcept {
  const Fpu f(state);
  if (!f.empty(7)) [[unlikely]]
    return f.push_checked(0);
  if (f.plain()) [[likely]] {
    const long double v = load_source<Source::F64>(bits);
    if (f.accept(host_status(v))) [[likely]] {
      f.clear_c1();
      return f.push(v);
    }
  }
  push_run(f, run_load_f64(f.s.fpuc, bits));
}

void fld_f80(void* state, uint64_t low, uint32_t high) noexcept {
  Fpu(state).push_checked(make_f80(low, static_cast<uint16_t>(high)));
}

void fld_st(void* state, uint32_t i) noexcept {
  const Fpu f(state);
  if (f.empty(i)) [[unlikely]] {
    if (f.stack_fault(false)) f.push(indefinite());
    return;
  }
  f.push_checked(f.st(i));
}

void fild(void* state, uint64_t value) noexcept {
  long double v;
  __asm__("fildll %1" : "=t"(v) : "m"(value));
  Fpu(state).push_checked(v);
}

void fbld(void* state, uint64_t low, uint32_t high) noexcept {
  const Bcd bits{low, static_cast<uint16_t>(high)};
  long double v;
  __asm__("fbld %1" : "=t"(v) : "m"(bits));
  Fpu(state).push_checked(v);
}

void fld_constant(void* state, uint32_t which) noexcept {
  // Significands of 67 bits or more, so that each rounding mode gives what the processor gives:
  // it rounds the constants by RC (SDM vol. 1, 8.3.8). Nearest value, and whether that lies above.
  struct Entry {
    uint64_t low;
    uint16_t high;
    bool above;  // the nearest value is above the true one
  };
  static constexpr Entry kConstants[] = {
      {0x8000000000000000, 0x3fff, false},
      {0xd49a784bcd1b8afe, 0x4000, false},
      {0xb8aa3b295c17f0bc, 0x3fff, true},
      {0xc90fdaa22168c235, 0x4000, true},
      {0x9a209a84fbcff799, 0x3ffd, true},
      {0xb17217f7d1cf79ac, 0x3ffe, true},
      {0, 0, false},
  };
  const Fpu f(state);
  const Entry& e = kConstants[which];
  uint64_t low = e.low;
  const unsigned rounding = f.s.fpuc >> 10 & 3;
  if (which != kOne && which != kZero) {
    if (e.above && (rounding == 1 || rounding == 3)) --low;
    if (!e.above && rounding == 2) ++low;
  }
  f.push_checked(make_f80(low, e.high));
}

uint32_t st0_f32(void* state) noexcept {
  const Fpu f(state);
  const LaterStatus later(f);
  if (f.plain() && !f.empty(0)) [[likely]] {
    uint32_t bits;
    uint16_t sw;
    __asm__ volatile("fsts %1\n fnstsw %0" : "=a"(sw), "=m"(bits) : "t"(f.st(0)));
    if (f.accept(sw)) [[likely]]
      return bits;
  }
  return static_cast<uint32_t>(store_slow(f, kStoreF32).low);
}

uint64_t st0_f64(void* state) noexcept {
  const Fpu f(state);
  const LaterStatus later(f);
  if (f.plain() && !f.empty(0)) [[likely]] {
    uint64_t bits;
    uint16_t sw;
    __asm__ volatile("fstl %1\n fnstsw %0" : "=a"(sw), "=m"(bits) : "t"(f.st(0)));
    if (f.accept(sw)) [[likely]]
      return bits;
  }
  return store_slow(f, kStoreF64).low;
}

uint64_t st0_int(void* state, uint32_t kind) noexcept {
  const Fpu f(state);
  const LaterStatus later(f);
  if (f.plain() && !f.empty(0) && kind == (kInt32 | kTrunc)) {
    uint32_t out;
    uint16_t sw;
    __asm__ volatile("fisttpl %1\n fnstsw %0" : "=a"(sw), "=m"(out) : "t"(f.st(0)) : "st");
    if (f.accept(sw)) return out;
  } else if (!f.empty(0) && (f.s.fpuc & kFpExceptions) == kFpExceptions && kind <= kInt64) {
    // The usual way of C compilers: under a control word that truncates. Only RC matters here.
    uint64_t out = 0;
    uint16_t sw;
    const uint16_t host = kHostControl;
    if (kind == kInt64) {
      __asm__ volatile("fldcw %3\n fistpll %1\n fnstsw %0\n fldcw %4"
                       : "=a"(sw), "=m"(out)
                       : "t"(f.st(0)), "m"(f.s.fpuc), "m"(host)
                       : "st");
    } else if (kind == kInt32) {
      __asm__ volatile("fldcw %3\n fistpl %1\n fnstsw %0\n fldcw %4"
                       : "=a"(sw), "+m"(*reinterpret_cast<uint32_t*>(&out))
                       : "t"(f.st(0)), "m"(f.s.fpuc), "m"(host)
                       : "st");
    } else {
      __asm__ volatile("fldcw %3\n fistps %1\n fnstsw %0\n fldcw %4"
                       : "=a"(sw), "+m"(*reinterpret_cast<uint16_t*>(&out))
                       : "t"(f.st(0)), "m"(f.s.fpuc), "m"(host)
                       : "st");
    }
    if (f.accept(sw)) return out;
  }
  return store_slow(f, kind).low;
}

void stored(void* state, uint32_t pop) noexcept {
  const Fpu f(state);
  f.s.fpus = f.s.fpus_next_;
  if (pop != 0) f.pop();
}

static bool write_wide(Cpu cpu, uint64_t address, const StoreRun& r) noexcept {
  uint8_t image[10];
  std::memcpy(image, &r.low, 8);
  std::memcpy(image + 8, &r.high, 2);
  return store_guest(cpu.context(), address, sizeof image, ir::MemInfo{.mode = cpu.mode()}, image);
}

void store_checked(void* state, uint64_t address, uint32_t kind) noexcept {
  if (fpu_pending(state)) return;
  const Fpu f(state);
  Cpu cpu(state);
  const uint32_t what = kind & ~kStorePop;
  const bool wide = what == kStoreF80 || what == kStoreBcd;
  const bool word = what == kInt16 || what == (kInt16 | kTrunc);
  const bool dword = what == kInt32 || what == (kInt32 | kTrunc) || what == kStoreF32;
  // Faults of the memory come first, and before any of several stores.
  VcpuContext& c = cpu.context();
  const unsigned bytes = wide ? 10 : word ? 2 : dword ? 4 : 8;
  if ((f.s.hflags & kModeAc) != 0 && address % (wide ? 8 : bytes) != 0) {
    return c.memory->mmu()->misaligned(c, address, Access::Write);
  }
  const uint64_t last = address + bytes - 1;
  if (c.memory->lookup(c, address, Access::Write, cpu.mode()) == nullptr) return;
  if ((last & kPageMask) != (address & kPageMask) &&
      c.memory->lookup(c, last & kPageMask, Access::Write, cpu.mode()) == nullptr) {
    return;
  }
  StoreRun r;
  if (f.empty(0)) {
    if ((f.s.fpuc & kFpIE) == 0) return (void)f.stack_fault(false);
    r = indefinite_store(kind);
    r.status = kFpIE | kFpSF;
  } else {
    r = run_store(f.s.fpuc, f.st(0), kind);
    // Memory is not written where an unmasked exception other than precision occurs.
    if ((r.status & ~f.s.fpuc & (kFpExceptions & ~kFpPE)) != 0) return (void)f.commit(r.status);
  }
  bool ok;
  if (word)
    ok = write_linear(cpu, address, cpu.mode(), static_cast<uint16_t>(r.low));
  else if (dword)
    ok = write_linear(cpu, address, cpu.mode(), static_cast<uint32_t>(r.low));
  else if (!wide)
    ok = write_linear(cpu, address, cpu.mode(), r.low);
  else
    ok = write_wide(cpu, address, r);
  if (!ok) return;
  (void)f.commit(r.status);
  if (r.status & kFpSF) f.raise_flags(kFpSF);
  if (kind & kStorePop) f.pop();
}

void fst_st(void* state, uint32_t i) noexcept {
  const Fpu f(state);
  if (f.empty(0)) [[unlikely]] {
    if (f.stack_fault(false)) f.set(i, indefinite());
    return;
  }
  f.clear_c1();
  f.set(i, f.st(0));
}

void fstp_st(void* state, uint32_t i) noexcept {
  const Fpu f(state);
  if (f.empty(0)) [[unlikely]] {
    if (!f.stack_fault(false)) return;
    f.set(i, indefinite());
  } else {
    f.clear_c1();
    f.set(i, f.st(0));
  }
  f.pop();
}

// FSTP ST(i) that knows no stack underflow: it stores nothing then.
void fstpnce(void* state, uint32_t i) noexcept {
  const Fpu f(state);
  f.clear_c1();
  if (!f.empty(0)) f.set(i, f.st(0));
  f.pop();
}

void fxch(void* state, uint32_t i) noexcept {
  const Fpu f(state);
  if (f.empty(0) || f.empty(i)) [[unlikely]] {
    if (!f.stack_fault(false)) return;
    if (f.empty(0)) f.set(0, indefinite());
    if (f.empty(i)) f.set(i, indefinite());
  } else {
    f.clear_c1();
  }
  const long double a = f.st(0), b = f.st(i);
  f.put(0, b);
  f.put(i, a);
}

void fcmov(void* state, uint32_t i, uint32_t condition) noexcept {
  const Fpu f(state);
  if (f.empty(0) || f.empty(i)) [[unlikely]] {
    if (f.stack_fault(false)) f.set(0, indefinite());
    return;
  }
  if (condition & 1) f.put(0, f.st(i));
}

void ffree(void* state, uint32_t i) noexcept {
  const Fpu f(state);
  f.clear_c1();
  f.s.fptags[f.phys(i)] = 1;
}

void ffreep(void* state, uint32_t i) noexcept {
  ffree(state, i);
  Fpu(state).pop();
}

void fincstp(void* state) noexcept {
  const Fpu f(state);
  f.clear_c1();
  f.s.fpstt = (f.s.fpstt + 1) & 7;
}

void fdecstp(void* state) noexcept {
  const Fpu f(state);
  f.clear_c1();
  f.s.fpstt = (f.s.fpstt - 1) & 7;
}

void fchs(void* state) noexcept {
  const Fpu f(state);
  if (f.empty(0)) [[unlikely]] {
    if (f.stack_fault(false)) f.set(0, indefinite());
    return;
  }
  f.clear_c1();
  f.put(0, -f.st(0));
}

void fabs_(void* state) noexcept {
  const Fpu f(state);
  if (f.empty(0)) [[unlikely]] {
    if (f.stack_fault(false)) f.set(0, indefinite());
    return;
  }
  f.clear_c1();
  f.put(0, __builtin_fabsl(f.st(0)));
}

void fxam(void* state) noexcept {
  const Fpu f(state);
  const Bits80 v(f.reg(0));
  unsigned c = v.sign() ? kFpC1 : 0;
  if (f.empty(0))
    c |= kFpC3 | kFpC0;
  else if (v.exponent() == 0)
    c |= v.low == 0 ? kFpC3 : kFpC3 | kFpC2;  // zero, denormal
  else if (v.low >> 63 == 0)
    c |= 0u;  // unsupported
  else if (v.exponent() == 0x7fff)
    c |= v.low << 1 == 0 ? kFpC2 | kFpC0 : kFpC0;  // infinity, NaN
  else
    c |= kFpC2;  // normal
  f.set_conditions(static_cast<uint16_t>(c));
}

void ftst(void* state) noexcept {
  const Fpu f(state);
  uint16_t conditions = kUnordered;
  if (f.empty(0))
    (void)f.stack_fault(false);
  else
    (void)finish_compare(f, run_ftst(f.s.fpuc, f.st(0), 0), conditions);
  f.set_conditions(conditions);
}

}  // namespace x87
}  // namespace panda::x86
