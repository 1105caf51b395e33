// Uses the plugins that offer functions to others, as its arguments say, and writes what they tell it, a line an
// event, for the tests to compare with what the guest's program does.
#include <cstdlib>
#include <sstream>
#include <string>
#include <vector>

#include "asid_instr_count/asid_instr_count_ext.h"
#include "hooks/hooks_ext.h"
#include "hypercaller/hypercaller_ext.h"
#include "mem_hooks/mem_hooks_ext.h"
#include "mmio_trace/mmio_trace_ext.h"
#include "panda/plugin.hpp"
#include "track_intexc/track_intexc_ext.h"

namespace {

struct Probe : panda::Plugin {
  panda::Output out;
  bool once = false, intexc = false, mmio = false;
  std::string toggle;
  uint32_t magic = 0;
  uint64_t wrong_in_user = 0, in_exception = 0, not_in_exception = 0, user_blocks = 0, handlers = 0;
  bool expect_exception = false;

  Probe();
  ~Probe() override;
  void add_hooks(const std::string &addresses, const std::string &type, target_ulong asid, const std::string &mode);
  void watch(const std::string &region);
  void look_at_handlers();
  void hit(CPUState *cpu, const char *what, const TranslationBlock *tb, struct hook *h);
};
Probe *probe;

std::vector<std::string> split(const std::string &text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ':');) parts.push_back(part);
  return parts;
}

target_ulong number(const std::string &text) {
  return static_cast<target_ulong>(std::strtoull(text.c_str(), nullptr, 0));
}

// Of a function that has just been entered.
target_ulong argument(CPUState *cpu, unsigned i) {
#if TARGET_LONG_BITS == 64
  constexpr unsigned kRegisters[] = {R_EDI, R_ESI, R_EDX};
  return cpu->regs[kRegisters[i]];
#else
  return panda::read<target_ulong>(cpu, cpu->regs[R_ESP] + 4 * (i + 1)).value_or(0);
#endif
}

void Probe::hit(CPUState *cpu, const char *what, const TranslationBlock *tb, struct hook *h) {
  const bool covers = tb != nullptr && h->addr - tb->pc < tb->size;
  out.print("%s 0x%llx %llu %llu %llu 0x%llx %llu %d\n", what, static_cast<unsigned long long>(h->addr),
            static_cast<unsigned long long>(argument(cpu, 0)), static_cast<unsigned long long>(argument(cpu, 1)),
            static_cast<unsigned long long>(argument(cpu, 2)), static_cast<unsigned long long>(panda_current_asid(cpu)),
            static_cast<unsigned long long>(rr_get_guest_instr_count()), covers ? 1 : 0);
  if (once) h->enabled = false;
  if (toggle == "off") {
    disable_hooking();
    toggle = "on";
  }
}

void on_start(CPUState *cpu, TranslationBlock *tb, struct hook *h) { probe->hit(cpu, "start", tb, h); }
void on_before(CPUState *cpu, TranslationBlock *tb, struct hook *h) { probe->hit(cpu, "before", tb, h); }
void on_end(CPUState *cpu, TranslationBlock *tb, struct hook *h) { probe->hit(cpu, "end", tb, h); }
void on_after(CPUState *cpu, TranslationBlock *tb, uint8_t code, struct hook *h) {
  probe->hit(cpu, code > TB_EXIT_IDX1 ? "after_early" : "after", tb, h);
}
bool on_invalidate(CPUState *cpu, TranslationBlock *tb, struct hook *h) {
  probe->hit(cpu, "invalidate", tb, h);
  return true;
}
void on_translate(CPUState *cpu, target_ulong, struct hook *h) { probe->hit(cpu, "before_translate", nullptr, h); }
void on_translated(CPUState *cpu, TranslationBlock *tb, struct hook *h) { probe->hit(cpu, "after_translate", tb, h); }
void on_codegen(CPUState *cpu, TranslationBlock *tb, struct hook *h) { probe->hit(cpu, "codegen", tb, h); }
void on_count(CPUState *cpu, TranslationBlock *, struct hook *h) {
  const target_ulong asid = panda_current_asid(cpu);
  probe->out.print("count 0x%llx 0x%llx %llu %llu %llu\n", static_cast<unsigned long long>(h->addr),
                   static_cast<unsigned long long>(asid),
                   static_cast<unsigned long long>(get_instr_count_current_asid()),
                   static_cast<unsigned long long>(get_instr_count_by_asid(asid)),
                   static_cast<unsigned long long>(rr_get_guest_instr_count()));
}

void Probe::add_hooks(const std::string &addresses, const std::string &type, target_ulong asid,
                      const std::string &mode) {
  struct hook h = {};
  h.enabled = true;
  h.asid = asid;
  h.km = mode == "kernel" ? MODE_KERNEL_ONLY : mode == "user" ? MODE_USER_ONLY : MODE_ANY;
  h.type = PANDA_CB_START_BLOCK_EXEC;
  h.cb.start_block_exec = on_start;
  if (type == "count") h.cb.start_block_exec = on_count;
  if (type == "before") h.type = PANDA_CB_BEFORE_BLOCK_EXEC, h.cb.before_block_exec = on_before;
  if (type == "end") h.type = PANDA_CB_END_BLOCK_EXEC, h.cb.end_block_exec = on_end;
  if (type == "after") h.type = PANDA_CB_AFTER_BLOCK_EXEC, h.cb.after_block_exec = on_after;
  if (type == "invalidate") {
    h.type = PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT;
    h.cb.before_block_exec_invalidate_opt = on_invalidate;
  }
  if (type == "before_translate") h.type = PANDA_CB_BEFORE_BLOCK_TRANSLATE, h.cb.before_block_translate = on_translate;
  if (type == "after_translate") h.type = PANDA_CB_AFTER_BLOCK_TRANSLATE, h.cb.after_block_translate = on_translated;
  if (type == "codegen") h.type = PANDA_CB_BEFORE_TCG_CODEGEN, h.cb.before_tcg_codegen = on_codegen;
  if (type == "nonsense") h.type = PANDA_CB_HD_READ;
  for (const std::string &address : split(addresses)) {
    h.addr = number(address);
    add_hook(&h);
  }
}

void on_access(CPUState *, struct memory_access_desc *a) {
  probe->out.print("%s %s %s 0x%llx 0x%llx %zu ", a->on_virtual ? "virtual" : "physical", a->on_read ? "read" : "write",
                   a->on_before ? "before" : "after", static_cast<unsigned long long>(a->pc),
                   static_cast<unsigned long long>(a->addr), a->size);
  if (a->buf == nullptr) probe->out.print("-");
  for (size_t i = 0; a->buf != nullptr && i < a->size; i++) probe->out.print("%02x", a->buf[i]);
  probe->out.print("\n");
}

// FIRST:LAST:FLAGS, FLAGS of "barwvp": before, after, read, write, virtual, physical (the address stays virtual here)
void Probe::watch(const std::string &region) {
  const std::vector<std::string> parts = split(region);
  if (parts.size() != 3) panda::refuse("mem=%s: not FIRST:LAST:FLAGS", region.c_str());
  const auto has = [&](char flag) { return parts[2].find(flag) != std::string::npos; };
  struct memory_hooks_region r = {};
  r.start_address = number(parts[0]);
  r.stop_address = number(parts[1]);
  r.enabled = true;
  r.on_before = has('b');
  r.on_after = has('a');
  r.on_read = has('r');
  r.on_write = has('w');
  r.on_virtual = has('v');
  r.on_physical = has('p');
  r.cb = on_access;
  if (r.on_physical) {
    const target_ulong bytes = r.stop_address - r.start_address;
    r.start_address = static_cast<target_ulong>(panda_virt_to_phys(get_cpu(), r.start_address));
    r.stop_address = r.start_address + bytes;
  }
  out.print("watch %d\n", add_mem_hook(&r) != nullptr ? 1 : 0);
}

// Results as CPUID would give none: twice the argument.
void on_hypercall(CPUState *cpu) {
  probe->out.print("hypercall 0x%llx %llu\n", static_cast<unsigned long long>(cpu->regs[R_EAX]),
                   static_cast<unsigned long long>(cpu->regs[R_EBX]));
  cpu->regs[R_EAX] = 2 * cpu->regs[R_EBX];
}

void Probe::look_at_handlers() {
  on_before_handle_exception([this](CPUState *, int32_t number) {
    expect_exception = number < 32;
    handlers += number < 32;
    return number;
  });
  on_before_block_exec([this](CPUState *cpu, TranslationBlock *) {
    const bool in = check_in_exception();
    if (!panda_in_kernel_mode(cpu)) {
      user_blocks++;
      wrong_in_user += in || check_in_interrupt();
    }
    if (expect_exception) ++(in ? in_exception : not_in_exception);
    expect_exception = false;
  });
}

Probe::Probe() {
  probe = this;
  panda::Arguments args = arguments();
  const std::string file = args.text("out", "probe.txt", "file for what is found");
  const std::string addresses = args.text("hooks", "", "ADDRESS:ADDRESS...");
  const std::string type = args.text("type", "start", "type of the hooks");
  const target_ulong asid = args.address("asid", 0, "of the hooks");
  const std::string mode = args.text("mode", "any", "any, kernel, user");
  once = args.flag("once", "hooks disable themselves");
  toggle = args.text("toggle", "", "off: the first hook ends hooking, the next hypercall begins it again");
  const bool symbol = args.flag("symbol", "a symbol hook");
  const std::string region = args.text("mem", "", "FIRST:LAST:FLAGS");
  const target_ulong mem_at = args.address("mem_at", 0, "watch from the first time this is executed");
  magic = args.number<uint32_t>("hypercall", 0, "number");
  const bool leave = args.flag("leave", "unload itself at the guest's hypercall");
  intexc = args.flag("intexc", "look at handlers");
  mmio = args.flag("mmio", "count device accesses");
  args.done();
  out = panda::Output(file);
  if (!addresses.empty() || symbol || mem_at != 0) {
    if (!init_hooks_api()) panda::refuse("no hooks");
    if (type == "count" && !init_asid_instr_count_api()) panda::refuse("no asid_instr_count");
    add_hooks(addresses, type, asid, mode);
    if (symbol) {
      struct symbol_hook h = {};
      strcpy(h.name, "malloc");
      add_symbol_hook(&h);
    }
  }
  if (!region.empty()) {
    if (!init_mem_hooks_api()) panda::refuse("no mem_hooks");
    if (mem_at == 0) {
      watch(region);
    } else {
      static std::string later;
      later = region;
      struct hook h = {};
      h.addr = mem_at;
      h.enabled = true;
      h.type = PANDA_CB_START_BLOCK_EXEC;
      h.cb.start_block_exec = [](CPUState *, TranslationBlock *, struct hook *self) {
        self->enabled = false;
        probe->watch(later);
      };
      add_hook(&h);
    }
  }
  if (!toggle.empty()) {
    on_guest_hypercall([this](CPUState *) {
      if (toggle == "on") enable_hooking();
      return false;
    });
  }
  if (leave) {
    on_guest_hypercall([this](CPUState *) {
      panda_unload_plugin(self());
      return false;
    });
  }
  if (magic != 0) {
    if (!init_hypercaller_api()) panda::refuse("no hypercaller");
    register_hypercall(magic, on_hypercall);
  }
  if (intexc) {
    if (!init_track_intexc_api()) panda::refuse("no track_intexc");
    look_at_handlers();
  }
  if (mmio && !init_mmio_trace_api()) panda::refuse("no mmio_trace");
}

Probe::~Probe() {
  if (intexc) {
    out.print("handlers %llu in %llu not_in %llu user_blocks %llu wrong %llu\n",
              static_cast<unsigned long long>(handlers), static_cast<unsigned long long>(in_exception),
              static_cast<unsigned long long>(not_in_exception), static_cast<unsigned long long>(user_blocks),
              static_cast<unsigned long long>(wrong_in_user));
  }
  if (mmio) {
    int count = -1;
    mmio_event_t *const events = get_mmio_events(&count);
    for (int i = 0; i < count; i++) {
      out.print("mmio %c 0x%llx %zu 0x%llx %s\n", events[i].access_type,
                static_cast<unsigned long long>(events[i].phys_addr), events[i].size,
                static_cast<unsigned long long>(events[i].value), events[i].dev_name);
    }
    free(events);
  }
}

}  // namespace

PANDA_PLUGIN(Probe)
