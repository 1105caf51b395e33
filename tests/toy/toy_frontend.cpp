#include "toy_frontend.h"

#include <fmt/format.h>

#include <cstddef>
#include <cstring>

#include "memory/outside.h"

namespace panda::toy {
namespace {

using ir::Type;
using ir::Value;

// --- helpers of translated code

void raise(void* state, uint32_t cause) noexcept {
  static_cast<State*>(state)->cause = cause;
  VcpuContext::of(state).request(ExitRequest::Fault);
}
void write_port(void* state, uint32_t port, uint32_t value) noexcept {
  VcpuContext::of(state).outside->port_write(static_cast<uint16_t>(port), 4, value);
}
uint32_t read_port(void* state, uint32_t port) noexcept {
  return static_cast<uint32_t>(VcpuContext::of(state).outside->port_read(static_cast<uint16_t>(port), 4));
}

constexpr uint32_t reg_offset(unsigned r) { return static_cast<uint32_t>(offsetof(State, regs) + 4 * (r & 7)); }

const ir::HelperDesc kRaise{.name = "toy_raise",
                            .function = reinterpret_cast<const void*>(&raise),
                            .params = {Type::I32},
                            .reads = ir::kNoState,
                            .writes = {offsetof(State, cause), offsetof(State, cause) + 4}};
const ir::HelperDesc kWritePort{.name = "toy_write_port",
                                .function = reinterpret_cast<const void*>(&write_port),
                                .params = {Type::I32, Type::I32},
                                .reads = ir::kNoState,
                                .writes = ir::kNoState,
                                .may_exit = false,
                                .uses_budget = true};
const ir::HelperDesc kReadPort{.name = "toy_read_port",
                               .function = reinterpret_cast<const void*>(&read_port),
                               .result = Type::I32,
                               .params = {Type::I32},
                               .reads = ir::kNoState,
                               .writes = ir::kNoState,
                               .may_exit = false,
                               .uses_budget = true};

// One instruction being translated.
struct Translator {
  ir::Builder& b;
  uint32_t pc;
  unsigned rd, ra;
  uint32_t imm;  // sign-extended

  [[nodiscard]] Value get(unsigned r) const { return b.get(Type::I32, reg_offset(r)); }
  void set(unsigned r, Value v) const { b.set(reg_offset(r), v); }
  [[nodiscard]] Value address() const { return b.zext(Type::I64, b.add(get(ra), b.i32(imm))); }

  void branch(ir::Cond cond) const {
    const Value taken = b.icmp(cond, get(rd), get(ra));
    const uint32_t yes = b.new_block();
    const uint32_t no = b.new_block();
    b.brc(taken, yes, no);
    b.begin_block(yes);
    b.exit_direct(pc + imm);
    b.begin_block(no);
    b.exit_direct(pc + 4);
  }
  void fault(uint32_t cause) const {
    b.call(kRaise, {b.i32(cause)});
    b.exit_dispatch();
  }
  void set_field(size_t offset, uint32_t value) const { b.set(static_cast<uint32_t>(offset), b.i32(value)); }
};

bool needs_exact(Insn op) { return op == Insn::out || op == Insn::in || op == Insn::halt; }

}  // namespace

exec::UnitKey ToyFrontend::current_key(VcpuContext& cpu) { return {state(cpu).pc, 0, 0}; }

unsigned ToyFrontend::insn_size(const exec::InsnRequest& request) { return request.bytes.size() < 4 ? 0 : 4; }

exec::InsnResult ToyFrontend::translate(const exec::InsnRequest& request, ir::Builder& b) {
  using exec::InsnEnd;
  if (request.bytes.size() < 4) return {InsnEnd::NeedBytes, 0};
  const auto op = static_cast<Insn>(request.bytes[0]);
  if (needs_exact(op) && !request.exact) return {InsnEnd::NeedExact, 0};
  const auto imm = static_cast<uint32_t>(static_cast<int16_t>(request.bytes[2] | request.bytes[3] << 8));
  const Translator t{b, static_cast<uint32_t>(request.pc), (request.bytes[1] >> 4) & 15u, request.bytes[1] & 15u, imm};
  const ir::MemInfo word{.align = 4};
  const exec::InsnResult next{InsnEnd::Next, 4};
  const exec::InsnResult closed{InsnEnd::Closed, 4};
  switch (op) {
    case Insn::li:
      t.set(t.rd, b.i32(imm));
      return next;
    case Insn::lih:
      t.set(t.rd, b.or_(b.and_(t.get(t.rd), b.i32(0xffff)), b.i32(imm << 16)));
      return next;
    case Insn::add:
      t.set(t.rd, b.add(t.get(t.ra), t.get(imm)));
      return next;
    case Insn::sub:
      t.set(t.rd, b.sub(t.get(t.ra), t.get(imm)));
      return next;
    case Insn::mul:
      t.set(t.rd, b.mul(t.get(t.ra), t.get(imm)));
      return next;
    case Insn::xor_:
      t.set(t.rd, b.xor_(t.get(t.ra), t.get(imm)));
      return next;
    case Insn::addi:
      t.set(t.rd, b.add(t.get(t.ra), b.i32(imm)));
      return next;
    case Insn::load:
      t.set(t.rd, b.load(Type::I32, t.address(), word));
      return next;
    case Insn::store:
      b.store(t.address(), t.get(t.rd), word);
      return next;
    case Insn::loadb:
      t.set(t.rd, b.zext(Type::I32, b.load(Type::I8, t.address(), {})));
      return next;
    case Insn::beq:
      t.branch(ir::Cond::Eq);
      return closed;
    case Insn::bne:
      t.branch(ir::Cond::Ne);
      return closed;
    case Insn::jmp:
      b.exit_direct(t.pc + imm);
      return closed;
    case Insn::jalr: {
      const Value target = t.get(t.ra);
      t.set(t.rd, b.i32(t.pc + 4));
      b.exit_indirect(b.zext(Type::I64, target));
      return closed;
    }
    case Insn::trap:
      t.fault(imm);
      return closed;
    case Insn::out:
      b.call(kWritePort, {b.i32(imm & 0xffff), t.get(t.rd)});
      return next;
    case Insn::in:
      t.set(t.rd, b.call(kReadPort, {b.i32(imm & 0xffff)}));
      return next;
    case Insn::halt:
      t.set_field(offsetof(State, halted), 1);
      return next;
    case Insn::iret:
      t.set_field(offsetof(State, interrupts_on), 1);
      b.set(pc_offset(), b.get(Type::I32, offsetof(State, epc)));
      b.exit_dispatch();
      return closed;
    case Insn::sti:
      t.set_field(offsetof(State, interrupts_on), 1);
      b.set(pc_offset(), b.i32(t.pc + 4));
      b.exit_dispatch();
      return closed;
  }
  t.fault(kCauseIllegal);
  return closed;
}

void ToyFrontend::set_pc(VcpuContext& cpu, uint64_t pc) { state(cpu).pc = static_cast<uint32_t>(pc); }
uint64_t ToyFrontend::get_pc(const VcpuContext& cpu) { return state(cpu).pc; }

bool ToyFrontend::deliver_exception(VcpuContext& cpu) {
  State& s = state(cpu);
  s.epc = s.pc;
  s.pc = kExceptionVector;
  s.interrupts_on = 0;
  return true;
}

bool ToyFrontend::accepts_interrupt(const VcpuContext& cpu) { return state(cpu).interrupts_on != 0; }
bool ToyFrontend::deliver_interrupt(VcpuContext& cpu, uint8_t vector) {
  State& s = state(cpu);
  s.epc = s.pc;
  s.pc = kInterruptVector;
  s.cause = kCauseInterrupt + vector;
  s.interrupts_on = 0;
  return true;
}
bool ToyFrontend::halted(const VcpuContext& cpu) { return state(cpu).halted != 0; }
void ToyFrontend::wake(VcpuContext& cpu) { state(cpu).halted = 0; }
void ToyFrontend::reset(VcpuContext& cpu) { state(cpu) = State{}; }

std::string ToyFrontend::describe_registers(const VcpuContext& cpu) {
  std::string text = fmt::format("pc={:08x}", state(cpu).pc);
  for (unsigned r = 0; r < 8; r++) text += fmt::format(" r{}={:08x}", r, state(cpu).regs[r]);
  return text;
}
std::string ToyFrontend::save_state(const VcpuContext& cpu) {
  State saved = state(cpu);
  saved.plugin_view = {};  // not the guest's
  return {reinterpret_cast<const char*>(&saved), sizeof saved};
}
bool ToyFrontend::load_state(VcpuContext& cpu, std::string_view bytes) {
  if (bytes.size() != sizeof(State)) return false;
  std::memcpy(&state(cpu), bytes.data(), bytes.size());
  return true;
}

bool ToyFrontend::translate(VcpuContext& cpu, uint64_t address, Access, unsigned, bool probe,
                            Translation& out) noexcept {
  if (address >= kFaultBase) {
    if (probe) return false;
    state(cpu).fault_address = static_cast<uint32_t>(address);
    raise(cpu.state(), kCausePage);
    return false;
  }
  out = {address & kPageMask, true, true};
  return true;
}
void ToyFrontend::misaligned(VcpuContext& cpu, uint64_t address, Access) noexcept {
  state(cpu).fault_address = static_cast<uint32_t>(address);
  raise(cpu.state(), kCauseMisaligned);
}

}  // namespace panda::toy
