#include "forms.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <set>

namespace panda::x86test {
namespace {

const Kind kAllKinds[] = {Kind::Acc8, Kind::Acc16, Kind::Acc32, Kind::Acc64, Kind::Cl,   Kind::R8,
                          Kind::R16,  Kind::R32,   Kind::R64,   Kind::Mm,    Kind::Xmm,  Kind::Xmm0,
                          Kind::St0,  Kind::St,    Kind::M8,    Kind::M16,   Kind::M32,  Kind::M64,
                          Kind::M80,  Kind::M128,  Kind::MAny,  Kind::Imm1,  Kind::Imm8, Kind::Imm32};
const Kind kVexKinds[] = {Kind::R32, Kind::R64,  Kind::Xmm,  Kind::Ymm, Kind::M8,  Kind::M16, Kind::M32,
                          Kind::M64, Kind::M128, Kind::M256, Kind::Vmx, Kind::Vmy, Kind::Imm8};

const char* kind_name(Kind k) {
  static const char* const kNames[] = {"al",   "ax",   "eax",  "rax", "cl", "r8", "r16",  "r32",  "r64", "mm",
                                       "xmm",  "ymm",  "xmm0", "st0", "st", "m8", "m16",  "m32",  "m64", "m80",
                                       "m128", "m256", "vmx",  "vmy", "m",  "1",  "imm8", "imm32"};
  return kNames[static_cast<size_t>(k)];
}

bool is_vm(Kind k) { return k == Kind::Vmx || k == Kind::Vmy; }
bool is_memory(Kind k) { return k >= Kind::M8 && k <= Kind::MAny; }
unsigned memory_bytes(Kind k) {
  switch (k) {
    case Kind::M8:
      return 1;
    case Kind::M16:
      return 2;
    case Kind::M32:
      return 4;
    case Kind::M64:
      return 8;
    case Kind::M80:
      return 10;
    case Kind::M128:
      return 16;
    case Kind::M256:
      return 32;
    default:
      return 0;
  }
}

ZydisRegister gpr(Kind k, unsigned number, bool high) {
  switch (k) {
    case Kind::R8:
      // Zydis numbers AL..BL, AH..BH, SPL..DIL, R8B..: 0-3, 4-7, 8-11, 12-19.
      if (high && number < 4) return static_cast<ZydisRegister>(ZYDIS_REGISTER_AH + static_cast<int>(number));
      return static_cast<ZydisRegister>(ZYDIS_REGISTER_AL + static_cast<int>(number < 4 ? number : number + 4));
    case Kind::R16:
      return static_cast<ZydisRegister>(ZYDIS_REGISTER_AX + static_cast<int>(number));
    case Kind::R32:
      return static_cast<ZydisRegister>(ZYDIS_REGISTER_EAX + static_cast<int>(number));
    default:
      return static_cast<ZydisRegister>(ZYDIS_REGISTER_RAX + static_cast<int>(number));
  }
}

// The registers of one encoding: distinct ones for addressing, so that set-up does not collide.
struct Choice {
  Rng* rng = nullptr;  // null: fixed choices, to find out what encodes at all
  Mode mode = Mode::Long64;
  unsigned element_bytes = 4, index_bytes = 4;  // of a gather
  unsigned vectors = 0;                         // vector registers chosen so far
  uint64_t next(uint64_t below) { return rng == nullptr ? 1 % below : (*rng)() % below; }
  // Fixed choices differ from each other: a gather wants three registers.
  int vector(unsigned count) { return static_cast<int>(rng == nullptr ? ++vectors : next(count)); }
  // A vector of indices: small ones of either sign, now and then one that leads away.
  void indices(Kind k, ZydisEncoderOperand& op, MachineState* state) {
    const auto number = static_cast<unsigned>(vector(mode == Mode::Long64 ? 16 : 8));
    const bool ymm = k == Kind::Vmy;
    op.mem.index =
        static_cast<ZydisRegister>((ymm ? ZYDIS_REGISTER_YMM0 : ZYDIS_REGISTER_XMM0) + static_cast<int>(number));
    op.mem.scale = static_cast<ZyanU8>(1u << next(4));
    if (state == nullptr) return;
    for (size_t at = 0; at < 32; at += index_bytes) {
      int64_t index = static_cast<int64_t>(next(128)) - 64;
      if (next(16) == 0) index = static_cast<int64_t>(next(0x4000)) - 0x2000;
      uint8_t* half = at < 16 ? &state->fx[160 + 16 * number + at] : &state->ymm_high[16 * number + at - 16];
      std::memcpy(half, &index, index_bytes);
    }
  }
};

bool make_operand(Kind k, Choice& c, ZydisEncoderOperand& op, MachineState* state, uint64_t& memory) {
  op = {};
  const bool wide = c.mode == Mode::Long64;
  const unsigned gprs = wide ? 16 : 8;
  op.type = ZYDIS_OPERAND_TYPE_REGISTER;
  switch (k) {
    case Kind::Acc8:
      op.reg.value = ZYDIS_REGISTER_AL;
      return true;
    case Kind::Acc16:
      op.reg.value = ZYDIS_REGISTER_AX;
      return true;
    case Kind::Acc32:
      op.reg.value = ZYDIS_REGISTER_EAX;
      return true;
    case Kind::Acc64:
      op.reg.value = ZYDIS_REGISTER_RAX;
      return wide;
    case Kind::Cl:
      op.reg.value = ZYDIS_REGISTER_CL;
      return true;
    case Kind::R64:
      if (!wide) return false;
      [[fallthrough]];
    case Kind::R8:
    case Kind::R16:
    case Kind::R32: {
      auto number = static_cast<unsigned>(c.next(gprs));
      const bool high = c.next(3) == 0 || (!wide && number >= 4);
      if (k == Kind::R8 && !wide) number %= 4;
      if (number == 4 && k != Kind::R8) number = 6;  // not the stack pointer: the state says where it is
      if (number == 4) number = 2;
      op.reg.value = gpr(k, number, high);
      return true;
    }
    case Kind::Mm:
      op.reg.value = static_cast<ZydisRegister>(ZYDIS_REGISTER_MM0 + static_cast<int>(c.next(8)));
      return true;
    case Kind::Xmm:
      op.reg.value = static_cast<ZydisRegister>(ZYDIS_REGISTER_XMM0 + c.vector(gprs));
      return true;
    case Kind::Ymm:
      op.reg.value = static_cast<ZydisRegister>(ZYDIS_REGISTER_YMM0 + c.vector(gprs));
      return true;
    case Kind::Xmm0:
      op.reg.value = ZYDIS_REGISTER_XMM0;
      return true;
    case Kind::St0:
      op.reg.value = ZYDIS_REGISTER_ST0;
      return true;
    case Kind::St:
      op.reg.value = static_cast<ZydisRegister>(ZYDIS_REGISTER_ST0 + static_cast<int>(c.next(8)));
      return true;
    case Kind::Imm1:
    case Kind::Imm8:
    case Kind::Imm32:
      op.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
      op.imm.s = k == Kind::Imm1   ? 1
                 : k == Kind::Imm8 ? static_cast<int8_t>(c.next(256))
                                   : static_cast<int32_t>(0x1234567 + c.next(0x60000000));
      return true;
    default:
      break;
  }
  op.type = ZYDIS_OPERAND_TYPE_MEMORY;
  op.mem.size = static_cast<ZyanU16>(is_vm(k) ? c.element_bytes : memory_bytes(k));
  // Aligned for 16 bytes mostly, anything else sometimes; in the middle of the data area.
  uint64_t target = kData + 0x800 + c.next(64) * 16;
  if (k == Kind::M256) target &= ~uint64_t{31};
  if (c.next(4) == 0) target += c.next(16);
  // Sometimes across the end of what is mapped, or where nothing can be written.
  switch (c.next(16)) {
    case 2:
      target = kData + kDataBytes - c.next(k == Kind::M256 ? 65 : 33);
      break;
    case 3:
      target = kReadOnly + 0x800 + c.next(64) * 16;
      break;
    default:
      break;
  }
  memory = target;
  const unsigned base = c.next(2) == 0 ? 3 : 5;  // RBX or RBP
  op.mem.base = wide ? gpr(Kind::R64, base, false) : gpr(Kind::R32, base, false);
  op.mem.displacement = static_cast<int64_t>(c.next(3)) * static_cast<int64_t>(c.next(0x300)) - 0x40;
  uint64_t index_value = 0;
  if (is_vm(k)) {
    c.indices(k, op, state);
  } else if (c.next(2) == 0) {
    op.mem.index = wide ? ZYDIS_REGISTER_RDI : ZYDIS_REGISTER_EDI;
    op.mem.scale = static_cast<ZyanU8>(1u << c.next(4));
    index_value = c.next(0x40);
  }
  if (state != nullptr) {
    state->gpr[base] = target - static_cast<uint64_t>(op.mem.displacement) - index_value * op.mem.scale;
    if (!wide) state->gpr[base] &= 0xffffffff;
    if (op.mem.index != ZYDIS_REGISTER_NONE && !is_vm(k)) state->gpr[7] = index_value;
  }
  return true;
}

// BT with a register may address memory far away: keep it near in most cases.
void bound_bit_offset(const Form& form, const ZydisEncoderRequest& request, MachineState& state, Choice& c) {
  const ZydisMnemonic m = form.mnemonic;
  if (m != ZYDIS_MNEMONIC_BT && m != ZYDIS_MNEMONIC_BTS && m != ZYDIS_MNEMONIC_BTR && m != ZYDIS_MNEMONIC_BTC) return;
  if (!is_memory(form.operands[0]) || request.operands[1].type != ZYDIS_OPERAND_TYPE_REGISTER) return;
  const auto number = static_cast<unsigned>(ZydisRegisterGetId(request.operands[1].reg.value));
  if (number == 3 || number == 5 || number == 7 || c.next(4) == 0) return;
  state.gpr[number] = c.next(0x1000) - 0x800;
  if (c.mode != Mode::Long64) state.gpr[number] &= 0xffffffff;
}

Encoded encode_with(const Form& form, Choice c, MachineState* state) {
  const GatherShape shape = gather_shape(form.mnemonic);
  c.element_bytes = shape.element_bytes;
  c.index_bytes = shape.index_bytes;
  ZydisEncoderRequest request{};
  request.machine_mode = c.mode == Mode::Long64 ? ZYDIS_MACHINE_MODE_LONG_64 : ZYDIS_MACHINE_MODE_LEGACY_32;
  // Not EVEX, which would add forms that no CPU model has.
  request.allowed_encodings =
      static_cast<ZydisEncodableEncoding>(ZYDIS_ENCODABLE_ENCODING_LEGACY | ZYDIS_ENCODABLE_ENCODING_VEX);
  request.mnemonic = form.mnemonic;
  request.prefixes = form.prefixes;
  request.operand_count = static_cast<ZyanU8>(form.operands.size());
  Encoded out;
  for (size_t i = 0; i < form.operands.size(); i++) {
    if (!make_operand(form.operands[i], c, request.operands[i], state, out.memory)) return {};
  }
  std::array<uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes;
  ZyanUSize length = bytes.size();
  if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, bytes.data(), &length))) return {};
  if (state != nullptr) bound_bit_offset(form, request, *state, c);
  out.bytes.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
  return out;
}

}  // namespace

// V[P]GATHER, D or Q for the indices, then PS, PD, D or Q for the elements.
GatherShape gather_shape(ZydisMnemonic m) {
  const std::string name = ZydisMnemonicGetString(m);
  const size_t at = name.find("gather");
  if (at == std::string::npos) return {};
  const bool packed = name[name.size() - 2] == 'p';
  const bool wide = name.back() == 'q' || (packed && name.back() == 'd');
  return {wide ? 8u : 4u, name[at + 6] == 'q' ? 8u : 4u};
}

std::string Form::name() const {
  std::string text;
  if (prefixes & ZYDIS_ATTRIB_HAS_LOCK) text += "lock ";
  if (prefixes & ZYDIS_ATTRIB_HAS_REP) text += "rep ";
  if (prefixes & ZYDIS_ATTRIB_HAS_REPE) text += "repe ";
  if (prefixes & ZYDIS_ATTRIB_HAS_REPNE) text += "repne ";
  text += ZydisMnemonicGetString(mnemonic);
  for (size_t i = 0; i < operands.size(); i++) text += (i == 0 ? " " : ", ") + std::string(kind_name(operands[i]));
  return text;
}

bool is_gather(const Form& form) { return std::ranges::any_of(form.operands, is_vm); }

std::vector<Form> all_forms(const std::vector<ZydisMnemonic>& mnemonics, Mode mode) {
  std::vector<Form> forms;
  std::set<std::vector<uint8_t>> seen;
  const auto consider = [&](Form form) {
    Encoded e = encode_with(form, Choice{nullptr, mode}, nullptr);
    if (e.bytes.empty() || !seen.insert(e.bytes).second) return false;
    forms.push_back(std::move(form));
    return true;
  };
  for (ZydisMnemonic m : mnemonics) {
    if (consider({m, {}})) {
      for (auto p : {ZYDIS_ATTRIB_HAS_REP, ZYDIS_ATTRIB_HAS_REPE, ZYDIS_ATTRIB_HAS_REPNE}) consider({m, {}, p});
    }
    if (ZydisMnemonicGetString(m)[0] == 'v' && m != ZYDIS_MNEMONIC_VERR && m != ZYDIS_MNEMONIC_VERW) {
      for (Kind a : kVexKinds) {
        consider({m, {a}});
        for (Kind b : kVexKinds) {
          if (is_memory(a) && is_memory(b)) continue;
          consider({m, {a, b}});
          for (Kind d : kVexKinds) {
            if (is_memory(d) && (is_memory(a) || is_memory(b))) continue;
            consider({m, {a, b, d}});
            for (Kind e : {Kind::Imm8, Kind::Xmm, Kind::Ymm}) consider({m, {a, b, d, e}});
          }
        }
      }
      continue;
    }
    const auto with_lock = [&](const std::vector<Kind>& operands) {
      if (consider({m, operands}) && is_memory(operands[0])) consider({m, operands, ZYDIS_ATTRIB_HAS_LOCK});
    };
    for (Kind a : kAllKinds) {
      with_lock({a});
      for (Kind b : kAllKinds) {
        if (is_memory(a) && is_memory(b)) continue;
        with_lock({a, b});
        for (Kind c :
             {Kind::Imm1, Kind::Imm8, Kind::Imm32, Kind::Cl, Kind::Xmm0, Kind::R32, Kind::R64, Kind::M32, Kind::M64}) {
          if (!is_memory(c) || (!is_memory(a) && !is_memory(b))) with_lock({a, b, c});
        }
      }
    }
  }
  return forms;
}

Encoded encode(const Form& form, Mode mode, Rng& rng, MachineState& state) {
  return encode_with(form, Choice{&rng, mode}, &state);
}

}  // namespace panda::x86test
