// Translations that outlive a load of CR3: only where nothing but the time could tell.
#include "guest/x86/system_test_fixture.h"
#include "memory/access.h"

namespace panda::x86 {
namespace {

constexpr uint64_t kPage = 0x800000, kNext = 0x801000;  // 4 KiB pages of the spaces
constexpr uint64_t kAccessed = 0x20, kDirty = 0x40;

class Spaces : public SystemTest {
 protected:
  // Space n: root at 0x200000 + n * 0x10000, tables behind it, kPage's frame is 0x400 + n * 16.
  static uint64_t root(unsigned n) { return 0x200000 + n * 0x10000; }
  static uint64_t directories(unsigned n) { return root(n) + 0x1000; }
  static uint64_t directory(unsigned n) { return root(n) + 0x2000; }
  static uint64_t table(unsigned n) { return root(n) + 0x3000; }
  static uint64_t frame(unsigned n) { return (0x400 + n * 16) << 12; }

  void SetUp() override {
    SystemTest::SetUp();
    long_mode_on();
    for (unsigned n = 0; n < 2; n++) make(n);
    enter(0);
  }
  void make(unsigned n) {
    put<uint64_t>(root(n), directories(n) | 7);
    put<uint64_t>(directories(n), directory(n) | 7);
    for (unsigned i = 0; i < 4; i++) put<uint64_t>(directory(n) + i * 8, uint64_t{i} << 21 | 0x87);
    put<uint64_t>(directory(n) + 4 * 8, table(n) | 7);
    put<uint64_t>(table(n), frame(n) | 7);
    put<uint64_t>(table(n) + 8, (frame(n) + 0x1000) | 7);
    put<uint32_t>(frame(n), n + 1);
    put<uint32_t>(frame(n) + 0x1000, n + 0x101);
  }
  void enter(unsigned n) { ASSERT_TRUE(write_cr(cpu(), 3, root(n))); }
  uint32_t read(uint64_t address = kPage) {
    uint32_t v = 0;
    EXPECT_TRUE(read_linear(cpu(), address, kMmuKernelNoSmap, v));
    return v;
  }
  void write(uint64_t address, uint32_t v) {
    ASSERT_TRUE(store_guest(*context_, address, {.mode = kMmuKernelNoSmap}, v));
  }
  void store64(uint64_t address, uint64_t v) {
    ASSERT_TRUE(store_guest(*context_, address, {.mode = kMmuKernelNoSmap}, v));
  }
  uint64_t fetch(uint64_t address) {
    uint64_t phys = 0;
    EXPECT_TRUE(memory_->fetch(*context_, address, kMmuKernelNoSmap, phys));
    return phys;
  }
  // How many entries does `use` fill?
  template <typename Use>
  uint64_t fills(Use use) {
    const uint64_t before = memory_->fills();
    use();
    return memory_->fills() - before;
  }
};

TEST_F(Spaces, ComeBackWithoutWalks) {
  EXPECT_EQ(read(), 1u);
  enter(1);
  EXPECT_EQ(read(), 2u) << "not the other space's";
  for (unsigned i = 0; i < 10; i++) {
    enter(i % 2);
    EXPECT_EQ(fills([&] { EXPECT_EQ(read(), i % 2 + 1); }), 0u);
  }
}

TEST_F(Spaces, LoadingTheSameCr3Refreshes) {
  EXPECT_EQ(read(), 1u);
  EXPECT_EQ(read(kNext), 0x101u);
  put<uint64_t>(table(0), frame(1) | 7);
  EXPECT_EQ(read(), 1u) << "stale until CR3 is loaded";
  enter(0);
  EXPECT_EQ(read(), 2u);
  EXPECT_EQ(fills([&] { EXPECT_EQ(read(kNext), 0x101u); }), 0u) << "only what changed is dropped";
}

// Each level's entry, written by the device, by a store of the guest and through another address.
TEST_F(Spaces, SeeWhatChangedAtEachLevel) {
  const uint64_t table2 = 0x300000, directory2 = 0x301000, directories2 = 0x302000;
  const auto prepare = [&] {
    make(0);
    put<uint64_t>(table2, frame(1) | 7);
    put<uint64_t>(directory2 + 4 * 8, table2 | 7);
    for (unsigned i = 0; i < 4; i++) put<uint64_t>(directory2 + i * 8, uint64_t{i} << 21 | 0x87);
    put<uint64_t>(directories2, directory2 | 7);
    enter(0);
    EXPECT_EQ(read(), 1u);
    enter(1);
  };
  const struct {
    uint64_t entry, value;
  } changes[] = {{table(0), frame(1) | 7},
                 {directory(0) + 4 * 8, table2 | 7},
                 {directories(0), directory2 | 7},
                 {root(0), directories2 | 7}};
  for (const auto& c : changes) {
    prepare();
    put<uint64_t>(c.entry, c.value);
    enter(0);
    EXPECT_EQ(read(), 2u) << "DMA to " << std::hex << c.entry;

    prepare();
    store64(c.entry, c.value);
    enter(0);
    EXPECT_EQ(read(), 2u) << "a store to " << std::hex << c.entry;

    prepare();
    put<uint64_t>(table(1) + 16, (c.entry & ~uint64_t{0xfff}) | 7);
    enter(1);
    store64(0x802000 + (c.entry & 0xfff), c.value);
    enter(0);
    EXPECT_EQ(read(), 2u) << "a store through another mapping to " << std::hex << c.entry;

    prepare();
    put<uint64_t>(c.entry, 0);
    enter(0);
    uint32_t v = 0;
    if (c.entry != root(0)) {  // that maps the test's low memory too
      EXPECT_FALSE(read_linear(cpu(), kPage, kMmuKernelNoSmap, v)) << std::hex << c.entry;
      EXPECT_EQ(take_fault().vector, kPF);
    }
  }
}

TEST_F(Spaces, PermissionsTakenAwayAreSeen) {
  write(kPage, 5);
  enter(1);
  put<uint64_t>(table(0), frame(0) | 5 | kAccessed | kDirty);
  enter(0);
  uint32_t v = 6;
  EXPECT_FALSE(store_guest(*context_, kPage, {.mode = kMmuKernelNoSmap}, v));
  EXPECT_EQ(take_fault().code, 3);
  EXPECT_EQ(read(), 5u);
}

TEST_F(Spaces, AccessedAndDirtyBitsAreSetAgain) {
  write(kPage, 5);
  EXPECT_EQ(peek<uint64_t>(table(0)), frame(0) | 7 | kAccessed | kDirty);
  enter(1);
  put<uint64_t>(table(0), frame(0) | 7);
  enter(0);
  EXPECT_EQ(peek<uint64_t>(table(0)), frame(0) | 7) << "coming back sets nothing";
  read();
  EXPECT_EQ(peek<uint64_t>(table(0)), frame(0) | 7 | kAccessed);
  enter(1);
  enter(0);
  read();
  EXPECT_EQ(peek<uint64_t>(table(0)) & kDirty, 0u);
  write(kPage, 6);
  EXPECT_NE(peek<uint64_t>(table(0)) & kDirty, 0u) << "the first write sets D, in a space that came back too";
  enter(1);
  put<uint64_t>(directory(0) + 4 * 8, table(0) | 7);
  enter(0);
  read();
  EXPECT_EQ(peek<uint64_t>(directory(0) + 4 * 8) & kAccessed, kAccessed) << "an upper level's";
}

// Cleared while its space is active, the accessed bit stays clear until the next load of CR3.
TEST_F(Spaces, BitsClearedInTheActiveSpace) {
  read();
  put<uint64_t>(table(0), frame(0) | 7);
  read();
  EXPECT_EQ(peek<uint64_t>(table(0)) & kAccessed, 0u);
  enter(1);
  enter(0);
  read();
  EXPECT_EQ(peek<uint64_t>(table(0)) & kAccessed, kAccessed);
}

// Two walks of one entry, between which it changed: the first one's translation must not come back.
TEST_F(Spaces, AnEntryThatWasReadTwiceWithDifferentValues) {
  read();
  put<uint64_t>(table(0), frame(1) | 7);
  uint32_t v = 0;
  ASSERT_TRUE(read_linear(cpu(), kPage, kMmuUser, v));
  EXPECT_EQ(v, 2u);
  EXPECT_EQ(read(), 1u) << "another MMU mode keeps its own";
  enter(1);
  enter(0);
  EXPECT_EQ(read(), 2u);
}

TEST_F(Spaces, InvlpgWhileAwayAndBeforeLeaving) {
  read();
  put<uint64_t>(table(0), frame(1) | 7);
  invalidate_page(cpu(), kPage);
  EXPECT_EQ(read(), 2u);
  enter(1);
  EXPECT_EQ(read(), 2u);
  put<uint64_t>(table(0), frame(0) | 7);
  invalidate_page(cpu(), kPage);
  EXPECT_EQ(read(), 2u);
  enter(0);
  EXPECT_EQ(read(), 1u);
}

TEST_F(Spaces, FullFlushesDropAll) {
  read();
  enter(1);
  flush_translations(cpu());
  enter(0);
  EXPECT_EQ(fills([&] { read(); }), 1u);
  enter(1);
  ASSERT_TRUE(write_cr(cpu(), 4, cpu().cr(4) ^ kCr4Pge));
  enter(0);
  EXPECT_EQ(fills([&] { read(); }), 1u);
}

TEST_F(Spaces, MoreThanAreKept) {
  constexpr unsigned kMany = 24;
  for (unsigned n = 2; n < kMany; n++) make(n);
  for (unsigned round = 0; round < 3; round++) {
    for (unsigned n = 0; n < kMany; n++) {
      enter(n);
      EXPECT_EQ(read(), n + 1);
      EXPECT_EQ(read(kNext), n + 0x101);
    }
  }
  enter(kMany - 2);
  EXPECT_EQ(fills([&] { read(); }), 0u) << "the latest are kept";
}

// What is brought back each time must not grow without bounds; a page that is used each time stays cheap.
TEST_F(Spaces, WhatIsNotUsedAnyMoreIsDropped) {
  for (unsigned i = 0; i < 512; i++) put<uint64_t>(table(0) + i * 8, frame(0) | 7);
  enter(0);
  for (unsigned i = 0; i < 512; i++) read(kPage + i * 0x1000);
  uint64_t filled = 0;
  for (unsigned i = 0; i < 1000; i++) {
    enter(1);
    enter(0);
    filled += fills([&] { EXPECT_EQ(read(), 1u); });
  }
  EXPECT_GE(filled, 1u);
  EXPECT_LE(filled, 20u);
  EXPECT_EQ(fills([&] { read(kPage + 0x100000); }), 1u);
}

TEST_F(Spaces, FetchedPages) {
  EXPECT_EQ(fetch(kPage), frame(0));
  put<uint64_t>(table(0), frame(1) | 7);
  EXPECT_EQ(fetch(kPage), frame(0)) << "stale until flushed";
  enter(1);
  EXPECT_EQ(fetch(kPage), frame(1));
  enter(0);
  EXPECT_EQ(fetch(kPage), frame(1));
  put<uint64_t>(table(0), frame(0) | 7 | kAccessed);
  invalidate_page(cpu(), kPage);
  EXPECT_EQ(fetch(kPage), frame(0));
}

class SpaceIds : public CodeObserver {
 public:
  bool overlaps_code(uint64_t, uint64_t) noexcept override { return false; }
  void invalidate_code(uint64_t, uint64_t) noexcept override {}
  void space_changed(uint64_t id) noexcept override { current = id; }
  uint64_t current = 0;
};

// What was looked up by virtual address under an id must hold wherever the id is current.
TEST_F(Spaces, IdsChangeWithFetchedPages) {
  SpaceIds ids;
  memory_->set_code_observer(&ids);
  enter(0);
  fetch(kPage);
  const uint64_t first = ids.current;
  enter(1);
  EXPECT_NE(ids.current, first);
  fetch(kPage);
  const uint64_t second = ids.current;
  put<uint64_t>(table(1) + 8, 0);  // not fetched from
  enter(0);
  EXPECT_EQ(ids.current, first);
  enter(1);
  EXPECT_EQ(ids.current, second);
  put<uint64_t>(table(0), frame(1) | 7);
  enter(0);
  EXPECT_NE(ids.current, first);
  const uint64_t third = ids.current;
  fetch(kPage);
  invalidate_page(cpu(), kPage);
  EXPECT_NE(ids.current, third);
  const uint64_t fourth = ids.current;
  flush_local_translations(cpu());
  EXPECT_NE(ids.current, fourth);
  enter(1);
  EXPECT_EQ(ids.current, second);
  flush_translations(cpu());
  EXPECT_NE(ids.current, second);
}

TEST_F(Spaces, CodePagesMarkedWhileAway) {
  write(kPage, 5);
  enter(1);
  memory_->mark_code_page(*context_, frame(0));
  enter(0);
  EXPECT_EQ(map_guest(*context_, kPage, 4, Access::Write, kMmuKernelNoSmap), nullptr) << "stores must be looked at";
  memory_->clear_code_page(frame(0));
  write(kPage, 6);
  EXPECT_NE(map_guest(*context_, kPage, 4, Access::Write, kMmuKernelNoSmap), nullptr);
  enter(1);
  enter(0);
  EXPECT_NE(map_guest(*context_, kPage, 4, Access::Write, kMmuKernelNoSmap), nullptr) << "fast again, for good";
}

TEST_F(Spaces, LargePagesOfUserSpaceAreFoundByInvlpg) {
  put<uint64_t>(directory(0) + 5 * 8, 0x400000 | 0x87);
  put<uint32_t>(0x401000, 0x11);
  put<uint32_t>(0x601000, 0x22);
  enter(0);
  EXPECT_EQ(read(0xa01000), 0x11u);
  enter(1);
  enter(0);
  EXPECT_EQ(read(0xa01000), 0x11u);
  put<uint64_t>(directory(0) + 5 * 8, 0x600000 | 0x87);
  invalidate_page(cpu(), 0xa00000);
  EXPECT_EQ(read(0xa01000), 0x22u);
}

// 32-bit paging: two entries share eight bytes, of which only one matters.
TEST(LegacySpaces, CompareFourBytes) {
  class Legacy : public SystemTest {
   public:
    void TestBody() override {
      flat32();
      for (const uint32_t root : {0x100000u, 0x110000u}) {
        put<uint32_t>(root, (root + 0x1000) | 7);
        put<uint32_t>(root + 0x1000 + 16, (root == 0x100000 ? 0x300000 : 0x301000) | 7);  // 0x4000
        put<uint32_t>(root + 0x1000 + 20, 0x302000 | 7);                                  // 0x5000
      }
      put<uint32_t>(0x300000, 1);
      put<uint32_t>(0x301000, 2);
      put<uint32_t>(0x302000, 3);
      ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
      s().cr64[0] |= kCr0Pg;
      flush_translations(cpu());
      ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
      EXPECT_EQ(read(0x4000), 1u);
      ASSERT_TRUE(write_cr(cpu(), 3, 0x110000));
      EXPECT_EQ(read(0x4000), 2u);
      put<uint32_t>(0x101000 + 20, 0);
      ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
      const uint64_t fills = memory_->fills();
      EXPECT_EQ(read(0x4000), 1u);
      EXPECT_EQ(memory_->fills(), fills) << "the neighbour changed";
      ASSERT_TRUE(write_cr(cpu(), 3, 0x110000));
      put<uint32_t>(0x101000 + 16, 0x302000 | 7);
      ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
      EXPECT_EQ(read(0x4000), 3u);
    }
    uint32_t read(uint64_t address) {
      uint32_t v = 0;
      EXPECT_TRUE(read_linear(cpu(), address, kMmuKernelNoSmap, v));
      return v;
    }
    using SystemTest::SetUp;
  };
  Legacy test;
  test.SetUp();
  test.TestBody();
}

// PAE: the top level is what was read with CR3, and not in memory.
TEST(PaeSpaces, CompareThePdptes) {
  class Pae : public SystemTest {
   public:
    void TestBody() override {
      flat32();
      for (unsigned n = 0; n < 3; n++) {
        const uint64_t base = 0x100000 + n * 0x10000;
        put<uint64_t>(base, (base + 0x1000) | 1);
        put<uint64_t>(base + 0x1000, (base + 0x2000) | 7);
        for (unsigned i = 0; i < 512; i++) put<uint64_t>(base + 0x2000 + i * 8, uint64_t{i} << 12 | 7);
        put<uint64_t>(base + 0x2000 + 0x100 * 8, (0x300 + n) << 12 | 7);  // 0x100000
        put<uint32_t>((0x300 + n) << 12, n + 1);
      }
      ASSERT_TRUE(write_cr(cpu(), 4, kCr4Pae));
      ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
      ASSERT_TRUE(write_cr(cpu(), 0, cpu().cr(0) | kCr0Pg));
      ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
      EXPECT_EQ(read(0x100000), 1u);
      ASSERT_TRUE(write_cr(cpu(), 3, 0x110000));
      EXPECT_EQ(read(0x100000), 2u);
      const uint64_t fills = memory_->fills();
      ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
      EXPECT_EQ(read(0x100000), 1u);
      EXPECT_EQ(memory_->fills(), fills);
      put<uint64_t>(0x100000, 0x121000 | 1);
      EXPECT_EQ(read(0x100000), 1u) << "not seen until CR3 is loaded";
      ASSERT_TRUE(write_cr(cpu(), 3, 0x100000));
      EXPECT_EQ(read(0x100000), 3u);
    }
    uint32_t read(uint64_t address) {
      uint32_t v = 0;
      EXPECT_TRUE(read_linear(cpu(), address, kMmuKernelNoSmap, v));
      return v;
    }
    using SystemTest::SetUp;
  };
  Pae test;
  test.SetUp();
  test.TestBody();
}

}  // namespace
}  // namespace panda::x86
