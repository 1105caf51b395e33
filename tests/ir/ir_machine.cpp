#include "ir_machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <new>

#include "backend/interp/interp_backend.h"
#include "base/check.h"
#ifdef PANDA_IR_TEST_X64
#include "backend/x64/x64_backend.h"
#endif

namespace panda::ir::test {
namespace {

uint64_t& slot(void* state, uint32_t offset) {
  return *reinterpret_cast<uint64_t*>(static_cast<uint8_t*>(state) + offset);
}

uint64_t mix(void*, uint64_t a, uint32_t b, uint64_t c, uint32_t d) noexcept {
  return std::rotl(a, 7) + b * 3u + (c ^ uint64_t{d} << 32);
}
void writes_slot(void* state, uint64_t v) noexcept { slot(state, kHelperSlot) += v; }
uint64_t reads_slot(void* state) noexcept { return slot(state, kHelperSlot) * 3; }
uint32_t leaves_if_odd(void* state, uint32_t v) noexcept {
  if ((v & 1) != 0) VcpuContext::of(state).request(ExitRequest::Fault);
  return v + 1;
}
uint32_t narrow(void*, uint32_t a, uint32_t b) noexcept { return (a << 4) + b + 0xffff0000; }
// Divides under the guest's rounding mode and leaves its sticky flags.
uint64_t divides(void*, uint64_t a, uint64_t b) noexcept {
  const volatile double x = static_cast<double>(static_cast<int64_t>(a));
  const volatile double y = static_cast<double>(static_cast<int64_t>(b));
  return std::bit_cast<uint64_t>(x / y);
}

template <typename F>
const void* address_of(F* function) {
  return reinterpret_cast<const void*>(function);
}

constexpr StateRange kSlotRange{kHelperSlot, kHelperSlot + 8};

const std::array<HelperDesc, 7>& helpers() {
  static const std::array<HelperDesc, 7> all{{
      {.name = "mix",
       .function = address_of(&mix),
       .result = Type::I64,
       .params = {Type::I64, Type::I32, Type::I64, Type::I32},
       .may_exit = false},
      {.name = "pure_mix",
       .function = address_of(&mix),
       .result = Type::I64,
       .params = {Type::I64, Type::I32, Type::I64, Type::I32},
       .reads = kNoState,
       .writes = kNoState,
       .may_exit = false,
       .pure = true},
      {.name = "writes_slot",
       .function = address_of(&writes_slot),
       .params = {Type::I64},
       .reads = kSlotRange,
       .writes = kSlotRange,
       .may_exit = false},
      {.name = "reads_slot",
       .function = address_of(&reads_slot),
       .result = Type::I64,
       .reads = kSlotRange,
       .writes = kNoState,
       .may_exit = false},
      {.name = "leaves_if_odd",
       .function = address_of(&leaves_if_odd),
       .result = Type::I32,
       .params = {Type::I32},
       .reads = kNoState,
       .writes = kNoState,
       .may_exit = true},
      {.name = "narrow",
       .function = address_of(&narrow),
       .result = Type::I16,
       .params = {Type::I8, Type::I16},
       .reads = kNoState,
       .writes = kNoState,
       .may_exit = false},
      {.name = "divides",
       .function = address_of(&divides),
       .result = Type::I64,
       .params = {Type::I64, Type::I64},
       .reads = kNoState,
       .writes = kNoState,
       .may_exit = false,
       .uses_fp = true},
  }};
  return all;
}

}  // namespace

const HelperDesc* helper(std::string_view name) {
  for (const HelperDesc& h : helpers()) {
    if (h.name == name) return &h;
  }
  return nullptr;
}

std::vector<const HelperDesc*> all_helpers() {
  std::vector<const HelperDesc*> all;
  for (const HelperDesc& h : helpers()) all.push_back(&h);
  return all;
}

std::vector<BackendFactory> backends() {
  std::vector<BackendFactory> all;
  all.push_back({"interp", [] { return std::make_unique<interp::InterpBackend>(); }});
#ifdef PANDA_IR_TEST_X64
  all.push_back({"x64", [] {
                   auto backend = x64::create_backend(16 << 20);
                   PANDA_CHECK(backend.has_value());
                   return std::move(*backend);
                 }});
#endif
  return all;
}

std::string describe(const Outcome& o) {
  std::string text = fmt::format("exit={} index={} request={} budget={} mxcsr={:#x}\n", static_cast<unsigned>(o.kind),
                                 o.index, o.request, o.budget, o.mxcsr);
  for (size_t i = 0; i + 8 <= o.state.size(); i += 8) {
    uint64_t v = 0;
    std::memcpy(&v, o.state.data() + i, 8);
    if (v != 0) text += fmt::format("  [{}] {:016x}\n", i, v);
  }
  return text;
}

struct IrMachine::Identity final : Mmu {
  bool translate(VcpuContext& cpu, uint64_t address, Access, unsigned, bool probe, Translation& out) noexcept override {
    if (address >= kFaultBase) {
      if (!probe) raise(cpu, address);
      return false;
    }
    out = {address & kPageMask, true, true};
    return true;
  }
  void misaligned(VcpuContext& cpu, uint64_t address, Access) noexcept override { raise(cpu, address); }
  static void raise(VcpuContext& cpu, uint64_t address) noexcept {
    slot(cpu.state(), kFaultSlot) = address;
    cpu.request(ExitRequest::Fault);
  }
};

void IrMachine::Free::operator()(uint8_t* p) const { ::operator delete(p, std::align_val_t{64}); }

IrMachine::IrMachine(std::unique_ptr<exec::Backend> backend)
    : backend_(std::move(backend)),
      mmu_(std::make_unique<Identity>()),
      storage_(static_cast<uint8_t*>(::operator new(sizeof(VcpuContext) + kStateBytes, std::align_val_t{64}))),
      jump_cache_(empty_jumps()) {
  auto memory = GuestMemory::create(kRamBytes, {{0, kRamBytes, 0}});
  PANDA_CHECK(memory.has_value());
  memory_ = std::move(*memory);
  VcpuContext& cpu = *new (storage_.get()) VcpuContext;
  cpu.jump_cache = jump_cache_.data();
  memory_->set_mmu(mmu_.get());
  memory_->attach(cpu);
}

Outcome IrMachine::run(const Unit& unit, const std::vector<uint8_t>& state, const std::vector<uint8_t>& ram,
                       int64_t budget, uint32_t mxcsr) {
  PANDA_CHECK(state.size() == kStateBytes && ram.size() == kRamBytes);
  std::copy(ram.begin(), ram.end(), memory_->ram().begin());
  VcpuContext& c = cpu();
  std::copy(state.begin(), state.end(), static_cast<uint8_t*>(c.state()));
  c.exit_request = 0;
  c.exact = 0;
  c.budget = budget;
  c.count_limit = 1000000;
  c.guest_mxcsr = mxcsr;
  exec::TranslationUnit translation;
  translation.insns = unit.guest_insns;
  translation.exits.resize(unit.exit_count);
  PANDA_CHECK(backend_->compile(unit, translation));
  const exec::ExitInfo exit = backend_->run(c, translation);
  const bool has_unit =
      exit.kind == exec::Exit::Direct || exit.kind == exec::Exit::Budget || exit.kind == exec::Exit::Request;
  PANDA_CHECK(!has_unit || exit.unit == &translation);
  backend_->release(translation);
  Outcome o;
  o.kind = exit.kind;
  o.index = has_unit ? exit.index : 0;
  o.request = c.exit_request;
  o.budget = c.budget;
  o.mxcsr = c.guest_mxcsr;
  const auto* end = static_cast<const uint8_t*>(c.state());
  o.state.assign(end, end + kStateBytes);
  o.ram.assign(memory_->ram().begin(), memory_->ram().end());
  return o;
}

}  // namespace panda::ir::test
