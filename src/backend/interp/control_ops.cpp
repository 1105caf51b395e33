// Constants, guest state, guest memory, calls, the instruction stream and the ways out.
#include <xmmintrin.h>

#include "backend/interp/step.h"
#include "ir/report_call.h"
#include "memory/access.h"

namespace panda::interp {

void Frame::enter_guest_fp() {
  if (guest_fp) return;
  _mm_setcsr(cpu->guest_mxcsr);
  guest_fp = true;
}

void Frame::leave_guest_fp() {
  if (!guest_fp) return;
  cpu->guest_mxcsr = _mm_getcsr();
  _mm_setcsr(cpu->host_mxcsr);
  guest_fp = false;
}

namespace ops {

void konst(Frame& f, const Step& s) noexcept { f.define(s, Reg{s.imm, s.type == ir::Type::V128 ? s.imm : 0}); }

namespace {

// With sizes known to the compiler: a copy of variable size is a loop over bytes.
void copy_value(void* to, const void* from, unsigned bytes) noexcept {
  switch (bytes) {
    case 1:
      std::memcpy(to, from, 1);
      break;
    case 2:
      std::memcpy(to, from, 2);
      break;
    case 4:
      std::memcpy(to, from, 4);
      break;
    case 8:
      std::memcpy(to, from, 8);
      break;
    default:
      std::memcpy(to, from, bytes);
      break;
  }
}

}  // namespace

void get(Frame& f, const Step& s) noexcept {
  Reg& v = f.regs[s.dst];
  v = Reg{};
  copy_value(&v, f.state + s.imm, ir::size_bytes(s.type));
}

void set(Frame& f, const Step& s) noexcept { copy_value(f.state + s.imm, &f.reg(s, 0), ir::size_bytes(s.type)); }

void load(Frame& f, const Step& s) noexcept {
  if (f.cpu->exact != 0) f.leave_guest_fp();  // it may reach a device
  Reg v;
  if (!load_unreported(*f.cpu, f.arg(s, 0), ir::size_bytes(s.type), ir::MemInfo::unpack(s.imm), &v)) {
    return f.leave(exec::Exit::Request, f.insn);
  }
  f.define(s, v);
}

void store(Frame& f, const Step& s) noexcept {
  if (f.cpu->exact != 0) f.leave_guest_fp();
  const Reg v = f.reg(s, 1);
  if (!store_unreported(*f.cpu, f.arg(s, 0), ir::size_bytes(s.type), ir::MemInfo::unpack(s.imm), &v)) {
    f.leave(exec::Exit::Request, f.insn);
  }
}

namespace {

// Every parameter is passed in a register of its own and narrow ones are zero-extended in it, as
// the host's calling convention (System V x86-64) has it, so one prototype serves all.
uint64_t invoke(const ir::HelperDesc& helper, void* state, const Frame& f, const Step& s) noexcept {
  using Function = uint64_t (*)(void*, uint64_t, uint64_t, uint64_t, uint64_t);
  uint64_t v[4] = {};
  for (unsigned k = 0; k < s.nargs; k++) v[k] = f.arg(s, k);
  if (const ir::ReportCall* report = ir::as_report(helper); report != nullptr && report->buffer != nullptr) {
    const Reg value = f.reg(s, s.nargs - 1u);
    std::memcpy(report->buffer, &value, ir::size_bytes(helper.params[s.nargs - 1u]));
    v[s.nargs - 1u] = reinterpret_cast<uint64_t>(report->buffer);
  }
  const void* const address = helper.indirect ? *static_cast<const void* const*>(helper.function) : helper.function;
  const auto function = reinterpret_cast<uintptr_t>(address);
  if (helper.has_context) {
    using WithContext = uint64_t (*)(const void*, void*, uint64_t, uint64_t, uint64_t, uint64_t);
    return reinterpret_cast<WithContext>(function)(helper.context, state, v[0], v[1], v[2], v[3]);
  }
  return reinterpret_cast<Function>(function)(state, v[0], v[1], v[2], v[3]);
}

// A helper of the guest's FP control may use the host's MXCSR or the context's copy: both are
// current before, and whichever it changed is taken over.
uint64_t invoke_with_guest_fp(const ir::HelperDesc& helper, Frame& f, const Step& s) noexcept {
  f.enter_guest_fp();
  f.cpu->guest_mxcsr = _mm_getcsr();
  const uint32_t before = f.cpu->guest_mxcsr;
  const uint64_t result = invoke(helper, f.state, f, s);
  if (f.cpu->guest_mxcsr != before) _mm_setcsr(f.cpu->guest_mxcsr);
  return result;
}

}  // namespace

void call(Frame& f, const Step& s) noexcept {
  const auto& helper = *reinterpret_cast<const ir::HelperDesc*>(s.imm);
  uint64_t result = 0;
  if (helper.uses_fp) {
    result = invoke_with_guest_fp(helper, f, s);
  } else {
    f.leave_guest_fp();
    result = invoke(helper, f.state, f, s);
  }
  if (const ir::ReportCall* report = ir::as_report(helper);
      report != nullptr && report->then != nullptr && (result & 0xff) != 0) {
    report->then(f.state, *report, f.program->insns[f.insn].refund, f.arg(s, 1));
  }
  if (helper.may_exit && f.cpu->exit_request != 0) return f.leave(exec::Exit::Request, f.insn);
  if (s.type != ir::Type::Void) f.define(s, result);
}

void guard(Frame& f, const Step& s) noexcept {
  if (f.arg(s, 0) == f.arg(s, 1)) return;
  f.leave_guest_fp();
  reinterpret_cast<ir::GuardFailed>(s.imm)(f.state, f.program->insns[f.insn].pc);
  f.leave(exec::Exit::Request, f.insn);
}

void insn(Frame& f, const Step& s) noexcept { f.insn = static_cast<uint32_t>(s.imm); }

void count(Frame& f, const Step& s) noexcept {
  const auto n = static_cast<int64_t>(s.imm);
  if (f.cpu->budget < n) return f.leave(exec::Exit::Budget, s.aux);
  f.cpu->budget -= n;
}

void exact_begin(Frame& f, const Step&) noexcept { f.cpu->exact = 1; }

void insn_count(Frame& f, const Step& s) noexcept {
  const VcpuContext& cpu = *f.cpu;
  f.define(s, cpu.count_limit - static_cast<uint64_t>(cpu.budget) - f.program->insns[f.insn].refund);
}

void bump(Frame&, const Step& s) noexcept { *reinterpret_cast<uint64_t*>(s.imm) += s.aux; }

namespace {
void leave_directly(Frame& f, uint32_t exit, uint64_t pc) noexcept {
  const Program::Link& link = f.program->links[exit];
  if (link.to != nullptr && (!link.counted || --f.program->unit->exits[exit].countdown >= 0)) return f.enter(*link.to);
  f.write_pc(pc);
  f.leave(exec::Exit::Direct, exit);
}

void look_up(Frame& f, uint64_t pc) noexcept {
  if (f.cpu->jump_cache != nullptr) {
    const JumpCacheEntry& e = f.cpu->jump_cache[jump_cache_index(pc)];
    if (e.pc == pc && e.code != nullptr) {
      return f.enter(*static_cast<Program*>(const_cast<void*>(e.code)));
    }
  }
  f.write_pc(pc);
  f.leave(exec::Exit::Indirect, 0);
}
}  // namespace

void exit_if(Frame& f, const Step& s) noexcept {
  const ir::ExitIf e = ir::ExitIf::unpack(s.aux);
  if ((f.arg(s, 0) == 0) != e.if_false) return;
  f.cpu->budget += f.program->insns[f.insn].refund - 1;
  if (e.looked_up) return look_up(f, s.imm);
  leave_directly(f, e.exit, s.imm);
}

// --- ends of blocks

namespace {
void go_to(Frame& f, uint64_t block) noexcept { f.next = f.program->steps.data() + f.program->block_entry[block]; }
}  // namespace

void br(Frame& f, const Step& s) noexcept { go_to(f, s.aux); }
void brc(Frame& f, const Step& s) noexcept { go_to(f, f.arg(s, 0) != 0 ? s.aux : s.imm); }

void exit_direct(Frame& f, const Step& s) noexcept { leave_directly(f, s.aux, s.imm); }
void exit_indirect(Frame& f, const Step& s) noexcept { look_up(f, f.arg(s, 0)); }

void exit_dispatch(Frame& f, const Step&) noexcept { f.leave(exec::Exit::Dispatch, 0); }

}  // namespace ops
}  // namespace panda::interp
