#include "guest/x86/avx_helpers.h"

#include <algorithm>
#include <cstring>

#include "base/types.h"
#include "guest/x86/integer_helpers.h"
#include "guest/x86/system.h"
#include "memory/guest_memory.h"

namespace panda::x86 {
namespace {

using ir::Type;

// Elements of one access: addresses in a segment, made linear as the translator does it for operands
// (insn_address.cpp).
class Elements {
 public:
  Elements(Cpu cpu, unsigned seg, uint64_t address_mask) : cpu_(cpu), seg_(seg), mask_(address_mask) {
    const State& s = cpu.s();
    long_ = (s.hflags & kModeCs64) != 0;
    base_ = !long_ || seg == R_FS || seg == R_GS ? s.segs[seg].base : 0;
  }
  [[nodiscard]] bool place(uint64_t offset, unsigned bytes, bool write, uint64_t& linear) {
    offset &= mask_;
    if (!long_ && !check_segment(cpu_, seg_, offset, bytes, write)) return false;
    linear = base_ + offset;
    if (!long_) linear &= 0xffffffff;
    return true;
  }
  [[nodiscard]] bool read(uint64_t linear, unsigned bytes, uint8_t* to) {
    return load_guest(cpu_.context(), linear, bytes, info(), to);
  }
  [[nodiscard]] bool write(uint64_t linear, unsigned bytes, const uint8_t* from) {
    return store_guest(cpu_.context(), linear, bytes, info(), from);
  }

 private:
  // There are no alignment checks (SDM vol. 2, VMASKMOV and VGATHERDPS).
  [[nodiscard]] ir::MemInfo info() const { return {.mode = mmu_mode(cpu_.s().hflags)}; }
  Cpu cpu_;
  unsigned seg_;
  uint64_t mask_, base_ = 0;
  bool long_ = false;
};

// Would a store there fault? Then the fault is pending.
bool probe(Cpu cpu, uint64_t linear, unsigned bytes) {
  VcpuContext& context = cpu.context();
  const auto check = [&](uint64_t at) {
    return map_guest(context, at, 1, Access::Write, cpu.mode()) != nullptr || context.exit_request == 0;
  };
  if (!check(linear)) return false;
  const uint64_t last_page = (linear + bytes - 1) & kPageMask;
  return last_page == (linear & kPageMask) || check(last_page);
}

void probe_store(void* state, uint64_t linear, uint32_t bytes) noexcept {
  Cpu cpu(state);
  VcpuContext& c = cpu.context();
  // Of 32 bytes each half is checked where it is stored.
  if (bytes <= 16 && (cpu.s().hflags & kModeAc) != 0 && linear % bytes != 0) {
    return c.memory->mmu()->misaligned(c, linear, Access::Write);
  }
  (void)probe(cpu, linear, bytes);
}

bool chosen(const ZMMReg& mask, unsigned lane, unsigned bytes) {
  return (mask._b_ZMMReg[lane * bytes + bytes - 1] & 0x80) != 0;
}

void masked_move(void* state, uint64_t offset, uint64_t address_mask, uint64_t packed) noexcept {
  Cpu cpu(state);
  State& s = cpu.s();
  const MaskedMove m = MaskedMove::unpack(packed);
  const ZMMReg mask = s.xmm_regs[m.mask];
  const unsigned n = m.lane_bytes;
  Elements elements(cpu, m.seg, address_mask);
  uint64_t linear[8]{};
  for (unsigned i = 0; i < m.lanes; ++i) {
    if (chosen(mask, i, n) && !elements.place(offset + i * n, n, m.store, linear[i])) return;
  }
  if (m.store) {
    for (unsigned i = 0; i < m.lanes; ++i) {
      if (chosen(mask, i, n) && !probe(cpu, linear[i], n)) return;
    }
    for (unsigned i = 0; i < m.lanes; ++i) {
      if (chosen(mask, i, n) && !elements.write(linear[i], n, &s.xmm_regs[m.value]._b_ZMMReg[i * n])) return;
    }
    return;
  }
  uint8_t loaded[32]{};
  for (unsigned i = 0; i < m.lanes; ++i) {
    if (chosen(mask, i, n) && !elements.read(linear[i], n, loaded + i * n)) return;
  }
  std::memcpy(&s.xmm_regs[m.value], loaded, sizeof loaded);
}

void gather(void* state, uint64_t base, uint64_t address_mask, uint64_t packed) noexcept {
  Cpu cpu(state);
  State& s = cpu.s();
  const Gather g = Gather::unpack(packed);
  ZMMReg &value = s.xmm_regs[g.value], &mask = s.xmm_regs[g.mask];
  const ZMMReg& index = s.xmm_regs[g.index];
  const unsigned n = g.lane_bytes;
  // The masks as the instruction found them: all ones or zeros, and none behind the elements.
  for (unsigned i = 0; i < g.lanes; ++i) std::memset(&mask._b_ZMMReg[i * n], chosen(mask, i, n) ? 0xff : 0, n);
  std::memset(&mask._b_ZMMReg[g.lanes * n], 0, 32u - g.lanes * n);
  Elements elements(cpu, g.seg, address_mask);
  for (unsigned i = 0; i < g.lanes; ++i) {
    if (!chosen(mask, i, n)) continue;
    const uint64_t k =
        g.index_bytes == 8 ? index.ZMM_Q(i) : static_cast<uint64_t>(int64_t{static_cast<int32_t>(index.ZMM_L(i))});
    uint64_t linear = 0;
    uint8_t element[8];
    if (!elements.place(base + (k << g.scale_log2), n, false, linear) || !elements.read(linear, n, element)) return;
    std::memcpy(&value._b_ZMMReg[i * n], element, n);
    std::memset(&mask._b_ZMMReg[i * n], 0, n);
  }
  std::memset(&value._b_ZMMReg[g.lanes * n], 0, 32u - g.lanes * n);
}

constexpr ir::StateRange kVectors{offsetof(State, xmm_regs), offsetof(State, xmm_regs) + sizeof(State::xmm_regs)};

template <typename F>
ir::HelperDesc desc(std::string_view name, F* function, std::array<Type, 4> params, ir::StateRange range) {
  return {.name = name,
          .function = reinterpret_cast<const void*>(function),
          .result = Type::Void,
          .params = params,
          .reads = range,
          .writes = range};
}

}  // namespace

const ir::HelperDesc kAvxProbeStore = desc("avx_probe_store", &probe_store, {Type::I64, Type::I32}, ir::kNoState);
const ir::HelperDesc kAvxMaskedMove =
    desc("avx_masked_move", &masked_move, {Type::I64, Type::I64, Type::I64}, kVectors);
const ir::HelperDesc kAvxGather = desc("avx_gather", &gather, {Type::I64, Type::I64, Type::I64}, kVectors);

}  // namespace panda::x86
