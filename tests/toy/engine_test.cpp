// The engine's promises, each with a program made for it: exact counts, self-modifying code, exact
// state at faults, indirect jumps, crossings and interrupts at their count, instrumentation.
#include <gtest/gtest.h>

#include <numeric>

#include "toy_machine.h"

namespace panda::toy {
namespace {

class EngineTest : public testing::TestWithParam<BackendFactory> {
 protected:
  // Program at 0, handlers that return at the vectors (the interrupt's adds 1 to r7; the
  // exception's skips the instruction through epc being set by nobody: it counts in r6 and halts
  // unless `resume`).
  static void add_handlers(Assembler& a) {
    ASSERT_LE(a.here(), kExceptionVector);
    a.pad_to(kExceptionVector);
    a.emit(Insn::addi, 6, 6, 1);
    a.emit(Insn::halt);
    a.pad_to(kInterruptVector);
    a.emit(Insn::addi, 7, 7, 1);
    a.emit(Insn::iret);
  }

  // Runs to `count` on both and compares everything.
  static void expect_equal(Machine& m, uint64_t count) {
    const bool goes_on = m.simulator.run_until(count);
    const auto stop = m.run(count);
    EXPECT_EQ(stop, goes_on ? exec::StopReason::CountReached : exec::StopReason::IdleForever) << "at " << count;
    EXPECT_EQ(m.engine->count().value, m.simulator.count);
    EXPECT_EQ(m.frontend.describe_registers(m.engine->cpu()), describe(m.simulator.state)) << "at " << count;
    EXPECT_TRUE(m.state() == m.simulator.state) << "at " << count;
    EXPECT_TRUE(m.outside.crossings == m.simulator.crossings) << "at " << count;
  }
  static void expect_equal_ram(Machine& m) {
    const auto ram = m.memory->ram();
    EXPECT_TRUE(std::equal(ram.begin(), ram.end(), m.simulator.ram().begin()));
  }
  static std::string describe(const State& s) {
    std::string text = fmt::format("pc={:08x}", s.pc);
    for (unsigned r = 0; r < 8; r++) text += fmt::format(" r{}={:08x}", r, s.regs[r]);
    return text;
  }

  // A loop of several blocks: r3 grows by 5 in every second of n rounds, by 7 behind a store in the others.
  static Assembler two_way_program(uint32_t n) {
    Assembler a;
    a.emit(Insn::li, 5, 0, n);
    a.emit(Insn::li, 6, 0, 1);
    const uint32_t loop = a.here();
    a.emit(Insn::addi, 0, 0, 4);
    a.emit(Insn::sub, 1, 6, 1);  // 1, 0, 1, 0, ...
    const uint32_t other = a.here();
    a.emit(Insn::beq, 1, 2);
    a.emit(Insn::addi, 3, 3, 5);
    const uint32_t join = a.here();
    a.emit(Insn::jmp);
    a.patch(other);
    a.emit(Insn::store, 3, 0, 0x4000);
    a.emit(Insn::addi, 3, 3, 7);
    a.patch(join);
    a.emit(Insn::addi, 5, 5, 0xffff);
    a.branch(Insn::bne, 5, 2, loop);
    a.emit(Insn::halt);
    return a;
  }

  // Adds up n, n-1, … 1 in r0.
  static Assembler sum_program(uint32_t n) {
    Assembler a;
    a.emit(Insn::li, 1, 0, n);
    const uint32_t loop = a.here();
    a.emit(Insn::add, 0, 0, 1);
    a.emit(Insn::addi, 1, 1, 0xffff);
    a.branch(Insn::bne, 1, 2, loop);
    a.emit(Insn::halt);
    return a;
  }
};

TEST_P(EngineTest, RunsALoopAndCountsIt) {
  const Assembler a = sum_program(1000);
  Machine m(GetParam(), a.bytes());
  EXPECT_EQ(m.run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_EQ(m.state().regs[0], 500500u);
  EXPECT_EQ(m.engine->count().value, 1 + 3 * 1000 + 1u);
  EXPECT_LT(m.engine->stats().dispatches, 100u) << "the loop is not chained";
}

TEST_P(EngineTest, StopsAtEveryCount) {
  const Assembler a = sum_program(20);
  Machine m(GetParam(), a.bytes());
  for (uint64_t count = 1; count <= 62; count++) expect_equal(m, count);
}

TEST_P(EngineTest, StopsAtAnyCountWithoutChainingAndInSingleInsnUnits) {
  const Assembler a = sum_program(20);
  for (const unsigned max_insns : {1u, 2u, 64u}) {
    Machine m(GetParam(), a.bytes());
    m.engine->set_chaining(false);
    m.engine->set_max_unit_insns(max_insns);
    for (uint64_t count = 1; count <= 70; count += 3) expect_equal(m, count);
  }
}

TEST_P(EngineTest, CanBeRunInTwoMachinesAtOnce) {
  const Assembler a = sum_program(50);
  Machine one(GetParam(), a.bytes());
  Machine two(GetParam(), a.bytes());
  for (uint64_t count = 10; count < 150; count += 10) {
    expect_equal(one, count);
    expect_equal(two, count + 5);
  }
}

TEST_P(EngineTest, StoreAheadIntoOwnUnitTakesEffect) {
  Assembler a;
  a.emit(Insn::li, 0, 0, Assembler::encode(Insn::li, 3, 0, 7) & 0xffff);
  a.emit(Insn::lih, 0, 0, 7);
  a.emit(Insn::li, 1, 0, 20);
  a.emit(Insn::store, 0, 1, 0);  // over the instruction at 20
  a.emit(Insn::addi, 2, 2, 1);
  ASSERT_EQ(a.here(), 20u);
  a.emit(Insn::li, 3, 0, 1);  // becomes li r3, 7
  a.emit(Insn::halt);
  for (const unsigned max_insns : {1u, 64u}) {
    Machine m(GetParam(), a.bytes());
    m.engine->set_max_unit_insns(max_insns);
    expect_equal(m, 1000);
    EXPECT_EQ(m.state().regs[3], 7u);
    expect_equal_ram(m);
  }
}

TEST_P(EngineTest, LoopThatRewritesItself) {
  // Each round increments the immediate of an instruction of the loop itself.
  Assembler a;
  a.emit(Insn::li, 5, 0, 30);
  const uint32_t loop = a.here();
  a.emit(Insn::addi, 0, 0, 1);  // its immediate grows
  a.emit(Insn::load, 1, 2, loop);
  a.emit(Insn::li, 3, 0, 0);
  a.emit(Insn::lih, 3, 0, 1);
  a.emit(Insn::add, 1, 1, 3);
  a.emit(Insn::store, 1, 2, loop);
  a.emit(Insn::addi, 5, 5, 0xffff);
  a.branch(Insn::bne, 5, 2, loop);
  a.emit(Insn::halt);
  Machine m(GetParam(), a.bytes());
  for (uint64_t count = 7; count < 260; count += 7) expect_equal(m, count);
  EXPECT_EQ(m.state().regs[0], 30u * 31 / 2);
  EXPECT_GE(m.engine->stats().smc_invalidations, 29u);
}

// Straight-line code that takes many times a small cache, twice over, with calls to a routine that stays in
// use throughout.
TEST_P(EngineTest, RunsMoreCodeThanFits) {
  constexpr uint32_t kEnd = 0x30000, kRoutine = kEnd + 0x100;
  Assembler a;
  a.emit(Insn::li, 5, 0, 2);
  a.emit(Insn::li, 4, 0, kRoutine & 0xffff);
  a.emit(Insn::lih, 4, 0, kRoutine >> 16);
  a.emit(Insn::li, 6, 0, 0x300);
  a.emit(Insn::jalr, 3, 6);
  a.pad_to(0x300);
  for (uint32_t i = 0; a.here() + 4 * 8 < kEnd; i++) {
    a.emit(Insn::addi, 0, 0, i);
    a.emit(Insn::mul, 1, 0, 0);
    a.emit(Insn::xor_, 2, 1, 2);
    if (i % 50 == 0) {
      a.emit(Insn::jalr, 3, 4);
    } else if (i % 7 == 0) {
      a.branch(Insn::jmp, 0, 0, a.here() + 8);
      a.emit(Insn::trap);
    } else if (i % 11 == 0) {
      a.branch(Insn::beq, 0, 1, a.here() + 4);
    }
  }
  a.emit(Insn::addi, 5, 5, 0xffff);
  const uint32_t last = a.here();
  a.emit(Insn::beq, 5, 7, 8);  // r7 is 0
  a.emit(Insn::jalr, 3, 6);
  a.patch(last);
  a.emit(Insn::halt);
  a.pad_to(kRoutine);
  a.emit(Insn::addi, 7, 7, 1);
  a.emit(Insn::addi, 7, 7, 0xffff);
  a.emit(Insn::jalr, 2, 3);
  Machine m(GetParam(), a.bytes());
  for (uint64_t count = 777; count < 130'000; count += 7'777) expect_equal(m, count);
  EXPECT_EQ(m.state().halted, 1u);
  const exec::EngineStats& stats = m.engine->stats();
  EXPECT_GT(stats.insns_translated, 40'000u);
  if (GetParam().name.ends_with("_small")) {
    EXPECT_GT(stats.evictions, 1000u);
    EXPECT_LT(m.engine->units(), 1000u);
    EXPECT_LE(m.backend->code_space().used_bytes, m.backend->code_space().capacity_bytes);
    EXPECT_LT(m.engine->unit_record_bytes(), 2u << 20);
  }
  EXPECT_EQ(stats.flushes, 0u);
}

TEST_P(EngineTest, WritesByDevicesReachTranslations) {
  Assembler a;
  a.emit(Insn::li, 0, 0, 1);
  a.branch(Insn::jmp, 0, 0, 0);
  Machine m(GetParam(), a.bytes());
  m.run(100);
  EXPECT_EQ(m.state().regs[0], 1u);
  const uint32_t word = Assembler::encode(Insn::li, 0, 0, 2);
  ASSERT_TRUE(m.memory->write(GuestPhysAddr(0), &word, 4));
  m.run(200);
  EXPECT_EQ(m.state().regs[0], 2u);
  EXPECT_EQ(m.engine->count().value, 200u);
}

TEST_P(EngineTest, FaultInTheMiddleOfAUnitIsExact) {
  for (const uint32_t imm : {0u, 2u}) {  // page fault, misaligned
    Assembler a;
    a.emit(Insn::li, 1, 0, 5);
    a.emit(Insn::li, 2, 0, imm);
    if (imm == 0) a.emit(Insn::lih, 2, 0, kFaultBase >> 16);
    a.emit(Insn::addi, 1, 1, 1);
    const uint32_t fault_at = a.here();
    a.emit(Insn::load, 1, 2, 0);
    a.emit(Insn::li, 1, 0, 99);
    add_handlers(a);
    Machine m(GetParam(), a.bytes());
    expect_equal(m, 1000);
    EXPECT_EQ(m.state().epc, fault_at);
    EXPECT_EQ(m.state().regs[1], 6u);
    EXPECT_EQ(m.state().cause, imm == 0 ? kCausePage : kCauseMisaligned);
    EXPECT_EQ(m.engine->count().value, fault_at / 4 + 2);  // the faulting one is not complete
  }
}

TEST_P(EngineTest, TrapsIllegalInstructionsAndWildJumpsAreDelivered) {
  Assembler trap;
  trap.emit(Insn::li, 1, 0, 5);
  trap.emit(Insn::trap, 0, 0, 33);
  add_handlers(trap);
  Assembler illegal;
  illegal.emit(Insn::li, 1, 0, 5);
  illegal.emit(static_cast<Insn>(0xee));
  add_handlers(illegal);
  Assembler wild;
  wild.emit(Insn::lih, 1, 0, kFaultBase >> 16);
  wild.emit(Insn::jalr, 2, 1);
  add_handlers(wild);
  for (const Assembler* a : {&trap, &illegal, &wild}) {
    Machine m(GetParam(), a->bytes());
    expect_equal(m, 1000);
    EXPECT_EQ(m.state().regs[6], 1u);
  }
}

TEST_P(EngineTest, CallsAndReturns) {
  Assembler a;
  a.emit(Insn::li, 1, 0, 0x80);  // the function
  a.emit(Insn::li, 5, 0, 100);
  const uint32_t loop = a.here();
  a.emit(Insn::jalr, 4, 1);
  a.emit(Insn::addi, 3, 3, 1);
  a.emit(Insn::jalr, 4, 1);  // a second caller: the return goes to two places
  a.emit(Insn::addi, 5, 5, 0xffff);
  a.branch(Insn::bne, 5, 2, loop);
  a.emit(Insn::halt);
  a.pad_to(0x80);
  a.emit(Insn::add, 0, 0, 5);
  a.emit(Insn::jalr, 6, 4);
  Machine m(GetParam(), a.bytes());
  for (uint64_t count = 11; count < 1000; count += 11) expect_equal(m, count);
  EXPECT_EQ(m.state().regs[0], 2u * 5050);
  EXPECT_EQ(m.state().regs[3], 100u);
}

TEST_P(EngineTest, CrossingsHappenAtTheirExactCount) {
  Assembler a;
  a.emit(Insn::li, 1, 0, 3);
  const uint32_t loop = a.here();
  a.emit(Insn::in, 0, 0, 7);
  a.emit(Insn::addi, 0, 0, 1);
  a.emit(Insn::out, 0, 0, 8);
  a.emit(Insn::lih, 3, 0, 0x10);  // a device's page
  a.emit(Insn::addi, 2, 2, 1);
  a.emit(Insn::store, 0, 3, 4);
  a.emit(Insn::load, 4, 3, 8);
  a.emit(Insn::addi, 1, 1, 0xffff);
  a.branch(Insn::bne, 1, 5, loop);
  a.emit(Insn::halt);
  Machine whole(GetParam(), a.bytes());
  expect_equal(whole, 1000);
  EXPECT_EQ(whole.outside.crossings.size(), 12u);
  EXPECT_EQ(whole.outside.crossings[0], (Crossing{1, 7, 7000}));
  Machine stepped(GetParam(), a.bytes());
  for (uint64_t count = 1; count <= 30; count++) expect_equal(stepped, count);
}

TEST_P(EngineTest, InterruptsAreTakenAtTheirExactCount) {
  Assembler a;
  a.emit(Insn::sti);
  a.emit(Insn::li, 1, 0, 100);
  const uint32_t loop = a.here();
  a.emit(Insn::add, 0, 0, 1);
  a.emit(Insn::addi, 1, 1, 0xffff);
  a.branch(Insn::bne, 1, 2, loop);
  a.emit(Insn::halt);
  add_handlers(a);
  std::vector<uint64_t> at;
  for (uint64_t count = 0; count < 290; count += 13) at.push_back(count);
  Machine m(GetParam(), a.bytes(), at);
  for (uint64_t count = 5; count < 400; count += 5) expect_equal(m, count);
  EXPECT_EQ(m.state().regs[7], at.size());
  EXPECT_EQ(m.state().regs[0], 5050u);
}

TEST_P(EngineTest, InterruptWakesFromHalt) {
  Assembler a;
  a.emit(Insn::sti);
  a.emit(Insn::halt);
  a.emit(Insn::li, 0, 0, 42);
  a.emit(Insn::halt);
  add_handlers(a);
  Machine m(GetParam(), a.bytes(), {2});
  expect_equal(m, 1000);
  EXPECT_EQ(m.state().regs[0], 42u);
  EXPECT_EQ(m.state().regs[7], 1u);
}

// --- instrumentation

struct Seen {
  uint64_t pc;
  uint64_t count;
};

class CountingInstrumenter final : public exec::Instrumenter {
 public:
  void emit_unit_entry(VcpuContext&, exec::TranslationUnit&, ir::Builder& b) override { emit_bump(b, units); }
  void emit_insn_before(VcpuContext&, exec::TranslationUnit&, uint64_t pc, ir::Builder& b) override {
    emit_bump(b, insns);
    const ir::Value self = b.i64(reinterpret_cast<uintptr_t>(this));
    const ir::Value count = b.emit(ir::Op::insn_count, ir::Type::I64, {});
    b.call(kSee, {self, b.i64(pc), count});
  }
  void emit_unit_exit(VcpuContext&, exec::TranslationUnit& unit, ir::Builder& b) override {
    if (!exec::continues_block(unit.variant)) emit_bump(b, exits);
  }
  void unit_left_early(VcpuContext&, exec::TranslationUnit&, uint32_t, ExitRequest) override { left_early++; }
  [[nodiscard]] uint64_t generation() const override { return generation_; }
  void change() { generation_++; }

  std::vector<Seen> seen;
  uint64_t units = 0;
  uint64_t insns = 0;
  uint64_t exits = 0;
  uint64_t left_early = 0;

 private:
  static void emit_bump(ir::Builder& b, uint64_t& counter) {
    b.emit(ir::Op::bump, ir::Type::Void, {}, reinterpret_cast<uintptr_t>(&counter), 1);
  }
  static void see(void*, uint64_t self, uint64_t pc, uint64_t count) noexcept {
    reinterpret_cast<CountingInstrumenter*>(self)->seen.push_back({pc, count});
  }
  inline static const ir::HelperDesc kSee{.name = "see",
                                          .function = reinterpret_cast<const void*>(&see),
                                          .params = {ir::Type::I64, ir::Type::I64, ir::Type::I64},
                                          .writes = ir::kNoState,
                                          .may_exit = false};
  uint64_t generation_ = 1;
};

TEST_P(EngineTest, CallbacksSeeEveryInstructionWithItsCount) {
  Assembler a;
  a.emit(Insn::li, 1, 0, 10);
  const uint32_t loop = a.here();
  a.emit(Insn::add, 0, 0, 1);
  a.emit(Insn::out, 0, 0, 1);
  a.emit(Insn::addi, 1, 1, 0xffff);
  a.branch(Insn::bne, 1, 2, loop);
  a.emit(Insn::trap, 0, 0, 5);
  add_handlers(a);
  CountingInstrumenter watch;
  Machine m(GetParam(), a.bytes());
  m.engine->set_instrumenter(&watch);
  expect_equal(m, 1000);
  // The trap and all that completed, in order, each at its own count.
  ASSERT_EQ(watch.seen.size(), m.engine->count().value + 1);
  EXPECT_EQ(watch.insns, watch.seen.size());
  for (size_t i = 0; i < 42; i++) EXPECT_EQ(watch.seen[i].count, i) << i;
  EXPECT_EQ(watch.seen[1].pc, loop);
  EXPECT_EQ(watch.seen[41].pc, watch.seen[42].pc == kExceptionVector ? loop + 16 : 0);
  EXPECT_EQ(watch.seen[42].count, 41u);
  EXPECT_EQ(watch.left_early, 1u);
  EXPECT_EQ(watch.units, watch.exits + watch.left_early);
}

TEST_P(EngineTest, InstrumentationCanComeAndGo) {
  const Assembler a = sum_program(1000);
  CountingInstrumenter watch;
  Machine m(GetParam(), a.bytes());
  expect_equal(m, 500);
  m.engine->set_instrumenter(&watch);
  expect_equal(m, 600);
  EXPECT_EQ(watch.insns, 100u);
  m.engine->set_instrumenter(nullptr);
  expect_equal(m, 700);
  EXPECT_EQ(watch.insns, 100u);
}

TEST_P(EngineTest, RegionsStopAtEveryCount) {
  const Assembler a = two_way_program(200);
  for (const int32_t threshold : {1, 20}) {
    Machine m(GetParam(), a.bytes());
    m.engine->set_region_threshold(threshold);
    for (uint64_t count = 1; count < 1400; count += count < 400 ? 1 : 29) expect_equal(m, count);
    expect_equal(m, 5000);
    expect_equal_ram(m);
    EXPECT_GE(m.engine->stats().regions_translated, 1u);
  }
}

TEST_P(EngineTest, ARegionRunsWithoutTheDispatcher) {
  const Assembler a = two_way_program(30000);
  Machine m(GetParam(), a.bytes());
  m.engine->set_region_threshold(50);
  EXPECT_EQ(m.run(1'000'000), exec::StopReason::IdleForever);
  EXPECT_GE(m.engine->stats().regions_translated, 1u);
  EXPECT_LT(m.engine->stats().dispatches, 2000u);
}

TEST_P(EngineTest, RegionsCanBeSwitchedOff) {
  const Assembler a = two_way_program(1000);
  Machine m(GetParam(), a.bytes());
  m.engine->set_region_threshold(0);
  expect_equal(m, 20'000);
  EXPECT_EQ(m.engine->stats().regions_translated, 0u);
}

// The store goes over an instruction in the middle of the region that it is in.
TEST_P(EngineTest, RegionThatIsOverwritten) {
  Assembler a;
  a.emit(Insn::li, 5, 0, 60);
  a.emit(Insn::li, 6, 0, 1);
  const uint32_t loop = a.here();
  a.emit(Insn::sub, 1, 6, 1);
  const uint32_t skip = a.here();
  a.emit(Insn::bne, 5, 7);  // over a jump that is never made
  a.emit(Insn::halt);
  a.patch(skip);
  const uint32_t grows = a.here();
  a.emit(Insn::addi, 0, 0, 1);
  a.emit(Insn::addi, 7, 2, 30);
  const uint32_t not_yet = a.here();
  a.emit(Insn::bne, 5, 7);
  a.emit(Insn::load, 4, 2, grows);
  a.emit(Insn::li, 3, 0, 0);
  a.emit(Insn::lih, 3, 0, 9);
  a.emit(Insn::add, 4, 4, 3);
  a.emit(Insn::store, 4, 2, grows);
  a.patch(not_yet);
  a.emit(Insn::addi, 7, 2, 0xffff);
  a.emit(Insn::addi, 5, 5, 0xffff);
  a.branch(Insn::bne, 5, 2, loop);
  a.emit(Insn::halt);
  Machine m(GetParam(), a.bytes());
  m.engine->set_region_threshold(3);
  for (uint64_t count = 90; count < 700; count += 90) expect_equal(m, count);
  EXPECT_EQ(m.state().regs[0], 31u + 29u * 10u);
  EXPECT_GE(m.engine->stats().regions_translated, 2u);
  EXPECT_GE(m.engine->stats().smc_invalidations, 1u);
}

// A plugin that wants blocks gets them one by one; regions are made again when it has gone.
TEST_P(EngineTest, RegionsGiveWayToInstrumentation) {
  const Assembler a = two_way_program(3000);
  CountingInstrumenter watch;
  Machine m(GetParam(), a.bytes());
  m.engine->set_region_threshold(10);
  expect_equal(m, 1000);
  const uint64_t regions = m.engine->stats().regions_translated;
  EXPECT_GE(regions, 1u);
  m.engine->set_instrumenter(&watch);
  expect_equal(m, 3000);
  EXPECT_EQ(watch.insns, 2000u);
  EXPECT_EQ(m.engine->stats().regions_translated, regions);
  m.engine->set_instrumenter(nullptr);
  expect_equal(m, 5000);
  EXPECT_GT(m.engine->stats().regions_translated, regions);
}

INSTANTIATE_TEST_SUITE_P(Backends, EngineTest, testing::ValuesIn(backends()),
                         [](const auto& tested) { return tested.param.name; });

}  // namespace
}  // namespace panda::toy
