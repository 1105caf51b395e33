// Translators of the integer, control and string chapters: every encoding in every code size gives
// well-formed IR that keeps the rule about faults, and the fused conditions agree with compute_flags.
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "guest/x86/integer_helpers.h"
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
constexpr Mode kModes[] = {
    {"real", kModeLimits | kModeAddSeg | kModeCsLimit, false},
    {"vm86", kModePe | kModeVm | 3 | kModeLimits | kModeAddSeg | kModeCsLimit | kModeIoplSens, false},
    {"16-bit segments", kModePe | kModeLimits | kModeAddSeg, true},
    {"flat 32", kModePe | kModeCs32 | kModeSs32, false},
    {"compatibility", kModePe | kModeLma | kModeCs32 | kModeSs32 | 3, true},
    {"64-bit", kModePe | kModeLma | kModeCs64, true},
    {"64-bit user, alignment checks", kModePe | kModeLma | kModeCs64 | kModeAc | 3, true},
};

bool may_leave(const ir::Inst& inst) {
  if (ir::is_memory(inst.op)) return true;
  return inst.op == Op::call && reinterpret_cast<const ir::HelperDesc*>(inst.imm)->may_exit;
}

// Helpers that come after the registers are set because they complete the instruction.
bool completes(const ir::Inst& inst) {
  return inst.op == Op::call && (inst.imm == reinterpret_cast<uintptr_t>(&kHelperPopf));
}

// "All faulting ops of an instruction before its first set": along a path through the instruction.
std::string set_before_fault(const ir::Unit& unit) {
  bool set = false;
  for (const ir::Inst& inst : unit.insts) {
    if (inst.op == Op::set) set = true;
    if (set && may_leave(inst) && !completes(inst)) return ir::print(unit);
  }
  return {};
}

class Translation {
 public:
  // False where the bytes are not an instruction of these chapters.
  bool run(std::span<const uint8_t> bytes, const Mode& mode) {
    if (decoder_.decode(bytes, mode.flags, decoded_) != DecodeStatus::Ok) return false;
    const FoundRow found = rows_.find(decoded_);
    if (found.row == nullptr || found.chapter > Chapter::String) return false;
    for (unsigned i = 0; i < decoded_.insn.operand_count_visible; ++i) {  // segment registers: the system chapter
      const ZydisDecodedOperand& op = decoded_.ops[i];
      if (op.type == ZYDIS_OPERAND_TYPE_REGISTER && !is_general_register(op.reg.value)) return false;
    }
    if (decoded_.insn.meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return false;
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

 private:
  Decoder decoder_;
  RowTable rows_;
  DecodedInsn decoded_{};
  ir::Unit unit_;
};

TEST(Translate, EveryEncodingGivesWellFormedUnits) {
  constexpr uint8_t kModrm[] = {0x00, 0x4b, 0x94, 0x05, 0x24, 0xc1, 0xd8, 0xe4, 0x6c, 0x28, 0xf7, 0x38, 0xcb};
  const std::vector<std::vector<uint8_t>> prefixes = {{},     {0x66}, {0x67}, {0xf3}, {0xf2},
                                                      {0x64}, {0xf0}, {0x48}, {0x45}};
  const std::vector<std::vector<uint8_t>> maps = {{}, {0x0f}, {0x0f, 0x38}};
  Translation t;
  unsigned made = 0;
  for (const Mode& mode : kModes) {
    for (const auto& prefix : prefixes) {
      for (const auto& map : maps) {
        for (unsigned opcode = 0; opcode < 256; ++opcode) {
          for (const uint8_t modrm : kModrm) {
            std::vector<uint8_t> bytes = prefix;
            bytes.insert(bytes.end(), map.begin(), map.end());
            bytes.push_back(static_cast<uint8_t>(opcode));
            bytes.push_back(modrm);
            bytes.insert(bytes.end(), {0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99});
            bytes.resize(kMaxInsnBytes);
            if (!t.run(bytes, mode)) continue;
            ++made;
            const std::string name = std::string(mode.name) + ": " + ZydisMnemonicGetString(t.insn().mnemonic);
            const Status ok = ir::verify(t.unit());
            ASSERT_TRUE(ok.has_value()) << name << ": " << ok.error().message << "\n" << ir::print(t.unit());
            ASSERT_EQ(set_before_fault(t.unit()), "") << name;
          }
        }
      }
    }
  }
  EXPECT_GT(made, 30'000u);
}

unsigned count_ops(const ir::Unit& unit, Op op) {
  unsigned n = 0;
  for (const ir::Inst& inst : unit.insts) n += inst.op == op ? 1 : 0;
  return n;
}

// The shapes that the back end is fast on.
TEST(Translate, FlatAddressesNeedNoSegmentArithmetic) {
  Translation t;
  const uint8_t load[] = {0x8b, 0x03, 0, 0, 0, 0, 0, 0};  // mov eax, [ebx]
  ASSERT_TRUE(t.run(load, kModes[3]));
  EXPECT_EQ(count_ops(t.unit(), Op::call), 0u);
  EXPECT_EQ(count_ops(t.unit(), Op::add), 0u);
  EXPECT_EQ(count_ops(t.unit(), Op::load), 1u);
  const uint8_t zero[] = {0x31, 0xc0, 0, 0};  // xor eax, eax
  ASSERT_TRUE(t.run(zero, kModes[5]));
  EXPECT_EQ(count_ops(t.unit(), Op::get), 0u);
}

// With constant operands the builder folds conditions completely: each must agree with the flags
// that compute_flags gives.
class Conditions : public testing::TestWithParam<Type> {};

bool holds(unsigned cc, uint32_t f) {
  const bool cf = (f & kCF) != 0, zf = (f & kZF) != 0, sf = (f & kSF) != 0, of = (f & kOF_) != 0, pf = (f & kPF_) != 0;
  const std::array<bool, 8> v = {of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of};
  return v[cc >> 1] != ((cc & 1) != 0);
}

TEST_P(Conditions, AgreeWithComputedFlags) {
  const Type type = GetParam();
  const uint64_t mask = ir::mask_of(type);
  const uint64_t top = mask ^ (mask >> 1);
  const std::vector<uint64_t> values = {0, 1, 2, 0x0f, 0x10, 0x55, top - 1, top, top + 1, mask - 1, mask, 0x80, 0x7f};
  ZydisDecodedInstruction insn{};
  insn.length = 1;
  const exec::InsnRequest request{.bytes = {}, .pc = 0x1000, .flags = kModes[5].flags};
  constexpr uint32_t kBases[] = {kCcFlags, kCcAdd, kCcAdc, kCcSub, kCcSbb, kCcLogic,
                                 kCcInc,   kCcDec, kCcShl, kCcSar, kCcMul};
  for (const uint32_t base : kBases) {
    for (const uint64_t a : values) {
      for (const uint64_t src : values) {
        for (const uint64_t carry : {0, 1}) {
          ir::Unit unit;
          ir::Builder b(unit);
          FlagsKnown known;
          b.begin_block();
          InsnContext x(b, insn, nullptr, request, Layout{true}, known);
          uint64_t result = a;
          if (base == kCcAdd) result = a + src;
          if (base == kCcAdc) result = a + src + carry;
          if (base == kCcSub) result = a - src;
          if (base == kCcSbb) result = a - src - carry;
          const uint64_t second = base == kCcInc || base == kCcDec ? src & 1 : src;
          const uint64_t bits = (a * 0x1234567 + src) & kArithmeticFlags;
          if (base == kCcFlags) {
            x.set_cc_flags(b.i32(bits));
          } else if (base == kCcSub) {
            x.set_cc_sub(b.konst(type, a), b.konst(type, src), b.konst(type, result));
          } else {
            x.set_cc(base, b.konst(type, result), b.konst(type, second), b.konst(type, carry));
          }
          const uint32_t flags = compute_flags(*known.cc_op, result & mask, base == kCcFlags ? bits : second, carry);
          for (unsigned cc = 0; cc < 16; ++cc) {
            uint64_t v = 2;
            ASSERT_TRUE(b.is_const(x.condition(cc), &v)) << base << " cc " << cc;
            ASSERT_EQ(v != 0, holds(cc, flags))
                << "op " << base << " cc " << cc << std::hex << " a " << a << " src " << src;
          }
          uint64_t v = 2;
          ASSERT_TRUE(b.is_const(x.carry(), &v));
          ASSERT_EQ(v, flags & kCF);
          if (base == kCcLogic) {
            ASSERT_TRUE(b.is_const(x.get_eflags_arith(), &v));
            ASSERT_EQ(v, flags);
          }
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, Conditions, testing::Values(Type::I8, Type::I16, Type::I32, Type::I64));

// Sequences in one unit: a compare is fused with its branch, and no helper is called.
TEST(Translate, CompareAndBranchFuse) {
  Decoder decoder;
  RowTable rows;
  ir::Unit unit;
  ir::Builder b(unit);
  FlagsKnown known;
  const uint8_t code[] = {0x39, 0xd8, 0x7f, 0x10};  // cmp eax, ebx; jg
  b.begin_block();
  uint64_t pc = 0x1000;
  for (unsigned at = 0; at < sizeof code; at += 2) {
    DecodedInsn decoded;
    ASSERT_EQ(decoder.decode({code + at, 2}, kModes[5].flags, decoded), DecodeStatus::Ok);
    const exec::InsnRequest request{.bytes = {code + at, 2}, .pc = pc, .flags = kModes[5].flags};
    b.insn(pc, 2);
    InsnContext x(b, decoded.insn, decoded.ops, request, Layout{true}, known);
    (void)rows.find(decoded).row->translate(x);
    pc += 2;
  }
  EXPECT_EQ(count_ops(unit, Op::call), 0u);
  for (const ir::Inst& inst : unit.insts) {
    if (inst.op != Op::brc) continue;
    const ir::Inst& compare = unit.insts[inst.args[0]];
    EXPECT_EQ(compare.op, Op::icmp);
    EXPECT_EQ(unit.insts[compare.args[0]].op == Op::sub, false);  // on the operands, not on the difference
  }
}

}  // namespace
}  // namespace panda::x86
