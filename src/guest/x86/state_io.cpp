// The format of save_state: "PX86", version, then the fields in the order of visit(), little-endian,
// without padding. A reader takes exactly that many bytes and checks what the engine relies on.
#include "guest/x86/state_io.h"

#include <bit>
#include <cstring>

#include "guest/x86/cpu_models.h"
#include "guest/x86/debug.h"
#include "guest/x86/fpu_state.h"
#include "guest/x86/system.h"

namespace panda::x86 {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr uint32_t kMagic = 0x3638'5850;  // "PX86"
constexpr uint32_t kVersion = 3;

class Writer {
 public:
  template <typename T>
  void operator()(const T& v) {
    const size_t at = bytes_.size();
    bytes_.resize(at + sizeof v);
    std::memcpy(bytes_.data() + at, &v, sizeof v);
  }
  [[nodiscard]] std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}
  template <typename T>
  void operator()(T& v) {
    if (bytes_.size() < sizeof v) {
      ok_ = false;
      return;
    }
    std::memcpy(&v, bytes_.data(), sizeof v);
    bytes_.remove_prefix(sizeof v);
  }
  [[nodiscard]] bool complete() const { return ok_ && bytes_.empty(); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

template <typename Ar, typename Seg>
void visit_segment(Ar& ar, Seg& c) {
  ar(c.selector);
  ar(c.flags);
  ar(c.base);
  ar(c.limit);
}

// Every architectural field. `s` has its flags in cc_src (kCcFlags) and its MXCSR complete.
template <typename Ar, typename S>
void visit(Ar& ar, S& s) {
  ar(s.is_64bit_target);
  ar(s.cpu_model);
  for (auto& w : s.cpuid_features_) ar(w);
  for (auto& r : s.regs64) ar(r);
  ar(s.eip);
  ar(s.cc_src);
  ar(s.df);
  ar(s.eflags);
  for (auto& c : s.segs) visit_segment(ar, c);
  visit_segment(ar, s.ldt);
  visit_segment(ar, s.tr);
  visit_segment(ar, s.gdt);
  visit_segment(ar, s.idt);
  for (auto& r : s.cr64) ar(r);
  for (auto& r : s.dr64) ar(r);
  ar(s.a20_mask);
  ar(s.fpstt);
  ar(s.fpus);
  ar(s.fpuc);
  for (auto& t : s.fptags) ar(t);
  for (auto& r : s.fpregs) {
    ar(r.d.low);
    ar(r.d.high);
  }
  ar(s.fpop);
  ar(s.fpcs);
  ar(s.fpds);
  ar(s.fpip);
  ar(s.fpdp);
  ar(s.mxcsr);
  ar(s.xcr0);
  for (auto& r : s.xmm_regs) {
    for (unsigned i = 0; i < 4; i++) ar(r._q_ZMMReg[i]);  // as far as a YMM register goes
  }
  ar(s.sysenter_cs);
  ar(s.sysenter_esp);
  ar(s.sysenter_eip);
  ar(s.efer);
  ar(s.star);
  ar(s.lstar);
  ar(s.cstar);
  ar(s.fmask);
  ar(s.kernelgsbase);
  ar(s.tsc_offset);
  ar(s.tsc_aux);
  ar(s.pat);
  ar(s.mtrr_def_type);
  for (auto& v : s.mtrr_fixed) ar(v);
  for (auto& v : s.mtrr_base) ar(v);
  for (auto& v : s.mtrr_mask) ar(v);
  ar(s.misc_enable);
  ar(s.random_);
  ar(s.pdptes_);
  ar(s.exception_index);
  ar(s.error_code);
  ar(s.exception_flags_);
  ar(s.exception_next_eip);
  ar(s.cr2_pending_);
  ar(s.halted);
  ar(s.inhibit_irq);
  ar(s.nmi_blocked);
  ar(s.debug_pending_);
}

// What translated code and helpers index or branch on without looking again.
bool plausible(const State& s, const State& current) {
  if (s.is_64bit_target != current.is_64bit_target) return false;
  if (s.cpu_model >= cpu_model_count()) return false;
  if (s.df != 1 && s.df != -1) return false;
  if (s.fpstt > 7 || (s.mxcsr & ~kMxcsrMask) != 0) return false;
  for (const uint8_t t : s.fptags) {
    if (t > 1) return false;
  }
  if (s.exception_index < -1 || s.exception_index > 255) return false;
  if (s.debug_pending_ > 15) return false;
  if ((s.cc_src & ~uint64_t{kArithmeticFlags}) != 0) return false;
  if ((s.eflags & kVM) != 0 && (s.efer & kEferLma) != 0) return false;
  const uint64_t cr0 = s.is_64bit_target != 0 ? s.cr64[0] : s.cr32[0];
  const uint64_t cr4 = s.is_64bit_target != 0 ? s.cr64[4] : s.cr32[4];
  if ((cr0 & kCr0Pg) != 0 && (cr0 & kCr0Pe) == 0) return false;
  if (s.is_64bit_target == 0 && (s.efer & (kEferLme | kEferLma)) != 0) return false;
  const bool lma = (cr0 & kCr0Pg) != 0 && (s.efer & kEferLme) != 0;
  if (lma != ((s.efer & kEferLma) != 0) || (lma && (cr4 & kCr4Pae) == 0)) return false;
  if (s.is_64bit_target == 0 && s.eip >> 32 != 0) return false;
  return true;
}

}  // namespace

std::string save_state(const State& s) {
  State n = s;
  const Cpu cpu(const_cast<State&>(s));  // Cpu has one type; nothing is written
  n.cc_src = cpu.eflags() & kArithmeticFlags;
  n.mxcsr = architectural_mxcsr(cpu);
  if (s.exception_index < 0) {  // leftovers of faults that were delivered
    n.error_code = 0;
    n.exception_flags_ = 0;
    n.exception_next_eip = 0;
    n.cr2_pending_ = 0;
  }
  Writer w;
  w(kMagic);
  w(kVersion);
  visit(w, n);
  return w.take();
}

bool load_state(State& s, std::string_view bytes) {
  State n = s;
  Reader r(bytes);
  uint32_t magic = 0, version = 0;
  r(magic);
  r(version);
  if (magic != kMagic || version != kVersion) return false;
  visit(r, n);
  if (!r.complete() || !plausible(n, s)) return false;
  n.cc_op = kCcFlags;
  n.cc_dst = n.cc_src2 = 0;
  n.old_exception = -1;
  s = n;
  Cpu cpu(s);
  set_mxcsr(cpu, n.mxcsr);
  cpu.context().watch_hits = 0;
  update_breakpoints(cpu);
  update_hflags(cpu);
  flush_translations(cpu);
  return true;
}

}  // namespace panda::x86
