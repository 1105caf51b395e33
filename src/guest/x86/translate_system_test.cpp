// Every instruction of the system chapter, decoded and translated in every mode: the builder checks
// the types, the decoder that each row is reached.
#include "guest/x86/frontend.h"
#include "guest/x86/system_test_fixture.h"
#include "ir/builder.h"

namespace panda::x86 {
namespace {

using exec::InsnEnd;
using Bytes = std::vector<uint8_t>;

class TranslateSystem : public SystemTest {
 protected:
  exec::InsnResult run(const Bytes& bytes, bool exact) {
    frontend_ = std::make_unique<X86Frontend>(s().is_64bit_target != 0, s().cpu_model);
    const exec::UnitKey key = frontend_->current_key(*context_);
    frontend_->begin_unit(key);
    unit_.clear();
    ir::Builder b(unit_);
    b.begin_block();
    b.insn(key.pc, static_cast<unsigned>(bytes.size()));
    const exec::InsnRequest request{
        .bytes = bytes, .pc = key.pc, .pc_base = key.pc_base, .flags = key.flags, .first = true, .exact = exact};
    return frontend_->translate(request, b);
  }
  bool calls(std::string_view helper) const {
    for (const ir::Inst& i : unit_.insts) {
      if (i.op == ir::Op::call && reinterpret_cast<const ir::HelperDesc*>(i.imm)->name == helper) return true;
    }
    return false;
  }
  void all() {
    const Bytes kInsns[] = {
        {0x8c, 0xd8},
        {0x8e, 0xd8},
        {0x8e, 0xd0},
        {0x8e, 0x1b},
        {0x8c, 0x1b},
        {0x66, 0x8c, 0xd8},  // MOV Sreg
        {0x1e},
        {0x1f},
        {0x07},
        {0x17},
        {0x0f, 0xa0},
        {0x0f, 0xa1},
        {0x0f, 0xa8},
        {0x0f, 0xa9},
        {0x66, 0x0f, 0xa1},
        {0xc5, 0x03},
        {0xc4, 0x03},
        {0x0f, 0xb2, 0x03},
        {0x0f, 0xb4, 0x03},
        {0x66, 0x0f, 0xb5, 0x03},
        {0x0f, 0x00, 0xc0},
        {0x0f, 0x00, 0xc8},
        {0x0f, 0x00, 0xd0},
        {0x0f, 0x00, 0xd8},
        {0x0f, 0x00, 0x03},
        {0x0f, 0x00, 0xe0},
        {0x0f, 0x00, 0xe8},
        {0x0f, 0x01, 0x03},
        {0x0f, 0x01, 0x0b},
        {0x0f, 0x01, 0x13},
        {0x66, 0x0f, 0x01, 0x13},
        {0x0f, 0x01, 0x1b},
        {0x0f, 0x02, 0xc3},
        {0x0f, 0x03, 0xc3},
        {0x66, 0x0f, 0x03, 0xc3},
        {0x63, 0xd8},
        {0x63, 0x03},
        {0xea, 0, 0, 0, 0, 8, 0},
        {0x9a, 0, 0, 0, 0, 8, 0},
        {0xff, 0x2b},
        {0xff, 0x1b},
        {0xcb},
        {0xca, 8, 0},
        {0x66, 0xcb},
        {0xcf},
        {0x66, 0xcf},
        {0x48, 0xcf},
        {0x48, 0xcb},
        {0x48, 0xff, 0x2b},
        {0x0f, 0x34},
        {0x0f, 0x35},
        {0x48, 0x0f, 0x35},
        {0x0f, 0x05},
        {0x0f, 0x07},
        {0x48, 0x0f, 0x07},
        {0xf4},
        {0x0f, 0x20, 0xc0},
        {0x0f, 0x22, 0xc0},
        {0x0f, 0x22, 0xd8},
        {0x0f, 0x20, 0xd0},
        {0x0f, 0x22, 0xe0},
        {0x0f, 0x20, 0xc8},
        {0x44, 0x0f, 0x20, 0xc0},
        {0x44, 0x0f, 0x22, 0xc0},
        {0x0f, 0x21, 0xf8},
        {0x0f, 0x23, 0xf8},
        {0x0f, 0x23, 0xe0},
        {0x0f, 0x06},
        {0x0f, 0x01, 0xe0},
        {0x0f, 0x01, 0x23},
        {0x0f, 0x01, 0xf0},
        {0x0f, 0x01, 0x33},
        {0x0f, 0x01, 0x3b},
        {0x65, 0x0f, 0x01, 0x3b},
        {0x0f, 0x08},
        {0x0f, 0x09},
        {0x0f, 0x32},
        {0x0f, 0x30},
        {0x0f, 0x31},
        {0x0f, 0x01, 0xf9},
        {0x0f, 0x33},
        {0x0f, 0xa2},
        {0x0f, 0x01, 0xca},
        {0x0f, 0x01, 0xcb},
        {0x0f, 0x01, 0xf8},
        {0xf3, 0x0f, 0xae, 0xc0},
        {0xf3, 0x48, 0x0f, 0xae, 0xd8},
        {0xf3, 0x0f, 0xae, 0xd0},
        {0xe4, 0x60},
        {0xe5, 0x60},
        {0x66, 0xed},
        {0xec},
        {0xee},
        {0xef},
        {0x66, 0xe7, 0x60},
        {0x0f, 0xc7, 0xf0},
        {0x66, 0x0f, 0xc7, 0xf0},
        {0x0f, 0xc7, 0xf8},
        {0xf3, 0x0f, 0xc7, 0xf8},
        {0x66, 0x0f, 0x38, 0x82, 0x03},
        {0x66, 0x0f, 0xae, 0x3b},
        {0x66, 0x0f, 0xae, 0x33},
        {0x6c},
        {0x6d},
        {0x66, 0x6d},
        {0xf3, 0x6c},
        {0x6e},
        {0xf3, 0x6f},
        {0x2e, 0x6e},
    };
    for (const Bytes& insn : kInsns) {
      for (const bool exact : {false, true}) {
        Bytes padded = insn;
        padded.resize(15, 0x90);
        const exec::InsnResult r = run(padded, exact);
        EXPECT_NE(r.end, InsnEnd::NeedBytes);
        if (exact) {
          EXPECT_NE(r.end, InsnEnd::NeedExact);
        }
        EXPECT_GT(r.size, 0u);
      }
    }
  }

  std::unique_ptr<X86Frontend> frontend_;
  ir::Unit unit_;
};

TEST_F(TranslateSystem, RealMode) { all(); }
TEST_F(TranslateSystem, Protected32) {
  flat32();
  all();
}
TEST_F(TranslateSystem, Protected32OfTheI386Target) {
  boot(false);
  flat32();
  all();
}
TEST_F(TranslateSystem, Ring3) {
  flat32();
  to_ring3(0x1000, 0x6000, 2);
  all();
}
TEST_F(TranslateSystem, Long) {
  long_mode_on();
  all();
}

TEST_F(TranslateSystem, ReachesTheRightHelper) {
  flat32();
  const auto expect = [this](Bytes insn, std::string_view helper) {
    insn.resize(15, 0x90);
    run(insn, true);
    EXPECT_TRUE(calls(helper)) << helper;
  };
  expect({0x8e, 0xd8}, "x86_load_segment");
  expect({0x1f}, "x86_pop_segment");
  expect({0xea, 0, 0, 0, 0, 8, 0}, "x86_far_jump");
  expect({0xff, 0x1b}, "x86_far_call");
  expect({0xcb}, "x86_far_return");
  expect({0xca, 8, 0}, "x86_far_return");
  expect({0xcf}, "x86_iret");
  expect({0x0f, 0x22, 0xd8}, "x86_write_cr");
  expect({0x0f, 0x23, 0xf8}, "x86_write_dr");
  expect({0x0f, 0x34}, "x86_sysenter");
  expect({0x0f, 0xa2}, "x86_cpuid");
  expect({0x0f, 0x30}, "x86_wrmsr");
  expect({0x0f, 0x31}, "x86_rdtsc");
  expect({0xe4, 0x60}, "x86_in");
  expect({0xee}, "x86_out");
  expect({0xf3, 0x6c}, "x86_ins");
  expect({0x6f}, "x86_outs");
  expect({0x0f, 0x01, 0x3b}, "x86_invlpg");
  expect({0x0f, 0x00, 0xd8}, "x86_ltr");
  expect({0x0f, 0xc7, 0xf0}, "x86_random");
  expect({0x0f, 0xc7, 0xf8}, "x86_random");
  expect({0x66, 0x0f, 0x38, 0x82, 0x03}, "x86_invpcid");
}

TEST_F(TranslateSystem, WhatCrossesTheLineNeedsAnExactUnit) {
  flat32();
  const Bytes kInsns[] = {{0xec}, {0xee}, {0x6c}, {0x6e}, {0xf4}, {0x0f, 0xa2}};
  for (Bytes insn : kInsns) {
    insn.resize(15, 0x90);
    EXPECT_EQ(run(insn, false).end, InsnEnd::NeedExact);
    EXPECT_EQ(run(insn, true).end, InsnEnd::Closed);
  }
}

// Who is told of a new address space (CpuObserver::asid_changes) reads the pc slot.
TEST_F(TranslateSystem, LoadingCr3ShowsItsOwnPc) {
  flat32();
  Bytes mov{0x0f, 0x22, 0xd8};
  mov.resize(15, 0x90);
  run(mov, false);
  ASSERT_TRUE(calls("x86_write_cr"));
  uint64_t pc = 0;
  for (const ir::Inst& i : unit_.insts) {
    if (i.op == ir::Op::call) break;
    if (i.op == ir::Op::set && i.imm == offsetof(State, eip)) pc = unit_.insts[i.args[0]].imm;
  }
  EXPECT_EQ(pc, s().eip);
}

TEST_F(TranslateSystem, OperandSizeOfFarReturnInLongMode) {
  long_mode_on();
  Bytes retf = {0xcb};
  retf.resize(15, 0x90);
  run(retf, true);
  ASSERT_TRUE(calls("x86_far_return"));
  for (const ir::Inst& i : unit_.insts) {
    if (i.op != ir::Op::call) continue;
    for (const ir::Inst& k : unit_.insts) {
      if (k.op == ir::Op::konst && &k == &unit_.insts[i.args[0]]) {
        EXPECT_EQ(k.imm, 4u) << "32 bits by default";
      }
    }
  }
}

}  // namespace
}  // namespace panda::x86
