#include "backend/x64/x64_backend.h"

#include <unistd.h>
#include <xbyak/xbyak_util.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "backend/x64/alloc_checker.h"
#include "backend/x64/code_area.h"
#include "backend/x64/code_ring.h"
#include "backend/x64/frame.h"
#include "backend/x64/lower.h"
#include "base/check.h"
#include "base/types.h"
#include "exec/translation_unit.h"
#include "ir/printer.h"

namespace panda::x64 {
namespace {

// What the common exit leaves in rax and rdx.
struct RawExit {
  uint64_t code;
  uint64_t unit;
};
using Enter = RawExit (*)(void* state, const void* code);

constexpr int kSaved[] = {3, 5, 12, 13, 14, 15};  // rbx rbp r12-r15
constexpr int kFrame = kFrameBytes + 8;           // keeps rsp 16-byte aligned after six pushes

// From this size on there is room for many LastAddends.
constexpr size_t kLargeArea = size_t{1} << 20;
// More than the largest op with its share of the cold part can take.
constexpr size_t kMaxBytesPerOp = 1024;

class X64Backend final : public exec::Backend {
 public:
  X64Backend(CodeArea area, const Features& features)
      : area_(std::move(area)), asm_(area_.size(), area_.begin(), features), lowering_(asm_, thunks_) {
    emit_thunks();
    ring_.emplace(area_.begin(), asm_.getSize(), area_.size());
    if (std::getenv("PANDA_PERF_MAP") != nullptr) {
      perf_map_.reset(std::fopen(("/tmp/perf-" + std::to_string(getpid()) + ".map").c_str(), "we"));
      if (perf_map_ != nullptr) std::setvbuf(perf_map_.get(), nullptr, _IOLBF, 0);  // readable while we run
    }
  }

  [[nodiscard]] std::string_view name() const override { return "x64"; }
  void set_verify(bool on) override {
    checker_ = on ? std::make_unique<AllocChecker>() : nullptr;
    lowering_.set_listener(checker_.get());
  }
  bool compile(const ir::Unit& ir, exec::TranslationUnit& unit) override;
  exec::ExitInfo run(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  void link(exec::TranslationUnit& from, uint32_t index, exec::TranslationUnit& to, bool counted) override;
  void unlink(exec::TranslationUnit& from, uint32_t index) override;
  void release(exec::TranslationUnit& unit) override;
  void reset() override { ring_->clear(); }
  [[nodiscard]] exec::TranslationUnit* in_the_way() const override { return ring_->in_the_way(); }
  [[nodiscard]] exec::CodeSpace code_space() const override { return {ring_->used_bytes(), ring_->capacity_bytes()}; }

 private:
  void emit_thunks();
  void emit_slow_thunk(bool with_xmm, bool with_x87 = false);
  void emit_lookup_thunk(unsigned mode, bool write, unsigned size_bytes, int reg);
  [[nodiscard]] static ExitJump exit_jump(const exec::TranslationUnit& unit, uint32_t index);

  CodeArea area_;
  Assembler asm_;
  Thunks thunks_;
  Lowering lowering_;
  std::unique_ptr<AllocChecker> checker_;  // null: nobody asked for it
  Enter enter_ = nullptr;
  std::optional<CodeRing> ring_;  // behind the thunks

  // With PANDA_PERF_MAP set: /tmp/perf-PID.map, where perf(1) finds names for our code.
  struct Close {
    void operator()(std::FILE* f) const { std::fclose(f); }
  };
  std::unique_ptr<std::FILE, Close> perf_map_;
};

void X64Backend::emit_thunks() {
  Assembler& c = asm_;
  // Data that translated code writes: not in a page of code.
  thunks_.addend_count = area_.size() < kLargeArea ? 64 : 1024;
  c.setSize((thunks_.addend_count * sizeof(LastAddend) + kPageSize - 1) & kPageMask);
  const bool avx = c.features.avx;
  const Xbyak::Address guest = c.dword[c.rbp + PANDA_CONTEXT(guest_mxcsr)];
  const Xbyak::Address host = c.dword[c.rbp + PANDA_CONTEXT(host_mxcsr)];
  const Xbyak::Address budget = c.qword[c.rbp + PANDA_CONTEXT(budget)];

  enter_ = reinterpret_cast<Enter>(reinterpret_cast<uintptr_t>(c.at(c.here())));
  for (const int r : kSaved) c.push(reg64(r));
  c.sub(c.rsp, kFrame);
  c.mov(c.rbp, c.rdi);
  c.mov(reg64(kBudget), budget);
  avx ? c.vldmxcsr(guest) : c.ldmxcsr(guest);
  c.jmp(c.rsi);

  c.align(16);
  thunks_.exit = c.here();
  c.mov(budget, reg64(kBudget));
  avx ? c.vstmxcsr(guest) : c.stmxcsr(guest);
  avx ? c.vldmxcsr(host) : c.ldmxcsr(host);
  c.add(c.rsp, kFrame);
  for (size_t i = std::size(kSaved); i-- > 0;) c.pop(reg64(kSaved[i]));
  c.ret();

  c.align(16);
  thunks_.dispatch = c.here();
  const Xbyak::Address next_code = c.qword[c.rbp + PANDA_CONTEXT(next_code)];
  c.mov(budget, reg64(kBudget));
  c.cmp(next_code, 0);
  const Assembler::Offset nobody = c.jcc_short(Cc::E);
  c.mov(c.rdi, c.rbp);
  c.call(next_code);
  c.mov(reg64(kBudget), budget);
  c.test(c.rax, c.rax);
  const Assembler::Offset leave = c.jcc_short(Cc::E);
  c.jmp(c.rax);
  c.patch_short(nobody, c.here());
  c.patch_short(leave, c.here());
  c.mov(c.eax, pack_exit(exec::Exit::Dispatch, 0));
  c.xor_(c.edx, c.edx);
  c.patch(c.jmp_forward(), thunks_.exit);

  c.align(16);
  thunks_.slow = c.here();
  emit_slow_thunk(false);
  c.align(16);
  thunks_.slow_xmm = c.here();
  emit_slow_thunk(true);
  c.align(16);
  thunks_.slow_x87 = c.here();
  emit_slow_thunk(true, true);
  for (unsigned mode = 0; mode < kMmuModes; mode++) {
    for (const bool write : {false, true}) {
      for (unsigned size = 0; size < Thunks::kSizes; size++) {
        for (uint32_t m = kLookupGprs; m != 0; m &= m - 1) {
          const int r = std::countr_zero(m);
          c.align(16);
          thunks_.lookup[mode][write][size][r] = c.here();
          emit_lookup_thunk(mode, write, 1u << size, r);
        }
      }
    }
  }
  c.align(16);
}

// The guest address in `reg` goes to SaveArea::address. Where the TLB has it: returns "equal", the host's address in
// `reg`. Else "not equal", and `reg` is what SaveArea::borrowed says.
void X64Backend::emit_lookup_thunk(unsigned mode, bool write, unsigned size_bytes, int reg) {
  Assembler& c = asm_;
  const auto frame = [&](size_t field) { return c.qword[c.rsp + (kSaveArea + 8 + static_cast<int>(field))]; };
  const auto entry = [&](size_t field) { return c.qword[c.rbp + reg64(kLookupEntry) + tlb_field(mode, field)]; };
  c.mov(frame(offsetof(SaveArea, address)), reg64(reg));
  c.mov(frame(offsetof(SaveArea, entry)), reg64(kLookupEntry));
  tlb_index(c, kLookupEntry, reg);
  if (size_bytes > 1) c.lea(reg64(reg), c.ptr[reg64(reg) + static_cast<int>(size_bytes - 1)]);
  c.and_(reg64(reg), 0xfffff000);
  c.cmp(reg64(reg), entry(write ? offsetof(TlbEntry, write_tag) : offsetof(TlbEntry, read_tag)));
  const Assembler::Offset miss = c.jcc_short(Cc::Ne);
  c.mov(reg64(reg), frame(offsetof(SaveArea, address)));
  c.mov(reg64(kLookupEntry), entry(offsetof(TlbEntry, addend)));
  c.lea(reg64(reg), c.ptr[reg64(reg) + reg64(kLookupEntry)]);  // the flags stay
  c.mov(reg64(kLookupEntry), frame(offsetof(SaveArea, entry)));
  c.ret();
  c.patch_short(miss, c.here());
  c.mov(reg64(reg), frame(offsetof(SaveArea, borrowed)));
  c.mov(reg64(kLookupEntry), frame(offsetof(SaveArea, entry)));
  c.ret();
}

// Entered by a stub's call: everything is eight bytes further away from rsp.
void X64Backend::emit_slow_thunk(bool with_xmm, bool with_x87) {
  Assembler& c = asm_;
  const int save = kSaveArea + 8;
  const auto gpr_at = [&](int r) { return c.qword[c.rsp + (save + r * 8)]; };
  const auto xmm_at = [&](int x) { return c.ptr[c.rsp + (save + static_cast<int>(offsetof(SaveArea, xmm)) + x * 16)]; };
  for (int r = 0; r < 16; r++) {
    if ((kAllocatableGprs >> r & 1) != 0) c.mov(gpr_at(r), reg64(r));
  }
  for (int x = 0; with_xmm && x < 16; x++) c.features.avx ? c.vmovaps(xmm_at(x), xmm(x)) : c.movaps(xmm_at(x), xmm(x));
  const Xbyak::Address x87 = c.ptr[c.rsp + (save + static_cast<int>(offsetof(SaveArea, x87)))];
  if (with_x87) c.fnsave(x87);  // leaves it as C++ code wants it
  c.mov(c.qword[c.rbp + PANDA_CONTEXT(budget)], reg64(kBudget));
  c.mov(c.rdi, c.rbp);
  c.mov(c.rsi, c.qword[c.rsp]);
  c.lea(c.rdx, c.ptr[c.rsp + save]);
  c.sub(c.rsp, 8);
  c.mov(c.rax, reinterpret_cast<uint64_t>(with_x87 ? &panda_x64_slow_x87 : &panda_x64_slow_access));
  c.call(c.rax);
  c.add(c.rsp, 8);
  c.mov(reg64(kBudget), c.qword[c.rbp + PANDA_CONTEXT(budget)]);
  c.test(c.eax, c.eax);
  const Assembler::Offset leave = c.jcc_forward(Cc::Ne);
  if (with_x87) c.frstor(x87);
  for (int r = 0; r < 16; r++) {
    if ((kAllocatableGprs >> r & 1) != 0) c.mov(reg64(r), gpr_at(r));
  }
  for (int x = 0; with_xmm && x < 16; x++) c.features.avx ? c.vmovaps(xmm(x), xmm_at(x)) : c.movaps(xmm(x), xmm_at(x));
  c.ret();
  c.patch(leave, c.here());
  c.mov(c.rax, c.qword[c.rsp + (save + static_cast<int>(offsetof(SaveArea, exit_code)))]);
  c.mov(c.rdx, c.qword[c.rsp + (save + static_cast<int>(offsetof(SaveArea, exit_unit)))]);
  c.add(c.rsp, 8);
  c.patch(c.jmp_forward(), thunks_.exit);
}

bool X64Backend::compile(const ir::Unit& ir, exec::TranslationUnit& unit) {
  // Constants are part of what uses them.
  const auto emitting = static_cast<size_t>(std::ranges::count_if(
      ir.insts, [](const ir::Inst& in) { return in.op != ir::Op::konst && in.op != ir::Op::insn; }));
  if (!ring_->reserve(4096 + emitting * kMaxBytesPerOp)) return false;
  const size_t piece_at = ring_->position();
  asm_.setSize(piece_at + sizeof(PieceHeader));
  const Assembler::Offset entry = lowering_.run(ir, unit);
  if (checker_ != nullptr) {
    checker_->finish();
    if (!checker_->problem().empty()) {
      std::fprintf(stderr, "panda: register allocation of the unit at %#llx: %s\n%s",
                   static_cast<unsigned long long>(unit.key.pc), checker_->problem().c_str(), ir::print(ir).c_str());
      PANDA_CHECK(checker_->problem().empty());
    }
  }
  const std::vector<ExitJump>& exits = lowering_.exits();
  const size_t exits_at = asm_.getSize(), end = exits_at + exits.size() * sizeof(ExitJump);
  if (!exits.empty()) std::memcpy(area_.begin() + exits_at, exits.data(), end - exits_at);
  unit.backend_data = &ring_->add(unit, end, static_cast<uint32_t>(exits_at - piece_at));
  unit.code = asm_.at(entry);
  unit.code_size = exits_at - entry;
  if (perf_map_ != nullptr) {
    std::fprintf(perf_map_.get(), "%zx %zx %s_%llx_%u\n", reinterpret_cast<size_t>(unit.code),
                 static_cast<size_t>(unit.code_size), unit.variant == exec::kRegion ? "region" : "guest",
                 static_cast<unsigned long long>(unit.key.pc), unit.insn_count);
  }
  return true;
}

exec::ExitInfo X64Backend::run(VcpuContext& cpu, exec::TranslationUnit& unit) {
  // Flags that C++ code left in the host's x87 are none of the guest's (x87_stack.h).
  uint16_t status;
  __asm__ volatile("fnstsw %0" : "=a"(status));
  if ((status & X87Stack::kFlags) != 0) __asm__ volatile("fnclex");
  const RawExit raw = enter_(cpu.state(), unit.code);
  return {static_cast<exec::Exit>(raw.code >> 28), reinterpret_cast<exec::TranslationUnit*>(raw.unit),
          static_cast<uint32_t>(raw.code & 0x0fffffff)};
}

ExitJump X64Backend::exit_jump(const exec::TranslationUnit& unit, uint32_t index) {
  ExitJump jump;
  const auto* piece = static_cast<const PieceHeader*>(unit.backend_data);
  PANDA_CHECK(piece != nullptr && piece->exits + index * sizeof jump < piece->bytes);
  std::memcpy(&jump, reinterpret_cast<const uint8_t*>(piece) + piece->exits + index * sizeof jump, sizeof jump);
  return jump;
}

void X64Backend::release(exec::TranslationUnit& unit) {
  ring_->release(*static_cast<PieceHeader*>(unit.backend_data));
  unit.code = unit.backend_data = nullptr;
  unit.code_size = 0;
}

void X64Backend::link(exec::TranslationUnit& from, uint32_t index, exec::TranslationUnit& to, bool counted) {
  const ExitJump jump = exit_jump(from, index);
  if (jump.after == 0) return;  // the exit was found unreachable
  const auto entry = static_cast<Assembler::Offset>(static_cast<const uint8_t*>(to.code) - area_.begin());
  if (counted && jump.counted != 0) {
    asm_.patch(jump.counted_after, entry);
    asm_.patch(jump.after, jump.counted);
  } else if (jump.loop_head == 0) {
    asm_.patch(jump.after, entry);
  } else if (&from == &to) {  // else the loop's registers must be stored, which its stub does
    asm_.patch(jump.after, jump.loop_head);
  }
}

void X64Backend::unlink(exec::TranslationUnit& from, uint32_t index) {
  const ExitJump jump = exit_jump(from, index);
  if (jump.after != 0) asm_.patch(jump.after, jump.stub);
}

}  // namespace

Features host_features() {
  const Xbyak::util::Cpu cpu;
  Features f;
  f.avx = cpu.has(Xbyak::util::Cpu::tAVX);
  f.bmi2 = cpu.has(Xbyak::util::Cpu::tBMI2);
  f.lzcnt = cpu.has(Xbyak::util::Cpu::tLZCNT);
  f.tzcnt = cpu.has(Xbyak::util::Cpu::tBMI1);
  f.fma = cpu.has(Xbyak::util::Cpu::tFMA);
  f.f16c = cpu.has(Xbyak::util::Cpu::tF16C);
  return f;
}

Result<std::unique_ptr<exec::Backend>> create_backend(size_t code_bytes, const Features& features) {
  const Xbyak::util::Cpu cpu;
  if (!cpu.has(Xbyak::util::Cpu::tSSE42) || !cpu.has(Xbyak::util::Cpu::tPOPCNT)) {
    return fail("the x64 back end needs a host CPU with SSE4.2 and POPCNT; use --backend=interp");
  }
  PANDA_TRY(auto area, CodeArea::create(code_bytes));
  return std::make_unique<X64Backend>(std::move(area), features);
}

Result<std::unique_ptr<exec::Backend>> create_backend(size_t code_bytes) {
  return create_backend(code_bytes, host_features());
}

}  // namespace panda::x64
