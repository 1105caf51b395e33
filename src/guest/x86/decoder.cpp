#include "guest/x86/decoder.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

#include "base/check.h"

namespace panda::x86 {

namespace {
struct DecoderSetup {
  ZydisMachineMode mode;
  ZydisStackWidth stack;
};
// Stack width only affects Zydis's hidden stack operands, which the translators don't use.
constexpr unsigned kRealDecoder = 3;
constexpr DecoderSetup kSetups[] = {
    {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64},
    {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32},
    {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16},
    {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16},
};
// Encodings of extensions that no CPU model has are the NOPs they were before.
constexpr ZydisDecoderMode kOff[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET, ZYDIS_DECODER_MODE_CLDEMOTE,
                                     ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_KNC};
}  // namespace

Decoder::Decoder() {
  for (unsigned i = 0; i < std::size(kSetups); ++i) {
    PANDA_CHECK(ZYAN_SUCCESS(ZydisDecoderInit(&decoders_[i], kSetups[i].mode, kSetups[i].stack)));
    for (const ZydisDecoderMode mode : kOff) {
      PANDA_CHECK(ZYAN_SUCCESS(ZydisDecoderEnableMode(&decoders_[i], mode, ZYAN_FALSE)));
    }
    lengths_[i] = decoders_[i];
    PANDA_CHECK(ZYAN_SUCCESS(ZydisDecoderEnableMode(&lengths_[i], ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE)));
  }
}

DecodeStatus Decoder::decode(std::span<const uint8_t> bytes, uint64_t flags, DecodedInsn& out) const {
  unsigned which = 2;
  if ((flags & kModeCs64) != 0) {
    which = 0;
  } else if ((flags & kModeCs32) != 0) {
    which = 1;
  } else if ((flags & kModePe) == 0 || (flags & kModeVm) != 0) {
    which = kRealDecoder;
  }
  const size_t size = std::min<size_t>(bytes.size(), kMaxInsnBytes);
  const ZyanStatus status = ZydisDecoderDecodeFull(&decoders_[which], bytes.data(), size, &out.insn, out.ops);
  if (ZYAN_SUCCESS(status)) {
    // No CPU model has what the other encodings bring, and some share a mnemonic with one that is there
    // (XOP's BEXTR with an immediate).
    const ZydisInstructionEncoding encoding = out.insn.encoding;
    // Nor the VEX forms of LZCNT, TZCNT and POPCNT that Knights Corner had. Real and virtual-8086 mode have no
    // VEX prefix.
    const bool vex = encoding == ZYDIS_INSTRUCTION_ENCODING_VEX && which != kRealDecoder &&
                     out.insn.meta.isa_ext != ZYDIS_ISA_EXT_KNC;
    const bool known = encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY || vex;
    return known ? DecodeStatus::Ok : DecodeStatus::Undefined;
  }
  if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return DecodeStatus::TooLong;
  if (status == ZYDIS_STATUS_NO_MORE_DATA) {
    return size >= kMaxInsnBytes ? DecodeStatus::TooLong : DecodeStatus::Truncated;
  }
  // One that is undefined, and too long besides, is too long.
  if (size >= kMaxInsnBytes && insn_too_long(which, bytes.first(size))) return DecodeStatus::TooLong;
  return DecodeStatus::Undefined;
}

// How long an opcode is does hardly depend on the prefixes that choose among its encodings: the length is that of an
// encoding which exists, the one without such a prefix first.
bool Decoder::insn_too_long(unsigned which, std::span<const uint8_t> bytes) const {
  constexpr std::string_view kChoosing = "\x66\xf0\xf2\xf3", kOther = "\x26\x2e\x36\x3e\x64\x65\x67";
  for (const uint8_t chosen : std::initializer_list<uint8_t>{0x3e, 0x66, 0xf2, 0xf3}) {
    std::array<uint8_t, kMaxInsnBytes> plain{};
    std::ranges::copy(bytes, plain.begin());
    for (uint8_t& b : plain) {
      const auto is_in = [&](std::string_view set) { return set.find(static_cast<char>(b)) != std::string_view::npos; };
      if (is_in(kChoosing))
        b = chosen;
      else if (!is_in(kOther) && (which != 0 || (b & 0xf0) != 0x40))
        break;
    }
    ZydisDecodedInstruction insn;
    const ZyanStatus status =
        ZydisDecoderDecodeInstruction(&lengths_[which], nullptr, plain.data(), plain.size(), &insn);
    if (status == ZYDIS_STATUS_INSTRUCTION_TOO_LONG || status == ZYDIS_STATUS_NO_MORE_DATA) return true;
    if (ZYAN_SUCCESS(status)) return false;
  }
  return false;
}

bool is_general_register(ZydisRegister r) { return r >= ZYDIS_REGISTER_AL && r <= ZYDIS_REGISTER_R15; }

GeneralRegister general_register(ZydisRegister r) {
  PANDA_CHECK(is_general_register(r));
  if (r >= ZYDIS_REGISTER_RAX) return {static_cast<unsigned>(r - ZYDIS_REGISTER_RAX), 8, false};
  if (r >= ZYDIS_REGISTER_EAX) return {static_cast<unsigned>(r - ZYDIS_REGISTER_EAX), 4, false};
  if (r >= ZYDIS_REGISTER_AX) return {static_cast<unsigned>(r - ZYDIS_REGISTER_AX), 2, false};
  // Zydis's order: AL CL DL BL, AH CH DH BH, SPL BPL SIL DIL, R8B ...
  if (r >= ZYDIS_REGISTER_SPL) return {static_cast<unsigned>(r - ZYDIS_REGISTER_SPL) + R_ESP, 1, false};
  if (r >= ZYDIS_REGISTER_AH) return {static_cast<unsigned>(r - ZYDIS_REGISTER_AH), 1, true};
  return {static_cast<unsigned>(r - ZYDIS_REGISTER_AL), 1, false};
}

unsigned segment_register(ZydisRegister r) {
  PANDA_CHECK(r >= ZYDIS_REGISTER_ES && r <= ZYDIS_REGISTER_GS);
  return static_cast<unsigned>(r - ZYDIS_REGISTER_ES);  // Zydis and the manual order them alike
}

}  // namespace panda::x86
