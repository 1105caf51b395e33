// What virt_mem_* and phys_mem_* tell of guest programs (tests/x86/guest): exact lists for one instruction
// of each kind, and for all the programs that nothing is missing: a shadow of RAM that knows what was
// reported as written is the RAM at the end, and both back ends tell the same.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "guest/x86/state.h"
#include "guest_machine.h"
#include "memory/guest_memory.h"
#include "plugin/plugin_host.h"

namespace panda::plugin {
namespace {

using x86test::BackendKind;
using x86test::GuestMachine;

constexpr uint64_t kCases = 0x3000, kCaseBytes = 0x40, kWatchedBytes = 0x28;

struct Report {
  bool store = false, physical = false, after = false;
  uint64_t pc = 0, count = 0, address = 0;
  std::vector<uint8_t> data;  // of a load, only after it
  size_t size = 0;
  friend bool operator==(const Report&, const Report&) = default;
};

std::string text_of(const Report& r) {
  std::string bytes;
  for (const uint8_t b : r.data) bytes += fmt::format("{:02x}", b);
  return fmt::format("{}{}{} {:x} {} {}", r.after ? "" : "before ", r.physical ? "p" : "", r.store ? 'W' : 'R',
                     r.address, r.size, bytes);
}

// A machine with a listener to every memory callback.
class Listener {
  Plugin plugin_{.name = "listener", .path = "", .handle = this};  // outlives the host

 public:
  Listener(const std::string& program, BackendKind kind, bool on = true) : machine(program, kind) {
    auto made = PluginHost::create(
        {.engine = &machine.engine(), .arch = "x86_64", .executable_dir = "", .library_dir = "", .hooks = {}});
    EXPECT_TRUE(made.has_value());
    host = std::move(*made);
    listen(PANDA_CB_VIRT_MEM_BEFORE_READ, reinterpret_cast<void*>(&before_read<false>));
    listen(PANDA_CB_VIRT_MEM_BEFORE_WRITE, reinterpret_cast<void*>(&with_data<false, true, false>));
    listen(PANDA_CB_VIRT_MEM_AFTER_READ, reinterpret_cast<void*>(&with_data<false, false, true>));
    listen(PANDA_CB_VIRT_MEM_AFTER_WRITE, reinterpret_cast<void*>(&with_data<false, true, true>));
    listen(PANDA_CB_PHYS_MEM_BEFORE_READ, reinterpret_cast<void*>(&before_read<true>));
    listen(PANDA_CB_PHYS_MEM_BEFORE_WRITE, reinterpret_cast<void*>(&with_data<true, true, false>));
    listen(PANDA_CB_PHYS_MEM_AFTER_READ, reinterpret_cast<void*>(&with_data<true, false, true>));
    listen(PANDA_CB_PHYS_MEM_AFTER_WRITE, reinterpret_cast<void*>(&with_data<true, true, true>));
    host->instrumentation().memory().set_on(on);
    shadow = machine.ram();
  }

  void run(uint64_t step = 0) { machine.run(step); }
  // Makes room for another listener: one machine at a time has plugins.
  void run_to_end(uint64_t step = 0) {
    run(step);
    host.reset();
  }
  // The reports of case `n` of accesses.S that `choose` takes, one per line.
  template <typename Choose>
  std::string of_case(unsigned n, Choose choose) const {
    const uint64_t begin = kCases + kCaseBytes * n;
    std::string text;
    for (const Report& r : reports) {
      if (r.pc < begin || r.pc >= begin + kWatchedBytes || !choose(r)) continue;
      text += (text.empty() ? "" : "\n") + text_of(r);
    }
    return text;
  }
  std::string done(unsigned n) const {
    return of_case(n, [](const Report& r) { return r.after && !r.physical; });
  }

  GuestMachine machine;
  std::unique_ptr<PluginHost> host;
  std::vector<Report> reports;
  std::vector<uint8_t> shadow;     // RAM as far as it was reported
  std::vector<std::string> wrong;  // what should not be

 private:
  void listen(unsigned type, void* function) {
    host->registry().add(type, {.plugin = &plugin_, .function = function, .context = this, .with_context = true});
  }
  template <bool physical>
  static void before_read(Listener* self, x86::State* env, uint64_t pc, uint64_t address, uint64_t size) {
    self->report(env, {false, physical, false, pc, 0, address, {}, size});
  }
  template <bool physical, bool store, bool after>
  static void with_data(Listener* self, x86::State* env, uint64_t pc, uint64_t address, uint64_t size,
                        const uint8_t* data) {
    self->report(env, {store, physical, after, pc, 0, address, {data, data + size}, size});
  }
  void report(x86::State* env, Report r) {
    r.count = host->instrumentation().current_count();
    const bool consistent = env == machine.engine().cpu().state() && env->panda_guest_pc == r.pc &&
                            env->rr_guest_instr_count == r.count && host->instrumentation().current_pc() == r.pc;
    if (!consistent) complain("the state's fields do not fit", r);
    if (r.physical && r.after) follow(r);
    pair_up(r);
    reports.push_back(std::move(r));
  }
  // What is written, and read, is what stands there.
  void follow(const Report& r) {
    if (r.address + r.size > shadow.size()) return;  // a device
    if (r.store) std::memcpy(shadow.data() + r.address, r.data.data(), r.size);
    std::vector<uint8_t> there(r.size);
    machine.engine().memory().read(GuestPhysAddr(r.address), there.data(), r.size);
    if (there != r.data) complain("memory holds something else", r);
  }
  // Each virtual access was announced with the same place, size and, for a store, data.
  void pair_up(const Report& r) {
    if (r.physical) return;
    if (!r.after) {
      announced_ = r;
      return;
    }
    const Report& a = announced_;
    const bool same = a.store == r.store && a.pc == r.pc && a.count == r.count && a.address == r.address &&
                      a.size == r.size && (!r.store || a.data == r.data);
    if (!same) complain("it was not announced as this", r);
    announced_ = {};
  }
  void complain(const char* what, const Report& r) {
    if (wrong.size() < 5) wrong.push_back(fmt::format("{}: {} at {:x}, count {}", what, text_of(r), r.pc, r.count));
  }

  Report announced_;
};

// Callbacks that translated code calls itself: none of them calls anything.
uint64_t g_counted = 0;
void count_only(void*, uint64_t, uint64_t, uint64_t, const uint8_t*) { g_counted++; }

struct Entry {
  bool store;
  uint64_t pc, count, address, size;
  uint64_t data[8];
};
constexpr size_t kEntries = 1 << 17;
Entry g_log[kEntries];
size_t g_logged = 0;
template <bool store>
void log_direct(x86::State* env, uint64_t pc, uint64_t address, uint64_t size, const uint8_t* data) {
  Entry& e = g_log[g_logged++ & (kEntries - 1)];
  e.store = store;
  e.pc = pc;
  e.count = env->panda_guest_pc == pc ? env->rr_guest_instr_count : ~uint64_t{0};
  e.address = address;
  e.size = size;
  for (uint64_t i = 0; i < size; i++) reinterpret_cast<volatile uint8_t*>(e.data)[i] = data[i];
}
bool chosen(uint64_t address, uint64_t size, uint8_t first) { return ((address >> 2) + size + first) % 3 == 0; }
bool filter(void*, void*, uint64_t, uint64_t address, uint64_t size, const uint8_t* data) {
  return chosen(address, size, data[0]);
}

// A machine with the callbacks of one plugin.
class Machine {
  Plugin plugin_{.name = "direct", .path = "", .handle = this};

 public:
  Machine(const std::string& program, BackendKind kind) : machine(program, kind) {
    auto made = PluginHost::create(
        {.engine = &machine.engine(), .arch = "x86_64", .executable_dir = "", .library_dir = "", .hooks = {}});
    EXPECT_TRUE(made.has_value());
    host = std::move(*made);
    host->instrumentation().memory().set_on(true);
  }
  template <typename F>
  void add(unsigned type, F* function) {
    host->registry().add(type, {.plugin = &plugin_, .function = reinterpret_cast<void*>(function)});
  }
  template <typename F>
  void add_with(unsigned type, F* function, void* context, const void* with_filter = nullptr) {
    auto* const f = reinterpret_cast<void*>(function);
    host->registry().add(type, {.plugin = &plugin_, .function = f, .context = context, .with_context = true});
    if (with_filter == nullptr) return;
    EXPECT_TRUE(host->registry().set_filter(type, &plugin_, f, context, with_filter));
  }
  bool remove(unsigned type, void* function, void* context) {
    return host->registry().remove(type, &plugin_, function, context, true);
  }
  [[nodiscard]] bool direct(unsigned type) const {
    return std::ranges::all_of(host->registry().emitted(type), [](const Callback* c) { return c->direct; });
  }

  GuestMachine machine;
  std::unique_ptr<PluginHost> host;
  std::vector<Report> reports;
};

template <bool store>
void report_chosen(Machine* self, x86::State* env, uint64_t pc, uint64_t address, uint64_t size, const uint8_t* data) {
  if (!chosen(address, size, data[0])) return;
  EXPECT_EQ(env->panda_guest_pc, pc);
  EXPECT_EQ(self->host->instrumentation().current_count(), env->rr_guest_instr_count);
  self->reports.push_back({store, false, true, pc, env->rr_guest_instr_count, address, {data, data + size}, size});
}

class MemoryCallbacksTest : public testing::TestWithParam<BackendKind> {};

TEST_P(MemoryCallbacksTest, EachKindOfAccessIsReportedOnce) {
  Listener l("accesses", GetParam());
  l.run();
  ASSERT_TRUE(l.machine.ended());
  EXPECT_FALSE(l.machine.shut_down()) << l.machine.describe();
  EXPECT_EQ(l.wrong, std::vector<std::string>{});

  const std::vector<std::pair<unsigned, std::string>> expected = {
      {0, "R 100000 4 00010203"},
      {1, "W 100004 1 00"},
      {2, "R 100008 4 08090a0b\nW 100008 4 0d090a0b"},
      {3, "W 7ffc 4 78563412"},
      {4, "R 7ffc 4 78563412\nW 10000c 4 78563412"},
      {5, "R 100020 1 20\nW 100030 1 20"},
      {6,
       "R 100021 4 21222324\nW 100031 4 21222324\nR 100025 4 25262728\nW 100035 4 25262728\n"
       "R 100029 4 292a2b2c\nW 100039 4 292a2b2c"},
      {7, "R 100ffe 4 feff0001"},
      {8, "R 100040 16 404142434445464748494a4b4c4d4e4f"},
      {9, "R 100040 32 404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"},
      {10, "W 100080 32 404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"},
      {11, "R 100010 8 1011121314151617\nW 100010 8 1011121314151617"},
      {12, "R 100050 10 50515253545556575859"},
      {13, "W 1000c0 10 50515253545556575859"},
      {14, "R 100054 4 54555657"},
      {15, "W 1000d0 2 0080"},
      {19, "R 500000 4 ffffffff"},
      {20, "R 500008 4 ffffffff\nW 500008 4 00000000"},
      {21, "R 500010 4 ffffffff\nW 7ffc 4 ffffffff"},
      {22, "R 7ffc 4 ffffffff\nW 500018 4 ffffffff"},
      {23, "R 100020 4 20212223\nW 500020 4 20212223"},
      {24, "R 100024 4 24252627\nW 500024 4 24252627\nR 100028 4 28292a2b\nW 500028 4 28292a2b"},
      {25, "W 3648 1 90"},
      {27, "R 181010 4 44332211"},
      {30, "W 7ffc 4 85370000\nR 7ffc 4 85370000"},
      {33, "W 1000e0 4 40414243\nW 1000e4 4 44454647"},
      {34, "W 100100 2 4100\nW 100102 2 4100\nW 100104 2 4100"},
      {35, "R 100100 1 41\nR 100101 1 00"},
      {37, "W 100120 4 5a000000\nR 100120 4 5a000000"},
      {42, "W 101ffe 2 ffff\nW 101fff 1 11"},
      {43, ""},
      {44, "W 181ffe 4 ddccbbaa"},
  };
  for (const auto& [n, text] : expected) EXPECT_EQ(l.done(n), text) << "case " << n;
  // Descriptors: their addresses are the program's own.
  const auto sizes = [&](unsigned n) {
    std::string text;
    const uint64_t begin = kCases + kCaseBytes * n;
    for (const Report& r : l.reports) {
      if (r.pc < begin || r.pc >= begin + kWatchedBytes || r.physical || !r.after) continue;
      text += fmt::format("{}{}{}", text.empty() ? "" : " ", r.store ? 'W' : 'R', r.size);
    }
    return text;
  };
  EXPECT_EQ(sizes(16), "W2 W4");                    // SIDT
  EXPECT_EQ(sizes(17), "R2 R4");                    // LIDT
  EXPECT_EQ(sizes(18), "R8");                       // a segment register
  EXPECT_EQ(sizes(28), "W4 W4 W4 W4 W4 W4 W4 W4");  // PUSHAD
  EXPECT_EQ(sizes(31), "R4 W4");                    // XADD
  EXPECT_EQ(sizes(32), "R4 W4");                    // BTS
  EXPECT_EQ(sizes(38), "W4");                       // ENTER
  EXPECT_EQ(sizes(39), "R4");                       // LEAVE
  // INT: gate, code segment (its descriptor is marked as accessed already), EFLAGS, CS, EIP.
  EXPECT_EQ(sizes(36), "R8 R8 W4 W4 W4");
  EXPECT_EQ(sizes(26), "R8 R8 W4 W4 W4 W4");  // the page fault's, with its error code
}

TEST_P(MemoryCallbacksTest, AFaultingAccessIsAnnouncedAndNotDone) {
  Listener l("accesses", GetParam());
  l.run();
  const auto announced = [](const Report& r) { return !r.after; };
  EXPECT_EQ(l.of_case(26, announced).substr(0, 17), "before R 180004 4");
}

TEST_P(MemoryCallbacksTest, PhysicalAccessesAreTheParts) {
  Listener l("accesses", GetParam());
  l.run();
  const auto physical = [](const Report& r) { return r.after && r.physical; };
  EXPECT_EQ(l.of_case(27, physical), "pR 190010 4 44332211");
  EXPECT_EQ(l.of_case(7, physical), "pR 100ffe 2 feff\npR 101000 2 0001");
  EXPECT_EQ(l.of_case(44, physical), "pW 190ffe 2 ddcc\npW 182000 2 bbaa");
}

TEST_P(MemoryCallbacksTest, ACallbackThatOnlyCountsIsCalledAsOften) {
  Listener l("accesses", GetParam());
  l.run_to_end();
  uint64_t expected = 0;
  for (const Report& r : l.reports) expected += r.after && !r.physical ? 1 : 0;
  Machine m("accesses", GetParam());
  for (const unsigned type : {PANDA_CB_VIRT_MEM_AFTER_READ, PANDA_CB_VIRT_MEM_AFTER_WRITE}) {
    m.add(type, &count_only);
    ASSERT_EQ(m.host->registry().emitted(type).size(), 1u);
    EXPECT_TRUE(m.direct(type));
  }
  g_counted = 0;
  m.machine.run();
  EXPECT_EQ(g_counted, expected);
}

// One that is called by translated code, beside one that takes itself away in its third call.
struct Leaver {
  Machine* machine;
  unsigned calls = 0;
  static void call(Leaver* self, void*, uint64_t, uint64_t, uint64_t, const uint8_t*) {
    if (++self->calls != 3) return;
    EXPECT_TRUE(self->machine->remove(PANDA_CB_VIRT_MEM_AFTER_READ, reinterpret_cast<void*>(&Leaver::call), self));
  }
};

TEST_P(MemoryCallbacksTest, OneMayLeaveInItsOwnCall) {
  Machine alone("accesses", GetParam());
  alone.add(PANDA_CB_VIRT_MEM_AFTER_READ, &count_only);
  g_counted = 0;
  alone.machine.run();
  const uint64_t expected = std::exchange(g_counted, 0);
  alone.host.reset();
  Machine m("accesses", GetParam());
  Leaver leaver{&m};
  m.add(PANDA_CB_VIRT_MEM_AFTER_READ, &count_only);
  m.add_with(PANDA_CB_VIRT_MEM_AFTER_READ, &Leaver::call, &leaver);
  m.machine.run();
  EXPECT_EQ(leaver.calls, 3u);
  EXPECT_EQ(g_counted, expected);
  EXPECT_TRUE(m.direct(PANDA_CB_VIRT_MEM_AFTER_READ));
}

TEST_P(MemoryCallbacksTest, NothingFiresWhileTheyAreOff) {
  Listener l("accesses", GetParam(), false);
  l.run();
  EXPECT_TRUE(l.machine.ended());
  EXPECT_EQ(l.reports.size(), 0u);
}

// Off in the middle of the run, and on again.
TEST_P(MemoryCallbacksTest, CanBeSwitchedBetweenRuns) {
  Listener whole("accesses", GetParam());
  whole.run_to_end();
  Listener l("accesses", GetParam());
  const uint64_t from = whole.machine.count() - 60, to = whole.machine.count() - 30;
  l.machine.advance(from);
  l.host->instrumentation().memory().set_on(false);
  l.machine.advance(to - from);
  l.host->instrumentation().memory().set_on(true);
  l.run();
  std::vector<Report> expected;
  for (const Report& r : whole.reports) {
    if (r.count < from || r.count >= to) expected.push_back(r);
  }
  EXPECT_EQ(l.reports, expected);
  EXPECT_EQ(l.machine.cpu_state(), whole.machine.cpu_state());
}

INSTANTIATE_TEST_SUITE_P(BackEnds, MemoryCallbacksTest, testing::Values(BackendKind::Interpreter, BackendKind::Jit),
                         [](const auto& kind) { return kind.param == BackendKind::Jit ? "jit" : "interpreter"; });

class ProgramTest : public testing::TestWithParam<const char*> {};

// Accessed and dirty bits, which a page walk sets, are no accesses of the guest.
bool same_but_for_page_tables(const std::vector<uint8_t>& a, const std::vector<uint8_t>& b, std::string& where) {
  for (size_t i = 0; i < a.size(); i++) {
    if (((a[i] ^ b[i]) & ~0x60) == 0) continue;
    where = fmt::format("{:x}: {:02x} is not {:02x}", i, a[i], b[i]);
    return false;
  }
  return true;
}

TEST_P(ProgramTest, NoWriteIsMissedAndBackEndsTellTheSame) {
  GuestMachine bare(GetParam(), BackendKind::Jit);
  bare.run();
  Listener interpreted(GetParam(), BackendKind::Interpreter);
  interpreted.run_to_end();
  Listener jit(GetParam(), BackendKind::Jit);
  jit.run_to_end();
  Listener sliced(GetParam(), BackendKind::Jit);
  sliced.run_to_end(7);
  for (Listener* l : {&interpreted, &jit, &sliced}) {
    EXPECT_EQ(l->wrong, std::vector<std::string>{});
    std::string where;
    EXPECT_TRUE(same_but_for_page_tables(l->machine.ram(), l->shadow, where)) << where;
    EXPECT_EQ(l->machine.cpu_state(), bare.cpu_state()) << l->machine.describe() << bare.describe();
    EXPECT_TRUE(l->machine.ram() == bare.ram());
    EXPECT_EQ(l->machine.log(), bare.log());
    EXPECT_GT(l->reports.size(), 50u);
  }
  for (const Listener* l : {&jit, &sliced}) {
    ASSERT_EQ(interpreted.reports.size(), l->reports.size());
    for (size_t i = 0; i < l->reports.size(); i++) {
      ASSERT_EQ(interpreted.reports[i], l->reports[i])
          << i << ": " << text_of(interpreted.reports[i]) << " at " << interpreted.reports[i].pc << " count "
          << interpreted.reports[i].count << ", and " << text_of(l->reports[i]) << " at " << l->reports[i].pc
          << " count " << l->reports[i].count;
    }
  }
}

std::vector<Report> after_virtual(const Listener& l) {
  std::vector<Report> out;
  for (const Report& r : l.reports) {
    if (r.after && !r.physical) out.push_back(r);
  }
  return out;
}

std::string text_of(const std::vector<Report>& reports, size_t i) {
  return i < reports.size() ? fmt::format("{} at {:x}, count {}", text_of(reports[i]), reports[i].pc, reports[i].count)
                            : "nothing";
}

void expect_same(const std::vector<Report>& expected, const std::vector<Report>& got) {
  for (size_t i = 0; i < std::max(expected.size(), got.size()); i++) {
    if (i < expected.size() && i < got.size() && expected[i] == got[i]) continue;
    FAIL() << i << ": " << text_of(expected, i) << ", and " << text_of(got, i);
  }
}

#ifndef __SANITIZE_ADDRESS__  // whose checks call out of everything
TEST_P(ProgramTest, DirectCallsAndFiltersTellTheSame) {
  GuestMachine bare(GetParam(), BackendKind::Jit);
  bare.run();
  Listener listener(GetParam(), BackendKind::Jit);
  listener.run_to_end();
  const std::vector<Report> expected = after_virtual(listener);
  std::vector<Report> expected_chosen;
  for (const Report& r : expected) {
    if (chosen(r.address, r.size, r.data[0])) expected_chosen.push_back(r);
  }
  ASSERT_LT(expected.size(), kEntries);
  for (const BackendKind kind : {BackendKind::Interpreter, BackendKind::Jit}) {
    Machine direct(GetParam(), kind);
    direct.add(PANDA_CB_VIRT_MEM_AFTER_READ, &log_direct<false>);
    direct.add(PANDA_CB_VIRT_MEM_AFTER_WRITE, &log_direct<true>);
    EXPECT_TRUE(direct.direct(PANDA_CB_VIRT_MEM_AFTER_READ) && direct.direct(PANDA_CB_VIRT_MEM_AFTER_WRITE));
    g_logged = 0;
    direct.machine.run();
    std::vector<Report> got;
    for (size_t i = 0; i < g_logged; i++) {
      const Entry& e = g_log[i];
      const auto* const data = reinterpret_cast<const uint8_t*>(e.data);
      got.push_back({e.store, false, true, e.pc, e.count, e.address, {data, data + e.size}, e.size});
    }
    expect_same(expected, got);
    EXPECT_EQ(direct.machine.cpu_state(), bare.cpu_state());
    direct.host.reset();

    Machine filtered(GetParam(), kind);
    const auto* const with = reinterpret_cast<const void*>(&filter);
    filtered.add_with(PANDA_CB_VIRT_MEM_AFTER_READ, &report_chosen<false>, &filtered, with);
    filtered.add_with(PANDA_CB_VIRT_MEM_AFTER_WRITE, &report_chosen<true>, &filtered, with);
    EXPECT_TRUE(filtered.direct(PANDA_CB_VIRT_MEM_AFTER_READ) && filtered.direct(PANDA_CB_VIRT_MEM_AFTER_WRITE));
    filtered.machine.run();
    expect_same(expected_chosen, filtered.reports);
    EXPECT_EQ(filtered.machine.cpu_state(), bare.cpu_state());
    EXPECT_TRUE(filtered.machine.ram() == bare.ram());
  }
}
#endif

INSTANTIATE_TEST_SUITE_P(X86, ProgramTest,
                         testing::Values("accesses", "avx", "debug", "faults", "fpu", "long", "random", "rings",
                                         "segments", "smc", "strings", "tasks", "traps", "virtual"),
                         [](const auto& program) { return std::string(program.param); });

}  // namespace
}  // namespace panda::plugin
