// What is between units: linking, the jump cache, budget, exact counts, early exits, a full area.
#include "backend/x64/x64_backend.h"

#include <gtest/gtest.h>

#include <chrono>
#include <deque>

#include "backend/x64/test_machine.h"

namespace panda::test {
namespace {

using exec::Exit;
using ir::Type;

constexpr uint32_t kA = slot_offset(Type::I64, 0);
constexpr uint32_t kB = slot_offset(Type::I64, 1);

class X64BackendTest : public ::testing::Test {
 protected:
  X64BackendTest() : machine_(make()) {
    machine_.randomize(1);
    machine_.cpu().budget = 1000;
    machine_.cpu().count_limit = 1000;
  }
  static std::unique_ptr<exec::Backend> make() {
    auto b = x64::create_backend(size_t{1} << 20);
    PANDA_CHECK(b.has_value());
    return std::move(*b);
  }
  exec::ExitInfo run(exec::TranslationUnit& unit) { return machine_.backend().run(machine_.cpu(), unit); }
  // a += 1, counted as one instruction at `pc`; ends in exit_direct(to).
  static ir::Unit increment(uint64_t pc, uint64_t to) {
    ir::Unit unit;
    ir::Builder b(unit);
    b.begin_block();
    b.count(1);
    b.insn(pc, 1);
    unit.guest_insns.back().refund = 1;
    b.set(kA, b.add(b.get(Type::I64, kA), b.i64(1)));
    b.exit_direct(to);
    return unit;
  }

  TestMachine machine_;
};

TEST_F(X64BackendTest, LinksAndUnlinks) {
  exec::TranslationUnit first, second;
  ASSERT_TRUE(machine_.backend().compile(increment(0x1000, 0x2000), first));
  ASSERT_TRUE(machine_.backend().compile(increment(0x2000, 0xffffffff81000000), second));
  machine_.set_slot<uint64_t>(kA, 0);
  exec::ExitInfo e = run(first);
  EXPECT_EQ(e.kind, Exit::Direct);
  EXPECT_EQ(e.unit, &first);
  EXPECT_EQ(machine_.slot<uint64_t>(kPcOffset), 0x2000u);
  machine_.backend().link(first, 0, second, false);
  e = run(first);
  EXPECT_EQ(e.unit, &second);
  EXPECT_EQ(machine_.slot<uint64_t>(kPcOffset), 0xffffffff81000000u);
  EXPECT_EQ(machine_.slot<uint64_t>(kA), 3u);
  machine_.backend().link(second, 0, first, false);  // a loop, until the budget is gone
  e = run(first);
  EXPECT_EQ(e.kind, Exit::Budget);
  EXPECT_EQ(e.index, 0u);
  EXPECT_EQ(machine_.slot<uint64_t>(kA), 1000u);
  EXPECT_EQ(machine_.cpu().budget, 0);
  machine_.backend().unlink(first, 0);
  machine_.cpu().budget = 5;
  e = run(second);
  EXPECT_EQ(e.kind, Exit::Direct);
  EXPECT_EQ(e.unit, &first);
  EXPECT_EQ(machine_.cpu().budget, 3);
}

TEST_F(X64BackendTest, JumpCache) {
  ir::Unit jump;
  ir::Builder b(jump);
  b.begin_block();
  b.exit_indirect(b.get(Type::I64, kB));
  exec::TranslationUnit from, to;
  ASSERT_TRUE(machine_.backend().compile(jump, from));
  ASSERT_TRUE(machine_.backend().compile(increment(0x123456, 0), to));
  machine_.set_slot<uint64_t>(kB, 0x123456);
  EXPECT_EQ(run(from).kind, Exit::Indirect);
  EXPECT_EQ(machine_.slot<uint64_t>(kPcOffset), 0x123456u);
  JumpCacheEntry& entry = machine_.jump_cache()[jump_cache_index(0x123456)];
  entry = {0x123456, to.code};
  EXPECT_EQ(run(from).unit, &to);
  entry.pc = 0x99123456;
  EXPECT_EQ(run(from).kind, Exit::Indirect) << "another pc";
}

// A fault leaves what was set before it in the state, and only that.
TEST_F(X64BackendTest, FaultWithDirtySlots) {
  ir::Unit unit;
  ir::Builder b(unit);
  b.begin_block();
  b.count(2);
  b.insn(0x1000, 1);
  unit.guest_insns.back().refund = 2;
  b.set(kA, b.i64(0x1122334455667788));
  b.set(kB, b.add(b.get(Type::I64, kB), b.i64(1)));
  b.insn(0x1001, 1);
  unit.guest_insns.back().refund = 1;
  b.store(b.i64(kRamBase + 0x2000), b.i32(5), {});  // read-only
  b.set(kA, b.i64(1));
  b.exit_dispatch();
  exec::TranslationUnit t;
  ASSERT_TRUE(machine_.backend().compile(unit, t));
  machine_.set_slot<uint64_t>(kB, 41);
  const exec::ExitInfo e = run(t);
  EXPECT_EQ(e.kind, Exit::Request);
  EXPECT_EQ(e.unit, &t);
  EXPECT_EQ(e.index, 1u);
  EXPECT_EQ(machine_.slot<uint64_t>(kA), 0x1122334455667788u);
  EXPECT_EQ(machine_.slot<uint64_t>(kB), 42u);
  EXPECT_EQ(machine_.cpu().budget, 998) << "the engine refunds";
}

TEST_F(X64BackendTest, ExactUnitAndBump) {
  uint64_t counter = 5;
  ir::Unit unit;
  unit.exact = true;
  ir::Builder b(unit);
  b.begin_block();
  b.emit(ir::Op::exact_begin, Type::Void, {});
  b.count(1);
  b.insn(0x1000, 1);
  unit.guest_insns.back().refund = 1;
  b.emit(ir::Op::bump, Type::Void, {}, reinterpret_cast<uint64_t>(&counter), 1);
  b.set(kA, b.emit(ir::Op::insn_count, Type::I64, {}));
  b.exit_dispatch();
  exec::TranslationUnit t;
  ASSERT_TRUE(machine_.backend().compile(unit, t));
  EXPECT_EQ(run(t).kind, Exit::Dispatch);
  EXPECT_EQ(counter, 6u);
  EXPECT_EQ(machine_.cpu().exact, 1u);
  EXPECT_EQ(machine_.slot<uint64_t>(kA), 0u);
  EXPECT_EQ(machine_.cpu().completed(), 0u) << "the engine clears `exact`, then it is complete";
}

TEST_F(X64BackendTest, TheOldestIsInTheWayOfAFullArea) {
  exec::Backend& backend = machine_.backend();
  const ir::Unit unit = increment(0x1000, 0x2000);
  std::deque<exec::TranslationUnit> units;
  while (backend.compile(unit, units.emplace_back())) ASSERT_LT(units.size(), 100000u);
  units.pop_back();
  EXPECT_GT(units.size(), 1000u);
  backend.link(units.back(), 0, units[units.size() - 2], false);
  for (int i = 0; i < 5000; i++) {  // several times around
    exec::TranslationUnit& next = units.emplace_back();
    while (!backend.compile(unit, next)) {
      ASSERT_EQ(backend.in_the_way(), &units.front());
      backend.release(units.front());
      ASSERT_EQ(units.front().code, nullptr);
      units.pop_front();
    }
    ASSERT_EQ(run(next).unit, &next);
    ASSERT_EQ(run(units.front()).unit, &units.front());
    machine_.cpu().budget = 1000;
  }
  EXPECT_GT(backend.code_space().used_bytes, backend.code_space().capacity_bytes / 2);
  backend.reset();
  EXPECT_EQ(backend.code_space().used_bytes, 0u);
  exec::TranslationUnit t;
  ASSERT_TRUE(backend.compile(unit, t));
  EXPECT_EQ(run(t).unit, &t);
}

// A loop that waits for a load takes the addend that it had the last time. In the list that is walked here it is
// another one each time, until the code gives up on that.
TEST_F(X64BackendTest, AnAddendThatIsAlwaysAnother) {
  constexpr uint64_t kPc = 0x1000, kOne = kRamBase, kOther = kRamAlias + kPageSize;
  ir::Unit unit;
  ir::Builder b(unit);
  b.begin_block();
  b.count(1);
  b.insn(kPc, 1);
  unit.guest_insns.back().refund = 1;
  const ir::Value next = b.load(Type::I64, b.get(Type::I64, kA), {});
  b.set(kA, next);
  b.set(kB, b.add(b.get(Type::I64, kB), next));
  b.exit_direct(kPc);
  exec::TranslationUnit t;
  ASSERT_TRUE(machine_.backend().compile(unit, t));
  machine_.backend().link(t, 0, t, false);
  std::memcpy(machine_.ram().data(), &kOther, sizeof kOther);
  std::memcpy(machine_.ram().data() + kPageSize, &kOne, sizeof kOne);
  machine_.set_slot<uint64_t>(kA, kOne);
  machine_.set_slot<uint64_t>(kB, 0);
  constexpr int64_t kTimes = 200'000;
  machine_.cpu().budget = kTimes;
  EXPECT_EQ(run(t).kind, Exit::Budget);
  EXPECT_EQ(machine_.cpu().budget, 0);
  EXPECT_EQ(machine_.slot<uint64_t>(kB), kTimes / 2 * (kOne + kOther));
}

TEST(X64Backend, RefusesBadSizes) {
  EXPECT_FALSE(x64::create_backend(0).has_value());
  EXPECT_FALSE(x64::create_backend(size_t{1} << 40).has_value());
}

}  // namespace
}  // namespace panda::test
