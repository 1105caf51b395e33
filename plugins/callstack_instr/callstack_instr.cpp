// Shadow call stacks (shadow_stacks.hpp), kept by a callback after each call, and after each return where somebody
// listens. Whether an instruction is one is decided when it is translated (call_sites.hpp), so that nothing else is
// slowed down.
#include "callstack_instr/callstack_instr.h"

#include <array>
#include <cstdlib>

#include "callstack_instr/call_sites.hpp"
#include "callstack_instr/callstack_instr_int_fns.h"
#include "callstack_instr/shadow_stacks.hpp"
#include "panda/plugin.hpp"

PPP_PROT_REG_CB(on_call);
PPP_PROT_REG_CB(on_ret);
PPP_CB_BOILERPLATE(on_call)
PPP_CB_BOILERPLATE(on_ret)

namespace {

using callstack::Branch;
using callstack::Decoded;
using callstack::Mode;
using callstack::Site;
using callstack::Target;
using Frame = callstack::Frame<target_ulong>;
using Place = callstack::Place<target_ulong>;
using Stack = callstack::Stack<target_ulong>;

constexpr uint32_t kLoggedCallers = 16;
constexpr size_t kMaxInsnBytes = 15;

// In 64-bit mode, of a 64-bit kernel's 32-bit program, a slot has four bytes.
bool still_in_memory(const Frame& frame) {
  CPUState* const cpu = get_cpu();
  if (uint64_t{frame.ret} >> 32 != 0) return panda::read<target_ulong>(cpu, frame.slot) == frame.ret;
  return panda::read<uint32_t>(cpu, frame.slot) == static_cast<uint32_t>(frame.ret);
}

Mode mode_of(const CPUState* cpu) {
#ifdef TARGET_X86_64
  if ((cpu->efer & MSR_EFER_LMA) != 0 && (cpu->segs[R_CS].flags & DESC_L_MASK) != 0) return Mode::Bits64;
#endif
  return (cpu->segs[R_CS].flags & DESC_B_MASK) != 0 ? Mode::Bits32 : Mode::Bits16;
}

target_ulong linear_sp(const CPUState* cpu) {
#ifdef TARGET_X86_64
  if (mode_of(cpu) == Mode::Bits64) return cpu->regs[R_ESP];
#endif
  const target_ulong mask = (cpu->segs[R_SS].flags & DESC_B_MASK) != 0 ? 0xffffffff : 0xffff;
  return static_cast<uint32_t>(cpu->segs[R_SS].base + (cpu->regs[R_ESP] & mask));
}

Place place_of(CPUState* cpu) { return {panda_current_asid(cpu), linear_sp(cpu), panda_in_kernel_mode(cpu)}; }

Decoded decode_at(CPUState* cpu, target_ulong pc) {
  std::array<uint8_t, kMaxInsnBytes> bytes;
  size_t size = bytes.size();
  if (panda_virtual_memory_read(cpu, pc, bytes.data(), kMaxInsnBytes) < 0) {
    size = static_cast<size_t>(TARGET_PAGE_SIZE - (pc & ~TARGET_PAGE_MASK));
    if (size >= kMaxInsnBytes || panda_virtual_memory_read(cpu, pc, bytes.data(), static_cast<int>(size)) < 0)
      return {};
  }
  return callstack::decode(bytes.data(), size, mode_of(cpu));
}

Site site_of(const Decoded& insn, target_ulong pc) {
  return {insn.branch == Branch::Call ? static_cast<target_ulong>(pc + insn.size) : 0, insn};
}

// A register as it was before the call that has just run.
uint64_t register_before(const CPUState* cpu, const Site& site, int8_t number) {
  if (number == callstack::kNoRegister) return 0;
  if (number == callstack::kPcRegister) return site.ret;
  return cpu->regs[number] + (number == R_ESP ? site.insn.operand_bytes : 0u);
}

// What the call called; 0: not known.
target_ulong function_of(CPUState* cpu, const Site& site) {
  const Decoded& call = site.insn;
  const bool is_64 = call.operand_bytes == 8;
  const target_ulong mask = is_64 ? ~target_ulong{0} : static_cast<target_ulong>(0xffffffff);
  const target_ulong code_base = is_64 ? 0 : static_cast<target_ulong>(cpu->segs[R_CS].base);
  switch (call.target) {
    case Target::Relative:
      return static_cast<target_ulong>(site.ret + static_cast<uint64_t>(int64_t{call.displacement})) & mask;
    case Target::Register:
      return (static_cast<target_ulong>(register_before(cpu, site, call.base)) + code_base) & mask;
    case Target::Memory: {
      uint64_t at = register_before(cpu, site, call.base) + register_before(cpu, site, call.index) * call.scale +
                    static_cast<uint64_t>(int64_t{call.displacement});
      if (call.address_bytes == 4) at &= 0xffffffff;
      if (!is_64 || call.segment >= R_FS) at += cpu->segs[call.segment].base;
      target_ulong target = 0;
      if (panda_virtual_memory_read(cpu, static_cast<target_ulong>(at) & mask, reinterpret_cast<uint8_t*>(&target),
                                    call.operand_bytes) < 0) {
        return 0;
      }
      return (target + code_base) & mask;
    }
    case Target::Other:
      return 0;
  }
  return 0;
}

class CallstackInstr : public panda::Plugin {
 public:
  CallstackInstr() : stacks_(still_in_memory) {
    panda::Arguments args = arguments();
    verbose_ = args.flag("verbose", "say on standard error which stacks are found");
    const std::string kind =
        args.text("stack_type", "asid", "what a tap point names a stack by: asid, heuristic (ASID and stack pointer)");
    args.done();
    if (kind == "heuristic") {
      kind_ = STACK_HEURISTIC;
    } else if (kind == "threaded") {
      panda::refuse(
          "stack_type=threaded needs operating system introspection, which is not in this version: use asid "
          "or heuristic");
    } else if (kind != "asid") {
      panda::refuse("stack_type=%s: it is asid, heuristic or threaded", kind.c_str());
    }
    on_after_insn_translate([this](CPUState* cpu, target_ulong pc) { return translated(cpu, pc); });
    on_after_insn_exec([this](CPUState* cpu, target_ulong pc) { executed(cpu, pc); });
  }
  ~CallstackInstr() override {
    if (verbose_) say("%zu stacks, %" PRIu64 " calls", stacks_.count(), calls_);
  }

  // Of the innermost frames. Each is checked against the stack in memory.
  uint32_t chain(CPUState* cpu, target_ulong* out, uint32_t n, target_ulong Frame::* field) {
    Stack* const stack = stacks_.at(place_of(cpu));
    if (stack == nullptr) return 0;
    uint32_t count = 0;
    for (size_t i = stack->frames.size(); i > 0 && count < n; i--) {
      const auto frame = stack->frames.begin() + static_cast<ptrdiff_t>(i - 1);
      if (still_in_memory(*frame)) {
        out[count++] = (*frame).*field;
      } else {
        stack->frames.erase(frame);
      }
    }
    return count;
  }

  // Asked for at each access: the innermost frame is taken as it is.
  void prog_point_of(CPUState* cpu, prog_point& p) {
    const Place place = place_of(cpu);
    const Stack* const stack = stacks_.at(place);
    p.caller = stack == nullptr || stack->frames.empty() ? 0 : stack->frames.back().ret;
    p.pc = panda_current_pc(cpu);
    p.stackKind = kind_;
    p.sidFirst = place.asid;
    p.sidSecond = kind_ == STACK_HEURISTIC && stack != nullptr ? stack->base : 0;
    p.isKernelMode = place.kernel;
  }

 private:
  bool translated(CPUState* cpu, target_ulong pc) {
    const Decoded found = decode_at(cpu, pc);
    if (found.branch == Branch::None) return false;
    sites_.add(pc, site_of(found, pc));
    if (found.branch == Branch::Call || PPP_CHECK_CB(on_ret)) return true;
    // Nobody wants to hear of returns, and the stacks are right without.
    returns_left_out_ = true;
    return false;
  }

  void executed(CPUState* cpu, target_ulong pc) {
    const Site site = sites_.find(pc).value_or(Site{});
    const Site known = site.insn.branch != Branch::None ? site : site_of(decode_at(cpu, pc), pc);
    if (known.insn.branch == Branch::Call) {
      called(cpu, known);
    } else {
      returned(cpu);
    }
    if (returns_left_out_ && PPP_CHECK_CB(on_ret)) {
      returns_left_out_ = false;
      panda_do_flush_tb();
    }
  }

  void called(CPUState* cpu, const Site& site) {
    calls_++;
    const Place place = place_of(cpu);
    const target_ulong function = function_of(cpu, site);
    const size_t stacks = stacks_.count();
    stacks_.call(place, static_cast<target_ulong>(site.ret), function);
    if (verbose_ && stacks_.count() != stacks) {
      say("a stack at " TARGET_FMT_lx ", %s, ASID " TARGET_FMT_lx, place.sp, place.kernel ? "kernel" : "user",
          place.asid);
    }
    if (PPP_CHECK_CB(on_call)) PPP_RUN_CB(on_call, cpu, function);
  }

  void returned(CPUState* cpu) {
    Frame from;
    if (stacks_.ret(place_of(cpu), from) && PPP_CHECK_CB(on_ret)) PPP_RUN_CB(on_ret, cpu, from.function);
  }

  stack_type kind_ = STACK_ASID;
  bool verbose_ = false;
  callstack::Sites sites_;
  bool returns_left_out_ = false;  // of translations that were made while nobody listened
  callstack::ShadowStacks<target_ulong, bool (*)(const Frame&)> stacks_;
  uint64_t calls_ = 0;
};

CallstackInstr* plugin() { return panda::detail::instance<CallstackInstr>().get(); }

}  // namespace

PANDA_PLUGIN(CallstackInstr)

extern "C" {

uint32_t get_callers(target_ulong* callers, uint32_t n, CPUState* cpu) {
  return plugin()->chain(cpu, callers, n, &Frame::ret);
}

uint32_t get_functions(target_ulong* functions, uint32_t n, CPUState* cpu) {
  return plugin()->chain(cpu, functions, n, &Frame::function);
}

void get_prog_point(CPUState* cpu, prog_point* p) { plugin()->prog_point_of(cpu, *p); }

Panda__CallStack* pandalog_callstack_create(void) {
  target_ulong callers[kLoggedCallers];
  const uint32_t n = get_callers(callers, kLoggedCallers, get_cpu());
  auto* const message = static_cast<Panda__CallStack*>(std::malloc(sizeof(Panda__CallStack)));
  auto* const addresses = static_cast<uint64_t*>(std::malloc(sizeof(uint64_t) * kLoggedCallers));
  if (message == nullptr || addresses == nullptr) std::abort();
  *message = PANDA__CALL_STACK__INIT;
  std::copy_n(callers, n, addresses);
  message->n_addr = n;
  message->addr = addresses;
  return message;
}

void pandalog_callstack_free(Panda__CallStack* cs) {
  if (cs == nullptr) return;
  std::free(cs->addr);
  std::free(cs);
}

}  // extern "C"
