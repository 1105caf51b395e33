#include "engine_executor.h"

#include <cstring>

#include "backend/interp/interp_backend.h"
#include "backend/x64/x64_backend.h"
#include "base/check.h"
#include "base/virtual_clock.h"
#include "exec/engine.h"
#include "guest/x86/cpu_models.h"
#include "guest/x86/fpu_state.h"
#include "guest/x86/frontend.h"
#include "guest/x86/state.h"
#include "guest/x86/system.h"
#include "no_outside.h"

namespace panda::x86test {
namespace {

using namespace panda::x86;

constexpr uint64_t kRamBytes = 2 << 20;
constexpr uint64_t kRoot = 0x1000, kTable2 = 0x2000, kTable3 = 0x3000, kPageTable = 0x4000;
constexpr uint64_t kCodePhys = 0x10'0000, kDataPhys = 0x11'0000, kReadOnlyPhys = 0x12'0000, kScratchPhys = 0x13'0000;

Outcome outcome_of(int32_t vector) {
  switch (vector) {
    case -1:
      return Outcome::Done;
    case kDE:
      return Outcome::DivideError;
    case kUD:
      return Outcome::Invalid;
    case kMF:
    case kXM:
      return Outcome::FpError;
    case kDB:
    case kBP:
      return Outcome::Trap;
    case kSS:
      return Outcome::Stack;
    case kAC:
      return Outcome::Alignment;
    default:
      return Outcome::Protection;
  }
}

bool has_error_code(int32_t vector) { return vector == kDF || (vector >= kTS && vector <= kPF) || vector == kAC; }

}  // namespace

std::unique_ptr<exec::Backend> make_backend(BackendKind kind) {
  if (kind == BackendKind::Interpreter) return std::make_unique<interp::InterpBackend>();
  const x64::Features features = kind == BackendKind::JitForOldHost ? x64::Features{} : x64::host_features();
  auto backend = x64::create_backend(64 << 20, features);
  PANDA_CHECK(backend.has_value());
  return std::move(*backend);
}

struct EngineExecutor::Impl {
  Mode mode;
  BackendKind kind;
  Nothing outside;
  VirtualClock clock;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<X86Frontend> frontend;
  std::unique_ptr<exec::Backend> backend;
  std::unique_ptr<exec::Engine> engine;

  void poke64(uint64_t phys, uint64_t v) { memory->write(GuestPhysAddr(phys), &v, 8); }
  void poke32(uint64_t phys, uint32_t v) { memory->write(GuestPhysAddr(phys), &v, 4); }
  void map_page(uint64_t virt, uint64_t phys, uint64_t bits) {
    const uint64_t index = virt >> 12 & (mode == Mode::Long64 ? 511 : 1023);
    if (mode == Mode::Long64)
      poke64(kPageTable + 8 * index, phys | bits);
    else
      poke32(kPageTable + 4 * index, static_cast<uint32_t>(phys | bits));
  }
  void set_up_cpu();
  void load(const MachineState& before);
  void store(MachineState& after);
  Result finish(const MachineState& before);
};

void EngineExecutor::Impl::set_up_cpu() {
  constexpr uint64_t kPresentUserWrite = 7;
  if (mode == Mode::Long64) {
    poke64(kRoot, kTable2 | kPresentUserWrite);
    poke64(kTable2 + 8 * (kCode >> 30), kTable3 | kPresentUserWrite);
    poke64(kTable3 + 8 * (kCode >> 21 & 511), kPageTable | kPresentUserWrite);
  } else {
    poke32(kRoot + 4 * (kCode >> 22), kPageTable | kPresentUserWrite);
  }
  map_page(kCode, kCodePhys, kPresentUserWrite);
  for (uint64_t at = 0; at < kDataBytes; at += kPageSize) map_page(kData + at, kDataPhys + at, kPresentUserWrite);
  map_page(kReadOnly, kReadOnlyPhys, 5);
  map_page(kScratch, kScratchPhys, kPresentUserWrite);

  Cpu cpu(engine->cpu());
  const bool wide = mode == Mode::Long64;
  cpu.set_cr(0, 0x80050033);  // PG, AM, WP, NE, ET, MP, PE
  cpu.set_cr(3, kRoot);
  cpu.set_cr(4, 0x40600 | (wide ? 0x20u : 0u));  // OSXSAVE, OSXMMEXCPT, OSFXSR, PAE
  cpu.s().xcr0 = kXcr0X87 | kXcr0Sse | kXcr0Avx;
  cpu.s().efer = wide ? 0xd01 : 0;  // NXE, LMA, LME, SCE
  cpu.s().eflags = 0x202;
  for (unsigned seg = 0; seg < 6; seg++) set_segment(cpu, seg, 0x2b, 0, 0xffffffff, 0x00c0f300);
  set_segment(cpu, R_CS, 0x33, 0, 0xffffffff, wide ? 0x00a0fb00 : 0x00c0fb00);
  update_hflags(cpu);
  memory->flush_tlb(engine->cpu());
}

void EngineExecutor::Impl::load(const MachineState& before) {
  Cpu cpu(engine->cpu());
  State& s = cpu.s();
  for (unsigned i = 0; i < cpu.reg_count(); i++) cpu.set_reg(i, before.gpr[i]);
  cpu.set_eflags(static_cast<uint32_t>(before.rflags) | 0x200);
  s.eip = kCode;
  uint16_t fcw;
  std::memcpy(&fcw, &before.fx[0], 2);
  s.fpuc = fcw;
  uint16_t fsw;
  std::memcpy(&fsw, &before.fx[2], 2);
  set_fpu_status(s, fsw);
  for (unsigned i = 0; i < 8; i++) {
    s.fptags[i] = (before.fx[4] >> i & 1) != 0 ? 0 : 1;
    std::memcpy(s.fpregs[(s.fpstt + i) & 7].bytes_, &before.fx[32 + 16 * i], 10);
  }
  uint32_t mxcsr;
  std::memcpy(&mxcsr, &before.fx[24], 4);
  set_mxcsr(cpu, mxcsr);
  for (unsigned i = 0; i < cpu.reg_count(); i++) {
    std::memcpy(&s.xmm_regs[i], &before.fx[160 + 16 * i], 16);
    std::memcpy(&s.xmm_regs[i]._b_ZMMReg[16], &before.ymm_high[16 * i], 16);
  }
  update_hflags(cpu);
  outside.vector = -1;
  engine->set_count(engine->count());  // a new history: no fault was just taken
  memory->write(GuestPhysAddr(kDataPhys), before.data.data(), before.data.size());
}

void EngineExecutor::Impl::store(MachineState& after) {
  Cpu cpu(engine->cpu());
  const State& s = cpu.s();
  for (unsigned i = 0; i < cpu.reg_count(); i++) after.gpr[i] = cpu.reg(i);
  after.rflags = cpu.eflags();
  after.rip = s.eip;
  std::memcpy(&after.fx[0], &s.fpuc, 2);
  const auto fsw = static_cast<uint16_t>(s.fpus | s.fpstt << 11);
  std::memcpy(&after.fx[2], &fsw, 2);
  after.fx[4] = 0;
  for (unsigned i = 0; i < 8; i++) {
    if (s.fptags[i] == 0) after.fx[4] = static_cast<uint8_t>(after.fx[4] | 1u << i);
    std::memcpy(&after.fx[32 + 16 * i], s.fpregs[(s.fpstt + i) & 7].bytes_, 10);
  }
  const uint32_t mxcsr = architectural_mxcsr(cpu);
  std::memcpy(&after.fx[24], &mxcsr, 4);
  for (unsigned i = 0; i < cpu.reg_count(); i++) {
    std::memcpy(&after.fx[160 + 16 * i], &s.xmm_regs[i], 16);
    std::memcpy(&after.ymm_high[16 * i], &s.xmm_regs[i]._b_ZMMReg[16], 16);
  }
  after.data.resize(kDataBytes);
  memory->read(GuestPhysAddr(kDataPhys), after.data.data(), kDataBytes);
}

Result EngineExecutor::Impl::finish(const MachineState& before) {
  Result result;
  result.state = before;
  result.outcome = outcome_of(outside.vector);
  result.vector = outside.vector;
  if (has_error_code(outside.vector)) result.error = static_cast<uint32_t>(Cpu(engine->cpu()).s().error_code);
  if (outside.vector == kPF) result.cr2 = Cpu(engine->cpu()).s().cr2_pending_;
  store(result.state);
  return result;
}

EngineExecutor::EngineExecutor(Mode mode, BackendKind backend) : impl_(std::make_unique<Impl>()) {
  Impl& m = *impl_;
  m.mode = mode;
  m.kind = backend;
  auto memory = GuestMemory::create(kRamBytes, {{0, kRamBytes, 0}});
  PANDA_CHECK(memory.has_value());
  m.memory = std::move(*memory);
  const bool wide = mode == Mode::Long64;
  const auto cpu = parse_cpu("max", wide);
  PANDA_CHECK(cpu.has_value());
  m.frontend = std::make_unique<X86Frontend>(wide, cpu->model);
  m.backend = make_backend(backend);
  m.engine = std::make_unique<exec::Engine>(*m.frontend, *m.backend, *m.memory, m.clock);
  m.engine->set_verify(true);
  apply_cpu(Cpu(m.engine->cpu()).s(), *cpu);
  m.frontend->reset(m.engine->cpu());
  m.engine->set_outside(m.outside);
  m.engine->cpu().observer = &m.outside;
  m.set_up_cpu();
}

EngineExecutor::~EngineExecutor() = default;

std::string EngineExecutor::name() const {
  switch (impl_->kind) {
    case BackendKind::Interpreter:
      return "interpreter";
    case BackendKind::JitForOldHost:
      return "jit for an old host";
    default:
      return "jit";
  }
}

Result EngineExecutor::run(const std::vector<uint8_t>& code, const MachineState& before) {
  Impl& m = *impl_;
  m.memory->write(GuestPhysAddr(kCodePhys), code.data(), code.size());
  m.load(before);
  // A repeated string instruction counts an instruction for each iteration.
  for (int i = 0; i < 400 && m.outside.vector < 0; i++) {
    m.engine->run(m.engine->count() + 1);
    if (Cpu(m.engine->cpu()).s().eip != kCode) break;
  }
  return m.finish(before);
}

Result EngineExecutor::run_to_end(const std::vector<uint8_t>& code, const MachineState& before, Rng* slices) {
  Impl& m = *impl_;
  std::vector<uint8_t> padded = code;
  padded.resize(code.size() + 64, 0xcc);  // INT3 behind the end; another may run before the engine stops
  m.memory->write(GuestPhysAddr(kCodePhys), padded.data(), padded.size());
  m.frontend->x87_misses() = {};  // new code at the old place
  m.load(before);
  const InsnCount end = m.engine->count() + 100'000;
  while (m.outside.vector < 0 && m.engine->count() < end) {
    m.engine->run(slices != nullptr ? m.engine->count() + 1 + (*slices)() % 7 : end);
  }
  Result result = m.finish(before);
  if (m.outside.vector == kBP && result.state.rip - kCode >= code.size()) {
    result.outcome = Outcome::Done;
    result.state.rip = kCode + code.size();
  }
  return result;
}

void EngineExecutor::protect(PageAccess access) {
  constexpr uint64_t kUser = 4, kWrite = 2, kPresent = 1;
  uint64_t bits = 0;
  if (access == PageAccess::Writable) bits = kUser | kWrite | kPresent;
  if (access == PageAccess::ReadOnly) bits = kUser | kPresent;
  if (access == PageAccess::Supervisor) bits = kWrite | kPresent;
  impl_->map_page(kData + kPage, kDataPhys + kPage, bits);
  impl_->memory->flush_tlb(impl_->engine->cpu());
}

void EngineExecutor::set_max_unit_insns(unsigned n) { impl_->engine->set_max_unit_insns(n); }

}  // namespace panda::x86test
