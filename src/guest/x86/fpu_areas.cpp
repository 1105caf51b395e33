#include "guest/x86/fpu_areas.h"

#include <cstring>

#include "guest/x86/fpu_state.h"
#include "guest/x86/system.h"
#include "guest/x86/x87_helpers.h"

namespace panda::x86 {
namespace {

constexpr unsigned kLegacyBytes = 512, kXmmOffset = 160, kHeader = 512, kAvxOffset = 576;

// Guest memory from an address on. Accesses wrap at 4 GiB outside IA-32e mode.
class Area {
 public:
  Area(Cpu cpu, uint64_t base)
      : cpu_(cpu), base_(base), mask_((cpu.s().hflags & kModeLma) != 0 ? ~uint64_t{0} : 0xffffffff | kBeyondLimit) {}
  template <typename T>
  [[nodiscard]] bool read(uint64_t offset, T& out) {
    return load_guest(cpu_.context(), (base_ + offset) & mask_, sizeof(T), info(), &out);
  }
  template <typename T>
  [[nodiscard]] bool write(uint64_t offset, const T& value) {
    return store_guest(cpu_.context(), (base_ + offset) & mask_, sizeof(T), info(), &value);
  }

 private:
  [[nodiscard]] ir::MemInfo info() const { return {.mode = static_cast<uint8_t>(mmu_mode(cpu_.s().hflags))}; }
  Cpu cpu_;
  uint64_t base_, mask_;
};

struct Vector128 {
  uint64_t low, high;
};
static_assert(sizeof(Vector128) == 16);

// --- FSTENV
struct Environment {
  uint16_t control = 0, status = 0, tags = 0, opcode = 0, cs = 0, ds = 0;
  uint32_t ip = 0, dp = 0;
};

constexpr unsigned environment_bytes(uint32_t form) { return (form & kAreaWide) ? 28 : 14; }

// The seven words of the image, of 32 or 16 bits.
void pack_environment(const Environment& e, uint32_t form, uint32_t words[7]) {
  const uint32_t upper = (form & kAreaWide) ? 0xffff0000 : 0;
  words[0] = upper | e.control;
  words[1] = upper | e.status;
  words[2] = upper | e.tags;
  if (form & kAreaReal) {
    words[3] = upper | (e.ip & 0xffff);
    words[4] = (e.ip >> 16 << 12) | (e.opcode & 0x7ff);
    words[5] = upper | (e.dp & 0xffff);
    words[6] = e.dp >> 16 << 12;
  } else {
    words[3] = e.ip;
    words[4] = e.cs | static_cast<uint32_t>(e.opcode & 0x7ff) << 16;
    words[5] = e.dp;
    words[6] = upper | e.ds;
  }
}

Environment unpack_environment(const uint32_t words[7], uint32_t form) {
  Environment e;
  e.control = static_cast<uint16_t>(words[0]);
  e.status = static_cast<uint16_t>(words[1]);
  e.tags = static_cast<uint16_t>(words[2]);
  if (form & kAreaReal) {
    const uint32_t keep = (form & kAreaWide) ? 0xffff : 0xf;
    e.ip = (words[3] & 0xffff) | (words[4] >> 12 & keep) << 16;
    e.opcode = words[4] & 0x7ff;
    e.dp = (words[5] & 0xffff) | (words[6] >> 12 & keep) << 16;
  } else {
    e.ip = words[3];
    e.cs = static_cast<uint16_t>(words[4]);
    if (form & kAreaWide) e.opcode = words[4] >> 16 & 0x7ff;
    e.dp = words[5];
    e.ds = static_cast<uint16_t>(words[6]);
  }
  return e;
}

bool write_register(Area& area, uint64_t offset, const floatx80& v) {
  return area.write(offset, v.low) && area.write(offset + 8, v.high);
}

// --- the x87 and SSE parts that FXSAVE and XSAVE share
bool save_x87(Cpu cpu, Area& area, bool wide) {
  const State& s = cpu.s();
  const bool pending = (s.fpus & kFpES) != 0;  // as on AMD processors: pointers only with an exception
  Vector128 first{}, second{};
  first.low = s.fpuc | static_cast<uint64_t>(fpu_status(s)) << 16 | static_cast<uint64_t>(fpu_abridged_tags(s)) << 32;
  if (pending) {
    first.low |= static_cast<uint64_t>(s.fpop & 0x7ff) << 48;
    first.high = wide ? s.fpip : (s.fpip & 0xffffffff) | static_cast<uint64_t>(s.fpcs) << 32;
    second.low = wide ? s.fpdp : (s.fpdp & 0xffffffff) | static_cast<uint64_t>(s.fpds) << 32;
  }
  if (!area.write(0, first) || !area.write(16, second.low)) return false;
  for (unsigned i = 0; i < 8; ++i) {
    const floatx80& v = s.fpregs[(s.fpstt + i) & 7].d;
    if (!area.write(32 + 16 * i, Vector128{v.low, v.high})) return false;
  }
  return true;
}

bool save_mxcsr(Cpu cpu, Area& area) { return area.write(24, architectural_mxcsr(cpu) | uint64_t{kMxcsrMask} << 32); }

bool save_vectors(Cpu cpu, Area& area, uint64_t offset, unsigned lane, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    const ZMMReg& r = cpu.s().xmm_regs[i];
    if (!area.write(offset + 16 * i, Vector128{r.ZMM_Q(lane), r.ZMM_Q(lane + 1)})) return false;
  }
  return true;
}

struct LegacyImage {
  uint64_t words[4];  // up to MXCSR and its mask
  Vector128 st[8];
  Vector128 xmm[16];
  Vector128 ymm[16];
};

void load_x87(State& s, const LegacyImage& image, bool wide) {
  s.fpuc = static_cast<uint16_t>((image.words[0] & kFpuControlBits) | kFpuControlOnes);
  set_fpu_status(s, static_cast<uint16_t>(image.words[0] >> 16));
  for (unsigned i = 0; i < 8; ++i) s.fptags[i] = (image.words[0] >> (32 + i) & 1) ? 0 : 1;
  s.fpop = image.words[0] >> 48 & 0x7ff;
  s.fpip = wide ? image.words[1] : image.words[1] & 0xffffffff;
  s.fpcs = wide ? uint16_t{0} : static_cast<uint16_t>(image.words[1] >> 32);
  s.fpdp = wide ? image.words[2] : image.words[2] & 0xffffffff;
  s.fpds = wide ? uint16_t{0} : static_cast<uint16_t>(image.words[2] >> 32);
  for (unsigned i = 0; i < 8; ++i) {
    floatx80& v = s.fpregs[(s.fpstt + i) & 7].d;
    v.low = image.st[i].low;
    v.high = static_cast<uint16_t>(image.st[i].high);
  }
}

void load_vectors(State& s, const Vector128* from, unsigned lane, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    s.xmm_regs[i].ZMM_Q(lane) = from[i].low;
    s.xmm_regs[i].ZMM_Q(lane + 1) = from[i].high;
  }
}

bool read_vectors(Area& area, uint64_t offset, Vector128* to, unsigned count) {
  for (unsigned i = 0; i < count; ++i) {
    if (!area.read(offset + 16 * i, to[i])) return false;
  }
  return true;
}

constexpr unsigned vector_count(uint32_t form) { return (form & kAreaXmm16) ? 16 : 8; }

}  // namespace

void store_environment(void* state, uint64_t address, uint32_t form, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  State& s = cpu.s();
  Area area(cpu, address);
  const Environment e{.control = s.fpuc,
                      .status = fpu_status(s),
                      .tags = fpu_full_tags(s),
                      .opcode = s.fpop,
                      .cs = s.fpcs,
                      .ds = s.fpds,
                      .ip = static_cast<uint32_t>(s.fpip),
                      .dp = static_cast<uint32_t>(s.fpdp)};
  uint32_t words[7];
  pack_environment(e, form, words);
  for (unsigned i = 0; i < 7; ++i) {
    const bool ok =
        (form & kAreaWide) ? area.write(4 * i, words[i]) : area.write(2 * i, static_cast<uint16_t>(words[i]));
    if (!ok) return;
  }
  if (form & kAreaRegisters) {
    for (unsigned i = 0; i < 8; ++i) {
      if (!write_register(area, environment_bytes(form) + 10 * i, s.fpregs[(s.fpstt + i) & 7].d)) return;
    }
    fpu_init(s);
  } else {
    set_fpu_control(s, s.fpuc | kFpExceptions);
  }
  refresh_fp_mode(cpu, next_pc);
}

void load_environment(void* state, uint64_t address, uint32_t form, uint64_t next_pc) noexcept {
  if (fpu_pending(state)) return;
  Cpu cpu(state);
  State& s = cpu.s();
  Area area(cpu, address);
  uint32_t words[7]{};
  for (unsigned i = 0; i < 7; ++i) {
    uint16_t half = 0;
    const bool ok = (form & kAreaWide) ? area.read(4 * i, words[i]) : area.read(2 * i, half);
    if (!ok) return;
    if ((form & kAreaWide) == 0) words[i] = half;
  }
  floatx80 registers[8]{};
  if (form & kAreaRegisters) {
    for (unsigned i = 0; i < 8; ++i) {
      const uint64_t at = environment_bytes(form) + 10 * i;
      if (!area.read(at, registers[i].low) || !area.read(at + 8, registers[i].high)) return;
    }
  }
  const Environment e = unpack_environment(words, form);
  s.fpuc = static_cast<uint16_t>((e.control & kFpuControlBits) | kFpuControlOnes);
  set_fpu_status(s, e.status);
  for (unsigned i = 0; i < 8; ++i) s.fptags[i] = (e.tags >> (2 * i) & 3) == 3 ? 1 : 0;
  s.fpop = e.opcode;
  s.fpcs = e.cs;
  s.fpds = e.ds;
  s.fpip = e.ip;
  s.fpdp = e.dp;
  if (form & kAreaRegisters) {
    for (unsigned i = 0; i < 8; ++i) s.fpregs[(s.fpstt + i) & 7].d = registers[i];
  }
  refresh_fp_mode(cpu, next_pc);
}

void fxsave(void* state, uint64_t address, uint32_t form) noexcept {
  Cpu cpu(state);
  if ((address & 15) != 0) return (void)raise(cpu, kGP, 0);
  Area area(cpu, address);
  if (!save_x87(cpu, area, (form & kAreaWide) != 0) || !save_mxcsr(cpu, area)) return;
  (void)save_vectors(cpu, area, kXmmOffset, 0, vector_count(form));
}

void fxrstor(void* state, uint64_t address, uint32_t form, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  if ((address & 15) != 0) return (void)raise(cpu, kGP, 0);
  Area area(cpu, address);
  LegacyImage image{};
  for (unsigned i = 0; i < 4; ++i) {
    if (!area.read(8 * i, image.words[i])) return;
  }
  if (!read_vectors(area, 32, image.st, 8)) return;
  if (!read_vectors(area, kXmmOffset, image.xmm, vector_count(form))) return;
  const auto mxcsr = static_cast<uint32_t>(image.words[3]);
  if ((mxcsr & ~kMxcsrMask) != 0) return (void)raise(cpu, kGP, 0);
  load_x87(cpu.s(), image, (form & kAreaWide) != 0);
  load_vectors(cpu.s(), image.xmm, 0, vector_count(form));
  set_mxcsr(cpu, mxcsr);
  refresh_fp_mode(cpu, next_pc);
}

// XSAVE, XSAVEOPT (which may write everything, as here) and XSAVEC. Every component counts as in use.
void xsave(void* state, uint64_t address, uint32_t form, uint64_t mask) noexcept {
  Cpu cpu(state);
  if ((address & 63) != 0) return (void)raise(cpu, kGP, 0);
  Area area(cpu, address);
  const uint64_t components = mask & cpu.s().xcr0;
  const bool compact = (form & kAreaCompact) != 0;
  uint64_t present = 0;
  if (!compact && !area.read(kHeader, present)) return;
  if ((components & kXcr0X87) && !save_x87(cpu, area, (form & kAreaWide) != 0)) return;
  if ((components & (kXcr0Sse | kXcr0Avx)) && !save_mxcsr(cpu, area)) return;
  if ((components & kXcr0Sse) && !save_vectors(cpu, area, kXmmOffset, 0, vector_count(form))) return;
  if ((components & kXcr0Avx) && !save_vectors(cpu, area, kAvxOffset, 2, vector_count(form))) return;
  if (!area.write(kHeader, compact ? components : (present & ~mask) | components)) return;
  if (compact) (void)area.write(kHeader + 8, components | uint64_t{1} << 63);
}

void xrstor(void* state, uint64_t address, uint64_t form_and_mask, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  State& s = cpu.s();
  if ((address & 63) != 0) return (void)raise(cpu, kGP, 0);
  const auto form = static_cast<uint32_t>(form_and_mask >> 32);
  // XCR0 has no component above bit 31 (kXcr0Avx is the last one known), so EDX does not matter.
  const uint64_t components = form_and_mask & 0xffffffff & s.xcr0;
  Area area(cpu, address);
  uint64_t header[8]{};
  for (unsigned i = 0; i < 8; ++i) {
    if (!area.read(kHeader + 8 * i, header[i])) return;
  }
  const bool compact = header[1] >> 63 != 0;
  uint64_t reserved = header[0] & ~s.xcr0;
  if (compact)
    reserved |= (header[1] & ~(uint64_t{1} << 63) & ~s.xcr0) | (header[0] & ~header[1]);
  else
    reserved |= header[1];
  for (unsigned i = 2; i < (compact ? 8u : 3u); ++i) reserved |= header[i];
  if (reserved != 0) return (void)raise(cpu, kGP, 0);

  const unsigned count = vector_count(form);
  const uint64_t load = components & header[0];
  LegacyImage image{};
  image.words[0] = kFpuControlDefault;
  const bool mxcsr_loaded =
      (components & (kXcr0Sse | kXcr0Avx)) != 0 && (!compact || (header[0] & (kXcr0Sse | kXcr0Avx)) != 0);
  image.words[3] = kMxcsrDefault;
  if (mxcsr_loaded && !area.read(24, image.words[3])) return;
  const auto mxcsr = static_cast<uint32_t>(image.words[3]);
  if ((mxcsr & ~kMxcsrMask) != 0) return (void)raise(cpu, kGP, 0);
  if (load & kXcr0X87) {
    for (unsigned i = 0; i < 3; ++i) {
      if (!area.read(8 * i, image.words[i])) return;
    }
    if (!read_vectors(area, 32, image.st, 8)) return;
  }
  if ((load & kXcr0Sse) && !read_vectors(area, kXmmOffset, image.xmm, count)) return;
  if ((load & kXcr0Avx) && !read_vectors(area, kAvxOffset, image.ymm, count)) return;
  if (components & kXcr0X87) load_x87(s, image, (form & kAreaWide) != 0);
  if (components & kXcr0Sse) load_vectors(s, image.xmm, 0, count);
  if (components & kXcr0Avx) load_vectors(s, image.ymm, 2, count);
  if (components & (kXcr0Sse | kXcr0Avx)) set_mxcsr(cpu, mxcsr);
  refresh_fp_mode(cpu, next_pc);
}

}  // namespace panda::x86
