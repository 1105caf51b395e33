// The recorder around a fake outside, and the replayer in its place, under a CPU that is a few
// lines: what it does next depends on all it has seen, so that any slip shows in the digest.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "replay/log.h"
#include "replay/recorder.h"
#include "replay/replayer.h"
#include "snapshot/fake_line_for_test.h"
#include "snapshot/snapshot.h"

namespace panda::replay {
namespace {

using snapshot::FakeFrontend;
using snapshot::FakeMachine;
using snapshot::FakeState;
using snapshot::read_file;
using snapshot::TemporaryDirectory;
using snapshot::write_file;

// Devices whose every answer is random.
class RandomOutside final : public Outside {
 public:
  RandomOutside(FakeMachine& m, unsigned seed) : m_(m), random_(seed) {}
  uint64_t port_read(uint16_t, unsigned size) override {
    if (random_() % 8 == 0) dma();
    return random_() & ((uint64_t{1} << (8 * size)) - 1);
  }
  void port_write(uint16_t, unsigned, uint64_t) override {
    if (random_() % 4 == 0) dma();
  }
  uint64_t mmio_read(GuestPhysAddr, unsigned) override {
    if (random_() % 4 == 0) serial(SerialTraffic::Kind::Read);
    return random_();
  }
  bool mmio_assigned(GuestPhysAddr address, unsigned) override { return (address.value & 0x30) != 0; }
  void mmio_write(GuestPhysAddr, unsigned, uint64_t) override {
    if (random_() % 4 == 0) serial(SerialTraffic::Kind::Sent);
    if (random_() % 4 == 0) m_.clock.set_offset_ns(m_.clock.offset_ns() + random_() % 1000);
  }
  std::optional<uint64_t> register_read(OutsideRegister, uint32_t) override {
    if (random_() % 3 == 0) return {};
    return random_();
  }
  bool register_write(OutsideRegister, uint32_t, uint64_t) override { return random_() % 2 == 0; }
  InsnCount next_event(InsnCount now) override {
    if (due_ <= now) return now;
    return due_;
  }
  void service(InsnCount now) override {
    due_ = now + 1 + random_() % 40;
    if (random_() % 2 == 0) m_.clock.set_offset_ns(m_.clock.offset_ns() - 500 + random_() % 100000);
    if (random_() % 3 == 0) dma();
    if (random_() % 3 == 0) serial(SerialTraffic::Kind::Received);
    if (random_() % 2 == 0) pending_ = true;
  }
  bool interrupt_pending() override { return pending_; }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount) override {
    pending_ = false;
    if (random_() % 8 == 0) return {};
    return static_cast<uint8_t>(random_());
  }
  bool idle(InsnCount) override {
    m_.clock.set_offset_ns(m_.clock.offset_ns() + 10000);
    pending_ = true;
    return true;
  }
  bool stop_requested() override { return false; }

  SerialObserver* observer = nullptr;
  std::vector<SerialTraffic> traffic;  // that the observer saw

 private:
  void serial(SerialTraffic::Kind kind) {
    const SerialTraffic t{kind, 0x3f8, static_cast<uint8_t>(random_() % 16), static_cast<uint8_t>(random_())};
    if (observer == nullptr) return;
    observer->serial_traffic(t);
    traffic.push_back(t);
  }
  void dma() {
    const uint64_t data[2] = {random_(), random_()};
    m_.memory->write(GuestPhysAddr(0x400ff0 + random_() % 0x2000), data, 1 + random_() % 16);
  }
  FakeMachine& m_;
  std::mt19937_64 random_;
  InsnCount due_;
  bool pending_ = false;
};

using Hook = std::function<void(FakeMachine&)>;

// The engine's loop, with instructions made of the state they read.
void run(FakeMachine& m, Outside& outside, uint64_t until, const Hook& before_insn = {}) {
  FakeState& s = FakeFrontend::state(*m.cpu);
  VcpuContext& cpu = *m.cpu;
  bool halted = false;
  const auto count = [&] { return InsnCount(cpu.completed()); };
  while (true) {
    const InsnCount now = count();
    if (outside.next_event(now) <= now) outside.service(now);
    if (outside.stop_requested() || now.value >= until) return;
    if (outside.interrupt_pending() && (halted || m.frontend.accepts_interrupt(cpu))) {
      if (const auto vector = outside.acknowledge_interrupt(now)) {
        halted = false;
        m.frontend.deliver_interrupt(cpu, *vector);
        continue;
      }
    }
    if (halted) {
      if (!outside.idle(now)) return;
      continue;
    }
    const InsnCount limit = std::min(std::max(outside.next_event(now), now + 1), InsnCount(until));
    cpu.count_limit = limit.value;
    cpu.budget = static_cast<int64_t>(limit - now);
    while (cpu.budget > 0 && !halted) {
      if (before_insn) before_insn(m);
      cpu.budget--;
      cpu.exact = 1;
      const uint64_t h = (s.a ^ (s.b << 7) ^ s.pc) * 0x9e3779b97f4a7c15;
      uint64_t got = 0;
      switch (h >> 59) {
        case 0:
          got = outside.port_read(static_cast<uint16_t>(h), 1u << (h >> 20 & 1));
          break;
        case 1:
          got = outside.mmio_read(GuestPhysAddr(h & 0xffffff), 8);
          break;
        case 2:
          got = outside.register_read(OutsideRegister::TaskPriority, 3).value_or(77);
          break;
        case 3:
          got = outside.register_write(OutsideRegister::X2Apic, 5, h) ? 5 : 6;
          break;
        case 4:
          outside.port_write(1, 1, h);
          break;
        case 5:
          outside.mmio_write(GuestPhysAddr(h >> 8 & 0x31), 1, h);
          break;
        case 6:
          got = m.clock.now(count()).value;
          break;
        case 7:
          m.memory->read(GuestPhysAddr(0x401000), &got, 8);
          break;
        case 8:
          halted = true;
          break;
        default:
          break;
      }
      cpu.exact = 0;
      s.a = h ^ got;
      s.b += h >> 3;
      s.pc++;
    }
  }
}

struct Recorded {
  TemporaryDirectory directory;
  std::string name = directory / "r";
  snapshot::StateDigest digest;
  uint64_t end = 0;
  std::vector<SerialTraffic> traffic;
  std::vector<uint64_t> plugin_writes;  // counts

  explicit Recorded(unsigned seed = 3, uint64_t insns = 6000, bool ended = true) {
    FakeMachine m;
    RandomOutside live(m, seed);
    run(m, live, 1000);
    auto recorder = Recorder::begin(
        name, live, {*m.cpu, m.frontend, *m.memory, m.clock},
        {"fake", "fake", "", FakeMachine::kRamBytes, {m.memory->ranges().begin(), m.memory->ranges().end()}});
    EXPECT_TRUE(recorder.has_value()) << recorder.error().message;
    live.observer = recorder->get();
    std::mt19937_64 random(seed);
    run(m, **recorder, 1000 + insns, [&](FakeMachine&) {
      if (random() % 50 != 0) return;
      const uint64_t data = random();
      plugin_writes.push_back(m.cpu->completed());
      (*recorder)->plugin_writes(InsnCount(m.cpu->completed()));
      m.memory->write(GuestPhysAddr(0x400ff0 + random() % 0x2000), &data, 8);
      (*recorder)->plugin_writes({});
    });
    traffic = live.traffic;
    end = m.cpu->completed();
    digest = snapshot::state_digest(m.frontend, *m.cpu, *m.memory);
    if (ended) {
      auto s = (*recorder)->end(EndReason::Requested);
      EXPECT_TRUE(s.has_value()) << s.error().message;
    }
  }
};

struct Replayed {
  FakeMachine machine;
  std::unique_ptr<Replayer> replayer;
};

Result<std::unique_ptr<Replayed>> replay(const std::string& name, const Hook& hook = {},
                                         ReplayObserver* observer = nullptr) {
  auto r = std::make_unique<Replayed>();
  FakeMachine& m = r->machine;
  PANDA_TRY(auto reader, snapshot::SnapshotReader::open(snapshot_path(name)));
  PANDA_TRY(const std::string cpu, reader.load(*m.memory));
  if (!m.frontend.load_state(*m.cpu, cpu)) return fail("CPU state");
  m.cpu->count_limit = reader.header().count.value;
  m.clock.set_shift(reader.header().clock_shift);
  m.clock.set_offset_ns(reader.header().clock_offset_ns);
  PANDA_TRY(auto log, LogReader::open(log_path(name)));
  if (log->header().snapshot_id != reader.id()) return fail("the log belongs to another snapshot");
  r->replayer = std::make_unique<Replayer>(std::move(log), Line{*m.cpu, m.frontend, *m.memory, m.clock});
  r->replayer->set_observer(observer);
  run(m, *r->replayer, 100000000, hook);
  return r;
}

TEST(Replay, ReachesTheRecordedState) {
  for (unsigned seed = 0; seed < 20; seed++) {
    Recorded recorded(seed);
    auto r = replay(recorded.name);
    ASSERT_TRUE(r.has_value()) << r.error().message;
    EXPECT_EQ((*r)->replayer->outcome(), Outcome::Completed) << seed << ": " << (*r)->replayer->report();
    EXPECT_EQ((*r)->machine.cpu->completed(), recorded.end);
    EXPECT_EQ((*r)->replayer->final_digest(), recorded.digest);
  }
}

// What an observer is shown is what happened, at the moment it did.
TEST(Replay, ShowsDmaAndSerialTraffic) {
  struct Seen final : ReplayObserver {
    FakeMachine* machine = nullptr;  // known from the first instruction on
    std::vector<SerialTraffic> traffic;
    unsigned dma = 0, wrong = 0;
    std::vector<uint8_t> before;
    bool there(GuestPhysAddr address, std::span<const uint8_t> bytes) {
      if (machine == nullptr) return true;
      std::vector<uint8_t> memory(bytes.size());
      machine->memory->read(address, memory.data(), memory.size());
      return std::equal(bytes.begin(), bytes.end(), memory.begin());
    }
    void before_dma(GuestPhysAddr address, std::span<const uint8_t> bytes) override {
      before.assign(bytes.begin(), bytes.end());
      wrong += there(address, bytes) ? 1 : 0;  // random bytes: hardly ever there already
    }
    void after_dma(GuestPhysAddr address, std::span<const uint8_t> bytes) override {
      dma++;
      EXPECT_TRUE(there(address, bytes) && std::equal(bytes.begin(), bytes.end(), before.begin(), before.end()));
    }
    void serial_traffic(const SerialTraffic& t) override { traffic.push_back(t); }
  } seen;
  Recorded recorded(4);
  const auto r = replay(recorded.name, [&](FakeMachine& m) { seen.machine = &m; }, &seen);
  ASSERT_TRUE(r.has_value());
  EXPECT_EQ((*r)->replayer->outcome(), Outcome::Completed) << (*r)->replayer->report();
  EXPECT_GT(seen.dma, 50u);
  EXPECT_LT(seen.wrong, seen.dma / 10);
  EXPECT_GT(recorded.traffic.size(), 50u);
  EXPECT_EQ(seen.traffic, recorded.traffic);
}

TEST(Replay, PluginsWritesComeBackAtTheirCounts) {
  Recorded recorded(6);
  EXPECT_GT(recorded.plugin_writes.size(), 50u);
  auto log = LogReader::open(log_path(recorded.name));
  ASSERT_TRUE(log.has_value());
  std::vector<uint64_t> counts;
  for (;;) {
    const auto event = (*log)->next();
    ASSERT_TRUE(event.has_value());
    if (!*event) break;
    if (std::holds_alternative<PluginWrite>((*event)->body)) counts.push_back((*event)->count.value);
  }
  // One that lies on two pages is two events.
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  EXPECT_EQ(counts, recorded.plugin_writes);
}

TEST(Replay, TwoRecordingsOfTheSameRunAreTheSameBytes) {
  Recorded a;
  Recorded b;
  EXPECT_EQ(read_file(log_path(a.name)), read_file(log_path(b.name)));
  EXPECT_EQ(read_file(snapshot_path(a.name)), read_file(snapshot_path(b.name)));
}

TEST(Replay, AnyPerturbationDiverges) {
  Recorded recorded;
  for (const uint64_t at : {1001u, 1500u, 3210u, 6998u, 6999u}) {
    const auto r = replay(recorded.name, [&](FakeMachine& m) {
      if (m.cpu->completed() == at) FakeFrontend::state(*m.cpu).b ^= 1;
    });
    ASSERT_TRUE(r.has_value());
    EXPECT_EQ((*r)->replayer->outcome(), Outcome::Diverged) << at;
    EXPECT_FALSE((*r)->replayer->report().empty());
  }
  const auto ram = replay(recorded.name, [&](FakeMachine& m) { m.memory->ram()[0x1234] = 1; });
  ASSERT_TRUE(ram.has_value());
  EXPECT_EQ((*ram)->replayer->outcome(), Outcome::Diverged);
  EXPECT_NE((*ram)->replayer->report().find("physical address 0x0"), std::string::npos) << (*ram)->replayer->report();
}

TEST(Replay, CutOffReplaysToTheLastWholeChunkAndSaysSo) {
  Recorded recorded(5, 8000000);
  const std::string good = read_file(log_path(recorded.name));
  unsigned cut = 0;
  for (size_t size = good.size() - 1; size > good.size() / 2; size -= good.size() / 9) {
    write_file(log_path(recorded.name), good.substr(0, size));
    auto r = replay(recorded.name);
    ASSERT_TRUE(r.has_value()) << r.error().message;
    EXPECT_EQ((*r)->replayer->outcome(), Outcome::CutOff) << (*r)->replayer->report();
    EXPECT_NE((*r)->replayer->report().find("cut off at byte"), std::string::npos);
    EXPECT_GE((*r)->machine.cpu->completed(), (*r)->replayer->log().last_count().value);
    cut++;
  }
  EXPECT_GE(cut, 3u);
}

TEST(Replay, LogTruncatedAtEveryByteNeverSucceeds) {
  Recorded recorded(9, 200);
  const std::string good = read_file(log_path(recorded.name));
  for (size_t size = 0; size < good.size(); size++) {
    write_file(log_path(recorded.name), good.substr(0, size));
    auto r = replay(recorded.name);
    if (!r) continue;
    ASSERT_EQ((*r)->replayer->outcome(), Outcome::CutOff) << size;
  }
  write_file(log_path(recorded.name), good + "x");
  EXPECT_FALSE(replay(recorded.name).has_value());
  write_file(log_path(recorded.name), good);
  EXPECT_EQ((*replay(recorded.name))->replayer->outcome(), Outcome::Completed);
}

TEST(Replay, EveryFlippedBitOfTheLogIsAnError) {
  Recorded recorded(9, 400);
  const std::string good = read_file(log_path(recorded.name));
  for (size_t bit = 0; bit < 8 * good.size(); bit += 3) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    write_file(log_path(recorded.name), bad);
    auto log = LogReader::open(log_path(recorded.name));
    ASSERT_FALSE(log.has_value()) << "bit " << bit;
    EXPECT_NE(log.error().message.find(log_path(recorded.name)), std::string::npos) << log.error().message;
  }
}

TEST(Replay, LogOfAnotherSnapshotIsRefused) {
  Recorded a(1);
  Recorded b(2);
  write_file(log_path(a.name), read_file(log_path(b.name)));
  EXPECT_FALSE(replay(a.name).has_value());
}

TEST(Replay, ExistingRecordingIsKept) {
  Recorded recorded;
  const std::string before = read_file(log_path(recorded.name));
  FakeMachine m;
  RandomOutside live(m, 1);
  auto again = Recorder::begin(recorded.name, live, {*m.cpu, m.frontend, *m.memory, m.clock}, {});
  ASSERT_FALSE(again.has_value());
  EXPECT_NE(again.error().message.find("exists already"), std::string::npos);
  EXPECT_EQ(read_file(log_path(recorded.name)), before);
}

TEST(Event, EveryKindSurvivesTheLog) {
  const std::vector<EventBody> bodies = {PortRead{0x3f8, 1, 0xff},
                                         MmioRead{GuestPhysAddr(0xfee00020), 8, ~uint64_t{0}},
                                         RegisterRead{OutsideRegister::X2Apic, 0x83f, std::nullopt},
                                         RegisterRead{OutsideRegister::ApicBase, 0, 1},
                                         RegisterWrite{OutsideRegister::TscDeadline, 0, true},
                                         Interrupt{0xef},
                                         ClockAdjust{~uint64_t{0}, false},
                                         ClockAdjust{1, true},
                                         Dma{GuestPhysAddr(0x1000), false, {1, 2, 3}},
                                         Dma{GuestPhysAddr(0x1000), true, {}},
                                         UnassignedRead{GuestPhysAddr(0xd0000000), 4, 0xffffffff},
                                         UnassignedWrite{GuestPhysAddr(0xd0000000), 4},
                                         Serial{{SerialTraffic::Kind::Received, 0x3f8, 3, 'x'}, false},
                                         Serial{{SerialTraffic::Kind::Sent, 0x2f8, 15, 'y'}, true},
                                         PluginWrite{GuestPhysAddr(0x1000), false, {1, 2}},
                                         PluginWrite{GuestPhysAddr(0x1000), true, {}},
                                         StateCheck{{1, 2}, "text"},
                                         End{EndReason::PowerOff, {{1, 2}, {3, 4}, {5, 6, 7}}, "text"}};
  snapshot::ByteWriter w;
  InsnCount last(10);
  for (const EventBody& b : bodies) encode({last + 1000, b}, last, w);
  snapshot::ByteReader r(w.bytes());
  InsnCount read_last(10);
  for (size_t i = 0; i < bodies.size(); i++) {
    Event e;
    ASSERT_TRUE(decode(r, read_last, e)) << i;
    EXPECT_EQ(e.count.value, 10 + 1000 * (i + 1));
    EXPECT_EQ(describe(e.body), describe(bodies[i]));
    EXPECT_EQ(is_async(e.body), is_async(bodies[i]));
  }
  EXPECT_TRUE(r.at_end());
}

TEST(Event, RandomBytesAreDecodedOrRefused) {
  std::mt19937 random(1);
  for (int i = 0; i < 200000; i++) {
    std::vector<uint8_t> bytes(random() % 64);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random());
    if (!bytes.empty()) bytes[0] = static_cast<uint8_t>(random() % 16);
    snapshot::ByteReader r(bytes);
    InsnCount last;
    Event e;
    while (!r.at_end() && decode(r, last, e)) EXPECT_FALSE(describe(e.body).empty());
  }
}

}  // namespace
}  // namespace panda::replay
