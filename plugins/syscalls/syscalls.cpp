// Lists the guest's Linux system calls: sysenter, syscall and int 0x80, at the instruction itself.
//
// One line a call:  PC=<hex>, SYSCALL=<hex>[ (name)]
#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "panda/plugin.hpp"

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

enum class Entry { None, Sysenter, Syscall, Int80 };

Entry entry_at(CPUState *cpu, target_ulong pc) {
  const auto code = panda::read<std::array<uint8_t, 2>>(cpu, pc);
  if (!code) return Entry::None;
  if ((*code)[0] == 0x0f && (*code)[1] == 0x34) return Entry::Sysenter;
  if ((*code)[0] == 0x0f && (*code)[1] == 0x05) return Entry::Syscall;
  if ((*code)[0] == 0xcd && (*code)[1] == 0x80) return Entry::Int80;
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

class Syscalls : public panda::Plugin {
 public:
  Syscalls();
  ~Syscalls() override;

 private:
  void called(CPUState *cpu, target_ulong pc);
  void write_summary();

  panda::Output list_, summary_;
  bool names_;
  target_ulong only_asid_;
  std::map<std::pair<Abi, uint64_t>, uint64_t> counts_;
};

Syscalls::Syscalls() {
  panda::Arguments args = arguments();
  const std::string file = args.text("file", "syscalls.txt", "file for the calls (-: standard output, none: no list)");
  names_ = args.flag("names", "add the names of the calls");
  const std::string summary = args.text("summary", "", "file for the counts at the end, most frequent first");
  only_asid_ = args.address("asid", 0, "only calls of this address space");
  args.done();
  if (file != "none") list_ = panda::Output(file);
  summary_ = panda::Output(summary);
  on_insn_translate([](CPUState *cpu, target_ulong pc) { return entry_at(cpu, pc) != Entry::None; });
  on_insn_exec([this](CPUState *cpu, target_ulong pc) { called(cpu, pc); });
}

void Syscalls::called(CPUState *cpu, target_ulong pc) {
  const Entry entry = entry_at(cpu, pc);
  if (entry == Entry::None || (only_asid_ != 0 && panda_current_asid(cpu) != only_asid_)) return;
  const target_ulong number = cpu->regs[R_EAX];
  const Abi abi = abi_of(cpu, entry);
  if (summary_) counts_[{abi, abi == Abi::Linux32 ? number & 0xffffffff : number}]++;
  list_.print("PC=" TARGET_FMT_lx ", SYSCALL=" TARGET_FMT_lx, pc, number);
  if (names_) list_.print(" (%s)", label(abi, number).c_str());
  list_.print("\n");
}

void Syscalls::write_summary() {
  std::vector<std::pair<uint64_t, std::string>> rows;
  uint64_t total = 0;
  for (const auto &[call, count] : counts_) {
    rows.emplace_back(count, label(call.first, call.second));
    total += count;
  }
  std::sort(rows.begin(), rows.end(),
            [](const auto &a, const auto &b) { return a.first != b.first ? a.first > b.first : a.second < b.second; });
  for (const auto &[count, name] : rows) summary_.print("%10" PRIu64 "  %s\n", count, name.c_str());
  summary_.print("%10" PRIu64 "  total\n", total);
}

Syscalls::~Syscalls() {
  if (summary_) write_summary();
}

}  // namespace

PANDA_PLUGIN(Syscalls)
