// Whether the CPU is in the handler of an interrupt or of an exception.
//
// A delivery opens a handler; the IRET that goes back to the interrupted stack pointer, or to user mode, closes it and
// those inside it. User code is in no handler, so what a kernel leaves in another way (it ends the process) is
// forgotten at the next delivery from user mode. Handlers belong to address spaces: a kernel that switches to another
// process inside a handler is not in it there.
#include <array>
#include <unordered_map>
#include <vector>

#include "panda/plugin.hpp"

extern "C" {
#include "track_intexc_int_fns.h"
}

namespace {

enum class Kind { Interrupt, Exception };
struct Handler {
  Kind kind;
  target_ulong sp;  // of the interrupted code
};
constexpr size_t kDeepest = 64;  // handlers that were never left are forgotten from there on

struct TrackIntexc : panda::Plugin {
  std::unordered_map<target_ulong, std::vector<Handler>> open;  // by address space, the innermost last
  bool debug = false;

  TrackIntexc();
  void enter(CPUState *cpu, Kind kind, int32_t number);
  void leave(CPUState *cpu);
  [[nodiscard]] bool in(Kind kind);
  void show(const char *what, CPUState *cpu, const char *kind, int number, bool user, size_t depth) const;
};
TrackIntexc *plugin;

// Page-table isolation gives a process two CR3s, which differ in bit 12 (Linux), and in the PCID.
target_ulong address_space(CPUState *cpu) {
  const target_ulong cr3 = panda_current_asid(cpu);
  return sizeof(target_ulong) == 8 ? cr3 & ~target_ulong{0x1fff} : cr3 & ~target_ulong{0x1000};
}

const char *name_of(Kind kind) { return kind == Kind::Interrupt ? "interrupt" : "exception"; }

bool is_iret(CPUState *cpu, target_ulong pc) {
  for (int prefixes = 0; prefixes < 4; prefixes++, pc++) {
    const auto byte = panda::read<uint8_t>(cpu, pc);
    if (byte == uint8_t{0xcf}) return true;
    const bool rex = TARGET_LONG_BITS == 64 && byte && (*byte & 0xf0) == 0x40;
    if (!rex && byte != uint8_t{0x66}) return false;
  }
  return false;
}

// Where the IRET that is about to run goes to: privilege and stack pointer.
struct Return {
  bool user;
  target_ulong sp;
};
template <typename Word>
std::optional<Return> read_frame(CPUState *cpu, bool always_has_sp) {
  const target_ulong at = panda_current_sp(cpu) + (always_has_sp ? 0 : cpu->segs[R_SS].base);
  const auto words = panda::read<std::array<Word, 3>>(cpu, at);  // pc, CS, flags; then SP and SS
  if (!words) return std::nullopt;
  const bool user = ((*words)[1] & 3) == 3;
  if (!user && !always_has_sp) return Return{false, panda_current_sp(cpu) + static_cast<target_ulong>(sizeof(*words))};
  const auto sp = panda::read<Word>(cpu, at + static_cast<target_ulong>(sizeof(*words)));
  if (!sp) return std::nullopt;
  return Return{user, static_cast<target_ulong>(*sp)};
}

std::optional<Return> return_of(CPUState *cpu) {
#if TARGET_LONG_BITS == 64
  if ((cpu->efer & MSR_EFER_LMA) != 0 && (cpu->segs[R_CS].flags & DESC_L_MASK) != 0)
    return read_frame<uint64_t>(cpu, true);
#endif
  return read_frame<uint32_t>(cpu, false);
}

TrackIntexc::TrackIntexc() {
  plugin = this;
  panda::Arguments args = arguments();
  debug = args.flag("debug", "print each entry and return");
  args.done();
  on_before_handle_interrupt([this](CPUState *cpu, int32_t number) {
    enter(cpu, Kind::Interrupt, number);
    return number;
  });
  on_before_handle_exception([this](CPUState *cpu, int32_t number) {
    if (number < 32) enter(cpu, Kind::Exception, number);  // others are software interrupts: calls of the kernel
    return number;
  });
  on_insn_translate([](CPUState *cpu, target_ulong pc) { return panda_in_kernel_mode(cpu) && is_iret(cpu, pc); });
  on_insn_exec([this](CPUState *cpu, target_ulong) { leave(cpu); });
}

void TrackIntexc::enter(CPUState *cpu, Kind kind, int32_t number) {
  std::vector<Handler> &handlers = open[address_space(cpu)];
  const bool user = !panda_in_kernel_mode(cpu);
  if (user) handlers.clear();
  if (handlers.size() == kDeepest) handlers.erase(handlers.begin());
  handlers.push_back({kind, panda_current_sp(cpu)});
  show("enter", cpu, name_of(kind), number, user, handlers.size());
}

void TrackIntexc::leave(CPUState *cpu) {
  const auto found = open.find(address_space(cpu));
  const std::optional<Return> to = return_of(cpu);
  if (found == open.end() || !to) return;
  std::vector<Handler> &handlers = found->second;
  size_t kept = to->user ? 0 : handlers.size();
  if (!to->user) {
    for (size_t i = handlers.size(); i-- > 0 && kept == handlers.size();) {
      if (handlers[i].sp == to->sp) kept = i;
    }
  }
  if (kept == handlers.size()) return;  // a kernel that uses IRET as a jump
  const char *const kind = name_of(handlers[kept].kind);
  handlers.resize(kept);
  show("leave", cpu, kind, -1, to->user, kept);
  if (handlers.empty()) open.erase(found);
}

void TrackIntexc::show(const char *what, CPUState *cpu, const char *kind, int number, bool user, size_t depth) const {
  if (!debug) return;
  printf("track_intexc: %s %s", what, kind);
  if (number >= 0) printf(" %d", number);
  printf(" instr=%" PRIu64 " pc=0x" TARGET_FMT_lx " asid=0x" TARGET_FMT_lx " %s=%s depth=%zu\n",
         rr_get_guest_instr_count(), panda_current_pc(cpu), panda_current_asid(cpu), what[0] == 'e' ? "from" : "to",
         user ? "user" : "kernel", depth);
}

bool TrackIntexc::in(Kind kind) {
  CPUState *const cpu = get_cpu();
  if (!panda_in_kernel_mode(cpu)) return false;
  const auto found = open.find(address_space(cpu));
  if (found == open.end()) return false;
  for (const Handler &h : found->second) {
    if (h.kind == kind) return true;
  }
  return false;
}

}  // namespace

bool check_in_interrupt(void) { return plugin->in(Kind::Interrupt); }
bool check_in_exception(void) { return plugin->in(Kind::Exception); }

PANDA_PLUGIN(TrackIntexc)
