#include "random_code.h"

#include <span>

#include "guest/x86/decoder.h"
#include "guest/x86/rows.h"
#include "random_state.h"
#include "skip.h"
#include "undefined.h"

namespace panda::x86test {
namespace {

// MOV r32, imm32 for the registers that changed: as `encode` and `prepare` want them.
void load_changed(const MachineState& from, const MachineState& to, Bytes& out) {
  for (unsigned i = 0; i < 8; i++) {
    if (i == 4 || from.gpr[i] == to.gpr[i]) continue;
    out.push_back(static_cast<uint8_t>(0xb8 + i));
    for (unsigned b = 0; b < 4; b++) out.push_back(static_cast<uint8_t>(to.gpr[i] >> (8 * b)));
  }
  if ((from.rflags ^ to.rflags) & 0x400) out.push_back(0xfd);  // STD
}

}  // namespace

std::vector<Form> sequence_forms(Mode mode) {
  std::vector<ZydisMnemonic> mnemonics;
  for (const auto rows : {x86::integer_rows(), x86::control_rows(), x86::string_rows(), x86::x87_rows(),
                          x86::mmx_rows(), x86::sse_rows(), x86::avx_rows()}) {
    for (const x86::Row& row : rows) {
      if (!skipped(row.mnemonic, row.feature) && !host_differs(row.mnemonic)) mnemonics.push_back(row.mnemonic);
    }
  }
  std::vector<Form> forms = all_forms(mnemonics, mode);
  // Gathers want their indices in a register beforehand, which the sequences do not arrange.
  std::erase_if(forms, [](const Form& form) { return is_gather(form); });
  return forms;
}

Bytes random_step(const std::vector<Form>& forms, Mode mode, Rng& rng, FormTally& tally, bool no_stack) {
  for (;;) {
    const Form& form = forms[rng() % forms.size()];
    MachineState blank;
    blank.gpr.fill(0x5eed'5eed);  // what nobody asks for
    MachineState wanted = blank;
    Encoded code = encode(form, mode, rng, wanted);
    if (code.bytes.empty()) continue;
    prepare(form, wanted, rng);
    MachineState shifted = wanted;
    shifted.gpr[1] = 31;  // a shift by CL, as far as it may come
    if (undefined_result(form, code, wanted) || undefined_result(form, code, shifted)) continue;
    if (wanted.gpr[4] != blank.gpr[4]) continue;
    Bytes out;
    load_changed(blank, wanted, out);
    out.insert(out.end(), code.bytes.begin(), code.bytes.end());
    if (undefined_flags(form, code, wanted) != 0 || undefined_flags(form, code, shifted) != 0) {
      out.insert(out.end(), {0x39, 0xc8});  // CMP EAX, ECX
    }
    if (no_stack && uses_stack(out, mode)) continue;
    tally.add(form);
    return out;
  }
}

MachineState sequence_state(Rng& rng, Mode mode) {
  MachineState before = random_state(rng, mode);
  before.fx[0] |= 0x3f;
  before.fx[2] &= 0x7f;
  before.fx[3] &= 0x7f;
  before.fx[24] |= 0x80;
  before.fx[25] |= 0x1f;
  return before;
}

bool uses_stack(const Bytes& code, Mode mode) {
  static const x86::Decoder decoder;
  const uint64_t flags = x86::kModePe | (mode == Mode::Long64 ? x86::kModeLma | x86::kModeCs64 : x86::kModeCs32);
  constexpr unsigned kRsp = 4;
  const auto is_stack = [](ZydisRegister r) {
    return x86::is_general_register(r) && !x86::general_register(r).high && x86::general_register(r).number == kRsp;
  };
  for (size_t at = 0; at < code.size();) {
    x86::DecodedInsn d{};
    if (decoder.decode(std::span(code).subspan(at), flags, d) != x86::DecodeStatus::Ok) return true;
    for (unsigned i = 0; i < d.insn.operand_count; i++) {
      const ZydisDecodedOperand& op = d.ops[i];
      if (op.type == ZYDIS_OPERAND_TYPE_MEMORY && is_stack(op.mem.base)) return true;
      if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && is_stack(op.reg.value)) return true;
    }
    at += d.insn.length;
  }
  return false;
}

}  // namespace panda::x86test
