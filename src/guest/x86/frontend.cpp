#include "guest/x86/frontend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "guest/x86/cpuid.h"
#include "guest/x86/debug.h"
#include "guest/x86/fpu_state.h"
#include "guest/x86/state_io.h"
#include "guest/x86/system.h"
#include "memory/access.h"

namespace panda::x86 {

using exec::InsnEnd;

namespace {

const State& state_of(const VcpuContext& cpu) { return *reinterpret_cast<const State*>(&cpu + 1); }
State& state_of(VcpuContext& cpu) { return *static_cast<State*>(cpu.state()); }

void code_break_helper(void* state, uint64_t linear) noexcept { stopped_by_code_breakpoint(Cpu(state), linear); }
const ir::HelperDesc kCodeBreak{.name = "x86_code_breakpoint",
                                .function = reinterpret_cast<const void*>(&code_break_helper),
                                .result = ir::Type::Void,
                                .params = {ir::Type::I64}};
bool names_mmx(const DecodedInsn& d) {
  return std::any_of(d.ops, d.ops + d.insn.operand_count, [](const ZydisDecodedOperand& op) {
    return op.type == ZYDIS_OPERAND_TYPE_REGISTER && ZydisRegisterGetClass(op.reg.value) == ZYDIS_REGCLASS_MMX;
  });
}

}  // namespace

X86Frontend::X86Frontend(bool is_64bit_target, uint32_t cpu_model) : layout_{is_64bit_target}, cpu_model_(cpu_model) {}

// ---- Mmu

bool X86Frontend::translate(VcpuContext& cpu, uint64_t address, Access access, unsigned mode, bool probe,
                            Translation& out) noexcept {
  if (address >> 62 == kBeyondLimit >> 62 && (state_of(cpu).hflags & kModeCs64) == 0) {
    if (!probe) raise(Cpu(cpu), kGP, uint16_t{0});
    return false;
  }
  if (walk(Cpu(cpu), address, access, static_cast<MmuMode>(mode), probe, out)) return true;
  // A breakpoint on the instruction comes before the fault of its fetch.
  if (access == Access::Fetch && !probe && (state_of(cpu).hflags & kModeCodeBreak) != 0) {
    const State& s = state_of(cpu);
    const uint64_t pc = s.eip + ((s.hflags & kModeCs64) != 0 ? 0 : s.segs[R_CS].base);
    stopped_by_code_breakpoint(Cpu(cpu), (s.hflags & kModeCs64) != 0 ? pc : pc & 0xffff'ffff);
  }
  return false;
}

// Alignment is demanded either by the AC flag or by the instruction itself (MOVAPS, CMPXCHG16B).
void X86Frontend::misaligned(VcpuContext& cpu, uint64_t, Access) noexcept { raise(Cpu(cpu), kAC, uint16_t{0}); }

void X86Frontend::misaligned_operand(VcpuContext& cpu, uint64_t, Access) noexcept { raise(Cpu(cpu), kGP, uint16_t{0}); }

// ---- translation

exec::UnitKey X86Frontend::current_key(VcpuContext& cpu) {
  const State& s = state_of(cpu);
  if (!features_read_) read_features(s);
  running_ = &s;
  if ((s.hflags & kModeCs64) != 0) return {.pc = s.eip, .pc_base = 0, .flags = s.hflags};
  const uint64_t base = s.segs[R_CS].base;
  const uint64_t linear = (base + s.eip) & 0xffff'ffff;
  return {.pc = linear, .pc_base = linear - (s.eip & 0xffff'ffff), .flags = s.hflags};
}

unsigned X86Frontend::fetch_mode(uint64_t flags) { return (flags & kModeCplMask) == 3 ? kMmuUser : kMmuKernel; }

void X86Frontend::begin_unit(const exec::UnitKey&) {
  known_ = {};
  x87_ = {};
  x87_.misses = &x87_misses_;
  if (running_ == nullptr) return;
  x87_.guess = true;
  x87_.assume(running_->fpstt, ~unsigned{fpu_abridged_tags(*running_)} & 0xff);
}

void X86Frontend::read_features(const State& s) {
  features_ = 0;
  for (unsigned f = 0; f < static_cast<unsigned>(Feature::kCount); ++f) {
    if (f == 0 || has_feature(s, static_cast<Feature>(f))) features_ |= uint64_t{1} << f;
  }
  features_read_ = true;
}

DecodeStatus X86Frontend::decode(const exec::InsnRequest& request) {
  const size_t size = std::min<size_t>(request.bytes.size(), kMaxInsnBytes);
  if (size == decoded_size_ && request.flags == decoded_flags_ &&
      std::memcmp(decoded_bytes_, request.bytes.data(), size) == 0) {
    return decoded_status_;
  }
  decoded_size_ = size;
  decoded_flags_ = request.flags;
  std::memcpy(decoded_bytes_, request.bytes.data(), size);
  decoded_status_ = decoder_.decode(request.bytes, request.flags, decoded_);
  return decoded_status_;
}

unsigned X86Frontend::insn_size(const exec::InsnRequest& request) {
  switch (decode(request)) {
    case DecodeStatus::Ok:
      return decoded_.insn.length;
    case DecodeStatus::Truncated:
      return 0;
    default:
      return 1;
  }
}

exec::InsnResult X86Frontend::translate(const exec::InsnRequest& request, ir::Builder& b) {
  const DecodeStatus status = decode(request);
  if (status == DecodeStatus::Truncated) return {InsnEnd::NeedBytes, 0};
  if ((request.flags & kModeCodeBreak) != 0) b.call(kCodeBreak, {b.i64(request.pc)});
  if (status != DecodeStatus::Ok) {
    DecodedInsn nothing{};
    nothing.insn.length = 1;
    InsnContext x(b, nothing.insn, nothing.ops, request, layout_, known_, features_);
    if (status == DecodeStatus::TooLong) {
      x.raise(kGP, uint16_t{0});
    } else {
      x.raise(kUD);
    }
    return {InsnEnd::Closed, status == DecodeStatus::TooLong ? kMaxInsnBytes : 1};
  }
  if (request.first) known_ = {}, shadow_open_ = false;
  // The STI before this one in the unit went on: its shadow ends with this instruction. Where that leaves
  // the unit, it ends before the way out.
  const bool ends_shadow = std::exchange(shadow_open_, false);
  const ir::Builder::Mark mark = b.mark();
  const auto end_shadow = [&] { b.set(offsetof(State, inhibit_irq), b.i32(0)); };
  InsnEnd end = emit(request, b);
  if (ends_shadow && (end == InsnEnd::Closed || b.unit().blocks.size() != mark.blocks)) {
    b.rollback(mark);
    known_ = {};
    x87_.valid = false;
    end_shadow();
    end = emit(request, b);
  } else if (ends_shadow && end == InsnEnd::Next) {
    end_shadow();
  }
  shadow_open_ = end == InsnEnd::Next && decoded_.insn.mnemonic == ZYDIS_MNEMONIC_STI;
  return {end, decoded_.insn.length, shadow_open_};
}

InsnEnd X86Frontend::emit(const exec::InsnRequest& request, ir::Builder& b) {
  InsnContext x(b, decoded_.insn, decoded_.ops, request, layout_, known_, features_);
  const FoundRow found = rows_.find(decoded_);
  if (found.row == nullptr || !x.has(found.row->feature)) {
    x.raise(kUD);
    return InsnEnd::Closed;
  }
  // The MMX registers are the x87's under another type: a unit has slots of one kind.
  if (x87_.uses_f80 && names_mmx(decoded_)) return InsnEnd::NeedExact;
  x.x87 = &x87_;
  const size_t blocks = b.unit().blocks.size();
  const InsnEnd end = found.row->translate(x);
  // A new block has no values of the last one; the system chapter's helpers may change any flag.
  known_before_ = known_;
  if (b.unit().blocks.size() != blocks || found.chapter == Chapter::System) known_ = {};
  return end;
}

// ---- running

void X86Frontend::set_pc(VcpuContext& cpu, uint64_t pc) { state_of(cpu).eip = layout_.is64 ? pc : pc & 0xffff'ffff; }

uint64_t X86Frontend::get_pc(const VcpuContext& cpu) { return state_of(cpu).eip; }

// Is the instruction at the pc's data in the stack segment? (By RSP or RBP, or implicitly.)
bool X86Frontend::addresses_stack(VcpuContext& cpu) {
  const State& s = state_of(cpu);
  uint8_t bytes[kMaxInsnBytes];
  size_t size = sizeof bytes;
  const unsigned mode = fetch_mode(s.hflags);
  while (size > 0 && !peek_guest(cpu, s.eip, mode, bytes, size)) size--;
  DecodedInsn d{};
  if (decoder_.decode({bytes, size}, s.hflags, d) != DecodeStatus::Ok) return false;
  bool stack = false, other = false;
  for (unsigned i = 0; i < d.insn.operand_count; i++) {
    const ZydisDecodedOperand& op = d.ops[i];
    if (op.type != ZYDIS_OPERAND_TYPE_MEMORY || op.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
    if (op.mem.segment == ZYDIS_REGISTER_SS)
      stack = true;
    else if (op.visibility == ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
      other = true;
  }
  // PUSH, POP and CALL of memory: either.
  constexpr uint64_t kNear = 16;
  return stack && (!other || s.cr2_pending_ - (Cpu(cpu).reg(R_ESP) - kNear) < 2 * kNear);
}

bool X86Frontend::deliver_exception(VcpuContext& cpu) {
  State& s = state_of(cpu);
  if ((s.exception_flags_ & kExceptionNonCanonical) != 0) {
    s.exception_flags_ &= ~uint32_t{kExceptionNonCanonical};
    if (addresses_stack(cpu)) s.exception_index = kSS;
  }
  return deliver_pending(Cpu(cpu));
}

void X86Frontend::starts(const VcpuContext& cpu) {
  const State& s = state_of(cpu);
  shadow_at_start_ = s.inhibit_irq != 0;
  trap_at_start_ = (s.eflags & kTF) != 0;
}

bool X86Frontend::after_exact(VcpuContext& cpu) {
  State& s = state_of(cpu);
  if (shadow_at_start_) s.inhibit_irq = 0;
  // A debug exception whose return address is the next instruction.
  const Cpu x(cpu);
  if (!take_debug_trap(x, trap_at_start_ && s.inhibit_irq != kShadowOfMovSs)) return false;
  deliver_pending(x);
  return true;
}

bool X86Frontend::wants_single_step(const VcpuContext& cpu) {
  const State& s = state_of(cpu);
  return s.inhibit_irq != 0 || (s.eflags & kTF) != 0 || ((s.hflags & kModeCodeBreak) != 0 && (s.eflags & kRF) != 0);
}

bool X86Frontend::accepts_interrupt(const VcpuContext& cpu) {
  const State& s = state_of(cpu);
  return (s.eflags & kIF) != 0 && s.inhibit_irq == 0;
}

bool X86Frontend::deliver_interrupt(VcpuContext& cpu, uint8_t vector) {
  state_of(cpu).halted = 0;
  return deliver_external(Cpu(cpu), vector);
}

bool X86Frontend::halted(const VcpuContext& cpu) { return state_of(cpu).halted != 0; }

void X86Frontend::wake(VcpuContext& cpu) { state_of(cpu).halted = 0; }

void X86Frontend::reset(VcpuContext& cpu) {
  State& s = state_of(cpu);
  s.is_64bit_target = layout_.is64 ? 1 : 0;
  s.cpu_model = cpu_model_;
  x86::reset(Cpu(cpu));
  s.env_ptr = &s;
  read_features(s);
}

// ---- for people

std::string X86Frontend::describe_registers(const VcpuContext& cpu) { return x86::describe_registers(state_of(cpu)); }

std::string X86Frontend::save_state(const VcpuContext& cpu) { return x86::save_state(state_of(cpu)); }

bool X86Frontend::load_state(VcpuContext& cpu, std::string_view bytes) {
  features_read_ = false;
  return x86::load_state(state_of(cpu), bytes);
}

}  // namespace panda::x86
