// Translators of the x87, MMX and SSE chapters: every encoding gives well-formed IR that keeps the
// rule about faults, with and without unmasked exceptions; what must not be there is not.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "guest/x86/fpu_state.h"
#include "guest/x86/row_table.h"
#include "ir/printer.h"
#include "ir/verifier.h"

namespace panda::x86 {
namespace {

using ir::Op;

struct Mode {
  const char* name;
  uint64_t flags;
  bool is64_target;
};
constexpr uint64_t kLong = kModePe | kModeLma | kModeCs64 | kModeOsfxsr | kModeOsxsave | kModeAvx;
constexpr Mode kModes[] = {
    {"real", kModeLimits | kModeAddSeg | kModeCsLimit | kModeOsfxsr | kModeFpuFlat, false},
    {"flat 32", kModePe | kModeCs32 | kModeSs32 | kModeOsfxsr | kModeFpuFlat, false},
    {"flat 32, exceptions", kModePe | kModeCs32 | kModeSs32 | kModeOsfxsr | kModeFpUnmasked | kModeNe, true},
    {"segmented 32",
     kModePe | kModeCs32 | kModeSs32 | kModeOsfxsr | kModeAvx | kModeLimits | kModeAddSeg | kModeFpuFlat, true},
    {"64-bit", kLong | kModeFpuFlat, true},
    {"64-bit, exceptions", kLong | kModeFpUnmasked | kModeNe, true},
};

class Translation {
 public:
  bool run(std::span<const uint8_t> bytes, const Mode& mode, uint64_t features = ~uint64_t{0}) {
    if (decoder_.decode(bytes, mode.flags, decoded_) != DecodeStatus::Ok) return false;
    const FoundRow found = rows_.find(decoded_);
    if (found.row == nullptr) return false;
    if (found.chapter != Chapter::X87 && found.chapter != Chapter::Mmx && found.chapter != Chapter::Sse &&
        found.chapter != Chapter::Avx) {
      return false;
    }
    unit_ = {};
    unit_.pc_offset = offsetof(State, eip);
    unit_.pc_type = Layout{mode.is64_target}.word();
    ir::Builder b(unit_);
    FlagsKnown known;
    const exec::InsnRequest request{.bytes = bytes, .pc = 0x1000, .pc_base = 0, .flags = mode.flags, .first = true};
    b.begin_block();
    b.count(1);
    b.insn(0x1000, decoded_.insn.length);
    unit_.guest_insns[0].refund = 1;
    InsnContext x(b, decoded_.insn, decoded_.ops, request, Layout{mode.is64_target}, known, features);
    if (found.row->translate(x) == exec::InsnEnd::Next) {
      EXPECT_TRUE(b.open());
      b.exit_direct(x.next_pc());
    }
    EXPECT_FALSE(b.open());
    return true;
  }
  const ir::Unit& unit() const { return unit_; }
  const ZydisDecodedInstruction& insn() const { return decoded_.insn; }
  unsigned calls() const {
    return static_cast<unsigned>(
        std::ranges::count_if(unit_.insts, [](const ir::Inst& inst) { return inst.op == Op::call; }));
  }

 private:
  Decoder decoder_;
  RowTable rows_;
  DecodedInsn decoded_{};
  ir::Unit unit_;
};

bool may_leave(const ir::Inst& inst) {
  if (ir::is_memory(inst.op)) return true;
  return inst.op == Op::call && reinterpret_cast<const ir::HelperDesc*>(inst.imm)->may_exit;
}

bool set_before_fault(const ir::Unit& unit) {
  bool set = false;
  for (const ir::Inst& inst : unit.insts) {
    if (inst.op == Op::set) set = true;
    if (set && may_leave(inst)) return true;
  }
  return false;
}

std::vector<uint8_t> encode(std::vector<uint8_t> bytes) {
  bytes.insert(bytes.end(), {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77});
  bytes.resize(kMaxInsnBytes);
  return bytes;
}

TEST(TranslateSimd, EveryEncodingGivesWellFormedUnits) {
  constexpr uint8_t kModrm[] = {0x00, 0x4b, 0x94, 0x05, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0xc1, 0xca,
                                0xd3, 0xdc, 0xe5, 0xee, 0xf7, 0xf8, 0xc0, 0xd1, 0xe2, 0xe3, 0xd0, 0xe9, 0xfa};
  constexpr uint8_t kVexModrm[] = {0x4b, 0x9c, 0xd3, 0x53, 0x5b, 0xdc, 0xfb};
  const std::vector<std::vector<uint8_t>> prefixes = {{},     {0x66},       {0xf3},       {0xf2},      {0x48},
                                                      {0x4d}, {0x66, 0x48}, {0xf3, 0x48}, {0xf2, 0x4d}};
  Translation t;
  std::set<unsigned> mnemonics;
  const auto try_one = [&](const Mode& mode, const std::vector<uint8_t>& bytes) {
    if (!t.run(bytes, mode)) return;
    mnemonics.insert(static_cast<unsigned>(t.insn().mnemonic));
    const std::string name = std::string(mode.name) + ": " + ZydisMnemonicGetString(t.insn().mnemonic);
    const Status ok = ir::verify(t.unit());
    ASSERT_TRUE(ok.has_value()) << name << ": " << ok.error().message << "\n" << ir::print(t.unit());
    ASSERT_FALSE(set_before_fault(t.unit())) << name << "\n" << ir::print(t.unit());
  };
  for (const Mode& mode : kModes) {
    for (const auto& prefix : prefixes) {
      for (const auto& map : std::vector<std::vector<uint8_t>>{{0x0f}, {0x0f, 0x38}, {0x0f, 0x3a}}) {
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          for (const uint8_t modrm : kModrm) {
            std::vector<uint8_t> bytes = prefix;
            bytes.insert(bytes.end(), map.begin(), map.end());
            bytes.push_back(static_cast<uint8_t>(opcode));
            bytes.push_back(modrm);
            ASSERT_NO_FATAL_FAILURE(try_one(mode, encode(bytes)));
          }
        }
      }
    }
    // VEX: the maps with each L, pp and W; vvvv is register 1, or none where that must be so. 0x9c: also a gather's.
    for (unsigned i = 0; i < 3 * 2 * 8; ++i) {
      const auto map = static_cast<uint8_t>(0xe0 | (1 + i % 3));
      for (const unsigned vvvv : {0x70u, 0x78u}) {
        const auto last = static_cast<uint8_t>(vvvv | i / 6 | (i / 3 % 2 != 0 ? 0x80 : 0));
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          for (const uint8_t modrm : kVexModrm) {
            ASSERT_NO_FATAL_FAILURE(try_one(mode, encode({0xc4, map, last, static_cast<uint8_t>(opcode), modrm})));
          }
        }
      }
    }
    for (unsigned opcode = 0xd8; opcode <= 0xdf; ++opcode) {
      for (unsigned modrm = 0; modrm < 256; ++modrm) {
        ASSERT_NO_FATAL_FAILURE(try_one(mode, encode({static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm)})));
        ASSERT_NO_FATAL_FAILURE(
            try_one(mode, encode({0x66, static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm)})));
      }
    }
    ASSERT_NO_FATAL_FAILURE(try_one(mode, encode({0x9b})));
  }
  // Every row was reached, so none names a mnemonic that the decoder never gives.
  std::string missed;
  for (const auto rows : {x87_rows(), mmx_rows(), sse_rows(), avx_rows()}) {
    for (const Row& row : rows) {
      if (!mnemonics.contains(static_cast<unsigned>(row.mnemonic)))
        missed += std::string(" ") + ZydisMnemonicGetString(row.mnemonic);
    }
  }
  EXPECT_EQ(missed, "");
}

TEST(TranslateSimd, AvailabilityIsDecidedByTheMode) {
  Translation t;
  const auto leaves_at_once = [&](std::vector<uint8_t> bytes, uint64_t flags) {
    const Mode mode{"", flags, true};
    EXPECT_TRUE(t.run(encode(std::move(bytes)), mode));
    return std::ranges::none_of(t.unit().insts, [](const ir::Inst& i) { return i.op == Op::exit_direct; });
  };
  const std::vector<uint8_t> addps{0x0f, 0x58, 0xc1}, fadd{0xd8, 0xc1}, paddb{0x0f, 0xfc, 0xc1}, fwait{0x9b};
  EXPECT_FALSE(leaves_at_once(addps, kLong | kModeFpuFlat));
  EXPECT_TRUE(leaves_at_once(addps, (kLong | kModeFpuFlat) & ~uint64_t{kModeOsfxsr}));
  for (const auto& insn : {addps, fadd, paddb}) {
    EXPECT_TRUE(leaves_at_once(insn, kLong | kModeFpuFlat | kModeEm));
    EXPECT_TRUE(leaves_at_once(insn, kLong | kModeFpuFlat | kModeTs));
  }
  EXPECT_FALSE(leaves_at_once(fwait, kLong | kModeFpuFlat | kModeTs));
  EXPECT_TRUE(leaves_at_once(fwait, kLong | kModeFpuFlat | kModeTs | kModeMp));
}

TEST(TranslateSimd, VexNeedsProtectedModeAndXcr0) {
  Translation t;
  const auto leaves_at_once = [&](std::vector<uint8_t> bytes, uint64_t flags) {
    EXPECT_TRUE(t.run(encode(std::move(bytes)), Mode{"", flags, true}));
    return std::ranges::none_of(t.unit().insts, [](const ir::Inst& i) { return i.op == Op::exit_direct; });
  };
  const std::vector<uint8_t> vaddps{0xc5, 0xf4, 0x58, 0xc1}, vpaddb{0xc5, 0xf5, 0xfc, 0xc1};
  for (const auto& insn : {vaddps, vpaddb}) {
    EXPECT_FALSE(leaves_at_once(insn, kLong | kModeFpuFlat));
    EXPECT_FALSE(leaves_at_once(insn, kLong | kModeFpuFlat | kModeEm)) << "CR0.EM is of no matter here";
    EXPECT_TRUE(leaves_at_once(insn, kLong | kModeFpuFlat | kModeTs));
    EXPECT_TRUE(leaves_at_once(insn, (kLong | kModeFpuFlat) & ~uint64_t{kModeAvx}));
  }
  const Mode real{"", kModeOsfxsr | kModeOsxsave | kModeAvx, false};
  const Mode v86{"", kModePe | kModeVm | kModeOsfxsr | kModeOsxsave | kModeAvx | 3, false};
  for (const Mode& mode : {real, v86}) {
    EXPECT_FALSE(t.run(encode(vaddps), mode));
    EXPECT_FALSE(t.run(encode({0xc4, 0xe2, 0x70, 0xf2, 0xc1}), mode)) << "ANDN";
  }
}

TEST(TranslateSimd, FormsBelongToTheirExtensions) {
  const auto defined = [&](std::vector<uint8_t> bytes, uint64_t features) {
    Translation t;
    EXPECT_TRUE(t.run(encode(std::move(bytes)), Mode{"", kLong | kModeFpuFlat, true}, features));
    return std::ranges::any_of(t.unit().insts, [](const ir::Inst& i) { return i.op == Op::exit_direct; });
  };
  const auto bit = [](Feature f) { return uint64_t{1} << static_cast<unsigned>(f); };
  const uint64_t avx = bit(Feature::Avx), avx2 = avx | bit(Feature::Avx2);
  EXPECT_TRUE(defined({0xc5, 0xf1, 0xfc, 0xc1}, avx)) << "VPADDB xmm";
  EXPECT_FALSE(defined({0xc5, 0xf5, 0xfc, 0xc1}, avx)) << "VPADDB ymm";
  EXPECT_TRUE(defined({0xc5, 0xf5, 0xfc, 0xc1}, avx2));
  EXPECT_TRUE(defined({0xc5, 0xf4, 0x58, 0xc1}, avx)) << "VADDPS ymm";
  EXPECT_FALSE(defined({0xc4, 0xe2, 0x7d, 0x18, 0xc1}, avx)) << "VBROADCASTSS ymm, xmm";
  EXPECT_TRUE(defined({0xc4, 0xe2, 0x7d, 0x18, 0x01}, avx)) << "VBROADCASTSS ymm, m32";
  EXPECT_FALSE(defined({0xc4, 0xe2, 0x71, 0x98, 0xc1}, avx2)) << "VFMADD132PS";
  EXPECT_TRUE(defined({0xc4, 0xe2, 0x71, 0x98, 0xc1}, avx | bit(Feature::Fma)));
  EXPECT_FALSE(defined({0xc4, 0xe2, 0x79, 0x13, 0xc1}, avx2)) << "VCVTPH2PS";
  EXPECT_FALSE(defined({0xc4, 0xe2, 0x79, 0x13, 0xc1}, bit(Feature::F16c))) << "nothing without AVX";
}

TEST(TranslateSimd, PackedArithmeticCallsNothing) {
  Translation t;
  const Mode plain{"", kLong | kModeFpuFlat, true}, checked{"", kLong | kModeFpuFlat | kModeFpUnmasked, true};
  ASSERT_TRUE(t.run(encode({0xf2, 0x0f, 0x58, 0x00}), plain));  // ADDSD
  EXPECT_EQ(t.calls(), 0u);
  ASSERT_TRUE(t.run(encode({0xf2, 0x0f, 0x58, 0x00}), checked));
  EXPECT_EQ(t.calls(), 3u);                               // before, a look at the result, behind
  ASSERT_TRUE(t.run(encode({0x0f, 0xfc, 0x00}), plain));  // PADDB on MMX registers
  EXPECT_EQ(t.calls(), 0u);
  ASSERT_TRUE(t.run(encode({0xdc, 0x00}), plain));  // FADD m64: one helper, which cannot leave
  EXPECT_EQ(t.calls(), 1u);
  for (const ir::Inst& inst : t.unit().insts) {
    if (inst.op != Op::call) continue;
    EXPECT_FALSE(reinterpret_cast<const ir::HelperDesc*>(inst.imm)->may_exit);
  }
}

}  // namespace
}  // namespace panda::x86
