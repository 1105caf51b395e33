// x87 instructions other than arithmetic and compares (x87_arith.h), as functions on the state.
#pragma once

#include <cstdint>

#include "guest/x86/fpu_state.h"
#include "ir/helper.h"

namespace panda::x86 {

// Raises #MF where an unmasked x87 exception is pending and CR0.NE is set. Without CR0.NE the
// processor goes on, as with IGNNE# asserted: no device listens to FERR# here.
bool fpu_pending(void* state) noexcept;
extern const ir::HelperDesc kFpuCheckPending;

namespace x87 {

// --- loads (x87_helpers.cpp)
void fld_f32(void* state, uint32_t bits) noexcept;
void fld_f64(void* state, uint64_t bits) noexcept;
void fld_f80(void* state, uint64_t low, uint32_t high) noexcept;
void fld_st(void* state, uint32_t i) noexcept;
void fild(void* state, uint64_t value) noexcept;  // sign-extended
void fbld(void* state, uint64_t low, uint32_t high) noexcept;
enum Constant : uint32_t { kOne, kLog2Ten, kLog2E, kPi, kLog10Two, kLnTwo, kZero };  // order of the opcodes
void fld_constant(void* state, uint32_t which) noexcept;

// --- stores: the value for memory, not popped; the status word to be goes to State::fpus_next_, since
// the store may fault. For exceptions that are all masked.
uint32_t st0_f32(void* state) noexcept;
uint64_t st0_f64(void* state) noexcept;
inline constexpr uint32_t kInt16 = 0, kInt32 = 1, kInt64 = 2, kTrunc = 4;
uint64_t st0_int(void* state, uint32_t kind) noexcept;  // FIST; with kTrunc FISTTP

// Behind the store: takes the status word over, and pops where `pop` is not 0.
void stored(void* state, uint32_t pop) noexcept;

// The whole store instruction, where an unmasked exception may stop it.
inline constexpr uint32_t kStoreF32 = 8, kStoreF64 = 9, kStoreF80 = 10, kStoreBcd = 11, kStorePop = 16;  // or kInt..
void store_checked(void* state, uint64_t address, uint32_t kind) noexcept;

// --- registers (x87_helpers.cpp)
void fst_st(void* state, uint32_t i) noexcept;
void fstp_st(void* state, uint32_t i) noexcept;
void fstpnce(void* state, uint32_t i) noexcept;
void fxch(void* state, uint32_t i) noexcept;
void fcmov(void* state, uint32_t i, uint32_t condition) noexcept;
void ffree(void* state, uint32_t i) noexcept;
void ffreep(void* state, uint32_t i) noexcept;
void fincstp(void* state) noexcept;
void fdecstp(void* state) noexcept;
void fchs(void* state) noexcept;
void fabs_(void* state) noexcept;
void fxam(void* state) noexcept;
void ftst(void* state) noexcept;

// --- functions (x87_functions.cpp)
void fsqrt(void* state) noexcept;
void frndint(void* state) noexcept;
void fscale(void* state) noexcept;
void fprem(void* state) noexcept;
void fprem1(void* state) noexcept;
void fxtract(void* state) noexcept;

// --- transcendental functions (x87_transcendental.cpp)
void f2xm1(void* state) noexcept;
void fyl2x(void* state) noexcept;
void fyl2xp1(void* state) noexcept;
void fpatan(void* state) noexcept;
void fptan(void* state) noexcept;
void fsin(void* state) noexcept;
void fcos(void* state) noexcept;
void fsincos(void* state) noexcept;

}  // namespace x87
}  // namespace panda::x86
