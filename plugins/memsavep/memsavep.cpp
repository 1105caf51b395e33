// Saves the guest's RAM, and its registers, at one point of a replay, and ends the replay there.
#include <array>

#include "panda/plugin.hpp"

namespace {

constexpr double kNever = 200;  // percent

class MemSaveP : public panda::Plugin {
 public:
  MemSaveP() {
    panda::Arguments args = arguments();
    percent_ = args.real("percent", kNever, "when this much of the replay is over");
    limit_ = args.number<uint64_t>("instrcount", 0, "when this many instructions were executed");
    path_ = args.text("file", "memsavep.raw", "where to write the RAM");
    register_path_ = args.text("regfile", "", "where to write the registers");
    size_ = args.number<uint64_t>("size", 0, "bytes of RAM to write, from its beginning (default: all)");
    by_percent_ = args.given("percent");
    const bool by_count = args.given("instrcount");
    args.done();
    if (by_percent_ == by_count) panda::refuse("give either percent= or instrcount=");
    if (by_percent_ && !(percent_ >= 0 && percent_ <= 100))
      panda::refuse("percent=%g: not between 0 and 100", percent_);
    if (size_ > panda_ram_size()) {
      panda::refuse("size=%" PRIu64 ": the guest has %" PRIu64 " bytes of RAM", size_, panda_ram_size());
    }
    if (!rr_in_replay() && panda_rr_requested() != RR_REPLAY) panda::refuse("works on a replay: give -replay NAME");
    on_before_block_exec([this](CPUState* cpu, TranslationBlock*) { look(cpu); });
  }
  ~MemSaveP() override {
    if (!done_) say("the replay ended before the given point: nothing was saved");
  }

 private:
  void look(CPUState* cpu) {
    if (done_) return;
    const uint64_t count = rr_get_guest_instr_count();
    if (!limit_known_) {
      limit_known_ = true;
      // The count need not begin at 0: the guest ran before the recording.
      if (by_percent_)
        limit_ =
            count + static_cast<uint64_t>(static_cast<double>(replay_get_total_num_instructions()) * percent_ / 100);
    }
    if (count < limit_) return;
    done_ = true;
    save_ram();
    if (!register_path_.empty()) save_registers(cpu);
    panda_replay_end();
  }

  void save_ram() {
    try {
      panda::Output out(path_);
      if (size_ == 0) {
        panda_memsavep(out.file());
      } else {
        save_part(out);
      }
      if (out.close()) say("saved RAM to %s at instruction %" PRIu64, path_.c_str(), rr_get_guest_instr_count());
    } catch (const panda::Refusal& why) {
      say("%s", why.what());
    }
  }

  void save_part(panda::Output& out) {
    std::array<uint8_t, 4096> page;
    for (uint64_t at = 0; at < size_; at += page.size()) {
      const size_t part = static_cast<size_t>(std::min<uint64_t>(page.size(), size_ - at));
      // What is no RAM (below 1 MiB) is zeros, so that a place in the file is a physical address.
      if (panda_physical_memory_read(at, page.data(), static_cast<int>(part)) < 0) page.fill(0);
      out.write(page.data(), part);
    }
  }

  void save_registers(CPUState* cpu) {
    static constexpr const char* kNames[] = {"EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI",
                                             "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15"};
    static constexpr const char* kSegments[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    try {
      panda::Output out(register_path_);
      for (int i = 0; i < CPU_NB_REGS; i++) out.print("%s " TARGET_FMT_lx "\n", kNames[i], cpu->regs[i]);
      out.print("EIP " TARGET_FMT_lx "\n", static_cast<target_ulong>(cpu->eip));
      out.print("EFLAGS %08" PRIx32 "\n", panda_get_eflags(cpu));
      for (int i = 0; i < 5; i++) {
        if (i != 1) out.print("CR%d " TARGET_FMT_lx "\n", i, static_cast<target_ulong>(cpu->cr[i]));
      }
      for (int i = 0; i < 6; i++) {
        out.print("%s %04" PRIx32 " base " TARGET_FMT_lx "\n", kSegments[i], cpu->segs[i].selector,
                  static_cast<target_ulong>(cpu->segs[i].base));
      }
      out.print("GDT base " TARGET_FMT_lx "\n", static_cast<target_ulong>(cpu->gdt.base));
      out.print("IDT base " TARGET_FMT_lx "\n", static_cast<target_ulong>(cpu->idt.base));
    } catch (const panda::Refusal& why) {
      say("%s", why.what());
    }
  }

  double percent_ = kNever;
  bool by_percent_ = false;
  std::string path_, register_path_;
  uint64_t size_ = 0;
  uint64_t limit_ = 0;  // the instruction count at which to save
  bool limit_known_ = false;
  bool done_ = false;
};

}  // namespace

PANDA_PLUGIN(MemSaveP)
