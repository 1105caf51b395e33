// Valid input of every parser, changed at random: each must be taken or refused with a message,
// without a crash and without undefined behaviour (this program is built with the sanitizers).
// The checksums of files are made right again after a change, since an altered file with wrong ones
// never gets as far as its contents.
#include <gtest/gtest.h>

#include <filesystem>
#include <random>

#include "board/linux_boot.h"
#include "board/pc_map.h"
#include "board/rtc_base.h"
#include "cli/multiplexer.h"
#include "cli/options.h"
#include "ir/parser.h"
#include "ir/printer.h"
#include "ir/verifier.h"
#include "monitor/monitor.h"
#include "plugin/arguments.h"
#include "replay/log.h"
#include "replay/replayer.h"
#include "snapshot/chunk_file.h"
#include "snapshot/fake_line_for_test.h"
#include "snapshot/snapshot.h"

namespace panda {
namespace {

using snapshot::read_file;
using snapshot::TemporaryDirectory;

class Mutator {
 public:
  explicit Mutator(unsigned seed) : random_(seed) {}

  size_t below(size_t n) { return n == 0 ? 0 : random_() % n; }

  std::string operator()(std::string text) {
    for (size_t changes = 1 + below(4); changes > 0; changes--) change(text);
    return text;
  }

  std::vector<uint8_t> operator()(const std::vector<uint8_t>& bytes) {
    const std::string changed = (*this)(std::string(bytes.begin(), bytes.end()));
    return {changed.begin(), changed.end()};
  }

 private:
  char any_byte() {
    static constexpr std::string_view kTelling = "\0\x01\x7f\x80\xff-=,:;.%[]{}\"\\ \n0189aMG";
    return below(3) == 0 ? static_cast<char>(random_()) : kTelling[below(kTelling.size())];
  }

  void change(std::string& text) {
    const size_t at = below(text.size() + 1);
    switch (below(8)) {
      case 0:
        text.resize(at);
        break;
      case 1:
        text.erase(at, 1 + below(8));
        break;
      case 2:
        text.insert(at, 1 + below(3), any_byte());
        break;
      case 3:
        text.insert(at, text.substr(below(text.size() + 1), below(20)));
        break;
      case 4:
        if (at < text.size()) text[at] = static_cast<char>(text[at] ^ (1 << below(8)));
        break;
      case 5:
        text.insert(at, "99999999999999999999");
        break;
      case 6:
        text.insert(at, "0xffffffffffffffff");
        break;
      default:
        if (at < text.size()) text[at] = any_byte();
        break;
    }
  }

  std::mt19937 random_;
};

TEST(Mutated, IrText) {
  Mutator mutate(1);
  size_t files = 0;
  size_t taken = 0;
  for (const auto& file : std::filesystem::directory_iterator(PANDA_IR_FILES)) {
    if (file.path().extension() != ".ir") continue;
    files++;
    const std::string whole = read_file(file.path().string());
    std::vector<std::string> units;
    for (size_t at = whole.find("unit "); at != std::string::npos;) {
      const size_t next = whole.find("\nunit ", at);
      units.push_back(whole.substr(at, next == std::string::npos ? next : next + 1 - at));
      at = next == std::string::npos ? next : next + 1;
    }
    ASSERT_FALSE(units.empty()) << file.path();
    for (int i = 0; i < 1500; i++) {
      const auto unit = ir::parse(mutate(units[mutate.below(units.size())]));
      if (!unit) continue;
      taken++;
      EXPECT_FALSE(ir::print(*unit).empty());
      (void)ir::verify(*unit);
    }
  }
  EXPECT_GE(files, 4u);
  EXPECT_GT(taken, 100u) << "the mutations are too wild to test anything behind the first check";
}

TEST(Mutated, Options) {
  Mutator mutate(2);
  const std::vector<std::vector<std::string>> lines = {
      {"-m", "size=512M", "-kernel", "k", "-append", "a b", "-icount", "shift=3,sleep=off", "-nographic"},
      {"--cpu=max,+sse4.2", "-kernel", "k", "-serial", "file:x", "-monitor", "stdio", "-rtc",
       "base=2026-01-31T12:00:00"},
      {"-replay", "x", "-panda", "a:b=c;d", "-panda-arg", "a:b", "-backend", "interp", "-smp", "1"}};
  for (int i = 0; i < 20000; i++) {
    std::vector<std::string> line = lines[mutate.below(lines.size())];
    std::string& word = line[mutate.below(line.size())];
    word = mutate(word);
    const auto config = cli::parse_options("x86_64", line);
    if (!config) {
      EXPECT_FALSE(config.error().message.empty());
    }
    if (config && config->info == cli::Config::Info::None && config->replay.empty()) {
      EXPECT_GE(config->ram_bytes, board::kMinRamBytes);
      EXPECT_LE(config->ram_bytes, board::kMaxRamBytes);
    }
    (void)board::parse_rtc_base(mutate("2026-01-31T12:00:00"));
  }
}

TEST(Mutated, PluginArguments) {
  Mutator mutate(3);
  for (int i = 0; i < 20000; i++) {
    const auto list = plugin::parse_plugin_list(mutate("one:key=value,flag,x\\,y=1\\;2;/path/panda_two.so; three"));
    if (!list) {
      EXPECT_FALSE(list.error().message.empty());
      continue;
    }
    for (const auto& spec : *list) EXPECT_FALSE(spec.name.empty());
    (void)plugin::parse_unsigned(mutate("0x1234"));
    (void)plugin::parse_double(mutate("1.5e10"));
    (void)plugin::plugin_name_of(mutate("/dir/panda_x.so"));
  }
}

class NoMachine final : public monitor::Target {
 public:
  Status stop() override { return {}; }
  Status cont() override { return {}; }
  void quit() override {}
  Result<std::string> begin_record(const std::string& name) override {
    EXPECT_FALSE(name.empty());
    return "recording\n";
  }
  Result<std::string> end_record() override { return fail("no"); }
  Status system_reset() override { return {}; }
  Status system_powerdown() override { return {}; }
  std::string describe_registers() override { return "R\n"; }
  std::string describe_status() override { return "S\n"; }
  std::string describe_jit() override { return "J\n"; }
  std::string describe_record() override { return "-\n"; }
  std::string load_plugin(const std::string&, const std::string&) override { return {}; }
  std::string unload_plugin(const std::string&) override { return {}; }
  std::string list_plugins() override { return {}; }
  std::string plugin_command(const std::string&) override { return {}; }
};

TEST(Mutated, MonitorLinesAndKeys) {
  Mutator mutate(4);
  NoMachine target;
  std::string shown;
  cli::Multiplexer keys({.console = true, .monitor = true, .monitor_first = false, .echo = true},
                        {.to_console = [](std::span<const uint8_t>) {},
                         .monitor_line = [&](const std::string& line) { shown = monitor::execute(target, line); },
                         .show = [](std::string_view) {},
                         .quit = [] {},
                         .send_break = [] {}});
  for (int i = 0; i < 20000; i++) {
    for (const std::string_view line : {"begin_record \"a b\\\"c\"", "plugin_cmd  \"x y\" z ", "info registers",
                                        "load_plugin syscalls file=x names", "unload_plugin 12", "help stop"}) {
      const std::string answer = monitor::execute(target, mutate(std::string(line)));
      if (!answer.empty()) {
        EXPECT_EQ(answer.back(), '\n');
      }
    }
    const std::string typed =
        mutate(std::string("\x01"
                           "cinfo\x1b[A\x1b[B\x7f status\r\n\x01\x01\x01"
                           "chello\x15\x01"
                           "b"));
    keys.input({reinterpret_cast<const uint8_t*>(typed.data()), typed.size()});
  }
}

TEST(Mutated, KernelImage) {
  constexpr uint64_t kRam = uint64_t{64} << 20;
  std::vector<uint8_t> kernel(2048 + 5000, 0x90);
  const auto put = [&](size_t at, uint64_t value, unsigned size) { std::memcpy(kernel.data() + at, &value, size); };
  std::fill(kernel.begin() + 0x1f1, kernel.begin() + 0x268, uint8_t{0});
  put(0x1f1, 3, 1);
  put(0x1f4, (5000 + 15) / 16, 4);
  put(0x1fe, 0xaa55, 2);
  put(0x200, 0x6aeb, 2);
  put(0x202, 0x53726448, 4);
  put(0x206, 0x20f, 2);
  put(0x211, 1, 1);
  put(0x22c, 0x7fffffff, 4);
  put(0x230, 0x200000, 4);
  put(0x234, 1, 1);
  put(0x238, 2047, 4);
  put(0x258, 0x1000000, 8);
  put(0x260, 0x1000000, 4);
  ASSERT_TRUE(board::parse_linux_header(kernel).has_value());
  auto memory = GuestMemory::create(kRam, board::pc_ram_layout(kRam));
  ASSERT_TRUE(memory.has_value());
  std::mt19937 random(5);
  const std::vector<uint8_t> initrd(70000, 1);
  unsigned loaded = 0;
  for (int i = 0; i < 20000; i++) {
    std::vector<uint8_t> changed = kernel;
    for (auto n = random() % 3 + 1; n > 0; n--) changed[0x1f1 + random() % 0x77] = static_cast<uint8_t>(random());
    if (random() % 4 == 0) changed.resize(random() % changed.size());
    const auto entry = board::load_linux(**memory, {.kernel = changed,
                                                    .initrd = std::span(initrd).first(random() % initrd.size()),
                                                    .command_line = "x",
                                                    .acpi_rsdp = GuestPhysAddr(0)});
    if (entry)
      loaded++;
    else
      EXPECT_FALSE(entry.error().message.empty());
  }
  EXPECT_GT(loaded, 1000u);
}

// Copies a file chunk by chunk, with the contents of one of them changed.
void rewrite(const std::string& from, const std::string& to, const snapshot::FileKind& kind, Mutator& mutate) {
  std::filesystem::remove(to);
  auto reader = snapshot::ChunkReader::open(from, kind);
  ASSERT_TRUE(reader.has_value()) << reader.error().message;
  std::vector<snapshot::Chunk> chunks;
  while (true) {
    auto chunk = reader->next();
    ASSERT_TRUE(chunk.has_value()) << chunk.error().message;
    if (!*chunk) break;
    chunks.push_back(std::move(**chunk));
  }
  snapshot::Chunk& victim = chunks[mutate.below(chunks.size())];
  switch (mutate.below(10)) {
    case 0:
      victim.type = static_cast<uint32_t>(mutate.below(6));
      break;
    case 1:
      victim.position = mutate.below(2) == 0 ? ~uint64_t{0} - mutate.below(600) : mutate.below(1000);
      break;
    case 2:
      victim.last = !victim.last;
      break;
    default:
      victim.data = mutate(victim.data);
      break;
  }
  auto writer = snapshot::ChunkWriter::create(to, kind);
  ASSERT_TRUE(writer.has_value()) << writer.error().message;
  for (const snapshot::Chunk& c : chunks) {
    ASSERT_TRUE(writer->append(c.type, c.position, c.data, c.last).has_value());
  }
  ASSERT_TRUE(writer->close().has_value());
}

TEST(Mutated, Snapshot) {
  constexpr snapshot::FileKind kKind = {{'P', 'A', 'N', 'D', 'A', 'S', 'N', 'P'}, 1, "a recording's snapshot"};
  TemporaryDirectory directory;
  snapshot::FakeMachine machine;
  const auto ram = machine.memory->ram();
  for (size_t page : {3, 4, 5, 255, 256, 300, 639}) ram[page * 4096 + 17] = 1;
  snapshot::SnapshotHeader header;
  header.machine = {"x86_64",
                    "base,+sse4.2",
                    "pc",
                    snapshot::FakeMachine::kRamBytes,
                    {machine.memory->ranges().begin(), machine.memory->ranges().end()}};
  ASSERT_TRUE(
      snapshot::write_snapshot(directory / "good", header, machine.frontend.save_state(*machine.cpu), *machine.memory)
          .has_value());
  Mutator mutate(6);
  unsigned loaded = 0;
  for (int i = 0; i < 3000; i++) {
    rewrite(directory / "good", directory / "bad", kKind, mutate);
    auto reader = snapshot::SnapshotReader::open(directory / "bad");
    if (!reader) continue;
    ASSERT_LE(reader->header().machine.ranges.size(), 64u);
    if (reader->header().machine.ram_bytes > (uint64_t{1} << 30)) continue;  // this test's limit
    auto memory = GuestMemory::create(reader->header().machine.ram_bytes, reader->header().machine.ranges);
    if (!memory) continue;
    if (reader->load(**memory)) loaded++;
  }
  EXPECT_GT(loaded, 50u);
}

TEST(Mutated, Log) {
  constexpr snapshot::FileKind kKind = {{'P', 'A', 'N', 'D', 'A', 'L', 'O', 'G'}, 1, "a recording's log"};
  TemporaryDirectory directory;
  {
    auto log = replay::LogWriter::create(directory / "good", {"x86_64", {1, 2}, InsnCount(100)});
    ASSERT_TRUE(log.has_value());
    uint64_t count = 100;
    for (int i = 0; i < 60; i++) {
      (*log)->append({InsnCount(count += 3), replay::PortRead{0x3f8, 1, 0x60}});
      (*log)->append({InsnCount(count), replay::MmioRead{GuestPhysAddr(0xfee00000), 4, 7}});
      (*log)->append({InsnCount(count), replay::ClockAdjust{1000, i % 2 == 0}});
      (*log)->append({InsnCount(count), replay::RegisterRead{OutsideRegister::X2Apic, 3, {}}});
      (*log)->append({InsnCount(count), replay::Dma{GuestPhysAddr(0x3ff000), i % 3 == 0, std::vector<uint8_t>(40, 1)}});
      (*log)->append({InsnCount(count), replay::StateCheck{{3, 4}, "rax=1"}});
      (*log)->append({InsnCount(count), replay::Interrupt{0x30}});
      if (i % 20 == 10) (*log)->flush();
    }
    replay::End end;
    end.digest.regions = {1, 2, 3};
    end.registers_text = "rax=1\nrbx=2";
    ASSERT_TRUE((*log)->finish({InsnCount(count + 5), end}).has_value());
  }
  Mutator mutate(7);
  snapshot::FakeMachine machine;
  unsigned opened = 0;
  for (int i = 0; i < 3000; i++) {
    rewrite(directory / "good", directory / "bad", kKind, mutate);
    auto log = replay::LogReader::open(directory / "bad");
    if (!log) continue;
    opened++;
    for (int n = 0; n < 1000; n++) {
      auto event = (*log)->next();
      if (!event || !*event) break;
      EXPECT_FALSE(replay::describe((*event)->body).empty());
    }
  }
  EXPECT_GT(opened, 500u);
}

}  // namespace
}  // namespace panda
