#include "toy_machine.h"

#include <algorithm>
#include <cstring>

#include "backend/interp/interp_backend.h"
#include "base/check.h"
#ifdef PANDA_TOY_X64
#include "backend/x64/x64_backend.h"
#endif

namespace panda::toy {
namespace {

std::unique_ptr<GuestMemory> make_memory() {
  auto memory = GuestMemory::create(kRamBytes, {{0, kRamBytes, 0}});
  PANDA_CHECK(memory.has_value());
  return std::move(*memory);
}

std::vector<uint8_t> in_ram(const std::vector<uint8_t>& program) {
  std::vector<uint8_t> ram(kRamBytes);
  PANDA_CHECK(program.size() <= ram.size());
  std::copy(program.begin(), program.end(), ram.begin());
  return ram;
}

// So small that it is full after a few units, and that long units do not fit.
constexpr size_t kSmallCodeBytes = 128 << 10;

// What a device register at `address` reads.
uint32_t device_value(uint64_t address) { return static_cast<uint32_t>(address * 3 + 1); }

}  // namespace

// --- ScriptedOutside

uint64_t ScriptedOutside::port_read(uint16_t port, unsigned) {
  const uint32_t value = port_input(port, reads_++);
  crossings.push_back({engine_->count().value, port, value});
  return value;
}
void ScriptedOutside::port_write(uint16_t port, unsigned, uint64_t value) {
  crossings.push_back({engine_->count().value, port, value});
}
uint64_t ScriptedOutside::mmio_read(GuestPhysAddr address, unsigned) {
  const uint32_t value = device_value(address.value);
  crossings.push_back({engine_->count().value, address.value, value});
  return value;
}
void ScriptedOutside::mmio_write(GuestPhysAddr address, unsigned, uint64_t value) {
  crossings.push_back({engine_->count().value, address.value, value});
}
InsnCount ScriptedOutside::next_event(InsnCount) {
  return InsnCount(next_interrupt_ < interrupts_at_.size() ? interrupts_at_[next_interrupt_] : ~uint64_t{0});
}
void ScriptedOutside::service(InsnCount now) {
  while (next_interrupt_ < interrupts_at_.size() && interrupts_at_[next_interrupt_] <= now.value) {
    next_interrupt_++;
    pending_++;
  }
}
std::optional<uint8_t> ScriptedOutside::acknowledge_interrupt(InsnCount) {
  pending_--;
  return static_cast<uint8_t>(next_interrupt_);
}

// --- Simulator

void Simulator::fault(uint32_t cause) {
  state.cause = cause;
  state.epc = state.pc;
  state.pc = kExceptionVector;
  state.interrupts_on = 0;
}

bool Simulator::load(uint32_t address, unsigned size, uint32_t& value) {
  if (address % size != 0 || address >= kFaultBase) {
    state.fault_address = address;
    fault(address % size != 0 ? kCauseMisaligned : kCausePage);
    return false;
  }
  value = 0;
  if (address < kRamBytes) {
    std::memcpy(&value, ram_.data() + address, size);
  } else {
    value = device_value(address);
    if (size == 1) value &= 0xff;
    crossings.push_back({count, address, device_value(address)});
  }
  return true;
}

bool Simulator::store(uint32_t address, uint32_t value) {
  if (address % 4 != 0 || address >= kFaultBase) {
    state.fault_address = address;
    fault(address % 4 != 0 ? kCauseMisaligned : kCausePage);
    return false;
  }
  if (address < kRamBytes) {
    std::memcpy(ram_.data() + address, &value, 4);
  } else {
    crossings.push_back({count, address, value});
  }
  return true;
}

void Simulator::take_events() {
  while (next_interrupt_ < interrupts_at_.size() && interrupts_at_[next_interrupt_] <= count) {
    next_interrupt_++;
    pending_++;
  }
  if (pending_ == 0 || state.interrupts_on == 0) return;
  pending_--;
  state.halted = 0;
  state.epc = state.pc;
  state.pc = kInterruptVector;
  state.cause = kCauseInterrupt + static_cast<uint8_t>(next_interrupt_);
  state.interrupts_on = 0;
}

bool Simulator::run_until(uint64_t until) {
  for (unsigned faults = 0; count < until;) {
    take_events();
    if (state.halted != 0) return false;
    const uint64_t before = count;
    step();
    faults = count == before ? faults + 1 : 0;
    if (faults > 10) return false;  // faults for ever
  }
  return true;
}

void Simulator::step() {
  if (state.pc >= kFaultBase) {
    state.fault_address = state.pc;
    return fault(kCausePage);
  }
  uint32_t word = 0xffffffff;
  if (state.pc + 4 <= kRamBytes) std::memcpy(&word, ram_.data() + state.pc, 4);
  const auto op = static_cast<Insn>(word & 0xff);
  const unsigned rd_field = word >> 12 & 15;
  uint32_t& rd = state.regs[rd_field & 7];
  const uint32_t ra = state.regs[word >> 8 & 7];
  const auto imm = static_cast<uint32_t>(static_cast<int16_t>(word >> 16));
  const uint32_t rb = state.regs[imm & 7];
  uint32_t next = state.pc + 4;
  uint32_t value = 0;
  switch (op) {
    case Insn::li:
      rd = imm;
      break;
    case Insn::lih:
      rd = (rd & 0xffff) | imm << 16;
      break;
    case Insn::add:
      rd = ra + rb;
      break;
    case Insn::sub:
      rd = ra - rb;
      break;
    case Insn::mul:
      rd = ra * rb;
      break;
    case Insn::xor_:
      rd = ra ^ rb;
      break;
    case Insn::addi:
      rd = ra + imm;
      break;
    case Insn::load:
      if (!load(ra + imm, 4, value)) return;
      rd = value;
      break;
    case Insn::loadb:
      if (!load(ra + imm, 1, value)) return;
      rd = value;
      break;
    case Insn::store:
      if (!store(ra + imm, rd)) return;
      break;
    case Insn::beq:
      if (rd == ra) next = state.pc + imm;
      break;
    case Insn::bne:
      if (rd != ra) next = state.pc + imm;
      break;
    case Insn::jmp:
      next = state.pc + imm;
      break;
    case Insn::jalr:
      next = ra;
      rd = state.pc + 4;
      break;
    case Insn::trap:
      return fault(imm);
    case Insn::out:
      crossings.push_back({count, imm & 0xffff, rd});
      break;
    case Insn::in:
      rd = port_input(imm & 0xffff, reads_++);
      crossings.push_back({count, imm & 0xffff, rd});
      break;
    case Insn::halt:
      state.halted = 1;
      break;
    case Insn::iret:
      next = state.epc;
      state.interrupts_on = 1;
      break;
    case Insn::sti:
      state.interrupts_on = 1;
      break;
    default:
      return fault(kCauseIllegal);
  }
  state.pc = next;
  count++;
}

// --- Machine

std::vector<BackendFactory> backends() {
  std::vector<BackendFactory> all;
  all.push_back({"interp", [] { return std::make_unique<interp::InterpBackend>(); }});
  all.push_back({"interp_small", [] { return std::make_unique<interp::InterpBackend>(kSmallCodeBytes); }});
#ifdef PANDA_TOY_X64
  all.push_back({"x64", [] {
                   auto backend = x64::create_backend(16 << 20);
                   PANDA_CHECK(backend.has_value());
                   return std::move(*backend);
                 }});
  all.push_back({"x64_small", [] {
                   auto backend = x64::create_backend(kSmallCodeBytes);
                   PANDA_CHECK(backend.has_value());
                   return std::move(*backend);
                 }});
#endif
  return all;
}

Machine::Machine(const BackendFactory& factory, const std::vector<uint8_t>& program,
                 std::vector<uint64_t> interrupts_at)
    : memory(make_memory()),
      backend(factory.create()),
      engine(std::make_unique<exec::Engine>(frontend, *backend, *memory, clock)),
      outside(interrupts_at),
      simulator(in_ram(program), interrupts_at) {
  const auto ram = in_ram(program);
  PANDA_CHECK(memory->write(GuestPhysAddr(0), ram.data(), ram.size()));
  outside.attach(*engine);
  engine->set_outside(outside);
}

}  // namespace panda::toy
