// A toy guest that reads ports and device memory, sleeps, takes interrupts, and is written to by
// DMA, into its code too: recorded on one back end, replayed on each, with blocks cut as one likes.
#include <gtest/gtest.h>

#include <random>

#include "replay/recorder.h"
#include "replay/replayer.h"
#include "snapshot/digest.h"
#include "snapshot/fake_line_for_test.h"
#include "snapshot/snapshot.h"
#include "toy_machine.h"

namespace panda::replay {
namespace {

using snapshot::TemporaryDirectory;

constexpr uint32_t kDmaArea = 0x2000;

struct Program {
  std::vector<uint8_t> bytes;
  uint32_t patched = 0;  // address of an ADDI that DMA rewrites
};

Program program() {
  using toy::Insn;
  toy::Assembler a;
  a.branch(Insn::jmp, 0, 0, 0x300);
  a.pad_to(toy::kExceptionVector);
  a.emit(Insn::halt);
  a.pad_to(toy::kInterruptVector);
  a.emit(Insn::addi, 7, 7, 1);
  a.emit(Insn::in, 6, 0, 9);
  a.emit(Insn::xor_, 7, 7, 6);
  a.emit(Insn::iret);
  a.pad_to(0x300);
  a.emit(Insn::sti);
  a.emit(Insn::li, 2, 0, 0);
  a.emit(Insn::lih, 2, 0, 0x10);  // device memory
  a.emit(Insn::li, 5, 0, kDmaArea);
  const uint32_t loop = a.here();
  a.emit(Insn::in, 3, 0, 5);
  a.emit(Insn::add, 1, 1, 3);
  a.emit(Insn::load, 4, 2, 8);
  a.emit(Insn::xor_, 1, 1, 4);
  a.emit(Insn::load, 4, 5, 0);
  a.emit(Insn::add, 1, 1, 4);
  a.emit(Insn::store, 1, 5, 0x100);
  Program p;
  p.patched = a.here();
  a.emit(Insn::addi, 1, 1, 1);
  a.emit(Insn::out, 1, 0, 3);
  a.emit(Insn::li, 3, 0, 20);
  const uint32_t inner = a.here();
  a.emit(Insn::addi, 3, 3, 0xffff);
  a.branch(Insn::bne, 3, 0, inner);
  a.emit(Insn::halt);
  a.branch(Insn::jmp, 0, 0, loop);
  p.bytes = a.bytes();
  return p;
}

class RandomOutside final : public Outside {
 public:
  RandomOutside(toy::Machine& m, uint32_t patched) : m_(m), patched_(patched) {}
  uint64_t port_read(uint16_t, unsigned) override {
    if (random_() % 4 == 0) dma();
    return random_() & 0xffffffff;
  }
  void port_write(uint16_t, unsigned, uint64_t) override {
    if (random_() % 4 == 0) dma();
  }
  uint64_t mmio_read(GuestPhysAddr, unsigned) override { return random_() & 0xffffffff; }
  void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {}
  std::optional<uint64_t> register_read(OutsideRegister, uint32_t) override { return {}; }
  bool register_write(OutsideRegister, uint32_t, uint64_t) override { return true; }
  InsnCount next_event(InsnCount now) override { return std::max(due_, now); }
  void service(InsnCount now) override {
    due_ = now + 1 + random_() % 100;
    if (random_() % 3 == 0) dma();
    if (random_() % 3 == 0) pending_ = true;
    if (random_() % 5 == 0) m_.clock.set_offset_ns(m_.clock.offset_ns() + random_() % 1000);
  }
  bool interrupt_pending() override { return pending_; }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount) override {
    pending_ = false;
    return static_cast<uint8_t>(random_());
  }
  bool idle(InsnCount) override {
    m_.clock.set_offset_ns(m_.clock.offset_ns() + 1000000);
    if (random_() % 2 == 0) pending_ = true;
    return true;
  }
  bool stop_requested() override { return false; }

 private:
  void dma() {
    const uint32_t insn = toy::Assembler::encode(toy::Insn::addi, 1, 1, random_() & 0xffff);
    const uint64_t data = random_();
    if (random_() % 2 == 0)
      m_.memory->write(GuestPhysAddr(patched_), &insn, sizeof insn);
    else
      m_.memory->write(GuestPhysAddr(kDmaArea), &data, sizeof data);
  }
  toy::Machine& m_;
  uint32_t patched_;
  std::mt19937_64 random_{4};
  InsnCount due_;
  bool pending_ = false;
};

snapshot::StateDigest record(const toy::BackendFactory& factory, const std::string& name) {
  const Program p = program();
  toy::Machine m(factory, p.bytes);
  RandomOutside live(m, p.patched);
  m.engine->set_outside(live);
  m.run(1000);
  auto recorder =
      Recorder::begin(name, live, Line::of(*m.engine),
                      {"toy", "", "", m.memory->size_bytes(), {m.memory->ranges().begin(), m.memory->ranges().end()}});
  EXPECT_TRUE(recorder.has_value()) << recorder.error().message;
  m.engine->set_outside(**recorder);
  EXPECT_EQ(m.run(60000), exec::StopReason::CountReached);
  EXPECT_TRUE((*recorder)->end(EndReason::Requested).has_value());
  EXPECT_GT(m.engine->stats().interrupts, 500u);
  EXPECT_GT(m.engine->stats().smc_invalidations, 50u);
  return (*recorder)->final_digest();
}

struct How {
  bool chaining = true;
  unsigned max_insns = 64;
  uint64_t slice = 0;  // stop every so many instructions, 0: run through
};

void replay(const toy::BackendFactory& factory, const std::string& name, How how,
            const snapshot::StateDigest& expected) {
  SCOPED_TRACE(fmt::format("{} chaining {} max {} slice {}", factory.name, how.chaining, how.max_insns, how.slice));
  toy::Machine m(factory, {});
  auto reader = snapshot::SnapshotReader::open(snapshot_path(name));
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  auto cpu = reader->load(*m.memory);
  ASSERT_TRUE(cpu.has_value()) << cpu.error().message;
  ASSERT_TRUE(m.frontend.load_state(m.engine->cpu(), *cpu));
  m.engine->set_count(reader->header().count);
  m.clock.set_shift(reader->header().clock_shift);
  m.clock.set_offset_ns(reader->header().clock_offset_ns);
  m.engine->set_chaining(how.chaining);
  m.engine->set_max_unit_insns(how.max_insns);
  auto log = LogReader::open(log_path(name));
  ASSERT_TRUE(log.has_value()) << log.error().message;
  Replayer replayer(std::move(*log), Line::of(*m.engine));
  m.engine->set_outside(replayer);
  exec::StopReason reason;
  do {
    const uint64_t until = how.slice == 0 ? ~uint64_t{0} : m.engine->count().value + how.slice;
    reason = m.run(until);
  } while (reason == exec::StopReason::CountReached);
  EXPECT_EQ(reason, exec::StopReason::Requested);
  EXPECT_EQ(replayer.outcome(), Outcome::Completed) << replayer.report();
  EXPECT_EQ(replayer.final_digest(), expected);
  EXPECT_EQ(m.engine->count().value, 60000u);
}

TEST(EngineReplay, SameStateOnEveryBackEnd) {
  for (const auto& recorded_on : toy::backends()) {
    TemporaryDirectory directory;
    const std::string name = directory / recorded_on.name;
    const auto digest = record(recorded_on, name);
    for (const auto& replayed_on : toy::backends()) {
      replay(replayed_on, name, {}, digest);
      replay(replayed_on, name, {.chaining = false}, digest);
      replay(replayed_on, name, {.max_insns = 1}, digest);
      replay(replayed_on, name, {.slice = 7}, digest);
    }
  }
}

TEST(EngineReplay, TwoBackEndsWriteTheSameLog) {
  TemporaryDirectory directory;
  std::string first;
  for (const auto& factory : toy::backends()) {
    const std::string name = directory / factory.name;
    record(factory, name);
    const std::string log = snapshot::read_file(log_path(name));
    if (first.empty()) first = log;
    EXPECT_EQ(log, first) << factory.name;
  }
}

}  // namespace
}  // namespace panda::replay
