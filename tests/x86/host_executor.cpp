// The instruction is placed between code that loads every register from a context block and code
// that stores every register back; a fault's signal handler continues at the storing part with the
// registers as the fault left them.
#include "host_executor.h"

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <xbyak/xbyak.h>

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/check.h"

namespace panda::x86test {
namespace {

// Everything is reached by absolute 32-bit addresses, which need no register.
constexpr uint64_t kContext = 0x2fff'0000;  // where no operand of a test gets
struct Context {
  alignas(64) uint8_t fx[512];
  uint8_t fx_host[512];
  uint8_t ymm_high[256];
  uint64_t gpr[16];
  uint64_t rflags;
  uint64_t host_rsp;
  uint64_t host_callee[6];
  uint64_t host_rflags;
  uint32_t far_offset;  // where the 32-bit part begins, as a far pointer
  uint16_t far_selector;
};
constexpr uint16_t kUserCode64 = 0x33, kUserCode32 = 0x23, kUserData = 0x2b;  // Linux's
constexpr uint32_t kStackTop = 0xff0;  // in the context's page: what the 32-bit part pushes on

bool has_avx() { return __builtin_cpu_supports("avx") != 0; }

struct Fault {
  volatile sig_atomic_t happened;
  volatile int signal;
  volatile int code;
  int vector;
  uint32_t error;
  uint64_t cr2;
  uint64_t resume;
  uint64_t rip;
};
Fault fault;

void on_fault(int signal, siginfo_t* info, void* context) {
  // The kernel leaves AC as the tested code had it.
  asm volatile("lea -128(%%rsp), %%rsp; pushfq; andl $~0x40000, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::
                   : "memory", "cc");
  auto* uc = static_cast<ucontext_t*>(context);
  const auto rip = static_cast<uint64_t>(uc->uc_mcontext.gregs[REG_RIP]);
  if (rip < kCode || rip >= kCode + 0x1000 || fault.happened) {
    ::signal(signal, SIG_DFL);  // not the tested instruction: a bug here, die as usual
    return;
  }
  fault.happened = 1;
  fault.signal = signal;
  fault.code = info->si_code;
  fault.rip = rip;
  fault.vector = static_cast<int>(uc->uc_mcontext.gregs[REG_TRAPNO]);
  fault.error = static_cast<uint32_t>(uc->uc_mcontext.gregs[REG_ERR]);
  fault.cr2 = static_cast<uint64_t>(uc->uc_mcontext.gregs[REG_CR2]);
  uc->uc_mcontext.gregs[REG_RIP] = static_cast<greg_t>(fault.resume);
  // Not every kernel returns to a stack pointer that is not canonical.
  auto* saved = reinterpret_cast<Context*>(kContext);
  saved->gpr[4] = static_cast<uint64_t>(uc->uc_mcontext.gregs[REG_RSP]);
  uc->uc_mcontext.gregs[REG_RSP] = static_cast<greg_t>(saved->host_rsp);
  uc->uc_mcontext.gregs[REG_EFL] &= ~0x100L;
}

// The instruction between code that loads and code that stores everything. In 32-bit mode, the part
// that loads and stores the general registers runs in the kernel's 32-bit user code segment.
class Stub : public Xbyak::CodeGenerator {
 public:
  Stub(uint8_t* at, const std::vector<uint8_t>& insn, Mode mode) : CodeGenerator(0x1000, at) {
    const Xbyak::Reg64 saved[] = {rbx, rbp, r12, r13, r14, r15};
    for (size_t i = 0; i < 6; i++) mov(qword_at(offsetof(Context, host_callee) + 8 * i), saved[i]);
    mov(qword_at(offsetof(Context, host_rsp)), rsp);
    fx_image(kFxsave, offsetof(Context, fx_host));
    fx_image(kFxrstor, offsetof(Context, fx));
    if (has_avx()) {
      for (int i = 0; i < 16; i++) vinsertf128(Xbyak::Ymm(i), Xbyak::Ymm(i), upper_half(i), 1);
    }
    if (mode == Mode::Long64)
      around_64(insn);
    else
      around_32(insn);
    push(2);  // AC and DF clear
    popfq();
    if (has_avx()) {
      for (int i = 0; i < 16; i++) vextractf128(upper_half(i), Xbyak::Ymm(i), 1);
      vzeroupper();
    }
    fx_image(kFxsave, offsetof(Context, fx));
    fx_image(kFxrstor, offsetof(Context, fx_host));
    for (size_t i = 0; i < 6; i++) mov(saved[i], qword_at(offsetof(Context, host_callee) + 8 * i));
    ret();
  }
  uint64_t insn_at = 0;
  uint64_t resume_at = 0;  // behind a fault, whose handler stores the stack pointer

 private:
  void around_64(const std::vector<uint8_t>& insn) {
    const Xbyak::Reg64 all[] = {rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15};
    push(qword_at(offsetof(Context, rflags)));
    popfq();
    for (size_t i = 0; i < 16; i++) mov(all[i], qword_at(offsetof(Context, gpr) + 8 * i));
    insn_at = getCurr<uint64_t>();
    for (uint8_t b : insn) db(b);
    mov(qword_at(offsetof(Context, gpr) + 8 * 4), rsp);
    resume_at = getCurr<uint64_t>();
    for (size_t i = 0; i < 16; i++) {
      if (i != 4) mov(qword_at(offsetof(Context, gpr) + 8 * i), all[i]);
    }
    mov(rsp, qword_at(offsetof(Context, host_rsp)));
    pushfq();
    pop(qword_at(offsetof(Context, rflags)));
  }
  void around_32(const std::vector<uint8_t>& insn) {
    mov(eax, kUserData);
    mov(ds, eax);
    mov(es, eax);
    bytes({0xff, 0x2c, 0x25}, offsetof(Context, far_offset));  // jmp far [..]
    auto* context = reinterpret_cast<Context*>(kContext);
    context->far_offset = static_cast<uint32_t>(getCurr<uint64_t>());
    context->far_selector = kUserCode32;
    db(0xbc);  // mov esp, imm32
    dd(static_cast<uint32_t>(kContext + kStackTop));
    bytes({0xff, 0x35}, offsetof(Context, rflags));  // push [..]
    db(0x9d);                                        // popfd
    for (unsigned i = 0; i < 8; i++) bytes({0x8b, static_cast<uint8_t>(5 | i << 3)}, offsetof(Context, gpr) + 8 * i);
    insn_at = getCurr<uint64_t>();
    for (uint8_t b : insn) db(b);
    const auto store = [this](unsigned i) {
      bytes({0x89, static_cast<uint8_t>(5 | i << 3)}, offsetof(Context, gpr) + 8 * i);
    };
    store(4);
    resume_at = getCurr<uint64_t>();
    for (unsigned i = 0; i < 8; i++) {
      if (i != 4) store(i);
    }
    db(0xbc);
    dd(static_cast<uint32_t>(kContext + kStackTop));
    db(0x9c);                                        // pushfd
    bytes({0x8f, 0x05}, offsetof(Context, rflags));  // pop [..]
    db(0xea);                                        // jmp far 0x33:next
    dd(static_cast<uint32_t>(getCurr<uint64_t>() + 6));
    dw(kUserCode64);
    mov(rsp, qword_at(offsetof(Context, host_rsp)));
  }
  // FXSAVE64 / FXRSTOR64 at an absolute address: REX.W 0F AE /0 or /1, SIB without base.
  static constexpr uint8_t kFxsave = 0x04, kFxrstor = 0x0c;
  void fx_image(uint8_t modrm, size_t offset) { bytes({0x48, 0x0f, 0xae, modrm, 0x25}, offset); }
  void bytes(std::initializer_list<uint8_t> opcode, size_t context_offset) {
    for (uint8_t b : opcode) db(b);
    dd(static_cast<uint32_t>(kContext + context_offset));
  }
  Xbyak::Address upper_half(int i) {
    return ptr[Xbyak::RegExp(kContext + offsetof(Context, ymm_high) + static_cast<size_t>(16 * i))];
  }
  Xbyak::Address qword_at(size_t offset) { return qword[Xbyak::RegExp(kContext + offset)]; }
};

void map_fixed(uint64_t address, size_t size, int protection) {
  void* p = mmap(reinterpret_cast<void*>(address), size, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
                 -1, 0);
  if (p != reinterpret_cast<void*>(address)) {
    std::perror("host_executor: mmap");
    std::abort();
  }
}

const int kSignals[] = {SIGSEGV, SIGFPE, SIGILL, SIGTRAP, SIGBUS};
alignas(16) uint8_t signal_stack[65536];

Outcome outcome_of(int signal) {
  switch (signal) {
    case SIGSEGV:
      return Outcome::Protection;
    case SIGFPE:
      return fault.code == FPE_INTDIV || fault.code == FPE_INTOVF ? Outcome::DivideError : Outcome::FpError;
    case SIGILL:
      return Outcome::Invalid;
    case SIGTRAP:
      return Outcome::Trap;
    case SIGBUS:
      return fault.code == BUS_ADRALN ? Outcome::Alignment : Outcome::Stack;  // Stack: a non-canonical address
    default:
      return Outcome::Other;
  }
}

}  // namespace

bool HostExecutor::offers(Mode mode) {
  if (mode == Mode::Long64) return true;
  bool valid = false;
  asm("lar %1, %%eax" : "=@ccz"(valid) : "r"(uint32_t{kUserCode32}) : "eax");
  return valid;
}

HostExecutor::HostExecutor(Mode mode) : mode_(mode) {
  map_fixed(kCode, 0x1000, PROT_READ | PROT_WRITE | PROT_EXEC);
  map_fixed(kData, kDataBytes, PROT_READ | PROT_WRITE);
  map_fixed(kReadOnly, 0x1000, PROT_READ);
  map_fixed(kContext, 0x1000, PROT_READ | PROT_WRITE);
  map_fixed(kScratch, 0x1000, PROT_READ | PROT_WRITE);
  static_cast<void>(*reinterpret_cast<volatile uint8_t*>(kReadOnly));  // makes it present
  stack_t stack{};
  stack.ss_sp = signal_stack;
  stack.ss_size = sizeof signal_stack;
  sigaltstack(&stack, nullptr);
  struct sigaction action{};
  action.sa_sigaction = on_fault;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (int s : kSignals) sigaction(s, &action, nullptr);
}

HostExecutor::~HostExecutor() {
  for (int s : kSignals) ::signal(s, SIG_DFL);
  munmap(reinterpret_cast<void*>(kCode), 0x1000);
  munmap(reinterpret_cast<void*>(kData), kDataBytes);
  munmap(reinterpret_cast<void*>(kReadOnly), 0x1000);
  munmap(reinterpret_cast<void*>(kContext), 0x1000);
  munmap(reinterpret_cast<void*>(kScratch), 0x1000);
}

bool HostExecutor::runs(const Bytes& insn) const { return offers(mode_) || in_long_mode(insn).has_value(); }

Result HostExecutor::run(const Bytes& code, const MachineState& before) {
  return run(Steps{{code}, std::nullopt}, before);
}

Result HostExecutor::run(const Steps& steps, const MachineState& before) {
  if (offers(mode_)) return execute(steps.bytes(), mode_, before);
  Steps there{{}, steps.loop_to};
  for (const Bytes& insn : steps.insns) {
    const std::optional<Bytes> same = in_long_mode(insn);
    PANDA_CHECK(same.has_value());
    there.insns.push_back(*same);
  }
  Result result = execute(there.bytes(), Mode::Long64, before);
  for (unsigned i = 0; i < 8; i++) result.state.gpr[i] &= 0xffffffff;
  const size_t offset = result.state.rip - kCode;
  const bool ended = offset == there.bytes().size();
  result.state.rip = kCode + (ended ? steps.bytes().size() : steps.offset_of(there.insn_at(offset)));
  return result;
}

Result HostExecutor::execute(const Bytes& code, Mode mode, const MachineState& before) {
  auto* context = reinterpret_cast<Context*>(kContext);
  auto* second_page = reinterpret_cast<void*>(kData + kPage);
  const Stub stub(reinterpret_cast<uint8_t*>(kCode), code, mode);
  std::memcpy(context->fx, before.fx.data(), 512);
  std::memcpy(context->ymm_high, before.ymm_high.data(), 256);
  std::memcpy(context->gpr, before.gpr.data(), sizeof context->gpr);
  context->rflags = before.rflags;
  std::memcpy(reinterpret_cast<void*>(kData), before.data.data(), before.data.size());
  if (access_ != PageAccess::Writable) {
    PANDA_CHECK(mprotect(second_page, kPage, access_ == PageAccess::ReadOnly ? PROT_READ : PROT_NONE) == 0);
  }
  fault.happened = 0;
  fault.resume = stub.resume_at;
  stub.getCode<void (*)()>()();
  if (access_ != PageAccess::Writable) PANDA_CHECK(mprotect(second_page, kPage, PROT_READ | PROT_WRITE) == 0);

  Result result;
  if (fault.happened) {
    result.outcome = outcome_of(fault.signal);
    result.vector = fault.vector;
    constexpr uint32_t kWithErrorCode = 0x27d00;  // 8, 10 to 14, 17
    if ((kWithErrorCode >> fault.vector & 1) != 0) result.error = fault.error;
    constexpr int kPageFault = 14;
    if (fault.vector == kPageFault) result.cr2 = fault.cr2;
  }
  if (mode == Mode::Protected32) {
    for (unsigned i = 0; i < 8; i++) context->gpr[i] &= 0xffffffff;
  }
  std::memcpy(result.state.fx.data(), context->fx, 512);
  if (has_avx())
    std::memcpy(result.state.ymm_high.data(), context->ymm_high, 256);
  else
    result.state.ymm_high = before.ymm_high;
  std::memcpy(result.state.gpr.data(), context->gpr, sizeof context->gpr);
  result.state.rflags = context->rflags;
  result.state.rip = kCode + (fault.happened ? fault.rip - stub.insn_at : code.size());
  const auto* data = reinterpret_cast<const uint8_t*>(kData);
  result.state.data.assign(data, data + kDataBytes);
  return result;
}

}  // namespace panda::x86test
