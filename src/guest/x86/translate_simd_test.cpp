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
constexpr uint64_t kLong = kModePe | kModeLma | kModeCs64 | kModeOsfxsr | kModeOsxsave;
constexpr Mode kModes[] = {
    {"real", kModeLimits | kModeAddSeg | kModeCsLimit | kModeOsfxsr | kModeFpuFlat, false},
    {"flat 32", kModePe | kModeCs32 | kModeSs32 | kModeOsfxsr | kModeFpuFlat, false},
    {"flat 32, exceptions", kModePe | kModeCs32 | kModeSs32 | kModeOsfxsr | kModeFpUnmasked | kModeNe, true},
    {"64-bit", kLong | kModeFpuFlat, true},
    {"64-bit, exceptions", kLong | kModeFpUnmasked | kModeNe, true},
};

class Translation {
 public:
  bool run(std::span<const uint8_t> bytes, const Mode& mode) {
    if (decoder_.decode(bytes, mode.flags, decoded_) != DecodeStatus::Ok) return false;
    const FoundRow found = rows_.find(decoded_);
    if (found.row == nullptr) return false;
    if (found.chapter != Chapter::X87 && found.chapter != Chapter::Mmx && found.chapter != Chapter::Sse) return false;
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
    InsnContext x(b, decoded_.insn, decoded_.ops, request, Layout{mode.is64_target}, known);
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
  constexpr uint8_t kModrm[] = {0x00, 0x4b, 0x94, 0x05, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0xc1, 0xca, 0xd3,
                                0xdc, 0xe5, 0xee, 0xf7, 0xf8, 0xc0, 0xd1, 0xe2, 0xe3, 0xd0, 0xe9, 0xfa};
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
    for (unsigned opcode = 0xd8; opcode <= 0xdf; ++opcode) {
      for (unsigned modrm = 0; modrm < 256; ++modrm) {
        ASSERT_NO_FATAL_FAILURE(try_one(mode, encode({static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm)})));
        ASSERT_NO_FATAL_FAILURE(try_one(mode, encode({0x66, static_cast<uint8_t>(opcode), static_cast<uint8_t>(modrm)})));
      }
    }
    ASSERT_NO_FATAL_FAILURE(try_one(mode, encode({0x9b})));
  }
  // Every row was reached, so none names a mnemonic that the decoder never gives.
  std::string missed;
  for (const auto rows : {x87_rows(), mmx_rows(), sse_rows()}) {
    for (const Row& row : rows) {
      if (!mnemonics.contains(static_cast<unsigned>(row.mnemonic))) missed += std::string(" ") + ZydisMnemonicGetString(row.mnemonic);
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

TEST(TranslateSimd, PackedArithmeticCallsNothing) {
  Translation t;
  const Mode plain{"", kLong | kModeFpuFlat, true}, checked{"", kLong | kModeFpuFlat | kModeFpUnmasked, true};
  ASSERT_TRUE(t.run(encode({0xf2, 0x0f, 0x58, 0x00}), plain));  // ADDSD
  EXPECT_EQ(t.calls(), 0u);
  ASSERT_TRUE(t.run(encode({0xf2, 0x0f, 0x58, 0x00}), checked));
  EXPECT_EQ(t.calls(), 3u);  // before, a look at the result, behind
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
