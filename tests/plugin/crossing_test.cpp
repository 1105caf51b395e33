// Callbacks on device memory and on what no device answers: what they change reaches guest and devices, is
// what a recording holds, and cannot change a replay.
#include <gtest/gtest.h>

#include <vector>

#include "plugin/crossing_callbacks.h"
#include "replay/recorder.h"
#include "replay/replayer.h"
#include "snapshot/digest.h"
#include "snapshot/fake_line_for_test.h"
#include "snapshot/snapshot.h"
#include "toy_machine.h"
#include "toy_target.h"

namespace panda::plugin {
namespace {

using toy::Insn;

constexpr uint64_t kDevice = 0x40000, kNobody = 0x50000;

// A device at kDevice, and nothing from kNobody on.
class Device final : public Outside {
 public:
  uint64_t port_read(uint16_t, unsigned) override { return 0; }
  void port_write(uint16_t, unsigned, uint64_t) override {}
  uint64_t mmio_read(GuestPhysAddr address, unsigned) override { return address.value < kNobody ? 0x1000 : 0xffffffff; }
  void mmio_write(GuestPhysAddr address, unsigned, uint64_t value) override {
    if (address.value < kNobody) written.push_back(value);
  }
  bool mmio_assigned(GuestPhysAddr address, unsigned) override { return address.value < kNobody; }
  std::optional<uint64_t> register_read(OutsideRegister, uint32_t) override { return {}; }
  bool register_write(OutsideRegister, uint32_t, uint64_t) override { return true; }
  InsnCount next_event(InsnCount now) override { return now + 1000; }
  void service(InsnCount) override {}
  bool interrupt_pending() override { return false; }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount) override { return {}; }
  bool idle(InsnCount) override { return false; }
  bool stop_requested() override { return false; }
  std::vector<uint64_t> written;
};

std::vector<uint8_t> program() {
  toy::Assembler a;
  a.emit(Insn::li, 1, 0, 0);
  a.emit(Insn::lih, 1, 0, kDevice >> 16);
  a.emit(Insn::li, 2, 0, 0);
  a.emit(Insn::lih, 2, 0, kNobody >> 16);
  a.emit(Insn::li, 5, 0, 7);
  a.emit(Insn::load, 3, 1, 8);
  a.emit(Insn::load, 4, 2, 4);
  a.emit(Insn::store, 5, 1, 12);
  a.emit(Insn::store, 5, 2, 16);
  a.emit(Insn::load, 6, 2, 20);
  a.emit(Insn::halt);
  return a.bytes();
}

struct Seen {
  std::vector<uint64_t> reads, writes, nobody_reads, nobody_writes;  // addresses
  bool change = true;
};
Seen* g_seen = nullptr;

void after_read(void*, uint64_t phys, uint64_t, uint64_t, uint64_t* value) {
  g_seen->reads.push_back(phys);
  if (g_seen->change && phys == kDevice + 8) *value += 5;
}
void before_write(void*, uint64_t phys, uint64_t, uint64_t, uint64_t* value) {
  g_seen->writes.push_back(phys);
  if (g_seen->change) *value += 100;
}
bool nobody_read(void*, uint64_t, uint64_t phys, uint64_t, uint64_t* value) {
  g_seen->nobody_reads.push_back(phys);
  if (!g_seen->change || phys != kNobody + 4) return false;
  *value = 0x1234;
  return true;
}
bool nobody_write(void*, uint64_t, uint64_t phys, uint64_t, uint64_t) {
  g_seen->nobody_writes.push_back(phys);
  return true;
}

class CrossingTest : public testing::TestWithParam<toy::BackendFactory> {
 protected:
  void start(const std::vector<uint8_t>& code) {
    host_.reset();
    machine_ = std::make_unique<toy::Machine>(GetParam(), code);
    auto host = create_toy_host(*machine_);
    ASSERT_TRUE(host.has_value());
    host_ = std::move(*host);
    seen_ = {};
    g_seen = &seen_;
  }
  void listen() {
    const auto add = [&](unsigned type, auto* function) {
      host_->registry().add(type, {.plugin = &plugin_, .function = reinterpret_cast<void*>(function)});
    };
    add(PANDA_CB_MMIO_AFTER_READ, after_read);
    add(PANDA_CB_MMIO_BEFORE_WRITE, before_write);
    add(PANDA_CB_UNASSIGNED_IO_READ, nobody_read);
    add(PANDA_CB_UNASSIGNED_IO_WRITE, nobody_write);
  }
  void expect_all_seen() {
    EXPECT_EQ(seen_.reads, (std::vector<uint64_t>{kDevice + 8, kNobody + 4, kNobody + 20}));
    EXPECT_EQ(seen_.writes, (std::vector<uint64_t>{kDevice + 12, kNobody + 16}));
    EXPECT_EQ(seen_.nobody_reads, (std::vector<uint64_t>{kNobody + 4, kNobody + 20}));
    EXPECT_EQ(seen_.nobody_writes, (std::vector<uint64_t>{kNobody + 16}));
  }
  // Records the program with the plugin changing what it sees.
  snapshot::StateDigest record(const std::string& name) {
    start(program());
    listen();
    CrossingCallbacks crossings(device_, *host_, false);
    machine_->engine->set_outside(crossings);
    auto recorder = replay::Recorder::begin(name, crossings, replay::Line::of(*machine_->engine),
                                            {"toy",
                                             "",
                                             "",
                                             machine_->memory->size_bytes(),
                                             {machine_->memory->ranges().begin(), machine_->memory->ranges().end()}});
    EXPECT_TRUE(recorder.has_value()) << recorder.error().message;
    machine_->engine->set_outside(**recorder);
    EXPECT_EQ(machine_->run(1000), exec::StopReason::IdleForever);
    EXPECT_TRUE((*recorder)->end(replay::EndReason::Requested).has_value());
    machine_->engine->set_outside(device_);
    return (*recorder)->final_digest();
  }
  void replay_it(const std::string& name, bool with_plugin, bool change, const snapshot::StateDigest& expected) {
    start({});
    if (with_plugin) listen();
    seen_.change = change;
    auto reader = snapshot::SnapshotReader::open(replay::snapshot_path(name));
    ASSERT_TRUE(reader.has_value());
    auto cpu = reader->load(*machine_->memory);
    ASSERT_TRUE(cpu.has_value() && machine_->frontend.load_state(machine_->engine->cpu(), *cpu));
    machine_->engine->set_count(reader->header().count);
    auto log = replay::LogReader::open(replay::log_path(name));
    ASSERT_TRUE(log.has_value());
    replay::Replayer replayer(std::move(*log), replay::Line::of(*machine_->engine));
    CrossingCallbacks crossings(replayer, *host_, true);
    replayer.set_observer(&crossings);
    machine_->engine->set_outside(crossings);
    const exec::StopReason why = machine_->run(~uint64_t{0});
    if (why == exec::StopReason::IdleForever) replayer.cpu_stopped("it waits");
    EXPECT_EQ(replayer.outcome(), replay::Outcome::Completed) << replayer.report();
    EXPECT_EQ(replayer.final_digest(), expected);
    machine_->engine->set_outside(device_);
  }
  void TearDown() override { host_.reset(); }

  Device device_;
  std::unique_ptr<toy::Machine> machine_;
  std::unique_ptr<PluginHost> host_;
  Plugin plugin_{.name = "crossing", .path = "", .handle = this};
  Seen seen_;
};

TEST_P(CrossingTest, ChangesReachGuestAndDevice) {
  start(program());
  listen();
  CrossingCallbacks crossings(device_, *host_, false);
  machine_->engine->set_outside(crossings);
  EXPECT_EQ(machine_->run(1000), exec::StopReason::IdleForever);
  expect_all_seen();
  EXPECT_EQ(machine_->state().regs[3], 0x1005u);
  EXPECT_EQ(machine_->state().regs[4], 0x1234u);
  EXPECT_EQ(machine_->state().regs[6], 0xffffffffu);
  EXPECT_EQ(device_.written, std::vector<uint64_t>{107});
  machine_->engine->set_outside(device_);
}

TEST_P(CrossingTest, WhatAPluginChangedIsRecordedAndAReplayKeepsIt) {
  snapshot::TemporaryDirectory directory;
  const std::string name = directory / "r";
  const auto digest = record(name);
  EXPECT_EQ(machine_->state().regs[3], 0x1005u);
  replay_it(name, false, false, digest);
  EXPECT_EQ(machine_->state().regs[3], 0x1005u);
  EXPECT_EQ(machine_->state().regs[4], 0x1234u);
  replay_it(name, true, false, digest);
  expect_all_seen();
  testing::internal::CaptureStderr();
  replay_it(name, true, true, digest);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("in a replay the recorded value stays"), std::string::npos);
  expect_all_seen();
}

struct Dma {
  uint64_t now, then;
  const uint8_t* buffer;
} g_dma;
void dma_now(void*, const uint8_t* buf, uint64_t addr, uint64_t size, bool is_write) {
  g_dma.now += addr * 100 + size * 10 + (is_write ? 1 : 0);
  EXPECT_EQ(buf, g_dma.buffer);
}
int dma_then(void*, uint32_t is_write, uint64_t src_addr, uint64_t dest_addr, uint32_t num_bytes) {
  g_dma.then += dest_addr * 100 + num_bytes * 10 + is_write;
  EXPECT_EQ(src_addr, reinterpret_cast<uint64_t>(g_dma.buffer));
  return 0;
}

TEST_P(CrossingTest, DmaIsToldUnderTheNamesOfOldDocumentsToo) {
  start(program());
  const auto add = [&](unsigned type, auto* function) {
    host_->registry().add(type, {.plugin = &plugin_, .function = reinterpret_cast<void*>(function)});
  };
  add(PANDA_CB_REPLAY_BEFORE_DMA, dma_now);
  add(PANDA_CB_REPLAY_BEFORE_CPU_PHYSICAL_MEM_RW_RAM, dma_then);
  CrossingCallbacks crossings(device_, *host_, true);
  const std::vector<uint8_t> bytes(7);
  g_dma = {0, 0, bytes.data()};
  crossings.before_dma(GuestPhysAddr(0x100), bytes);
  EXPECT_EQ(g_dma.now, 25671u);
  EXPECT_EQ(g_dma.then, 25671u);
  crossings.after_dma(GuestPhysAddr(0x100), bytes);
  EXPECT_EQ(g_dma.now, 25671u);
  add(PANDA_CB_REPLAY_AFTER_DMA, dma_now);
  add(PANDA_CB_REPLAY_AFTER_CPU_PHYSICAL_MEM_RW_RAM, dma_then);
  crossings.after_dma(GuestPhysAddr(0x100), bytes);
  EXPECT_EQ(g_dma.now, 2 * 25671u);
  EXPECT_EQ(g_dma.then, 2 * 25671u);
}

INSTANTIATE_TEST_SUITE_P(Toy, CrossingTest, testing::ValuesIn(toy::backends()),
                         [](const auto& factory) { return factory.param.name; });

}  // namespace
}  // namespace panda::plugin
