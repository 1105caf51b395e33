#include "skip.h"

#include <algorithm>

namespace panda::x86test {
namespace {

struct Skip {
  ZydisMnemonic mnemonic;
  const char* reason;
};

#define S(m, why) {ZYDIS_MNEMONIC_##m, why}
const Skip kSkips[] = {
    S(JMP, "leaves the test's code; control_test.cpp"), S(CALL, "leaves the test's code; control_test.cpp"),
    S(RET, "leaves the test's code; control_test.cpp"), S(LOOP, "leaves the test's code; control_test.cpp"),
    S(LOOPE, "leaves the test's code; control_test.cpp"), S(LOOPNE, "leaves the test's code; control_test.cpp"),
    S(INT, "the host's kernel answers it"), S(INT1, "the host's kernel answers it"),
    S(INT3, "the host's kernel answers it"), S(INTO, "the host's kernel answers it"),
    S(POPF, "may set TF"), S(POPFD, "may set TF"), S(POPFQ, "may set TF"),
    S(PUSHF, "the interrupt flag differs"), S(PUSHFD, "the interrupt flag differs"), S(PUSHFQ, "the interrupt flag differs"),
    S(UD0, "operand forms differ between CPUs"), S(UD1, "operand forms differ between CPUs"),
    S(BOUND, "not in 64-bit mode"), S(RCPPS, "approximations differ between CPUs"),
    S(RCPSS, "approximations differ between CPUs"), S(RSQRTPS, "approximations differ between CPUs"),
    S(RSQRTSS, "approximations differ between CPUs"), S(FXSAVE, "FIP and FDP differ between CPUs"),
    S(FXSAVE64, "FIP and FDP differ between CPUs"), S(FNSAVE, "FIP and FDP differ between CPUs"),
    S(FNSTENV, "FIP and FDP differ between CPUs"), S(FXRSTOR, "random images are not valid"),
    S(FXRSTOR64, "random images are not valid"), S(FRSTOR, "random images unmask exceptions"),
    S(FLDENV, "random images unmask exceptions"), S(FLDCW, "random words unmask exceptions"),
    S(XSAVEOPT, "depends on the OS"), S(XSAVEOPT64, "depends on the OS"), S(XSAVEC, "depends on the OS"),
    S(XSAVEC64, "depends on the OS"), S(LDMXCSR, "random words unmask exceptions"), S(XSAVE, "depends on the OS"), S(XRSTOR, "depends on the OS"),
    S(XSAVE64, "depends on the OS"), S(XRSTOR64, "depends on the OS"), S(XGETBV, "depends on the OS"),
    S(XSETBV, "privileged"), S(SYSCALL, "the host's kernel answers it"), S(SYSENTER, "the host's kernel answers it"),
};
#undef S

bool is_conditional_jump(ZydisMnemonic m) {
  const std::string name = ZydisMnemonicGetString(m);
  return name[0] == 'j';
}

bool starts_with(const Form& form, const char* prefix) {
  return std::string(ZydisMnemonicGetString(form.mnemonic)).rfind(prefix, 0) == 0;
}

}  // namespace

bool skipped(ZydisMnemonic mnemonic, x86::Feature) {
  if (is_conditional_jump(mnemonic)) return true;
  return std::ranges::any_of(kSkips, [&](const Skip& s) { return s.mnemonic == mnemonic; });
}

bool oracle_is_wrong(const std::string& oracle, const Form& form) {
  if (oracle != "unicorn") return false;
  // Unicorn 2 computes x87 and sticky flags with its own approximations.
  if (starts_with(form, "f")) return true;
  return false;
}

void prepare(const Form& form, MachineState& state, Rng& rng) {
  const std::string name = ZydisMnemonicGetString(form.mnemonic);
  const bool string = name.rfind("movs", 0) == 0 || name.rfind("cmps", 0) == 0 || name.rfind("stos", 0) == 0 ||
                      name.rfind("lods", 0) == 0 || name.rfind("scas", 0) == 0;
  if (string && form.operands.empty()) {
    state.gpr[6] = kData + 0x400 + rng() % 64;
    state.gpr[7] = kData + 0xc00 + rng() % 64;
    state.gpr[1] = rng() % 24;
    if (rng() % 4 == 0) state.rflags |= 0x400;
  }
  if (name == "xlat") state.gpr[3] = kData + rng() % 0x100;
  if (name == "maskmovdqu" || name == "maskmovq") state.gpr[7] = kData + 0x800 + rng() % 64;
  if (name == "leave") state.gpr[5] = kData + 0x1000 + rng() % 64;
  if (name == "enter") state.gpr[5] = kData + 0x1800;
}

}  // namespace panda::x86test
