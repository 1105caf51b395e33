#include "ir/builder.h"

#include <gtest/gtest.h>

#include <random>

#include "ir/fold.h"
#include "ir/printer.h"
#include "ir/verifier.h"

namespace panda::ir {
namespace {

struct Fixture {
  Unit unit;
  Builder b{unit};
  Fixture() {
    unit.pc_offset = 256;
    b.begin_block();
  }
  uint64_t constant(Value v) const {
    uint64_t out = 0;
    EXPECT_TRUE(b.is_const(v, &out));
    return out;
  }
};

TEST(BuilderTest, SharesConstantsWithinABlockOnly) {
  Fixture f;
  const Value one = f.b.i64(1);
  EXPECT_EQ(f.b.i64(1).id, one.id);
  EXPECT_NE(f.b.i32(1).id, one.id);
  const uint32_t next = f.b.new_block();
  f.b.br(next);
  f.b.begin_block(next);
  EXPECT_NE(f.b.i64(1).id, one.id);
}

TEST(BuilderTest, MasksConstantsToTheirType) {
  Fixture f;
  EXPECT_EQ(f.constant(f.b.i8(0x1ff)), 0xffu);
  EXPECT_EQ(f.constant(f.b.konst(Type::I1, 2)), 0u);
}

TEST(BuilderTest, FoldsWhatFrontEndsWrite) {
  Fixture f;
  const Value x = f.b.get(Type::I32, 0);
  EXPECT_EQ(f.b.add(x, f.b.i32(0)).id, x.id);
  EXPECT_EQ(f.b.and_(f.b.i32(~0u), x).id, x.id);
  EXPECT_EQ(f.constant(f.b.and_(x, f.b.i32(0))), 0u);
  EXPECT_EQ(f.constant(f.b.xor_(x, x)), 0u);
  EXPECT_EQ(f.b.shift(Op::shl, x, f.b.i8(32)).id, x.id);  // modulo the width
  EXPECT_EQ(f.constant(f.b.shift(Op::sar, f.b.i32(0x80000000), f.b.i8(4))), 0xf8000000u);
  EXPECT_EQ(f.constant(f.b.sext(Type::I64, f.b.i8(0x80))), 0xffffffffffffff80u);
  EXPECT_EQ(f.constant(f.b.deposit(f.b.i64(0x1122), f.b.i64(0xff), 8, 8)), 0xff22u);
  EXPECT_EQ(f.constant(f.b.extract(f.b.i64(0x1122), 8, 4)), 1u);
  EXPECT_EQ(f.b.extract(x, 0, 32).id, x.id);
  const Value t = f.b.icmp(Cond::Slt, f.b.i32(~0u), f.b.i32(0));
  EXPECT_EQ(f.constant(t), 1u);
  EXPECT_EQ(f.b.select(t, x, f.b.i32(7)).id, x.id);
}

TEST(BuilderTest, BranchOnAConstantIsABranch) {
  Fixture f;
  const uint32_t yes = f.b.new_block();
  const uint32_t no = f.b.new_block();
  f.b.brc(f.b.konst(Type::I1, 0), yes, no);
  EXPECT_EQ(f.unit.insts.back().op, Op::br);
  EXPECT_EQ(f.unit.insts.back().aux, no);
}

TEST(BuilderTest, RollbackForgetsBlocksExitsAndConstants) {
  Fixture f;
  const uint32_t reserved = f.b.new_block();
  const Value kept = f.b.get(Type::I64, 8);
  const Builder::Mark mark = f.b.mark();
  const std::string before = print(f.unit);
  const Value lost = f.b.i64(0x1234);
  f.b.insn(0x1000, 4);
  f.b.exit_direct(0x2000);
  f.b.begin_block(reserved);
  f.b.exit_direct(0x3000);
  f.b.begin_block();
  f.b.rollback(mark);
  EXPECT_TRUE(f.b.open());
  EXPECT_EQ(print(f.unit), before);
  EXPECT_EQ(f.unit.exit_count, 0u);
  EXPECT_EQ(f.unit.guest_insns.size(), 0u);
  EXPECT_TRUE(f.b.get(Type::I64, 16).valid());  // now stands where the constant did
  EXPECT_EQ(f.constant(f.b.i64(0x1234)), 0x1234u);
  EXPECT_NE(f.b.i64(0x1234).id, lost.id);
  f.b.brc(f.b.icmp(Cond::Eq, kept, f.b.i64(3)), reserved, reserved);
  f.b.begin_block(reserved);
  f.b.exit_direct(0x3000);
  EXPECT_EQ(f.unit.insts.back().aux, 0u);
  const Status status = verify(f.unit);
  EXPECT_TRUE(status.has_value()) << status.error().message;
}

TEST(BuilderTest, ExitsOutsideTheDirectRangeAreLookedUp) {
  Fixture f;
  f.b.set_direct_range(0x1000, 0x2000);
  const uint32_t other = f.b.new_block();
  f.b.exit_direct(0x1ff0);
  EXPECT_EQ(f.unit.insts.back().op, Op::exit_direct);
  f.b.begin_block(other);
  f.b.exit_direct(0x2000);
  EXPECT_EQ(f.unit.insts.back().op, Op::exit_indirect);
  EXPECT_EQ(f.unit.exit_count, 1u);
}

TEST(BuilderTest, ExactUnitsDispatchWhateverTheirInstruction) {
  Unit unit;
  unit.exact = true;
  unit.pc_offset = 64;
  unit.pc_type = Type::I32;
  Builder b(unit);
  b.begin_block();
  b.emit(Op::exact_begin, Type::Void, {});
  b.insn(0x1000, 4);
  b.exit_direct(0x1004);
  b.begin_block();
  b.exit_indirect(b.get(Type::I64, 8));
  const Status status = verify(unit);
  EXPECT_TRUE(status.has_value()) << status.error().message;
  EXPECT_EQ(unit.insts.back().op, Op::exit_dispatch);
}

struct CountingHook : ExitHook {
  unsigned calls = 0;
  void before_exit(Builder& b) override {
    calls++;
    EXPECT_TRUE(b.open());
  }
};

TEST(BuilderTest, HookRunsOncePerExit) {
  Fixture f;
  CountingHook hook;
  f.b.set_exit_hook(&hook);
  f.b.set_direct_range(0x1000, 0x2000);
  f.b.exit_direct(0x5000);
  f.b.begin_block();
  f.b.exit_direct(0x1000);
  f.b.begin_block();
  f.b.exit_dispatch();
  EXPECT_EQ(hook.calls, 3u);
}

TEST(BuilderDeathTest, StopsIllTypedCode) {
  Fixture f;
  const Value a = f.b.get(Type::I32, 0);
  const Value b = f.b.get(Type::I64, 8);
  EXPECT_DEATH(f.b.add(a, b), "wrong operand type");
  EXPECT_DEATH(f.b.zext(Type::I16, a), "narrower integer");
  EXPECT_DEATH(f.b.deposit(a, a, 28, 8), "bit field");
  EXPECT_DEATH(f.b.icmp(Cond::Eq, a, b), "one type");
  EXPECT_DEATH(f.b.emit(Op::vlow, Type::I16, {f.b.get(Type::V128, 16)}), "lane");
  f.b.exit_dispatch();
  EXPECT_DEATH(f.b.get(Type::I32, 0), "open_");
  f.b.begin_block();
  EXPECT_DEATH(f.b.add(a, a), "value of this block");
}

// simplify() claims hold for all values: tried against fold_int on random ones.
TEST(FoldTest, SimplificationsAgreeWithComputation) {
  std::mt19937_64 random(1);
  constexpr Type kInts[] = {Type::I8, Type::I16, Type::I32, Type::I64};
  unsigned simplified = 0;
  for (unsigned round = 0; round < 200000; round++) {
    const auto op = static_cast<Op>(static_cast<unsigned>(Op::add) + random() % (static_cast<unsigned>(Op::select) -
                                                                                 static_cast<unsigned>(Op::add) + 1));
    const Type type = kInts[random() % 4];
    const bool shifts = op >= Op::shl && op <= Op::ror;
    const bool has_fold = op != Op::crc32c && op != Op::mulhu && op != Op::mulhs && op != Op::zext && op != Op::sext &&
                          op != Op::trunc && op != Op::select;
    if (!has_fold) continue;
    uint64_t imm = op == Op::icmp ? random() % 10 : 0;
    if (op == Op::deposit || op == Op::extract) {
      const uint64_t width = 1 + random() % size_bits(type);
      imm = random() % (size_bits(type) - width + 1) | width << 8;
    }
    const uint64_t mask = mask_of(type);
    const uint64_t choices[] = {0, 1, mask, random() & mask, size_bits(type)};
    uint64_t v[3] = {choices[random() % 5], choices[random() % 5], 0};
    if (shifts) v[1] &= 0xff;
    const bool same = !shifts && random() % 4 == 0;
    if (same) v[1] = v[0];
    const bool known[3] = {random() % 2 == 0, random() % 2 == 0, false};
    const Simplified s = simplify(op, type, type, imm, known, v, same);
    if (s.kind == Simplified::No) continue;
    simplified++;
    const uint64_t claimed = s.kind == Simplified::Operand ? v[s.operand] : s.value;
    const auto computed = fold_int(op, type, type, v[0], v[1], v[2], imm);
    ASSERT_TRUE(computed.has_value());
    ASSERT_EQ(claimed, *computed) << info(op).name << " " << v[0] << " " << v[1];
  }
  EXPECT_GT(simplified, 10000u);
}

}  // namespace
}  // namespace panda::ir
