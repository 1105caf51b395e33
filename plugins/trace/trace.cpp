// A trace of registers and memory, instruction by instruction, in the text format that Tenet opens: a line is what an
// instruction has changed, and where the next one is. The first line has all registers.
//
// Only instructions that may be in the trace get a call. A line is put together by hand in a buffer: a trace has
// millions.
#include <array>
#include <charconv>
#include <iterator>

#include "panda/plugin.hpp"

namespace {

#if TARGET_LONG_BITS == 64
constexpr const char *kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                  "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
constexpr const char *kPc = "rip";
#else
constexpr const char *kNames[] = {"eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"};
constexpr const char *kPc = "eip";
#endif
constexpr size_t kRegisters = std::size(kNames);
constexpr size_t kBufferBytes = size_t{1} << 20;

class Trace : public panda::Plugin {
 public:
  Trace();
  ~Trace() override;

 private:
  void step(CPUState *cpu, target_ulong pc);
  void touched(const char *how, target_ulong pc, target_ulong address, size_t size, const uint8_t *data);
  void text(const char *s) { line_ += s; }
  void hex(uint64_t value);

  target_ulong target_, begin_, end_;
  uint64_t first_, last_;
  bool user_only_;
  panda::Output out_;
  std::array<target_ulong, kRegisters> registers_{};
  bool begun_ = false;
  std::string memory_;    // what the running instruction has accessed
  bool running_ = false;  // an instruction of the trace runs: at pc_
  target_ulong pc_ = 0;
  std::string line_;  // and those before it that are not written yet
};

Trace::Trace() {
  panda::Arguments args = arguments();
  const std::string path = args.text("log", "trace.txt", "file for the trace");
  target_ = args.address("target", 0, "only this address space (ASID)");
  user_only_ = args.flag("user", "only user mode");
  begin_ = args.address("begin", 0, "only code from this address on");
  end_ = args.address("end", 0, "only code below this address (0: no end)");
  first_ = args.number<uint64_t>("first", 0, "only from this instruction count on");
  last_ = args.number<uint64_t>("last", UINT64_MAX, "only up to this instruction count");
  args.done();
  out_ = panda::Output(path);
  line_.reserve(kBufferBytes + 4096);
  on_insn_translate([this](CPUState *cpu, target_ulong pc) {
    return pc >= begin_ && (end_ == 0 || pc < end_) && !(user_only_ && panda_in_kernel_mode(cpu));
  });
  on_insn_exec([this](CPUState *cpu, target_ulong pc) { step(cpu, pc); });
  panda_enable_memcb();
  on_virt_mem_after_read([this](CPUState *, target_ulong pc, target_ulong address, size_t size, uint8_t *data) {
    if (running_) touched(",mr=0x", pc, address, size, data);
  });
  on_virt_mem_after_write([this](CPUState *, target_ulong pc, target_ulong address, size_t size, uint8_t *data) {
    if (running_) touched(",mw=0x", pc, address, size, data);
  });
  // What the delivery pushes is not the instruction's.
  on_before_handle_exception([this](CPUState *, int32_t number) {
    running_ = false;
    return number;
  });
  on_before_handle_interrupt([this](CPUState *, int32_t number) {
    running_ = false;
    return number;
  });
}

void Trace::hex(uint64_t value) {
  char digits[16];
  line_.append(digits, std::to_chars(digits, digits + sizeof digits, value, 16).ptr);
}

void Trace::step(CPUState *cpu, target_ulong pc) {
  running_ = false;
  if (target_ != 0 && panda_current_asid(cpu) != target_) return;
  const uint64_t now = rr_get_guest_instr_count();
  if (now < first_ || now > last_) return;
  for (size_t i = 0; i < kRegisters; i++) {
    const target_ulong value = cpu->regs[i];
    if (begun_ && value == registers_[i]) continue;
    registers_[i] = value;
    text(kNames[i]);
    text("=0x");
    hex(value);
    line_ += ',';
  }
  text(kPc);
  text("=0x");
  hex(pc);
  line_ += memory_;
  line_ += '\n';
  memory_.clear();
  begun_ = running_ = true;
  pc_ = pc;
  if (line_.size() < kBufferBytes) return;
  out_.write(line_.data(), line_.size());
  line_.clear();
}

void Trace::touched(const char *how, target_ulong pc, target_ulong address, size_t size, const uint8_t *data) {
  if (pc != pc_) return;
  memory_ += how;
  char digits[16];
  memory_.append(digits, std::to_chars(digits, digits + sizeof digits, address, 16).ptr);
  memory_ += ':';
  for (size_t i = 0; i < size; i++) {
    memory_ += "0123456789abcdef"[data[i] >> 4];
    memory_ += "0123456789abcdef"[data[i] & 15];
  }
}

Trace::~Trace() { out_.write(line_.data(), line_.size()); }

}  // namespace

PANDA_PLUGIN(Trace)
