#include "unicorn_executor.h"

#include <array>
#include <cstring>

#include "base/check.h"
#include "real_mode.h"

namespace panda::x86test {
namespace {

const std::array<int, 16> kGpr64 = {UC_X86_REG_RAX, UC_X86_REG_RCX, UC_X86_REG_RDX, UC_X86_REG_RBX,
                                    UC_X86_REG_RSP, UC_X86_REG_RBP, UC_X86_REG_RSI, UC_X86_REG_RDI,
                                    UC_X86_REG_R8,  UC_X86_REG_R9,  UC_X86_REG_R10, UC_X86_REG_R11,
                                    UC_X86_REG_R12, UC_X86_REG_R13, UC_X86_REG_R14, UC_X86_REG_R15};
const std::array<int, 8> kGpr32 = {UC_X86_REG_EAX, UC_X86_REG_ECX, UC_X86_REG_EDX, UC_X86_REG_EBX,
                                   UC_X86_REG_ESP, UC_X86_REG_EBP, UC_X86_REG_ESI, UC_X86_REG_EDI};

int gpr(UnicornMode mode, unsigned i) { return mode == UnicornMode::Long64 ? kGpr64[i] : kGpr32[i]; }

uc_mode uc_mode_of(UnicornMode mode) {
  switch (mode) {
    case UnicornMode::Real16:
      return UC_MODE_16;
    case UnicornMode::Protected32:
      return UC_MODE_32;
    default:
      return UC_MODE_64;
  }
}

void check(uc_err error) { PANDA_CHECK(error == UC_ERR_OK); }

}  // namespace

UnicornExecutor::UnicornExecutor(UnicornMode mode)
    : mode_(mode),
      code_at_(mode == UnicornMode::Real16 ? kRealCode : kCode),
      data_at_(mode == UnicornMode::Real16 ? kRealData : kData) {
  check(uc_open(UC_ARCH_X86, uc_mode_of(mode), &uc_));
  check(uc_ctl_set_cpu_model(uc_, UC_CPU_X86_EPYC_ROME));
  check(uc_mem_map(uc_, code_at_, 0x1000, UC_PROT_ALL));
  check(uc_mem_map(uc_, data_at_, kDataBytes, UC_PROT_READ | UC_PROT_WRITE));
  if (mode != UnicornMode::Real16) check(uc_mem_map(uc_, kReadOnly, 0x1000, UC_PROT_READ));
  uint64_t cr4 = 0;
  check(uc_reg_read(uc_, UC_X86_REG_CR4, &cr4));
  cr4 |= 0x600;  // OSXMMEXCPT, OSFXSR
  check(uc_reg_write(uc_, UC_X86_REG_CR4, &cr4));
  uc_hook hook;
  check(uc_hook_add(uc_, &hook, UC_HOOK_INTR, reinterpret_cast<void*>(&UnicornExecutor::on_interrupt), this, 1, 0));
}

UnicornExecutor::~UnicornExecutor() { uc_close(uc_); }

void UnicornExecutor::on_interrupt(uc_engine* uc, uint32_t, void* self) {
  static_cast<UnicornExecutor*>(self)->raised_ = true;
  uc_emu_stop(uc);
}

Result UnicornExecutor::run(const std::vector<uint8_t>& code, const MachineState& before) {
  const unsigned gprs = mode_ == UnicornMode::Long64 ? 16 : 8;
  std::vector<uint8_t> padded = code;
  padded.resize(code.size() + 16, 0x90);
  check(uc_mem_write(uc_, code_at_, padded.data(), padded.size()));
  check(uc_ctl_remove_cache(uc_, code_at_, code_at_ + 0x1000));
  check(uc_mem_write(uc_, data_at_, before.data.data(), before.data.size()));
  for (unsigned i = 0; i < gprs; i++) uc_reg_write(uc_, gpr(mode_, i), &before.gpr[i]);
  uc_reg_write(uc_, UC_X86_REG_EFLAGS, &before.rflags);
  uint32_t mxcsr;
  std::memcpy(&mxcsr, &before.fx[24], 4);
  uc_reg_write(uc_, UC_X86_REG_MXCSR, &mxcsr);
  for (unsigned i = 0; i < gprs; i++) {
    uc_reg_write(uc_, UC_X86_REG_XMM0 + static_cast<int>(i), &before.fx[160 + 16 * i]);
  }

  // No count: a repeated string instruction runs to its end.
  raised_ = false;
  const uc_err error = uc_emu_start(uc_, code_at_, code_at_ + code.size(), 0, 0);
  Result result;
  result.state = before;
  if (raised_ || error != UC_ERR_OK) result.outcome = Outcome::Other;
  for (unsigned i = 0; i < gprs; i++) {
    result.state.gpr[i] = 0;
    uc_reg_read(uc_, gpr(mode_, i), &result.state.gpr[i]);
  }
  result.state.rflags = 0;
  uc_reg_read(uc_, UC_X86_REG_EFLAGS, &result.state.rflags);
  result.state.rip = 0;
  uc_reg_read(uc_, mode_ == UnicornMode::Long64 ? UC_X86_REG_RIP : UC_X86_REG_EIP, &result.state.rip);
  uc_reg_read(uc_, UC_X86_REG_MXCSR, &mxcsr);
  std::memcpy(&result.state.fx[24], &mxcsr, 4);
  for (unsigned i = 0; i < gprs; i++) {
    uc_reg_read(uc_, UC_X86_REG_XMM0 + static_cast<int>(i), &result.state.fx[160 + 16 * i]);
  }
  check(uc_mem_read(uc_, data_at_, result.state.data.data(), result.state.data.size()));
  return result;
}

}  // namespace panda::x86test
