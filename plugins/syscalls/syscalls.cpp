// Lists the guest's Linux system calls: sysenter, syscall and int 0x80, at the instruction itself.
//
//   file=PATH     where to write (default syscalls.txt; "none": nowhere, "-": standard output)
//   names         adds each call's name
//   summary=PATH  at the end, how often each call was made, most frequent first ("-": standard output)
//
// One line a call:  PC=<hex>, SYSCALL=<hex>[ (name)]
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "panda/plugin.h"

extern "C" {
bool init_plugin(void *self);
void uninit_plugin(void *self);
}

namespace {

enum class Abi { Linux32, Linux64 };

const char *syscall_name(Abi abi, uint64_t number) {
  if (abi == Abi::Linux64) {
    switch (number & ~uint64_t{0x40000000}) {  // the bit that marks x32 calls
#define SYSCALL(n, name) \
  case n:                \
    return #name;
#include "linux_x86_64.inc"
#undef SYSCALL
      default:
        return nullptr;
    }
  }
  switch (number & 0xffffffff) {
#define SYSCALL(n, name) \
  case n:                \
    return #name;
#include "linux_i386.inc"
#undef SYSCALL
    default:
      return nullptr;
  }
}

struct Plugin {
  FILE *list = nullptr;
  bool names = false;
  std::string summary;
  std::map<std::pair<Abi, uint64_t>, uint64_t> counts;
};
Plugin plugin;

enum class Entry { None, Sysenter, Syscall, Int80 };

Entry entry_at(CPUState *cpu, target_ulong pc) {
  uint8_t code[2];
  if (panda_virtual_memory_read(cpu, pc, code, 2) != 0) return Entry::None;
  if (code[0] == 0x0f && code[1] == 0x34) return Entry::Sysenter;
  if (code[0] == 0x0f && code[1] == 0x05) return Entry::Syscall;
  if (code[0] == 0xcd && code[1] == 0x80) return Entry::Int80;
  return Entry::None;
}

// Only `syscall` in 64-bit code uses the 64-bit table; the others are the 32-bit interface wherever they stand.
Abi abi_of(const CPUState *cpu, Entry entry) {
#ifdef TARGET_X86_64
  if (entry == Entry::Syscall && (cpu->efer & MSR_EFER_LMA) != 0 && (cpu->segs[R_CS].flags & DESC_L_MASK) != 0) {
    return Abi::Linux64;
  }
#endif
  (void)cpu;
  (void)entry;
  return Abi::Linux32;
}

std::string label(Abi abi, uint64_t number) {
  const char *name = syscall_name(abi, number);
  std::string text = name != nullptr ? name : "syscall_" + std::to_string(number);
#ifdef TARGET_X86_64
  if (abi == Abi::Linux32) text += " (i386)";
#endif
  return text;
}

bool wants(CPUState *cpu, target_ulong pc) { return entry_at(cpu, pc) != Entry::None; }

int on_syscall(CPUState *cpu, target_ulong pc) {
  const Entry entry = entry_at(cpu, pc);
  if (entry == Entry::None) return 0;
  const target_ulong number = cpu->regs[R_EAX];
  const Abi abi = abi_of(cpu, entry);
  if (!plugin.summary.empty()) plugin.counts[{abi, abi == Abi::Linux32 ? number & 0xffffffff : number}]++;
  if (plugin.list == nullptr) return 0;
  fprintf(plugin.list, "PC=" TARGET_FMT_lx ", SYSCALL=" TARGET_FMT_lx, pc, number);
  if (plugin.names) fprintf(plugin.list, " (%s)", label(abi, number).c_str());
  fputc('\n', plugin.list);
  return 0;
}

FILE *open_output(const std::string &path) {
  if (path == "-") return stdout;
  FILE *file = fopen(path.c_str(), "w");
  if (file == nullptr) fprintf(stderr, "panda: plugin syscalls: cannot write %s: %s\n", path.c_str(), strerror(errno));
  return file;
}

void close_output(FILE *file, const char *what) {
  if (file == nullptr) return;
  const bool failed = file == stdout ? fflush(file) != 0 : (ferror(file) != 0) | (fclose(file) != 0);
  if (failed) fprintf(stderr, "panda: plugin syscalls: the %s is incomplete: %s\n", what, strerror(errno));
}

void write_summary() {
  FILE *out = open_output(plugin.summary);
  if (out == nullptr) return;
  std::vector<std::pair<uint64_t, std::string>> rows;
  uint64_t total = 0;
  for (const auto &[call, count] : plugin.counts) {
    rows.emplace_back(count, label(call.first, call.second));
    total += count;
  }
  std::sort(rows.begin(), rows.end(),
            [](const auto &a, const auto &b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  for (const auto &[count, name] : rows) fprintf(out, "%10" PRIu64 "  %s\n", count, name.c_str());
  fprintf(out, "%10" PRIu64 "  total\n", total);
  close_output(out, "summary");
}

}  // namespace

bool init_plugin(void *self) {
  panda_arg_list *args = panda_get_args("syscalls");
  const std::string file = panda_parse_string_opt(args, "file", "syscalls.txt", "where to write the calls");
  plugin.names = panda_parse_bool_opt(args, "names", "add the names of the calls");
  plugin.summary = panda_parse_string_opt(args, "summary", "", "where to write the counts at the end");
  panda_free_args(args);
  if (file != "none" && (plugin.list = open_output(file)) == nullptr) return false;

  panda_cb cb;
  cb.insn_translate = wants;
  panda_register_callback(self, PANDA_CB_INSN_TRANSLATE, cb);
  cb.insn_exec = on_syscall;
  panda_register_callback(self, PANDA_CB_INSN_EXEC, cb);
  return true;
}

void uninit_plugin(void *) {
  close_output(plugin.list, "list");
  plugin.list = nullptr;
  if (!plugin.summary.empty()) write_summary();
}
