#include "snapshot/snapshot.h"

#include <gtest/gtest.h>

#include <random>

#include "snapshot/digest.h"
#include "snapshot/fake_line_for_test.h"

namespace panda::snapshot {
namespace {

struct Written {
  TemporaryDirectory directory;
  std::string path = directory / "x-rr-snp";
  FakeMachine machine;
  SnapshotHeader header;
  Hash128 id;

  Written() {
    std::mt19937 random(7);
    const auto ram = machine.memory->ram();
    for (size_t i = 0; i < 5000; i++) ram[0x3000 + i] = static_cast<uint8_t>(random());
    ram[ram.size() - 1] = 9;
    FakeFrontend::state(*machine.cpu) = {1, 2, 3};
    header.machine = {"x86_64",
                      "base,+sse4.2",
                      "pc",
                      FakeMachine::kRamBytes,
                      {machine.memory->ranges().begin(), machine.memory->ranges().end()}};
    header.clock_shift = 3;
    header.clock_offset_ns = ~uint64_t{0} - 5;
    header.count = InsnCount(12345);
    auto written = write_snapshot(path, header, machine.frontend.save_state(*machine.cpu), *machine.memory);
    EXPECT_TRUE(written.has_value()) << written.error().message;
    if (written) id = *written;
  }
};

// Reads all of a snapshot; the error where there is one.
Result<StateDigest> load(const std::string& path) {
  PANDA_TRY(auto reader, SnapshotReader::open(path));
  if (reader.header().machine.ram_bytes > FakeMachine::kRamBytes) return fail("RAM size");
  FakeMachine fresh;
  PANDA_TRY(const std::string cpu, reader.load(*fresh.memory));
  if (!fresh.frontend.load_state(*fresh.cpu, cpu)) return fail("CPU state");
  return state_digest(fresh.frontend, *fresh.cpu, *fresh.memory);
}

TEST(Snapshot, RoundTrip) {
  Written w;
  auto reader = SnapshotReader::open(w.path);
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  EXPECT_EQ(reader->header().machine.architecture, "x86_64");
  EXPECT_EQ(reader->header().machine.cpu_model, "base,+sse4.2");
  EXPECT_EQ(reader->header().machine.ranges.size(), 2u);
  EXPECT_EQ(reader->header().machine.ranges[1].phys, 0x400000u);
  EXPECT_EQ(reader->header().clock_shift, 3u);
  EXPECT_EQ(reader->header().clock_offset_ns, ~uint64_t{0} - 5);
  EXPECT_EQ(reader->header().count, InsnCount(12345));
  FakeMachine fresh;
  auto cpu = reader->load(*fresh.memory);
  ASSERT_TRUE(cpu.has_value()) << cpu.error().message;
  EXPECT_EQ(reader->id(), w.id);
  ASSERT_TRUE(fresh.frontend.load_state(*fresh.cpu, *cpu));
  EXPECT_EQ(state_digest(fresh.frontend, *fresh.cpu, *fresh.memory),
            state_digest(w.machine.frontend, *w.machine.cpu, *w.machine.memory));
  EXPECT_LT(read_file(w.path).size(), 20000u) << "pages of zeros must not be stored";
}

TEST(Snapshot, IsNotOverwritten) {
  Written w;
  const std::string before = read_file(w.path);
  auto again = write_snapshot(w.path, w.header, "other", *w.machine.memory);
  ASSERT_FALSE(again.has_value());
  EXPECT_NE(again.error().message.find("exists already"), std::string::npos);
  EXPECT_EQ(read_file(w.path), before);
}

TEST(Snapshot, EveryFlippedBitIsNoticed) {
  Written w;
  const std::string good = read_file(w.path);
  std::mt19937 random(11);
  for (size_t i = 0; i < good.size(); i += (i < 700 || i + 200 > good.size()) ? 1 : 13) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ (1 << (random() % 8)));
    write_file(w.path, bad);
    const auto result = load(w.path);
    ASSERT_FALSE(result.has_value()) << "byte " << i;
    EXPECT_NE(result.error().message.find(w.path), std::string::npos) << result.error().message;
  }
}

TEST(Snapshot, EveryTruncationIsNoticed) {
  Written w;
  const std::string good = read_file(w.path);
  for (size_t size = 0; size < good.size(); size += (size < 700 || size + 200 > good.size()) ? 1 : 31) {
    write_file(w.path, good.substr(0, size));
    const auto result = load(w.path);
    ASSERT_FALSE(result.has_value()) << size << " bytes";
  }
  write_file(w.path, good + '\0');
  EXPECT_FALSE(load(w.path).has_value()) << "one byte more";
  write_file(w.path, good);
  EXPECT_TRUE(load(w.path).has_value());
}

TEST(Digest, SeesEveryPageAndNamesIt) {
  FakeMachine m;
  const StateDigest before = state_digest(m.frontend, *m.cpu, *m.memory);
  m.memory->ram()[0x200001] = 1;  // at 0x480001 for the guest
  const StateDigest after = state_digest(m.frontend, *m.cpu, *m.memory);
  EXPECT_NE(before.memory, after.memory);
  EXPECT_EQ(before.registers, after.registers);
  EXPECT_NE(describe_memory_difference(before, after, m.memory->ranges()).find("0x480000"), std::string::npos);
}

}  // namespace
}  // namespace panda::snapshot
