#include "plugin/callback_scan.h"

#include <gtest/gtest.h>

#include <cstdio>

#ifndef __SANITIZE_ADDRESS__  // whose checks call out of everything

namespace panda::plugin {
namespace {

struct Guest {
  uint64_t regs[16];
};
uint64_t counter;
double sum;
uint64_t (*volatile somewhere)(uint64_t);

// Volatile accesses keep the compiler from leaving anything out.
#define KEEP __attribute__((noipa))
KEEP void does_nothing(Guest*, uint64_t) {}
KEEP void counts(Guest*, uint64_t) { *const_cast<volatile uint64_t*>(&counter) = counter + 1; }
KEEP void looks(const Guest* g, uint64_t) { *const_cast<volatile uint64_t*>(&counter) = g->regs[3]; }
KEEP void sets(Guest* g, uint64_t) { *const_cast<volatile uint64_t*>(&g->regs[3]) = 1; }
KEEP void computes(Guest*, uint64_t pc) { *const_cast<volatile double*>(&sum) = sum + static_cast<double>(pc); }
KEEP void computes_x87(Guest*, uint64_t pc) {
  volatile long double x = static_cast<long double>(pc);
  x = x / 3;
}
KEEP void prints(Guest*, uint64_t) { std::puts("called"); }
KEEP void calls_pointer(Guest*, uint64_t pc) { *const_cast<volatile uint64_t*>(&counter) = somewhere(pc) + 1; }
KEEP uint64_t helper(uint64_t x) { return x * 3; }
KEEP void calls_own(Guest*, uint64_t pc) { *const_cast<volatile uint64_t*>(&counter) = helper(pc) + 1; }
KEEP void branches(Guest*, uint64_t pc) {
  for (uint64_t i = 0; i < (pc & 15); i++) *const_cast<volatile uint64_t*>(&counter) = i;
}
__attribute__((noipa, optimize("O0"))) void unoptimised(Guest*, uint64_t pc) {
  uint64_t local = pc;
  if (local > 5) local++;
  counter = local;
}
KEEP void prints_sometimes(Guest*, uint64_t pc) {
  if (pc == 12345) std::puts("called");
}

template <typename F>
Footprint scan(F* f) {
  return scan_callback(reinterpret_cast<const void*>(f));
}

constexpr uint32_t kRdi = 1u << 7, kRsi = 1u << 6, kR8 = 1u << 8;

TEST(CallbackScan, SeesWhatItTouches) {
  for (const Footprint f : {scan(does_nothing), scan(counts), scan(unoptimised), scan(calls_own)}) {
    EXPECT_FALSE(f.calls_out);
    EXPECT_FALSE(f.reads);
    EXPECT_FALSE(f.writes);
  }
  const Footprint look = scan(looks);
  EXPECT_TRUE(look.reads && !look.writes && !look.calls_out);
  const Footprint set = scan(sets);
  EXPECT_TRUE(set.reads && set.writes && !set.calls_out);
  EXPECT_FALSE(scan(branches).calls_out);
}

TEST(CallbackScan, GivesUpOnCallsAndFloatingPoint) {
  for (const Footprint f :
       {scan(computes), scan(computes_x87), scan(prints), scan(prints_sometimes), scan(calls_pointer)}) {
    EXPECT_TRUE(f.calls_out && f.reads && f.writes);
    EXPECT_EQ(f.keeps, 0u);
    EXPECT_EQ(f.ignores, 0);
  }
  // Not code of any object that is loaded.
  alignas(16) static const uint8_t ret[16] = {0xc3};
  EXPECT_TRUE(scan_callback(ret).calls_out);
}

TEST(CallbackScan, KnowsTheRegistersThatAreKeptAndTheArgumentsThatAreNotLookedAt) {
  const Footprint nothing = scan(does_nothing);
  EXPECT_EQ(nothing.keeps & (kRdi | kRsi | kR8), kRdi | kRsi | kR8);
  EXPECT_EQ(nothing.ignores & 3, 3);
  EXPECT_EQ(nothing.keeps & 1, 0u);             // RAX is the caller's to use
  EXPECT_EQ(scan(unoptimised).ignores & 3, 0);  // which stores its arguments
  const Footprint look = scan(looks);
  EXPECT_EQ(look.ignores & 3, 2);
}

}  // namespace
}  // namespace panda::plugin

#endif
