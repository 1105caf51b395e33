#include "unicorn_executor.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace panda::x86test {
namespace {

const int kGpr64[] = {UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX, UC_X86_REG_RSP, UC_X86_REG_RBP,
                      UC_X86_REG_RSI, UC_X86_REG_RDI, UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                      UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
const int kGpr32[] = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
                      UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI};

void check(uc_err error, const char* what) {
  if (error == UC_ERR_OK) return;
  std::fprintf(stderr, "unicorn: %s: %s\n", what, uc_strerror(error));
  std::abort();
}

}  // namespace

UnicornExecutor::UnicornExecutor(Mode mode) : mode_(mode) {
  check(uc_open(UC_ARCH_X86, mode == Mode::Long64 ? UC_MODE_64 : UC_MODE_32, &uc_), "open");
  check(uc_mem_map(uc_, kCode, 0x1000, UC_PROT_ALL), "map");
  check(uc_mem_map(uc_, kData, kDataBytes, UC_PROT_READ | UC_PROT_WRITE), "map");
  check(uc_mem_map(uc_, kReadOnly, 0x1000, UC_PROT_READ), "map");
  uc_hook hook;
  check(uc_hook_add(uc_, &hook, UC_HOOK_INTR, reinterpret_cast<void*>(&UnicornExecutor::on_interrupt), this, 1, 0),
        "hook");
}

UnicornExecutor::~UnicornExecutor() { uc_close(uc_); }

void UnicornExecutor::on_interrupt(uc_engine* uc, uint32_t vector, void* self) {
  auto* me = static_cast<UnicornExecutor*>(self);
  me->vector_ = vector;
  me->raised_ = true;
  uc_emu_stop(uc);
}

Result UnicornExecutor::run(const std::vector<uint8_t>& code, const MachineState& before) {
  const bool wide = mode_ == Mode::Long64;
  const unsigned gprs = wide ? 16 : 8;
  std::vector<uint8_t> padded = code;
  padded.resize(code.size() + 16, 0x90);
  check(uc_mem_write(uc_, kCode, padded.data(), padded.size()), "write");
  check(uc_mem_write(uc_, kData, before.data.data(), before.data.size()), "write");
  for (unsigned i = 0; i < gprs; i++) uc_reg_write(uc_, wide ? kGpr64[i] : kGpr32[i], &before.gpr[i]);
  uc_reg_write(uc_, UC_X86_REG_EFLAGS, &before.rflags);
  uint16_t word;
  std::memcpy(&word, &before.fx[0], 2);
  uc_reg_write(uc_, UC_X86_REG_FPCW, &word);
  std::memcpy(&word, &before.fx[2], 2);
  uc_reg_write(uc_, UC_X86_REG_FPSW, &word);
  uint32_t mxcsr;
  std::memcpy(&mxcsr, &before.fx[24], 4);
  uc_reg_write(uc_, UC_X86_REG_MXCSR, &mxcsr);
  for (int i = 0; i < 8; i++) uc_reg_write(uc_, UC_X86_REG_ST0 + i, &before.fx[static_cast<size_t>(32 + 16 * i)]);
  for (unsigned i = 0; i < gprs; i++) {
    uc_reg_write(uc_, UC_X86_REG_XMM0 + static_cast<int>(i), &before.fx[160 + 16 * i]);
  }

  raised_ = false;
  const uc_err error = uc_emu_start(uc_, kCode, kCode + code.size(), 0, 1);
  Result result;
  result.state = before;
  if (raised_) {
    switch (vector_) {
      case 0: result.outcome = Outcome::DivideError; break;
      case 1:
      case 3: result.outcome = Outcome::Trap; break;
      case 6: result.outcome = Outcome::Invalid; break;
      case 16:
      case 19: result.outcome = Outcome::FpError; break;
      case 17: result.outcome = Outcome::Alignment; break;
      default: result.outcome = Outcome::Protection;
    }
  } else if (error == UC_ERR_INSN_INVALID) {
    result.outcome = Outcome::Invalid;
  } else if (error != UC_ERR_OK) {
    result.outcome = Outcome::Protection;
  }
  for (unsigned i = 0; i < gprs; i++) uc_reg_read(uc_, wide ? kGpr64[i] : kGpr32[i], &result.state.gpr[i]);
  uint64_t flags = 0;
  uc_reg_read(uc_, UC_X86_REG_EFLAGS, &flags);
  result.state.rflags = flags;
  uint64_t rip = 0;
  uc_reg_read(uc_, wide ? UC_X86_REG_RIP : UC_X86_REG_EIP, &rip);
  result.state.rip = rip;
  uc_reg_read(uc_, UC_X86_REG_FPCW, &word);
  std::memcpy(&result.state.fx[0], &word, 2);
  uc_reg_read(uc_, UC_X86_REG_FPSW, &word);
  std::memcpy(&result.state.fx[2], &word, 2);
  uc_reg_read(uc_, UC_X86_REG_MXCSR, &mxcsr);
  std::memcpy(&result.state.fx[24], &mxcsr, 4);
  for (int i = 0; i < 8; i++) uc_reg_read(uc_, UC_X86_REG_ST0 + i, &result.state.fx[static_cast<size_t>(32 + 16 * i)]);
  for (unsigned i = 0; i < gprs; i++) {
    uc_reg_read(uc_, UC_X86_REG_XMM0 + static_cast<int>(i), &result.state.fx[160 + 16 * i]);
  }
  check(uc_mem_read(uc_, kData, result.state.data.data(), result.state.data.size()), "read");
  return result;
}

}  // namespace panda::x86test
