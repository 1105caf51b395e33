#include "steps.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "guest/x86/decoder.h"
#include "skip.h"
#include "undefined.h"

namespace panda::x86test {
namespace {

struct Decoded {
  ZydisDecodedInstruction insn;
  std::array<ZydisDecodedOperand, ZYDIS_MAX_OPERAND_COUNT> operands;
};

std::optional<Decoded> decode(const Bytes& code, Mode mode) {
  ZydisDecoder decoder;
  if (mode == Mode::Long64)
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  else
    ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
  Decoded d{};
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, code.data(), code.size(), &d.insn, d.operands.data()))) return {};
  return d;
}

constexpr unsigned kRcx = 1, kRsp = 4;

uint32_t bit_of(ZydisRegister r) { return x86::is_general_register(r) ? 1u << x86::general_register(r).number : 0; }

// Bits of the general registers: used at all, used as addresses, written.
struct Uses {
  uint32_t all = 0, addresses = 0, written = 0;
};
Uses uses_of(const Decoded& d) {
  Uses u;
  for (unsigned i = 0; i < d.insn.operand_count; i++) {
    const ZydisDecodedOperand& op = d.operands[i];
    if (op.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      u.all |= bit_of(op.reg.value);
      if ((op.actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0) u.written |= bit_of(op.reg.value);
    } else if (op.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      u.addresses |= bit_of(op.mem.base) | bit_of(op.mem.index);
    }
  }
  u.all |= u.addresses;
  return u;
}

// Again and again, and still with addresses that make sense and a defined result.
bool can_loop(const Form& form, const Uses& u) {
  const bool stack_only = (u.written & u.addresses) == 1u << kRsp;
  if (form.mnemonic == ZYDIS_MNEMONIC_LEAVE || form.mnemonic == ZYDIS_MNEMONIC_ENTER) return false;
  if ((u.all & 1u << kRcx) != 0 || ((u.written & u.addresses) != 0 && !stack_only)) return false;
  return !host_differs(form.mnemonic) && !is_gather(form);
}

// LEA r, [r + 1]: no flag changes.
Bytes increment(unsigned reg, Mode mode) {
  const auto low = static_cast<uint8_t>(reg & 7);
  Bytes out;
  if (mode == Mode::Long64) out.push_back(reg < 8 ? 0x48 : 0x4d);
  out.push_back(0x8d);
  out.push_back(static_cast<uint8_t>(0x40 | low << 3 | low));
  if (low == 4) out.push_back(0x24);
  out.push_back(1);
  return out;
}

// PSHUFD x, x, 0xe4: the same value, computed.
Bytes renew_xmm(unsigned reg) {
  const auto low = static_cast<uint8_t>(reg & 7);
  Bytes out{0x66};
  if (reg >= 8) out.push_back(0x45);
  out.insert(out.end(), {0x0f, 0x70, static_cast<uint8_t>(0xc0 | low << 3 | low), 0xe4});
  return out;
}

}  // namespace

size_t Steps::offset_of(size_t insn) const {
  size_t offset = 0;
  for (size_t i = 0; i < insn; i++) offset += insns[i].size();
  return offset;
}

size_t Steps::insn_at(size_t offset) const {
  size_t insn = 0;
  for (size_t end = 0; insn < insns.size(); insn++) {
    end += insns[insn].size();
    if (offset < end) break;
  }
  return insn;
}

Bytes Steps::bytes() const {
  Bytes all;
  for (const Bytes& insn : insns) all.insert(all.end(), insn.begin(), insn.end());
  if (loop_to) {
    const size_t back = all.size() + 2 - offset_of(*loop_to);
    all.insert(all.end(), {0xe2, static_cast<uint8_t>(-static_cast<int>(back))});
  }
  return all;
}

Steps in_region(const Form& form, const Encoded& code, Mode mode, MachineState& before, Rng& rng) {
  Steps steps;
  const std::optional<Decoded> d = decode(code.bytes, mode);
  const Uses uses = d ? uses_of(*d) : Uses{~0u, ~0u, ~0u};
  const bool loop = d && can_loop(form, uses) && rng() % 4 != 0;
  const unsigned gprs = mode == Mode::Long64 ? 16 : 8;
  if (loop) before.gpr[kRcx] = 1 + rng() % 3;
  const uint32_t fixed = uses.addresses | 1u << kRsp | 1u << kRcx;
  // Those that are not to change in the loop first.
  for (const bool outside : {true, false}) {
    for (unsigned reg = 0; reg < gprs; reg++) {
      if (((fixed >> reg & 1) != 0) != outside || rng() % 3 == 0) continue;
      steps.insns.push_back(increment(reg, mode));
      before.gpr[reg] -= 1;
      if (mode != Mode::Long64) before.gpr[reg] &= 0xffffffff;
    }
    if (outside && loop) steps.loop_to = steps.insns.size();
  }
  // The loop is short enough for LOOP.
  if (loop && steps.insns.size() > *steps.loop_to + 8) steps.loop_to = steps.insns.size() - 8;
  for (unsigned n = static_cast<unsigned>(rng() % 4); n > 0; n--) {
    steps.insns.push_back(renew_xmm(static_cast<unsigned>(rng() % gprs)));
  }
  steps.insns.push_back(code.bytes);
  return steps;
}

std::optional<Bytes> in_long_mode(const Bytes& insn) {
  const std::optional<Decoded> from = decode(insn, Mode::Protected32);
  if (!from || from->insn.length != insn.size()) return {};
  if ((from->insn.attributes & ZYDIS_ATTRIB_HAS_SEGMENT_CS) != 0) return {};
  Bytes out = insn;
  const size_t opcode_at = from->insn.raw.prefix_count;
  if (from->insn.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && (insn[opcode_at] & 0xf0) == 0x40) {  // INC r, DEC r
    out[opcode_at] = 0xff;
    out.insert(out.begin() + static_cast<std::ptrdiff_t>(opcode_at) + 1,
               static_cast<uint8_t>(0xc0 | (insn[opcode_at] & 15)));
  }
  const auto memory = [](const ZydisDecodedOperand& op) { return op.type == ZYDIS_OPERAND_TYPE_MEMORY; };
  if (std::ranges::any_of(from->operands.begin(), from->operands.begin() + from->insn.operand_count, memory)) {
    if ((from->insn.attributes & ZYDIS_ATTRIB_HAS_ADDRESSSIZE) != 0) return {};
    out.insert(out.begin(), 0x67);
  }
  const std::optional<Decoded> to = decode(out, Mode::Long64);
  if (!to || to->insn.length != out.size() || to->insn.mnemonic != from->insn.mnemonic ||
      to->insn.operand_count != from->insn.operand_count) {
    return {};
  }
  for (unsigned i = 0; i < to->insn.operand_count; i++) {
    const ZydisDecodedOperand &a = from->operands[i], &b = to->operands[i];
    if (a.type == ZYDIS_OPERAND_TYPE_REGISTER &&
        (a.reg.value == ZYDIS_REGISTER_EFLAGS || a.reg.value == ZYDIS_REGISTER_FLAGS)) {
      continue;
    }
    if (a.type != b.type || a.size != b.size) return {};
    if (a.type == ZYDIS_OPERAND_TYPE_REGISTER && a.reg.value != b.reg.value) return {};
    if (memory(a) && (a.mem.base != b.mem.base || a.mem.index != b.mem.index)) return {};
  }
  return out;
}

std::string listing(const Bytes& code, Mode mode) {
  std::string text;
  for (size_t at = 0; at < code.size();) {
    ZydisDisassembledInstruction insn;
    const auto machine = mode == Mode::Long64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32;
    if (!ZYAN_SUCCESS(ZydisDisassembleIntel(machine, kCode + at, &code[at], code.size() - at, &insn))) break;
    text += fmt::format("    {:x}  {}\n", kCode + at, insn.text);
    at += insn.info.length;
  }
  return text;
}

}  // namespace panda::x86test
