// IN, OUT, INS, OUTS. All cross the line, so each runs alone in an exact unit; a repeated one does
// one iteration there, and its pc stays until the count is used up.
#include "guest/x86/debug.h"
#include "guest/x86/decoder.h"
#include "guest/x86/integer_helpers.h"
#include "guest/x86/system.h"
#include "guest/x86/translate_system.h"
#include "memory/guest_memory.h"
#include "memory/outside.h"

namespace panda::x86 {

using exec::InsnEnd;

namespace {

uint64_t in_helper(void* state, uint32_t port, uint32_t size) noexcept {
  Cpu cpu(state);
  if (!check_port(cpu, static_cast<uint16_t>(port), size)) return 0;
  note_port_access(cpu, static_cast<uint16_t>(port), size);
  return cpu.context().outside->port_read(static_cast<uint16_t>(port), size);
}

void out_helper(void* state, uint32_t port, uint32_t size, uint64_t value) noexcept {
  Cpu cpu(state);
  if (!check_port(cpu, static_cast<uint16_t>(port), size)) return;
  note_port_access(cpu, static_cast<uint16_t>(port), size);
  cpu.context().outside->port_write(static_cast<uint16_t>(port), size,
                                    value & (size == 4   ? 0xffff'ffff
                                             : size == 2 ? 0xffff
                                                         : 0xff));
}

// How a string instruction was encoded, in one argument.
struct StringForm {
  unsigned size;           // of an element
  unsigned address_bytes;  // 2, 4 or 8
  bool rep;
  unsigned segment;  // OUTS' source

  [[nodiscard]] uint32_t pack() const { return size | address_bytes << 4 | (rep ? 1u << 8 : 0) | segment << 9; }
  [[nodiscard]] static StringForm unpack(uint32_t v) { return {v & 15, v >> 4 & 15, (v & 1u << 8) != 0, v >> 9}; }
  [[nodiscard]] uint64_t mask() const {
    return address_bytes == 8 ? ~uint64_t{0} : (uint64_t{1} << address_bytes * 8) - 1;
  }
};

// A register used at the address size: 32 bits zero-extend, 16 keep the rest.
void set_index(Cpu cpu, unsigned reg, uint64_t v, const StringForm& f) {
  if (f.address_bytes == 2) v = (cpu.reg(reg) & ~uint64_t{0xffff}) | (v & 0xffff);
  cpu.set_reg(reg, v & (f.address_bytes == 4 ? 0xffff'ffff : ~uint64_t{0}));
}

bool linear_address(Cpu cpu, unsigned seg, uint64_t offset, const StringForm& f, bool write, uint64_t& out) {
  const State& s = cpu.s();
  if ((s.hflags & kModeCs64) != 0) {
    out = offset + (seg == R_FS || seg == R_GS ? s.segs[seg].base : 0);
    return true;
  }
  if (!check_segment(cpu, seg, offset, f.size, write)) return false;
  out = (offset + s.segs[seg].base) & 0xffff'ffff;
  return true;
}

// The pages of a store must be writable before the port is read: the read cannot be taken back.
bool probe_write(Cpu cpu, uint64_t address, unsigned size) {
  VcpuContext& c = cpu.context();
  for (const uint64_t a : {address, address + size - 1}) {
    if (c.memory->lookup(c, a, Access::Write, cpu.mode()) == nullptr) return false;
  }
  return true;
}

// One iteration done: index and count registers, and where to go on.
void step(Cpu cpu, unsigned index, uint64_t at, const StringForm& f, uint64_t pc, uint64_t next_pc) {
  State& s = cpu.s();
  set_index(cpu, index, at + static_cast<uint64_t>(int64_t{s.df} * f.size), f);
  s.eip = next_pc;
  if (!f.rep) return;
  const uint64_t left = ((cpu.reg(R_ECX) & f.mask()) - 1) & f.mask();
  set_index(cpu, R_ECX, left, f);
  if (left == 0) return;
  s.eip = pc;
  between_iterations(s);
}

bool nothing_to_do(Cpu cpu, const StringForm& f, uint64_t next_pc) {
  if (!f.rep || (cpu.reg(R_ECX) & f.mask()) != 0) return false;
  cpu.s().eip = next_pc;
  return true;
}

void ins_helper(void* state, uint32_t form, uint64_t pc, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  const StringForm f = StringForm::unpack(form);
  const auto port = static_cast<uint16_t>(cpu.reg(R_EDX));
  if (nothing_to_do(cpu, f, next_pc)) return;
  if (!check_port(cpu, port, f.size)) return;
  const uint64_t offset = cpu.reg(R_EDI) & f.mask();
  uint64_t address = 0;
  if (!linear_address(cpu, R_ES, offset, f, true, address) || !probe_write(cpu, address, f.size)) return;
  note_port_access(cpu, port, f.size);
  const uint64_t v = cpu.context().outside->port_read(port, f.size);
  if (!store_guest(cpu.context(), address, f.size, ir::MemInfo{.mode = cpu.mode()}, &v)) return;
  step(cpu, R_EDI, offset, f, pc, next_pc);
}

void outs_helper(void* state, uint32_t form, uint64_t pc, uint64_t next_pc) noexcept {
  Cpu cpu(state);
  const StringForm f = StringForm::unpack(form);
  const auto port = static_cast<uint16_t>(cpu.reg(R_EDX));
  if (nothing_to_do(cpu, f, next_pc)) return;
  if (!check_port(cpu, port, f.size)) return;
  const uint64_t offset = cpu.reg(R_ESI) & f.mask();
  uint64_t address = 0, v = 0;
  if (!linear_address(cpu, f.segment, offset, f, false, address)) return;
  if (!load_guest(cpu.context(), address, f.size, ir::MemInfo{.mode = cpu.mode()}, &v)) return;
  note_port_access(cpu, port, f.size);
  cpu.context().outside->port_write(port, f.size, v);
  step(cpu, R_ESI, offset, f, pc, next_pc);
}

const ir::HelperDesc kIn = system_helper("x86_in", in_helper);
const ir::HelperDesc kOut = system_helper("x86_out", out_helper);
const ir::HelperDesc kIns = system_helper("x86_ins", ins_helper);
const ir::HelperDesc kOuts = system_helper("x86_outs", outs_helper);

Value port_of(InsnContext& x, const ZydisDecodedOperand& op) {
  if (op.type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return x.b.i32(op.imm.value.u & 0xff);
  return x.b.zext(Type::I32, x.reg(R_EDX, Type::I16));
}

InsnEnd in(InsnContext& x) {
  if (!x.request.exact) return InsnEnd::NeedExact;
  const Type type = x.type_of(x.ops[0]);
  const Value v = x.call(kIn, {port_of(x, x.ops[1]), x.b.i32(ir::size_bytes(type))});
  x.set_reg(R_EAX, x.b.trunc(type, v));
  return x.end_dispatch();
}

InsnEnd out(InsnContext& x) {
  if (!x.request.exact) return InsnEnd::NeedExact;
  const Type type = x.type_of(x.ops[1]);
  x.call(kOut, {port_of(x, x.ops[0]), x.b.i32(ir::size_bytes(type)), x.b.zext(Type::I64, x.reg(R_EAX, type))});
  return x.end_dispatch();
}

StringForm form_of(InsnContext& x, unsigned size) {
  const bool rep = (x.insn.attributes & (ZYDIS_ATTRIB_HAS_REP | ZYDIS_ATTRIB_HAS_REPE | ZYDIS_ATTRIB_HAS_REPNE)) != 0;
  unsigned segment = R_DS;
  for (unsigned i = 0; i < x.insn.operand_count; i++) {
    const ZydisDecodedOperand& op = x.ops[i];
    if (op.type == ZYDIS_OPERAND_TYPE_MEMORY && op.mem.segment != ZYDIS_REGISTER_NONE) {
      segment = segment_register(op.mem.segment);
    }
  }
  return {size, x.insn.address_width / 8u, rep, segment};
}

InsnEnd string_io(InsnContext& x, const ir::HelperDesc& helper, unsigned size) {
  if (!x.request.exact) return InsnEnd::NeedExact;
  x.call(helper, {x.b.i32(form_of(x, size).pack()), x.b.i64(x.pc()), next_pc_value(x)});
  return leave(x);
}
template <unsigned Size>
InsnEnd ins(InsnContext& x) {
  return string_io(x, kIns, Size);
}
template <unsigned Size>
InsnEnd outs(InsnContext& x) {
  return string_io(x, kOuts, Size);
}

const Row kRows[] = {
    {ZYDIS_MNEMONIC_IN, in},         {ZYDIS_MNEMONIC_OUT, out},       {ZYDIS_MNEMONIC_INSB, ins<1>},
    {ZYDIS_MNEMONIC_INSW, ins<2>},   {ZYDIS_MNEMONIC_INSD, ins<4>},   {ZYDIS_MNEMONIC_OUTSB, outs<1>},
    {ZYDIS_MNEMONIC_OUTSW, outs<2>}, {ZYDIS_MNEMONIC_OUTSD, outs<4>},
};

}  // namespace

std::span<const Row> io_system_rows() { return kRows; }

}  // namespace panda::x86
