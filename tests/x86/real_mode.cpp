#include "real_mode.h"

#include <array>

#include "base/check.h"
#include "base/virtual_clock.h"
#include "exec/engine.h"
#include "guest/x86/cpu_models.h"
#include "guest/x86/frontend.h"
#include "guest/x86/state.h"
#include "guest/x86/system.h"
#include "no_outside.h"

namespace panda::x86test {
namespace {

using namespace panda::x86;

constexpr uint64_t kRamBytes = 1 << 20;

unsigned memory_bytes(Kind k) {
  constexpr std::array<unsigned, 6> kBytes = {1, 2, 4, 8, 10, 16};
  const auto i = static_cast<size_t>(k) - static_cast<size_t>(Kind::M8);
  return i < kBytes.size() ? kBytes[i] : 0;
}

ZydisRegister numbered(ZydisRegister first, unsigned number) {
  return static_cast<ZydisRegister>(static_cast<unsigned>(first) + number);
}

void set_low(uint64_t& reg, uint64_t value) { reg = (reg & ~uint64_t{0xffff}) | (value & 0xffff); }

// SDM vol. 2, table 2-1: the pairs that 16-bit addressing has. Numbers of the registers; -1: none.
struct Pair {
  int base, index;
};
constexpr std::array<Pair, 8> kPairs = {{{3, 6}, {3, 7}, {5, 6}, {5, 7}, {6, -1}, {7, -1}, {5, -1}, {3, -1}}};

void memory_operand(Kind kind, Rng& rng, MachineState& state, ZydisEncoderOperand& op, uint64_t& memory) {
  op.type = ZYDIS_OPERAND_TYPE_MEMORY;
  op.mem.size = static_cast<ZyanU16>(memory_bytes(kind));
  memory = kRealData + 0x800 + rng() % 0x400;
  if (rng() % 3 == 0) {  // 32-bit addressing
    const unsigned base = rng() % 2 == 0 ? 3 : 5;
    op.mem.base = numbered(ZYDIS_REGISTER_EAX, base);
    op.mem.displacement = static_cast<int64_t>(rng() % 0x300) - 0x40;
    uint64_t offset = static_cast<uint64_t>(op.mem.displacement);
    if (rng() % 2 == 0) {
      op.mem.index = ZYDIS_REGISTER_EDI;
      op.mem.scale = static_cast<ZyanU8>(1u << rng() % 4);
      state.gpr[7] = rng() % 0x40;
      offset += state.gpr[7] * op.mem.scale;
    }
    state.gpr[base] = memory - offset;
    return;
  }
  const Pair pair = kPairs[rng() % kPairs.size()];
  op.mem.base = numbered(ZYDIS_REGISTER_AX, static_cast<unsigned>(pair.base));
  op.mem.displacement = static_cast<int64_t>(rng() % 3) * static_cast<int64_t>(rng() % 0x3000) - 0x40;
  uint64_t offset = static_cast<uint64_t>(op.mem.displacement);
  if (pair.index >= 0) {
    // Any value: the sum wraps within 64 KiB.
    op.mem.index = numbered(ZYDIS_REGISTER_AX, static_cast<unsigned>(pair.index));
    op.mem.scale = 1;
    offset += state.gpr[static_cast<size_t>(pair.index)];
  }
  set_low(state.gpr[static_cast<size_t>(pair.base)], memory - offset);
}

bool make_operand(const Form& form, size_t i, Rng& rng, MachineState& state, ZydisEncoderOperand& op,
                  uint64_t& memory) {
  op = {};
  op.type = ZYDIS_OPERAND_TYPE_REGISTER;
  const auto not_sp = [&] { return static_cast<unsigned>(rng() % 7 + 5) % 8; };  // 5, 6, 7, 0 .. 3
  switch (const Kind k = form.operands[i]) {
    case Kind::Acc8:
      op.reg.value = ZYDIS_REGISTER_AL;
      return true;
    case Kind::Acc16:
      op.reg.value = ZYDIS_REGISTER_AX;
      return true;
    case Kind::Acc32:
      op.reg.value = ZYDIS_REGISTER_EAX;
      return true;
    case Kind::Cl:
      op.reg.value = ZYDIS_REGISTER_CL;
      return true;
    case Kind::R8:
      op.reg.value = numbered(ZYDIS_REGISTER_AL, rng() % 8);
      return true;
    case Kind::R16:
      op.reg.value = numbered(ZYDIS_REGISTER_AX, not_sp());
      return true;
    case Kind::R32:
      op.reg.value = numbered(ZYDIS_REGISTER_EAX, not_sp());
      return true;
    case Kind::Imm1:
    case Kind::Imm8:
    case Kind::Imm32: {
      op.type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
      const auto has = [&](Kind x) { return !form.operands.empty() && form.operands[0] == x; };
      const bool word = has(Kind::Acc16) || has(Kind::R16) || has(Kind::M16);
      op.imm.s = k == Kind::Imm1                    ? 1
                 : k == Kind::Imm32                 ? static_cast<int32_t>(rng())
                 : word && i == 1 && rng() % 2 == 0 ? static_cast<int16_t>(rng())
                                                    : static_cast<int8_t>(rng());
      return true;
    }
    case Kind::M8:
    case Kind::M16:
    case Kind::M32:
    case Kind::M64:
    case Kind::MAny:
      memory_operand(k, rng, state, op, memory);
      return true;
    default:
      return false;  // not in 16-bit code, or not general-purpose
  }
}

bool is_bit_test(ZydisMnemonic m) {
  return m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR || m == ZYDIS_MNEMONIC_BTC;
}

}  // namespace

Encoded encode_real(const Form& form, Rng& rng, MachineState& state) {
  ZydisEncoderRequest request{};
  request.machine_mode = ZYDIS_MACHINE_MODE_LEGACY_16;
  request.mnemonic = form.mnemonic;
  request.prefixes = form.prefixes;
  request.operand_count = static_cast<ZyanU8>(form.operands.size());
  Encoded out;
  for (size_t i = 0; i < form.operands.size(); i++) {
    if (!make_operand(form, i, rng, state, request.operands[i], out.memory)) return {};
  }
  // A bit offset in a register addresses memory far away: keep it near.
  if (is_bit_test(form.mnemonic) && out.memory != 0 && request.operands[1].type == ZYDIS_OPERAND_TYPE_REGISTER) {
    const auto number = static_cast<unsigned>(ZydisRegisterGetId(request.operands[1].reg.value));
    const uint64_t offset = rng() % 0x1000 - 0x800;
    if (number < 3) state.gpr[number] = static_cast<uint32_t>(offset);
    if (number >= 3) return {};  // addresses as well
  }
  std::array<uint8_t, ZYDIS_MAX_INSTRUCTION_LENGTH> bytes;
  ZyanUSize length = bytes.size();
  if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, bytes.data(), &length))) return {};
  out.bytes.assign(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(length));
  return out;
}

void prepare_real(const Form& form, MachineState& state, Rng& rng) {
  set_low(state.gpr[4], kRealData + 0x1000 + rng() % 32 * 8);
  const std::string name = ZydisMnemonicGetString(form.mnemonic);
  const auto starts = [&](const char* with) { return name.rfind(with, 0) == 0; };
  if (form.operands.empty() &&
      (starts("movs") || starts("cmps") || starts("stos") || starts("lods") || starts("scas"))) {
    set_low(state.gpr[6], kRealData + 0x400 + rng() % 64);
    set_low(state.gpr[7], kRealData + 0xc00 + rng() % 64);
    set_low(state.gpr[1], rng() % 24);
    if (rng() % 4 == 0) state.rflags |= 0x400;
  }
  if (name == "xlat") set_low(state.gpr[3], kRealData + rng() % 0x100);
  if (name == "leave") set_low(state.gpr[5], kRealData + 0x1000 + rng() % 64);
  if (name == "enter") set_low(state.gpr[5], kRealData + 0x1800);
}

struct RealModeExecutor::Impl {
  BackendKind kind;
  Nothing outside;
  VirtualClock clock;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<X86Frontend> frontend;
  std::unique_ptr<exec::Backend> backend;
  std::unique_ptr<exec::Engine> engine;
};

RealModeExecutor::RealModeExecutor(BackendKind backend) : impl_(std::make_unique<Impl>()) {
  Impl& m = *impl_;
  m.kind = backend;
  auto memory = GuestMemory::create(kRamBytes, {{0, kRamBytes, 0}});
  PANDA_CHECK(memory.has_value());
  m.memory = std::move(*memory);
  const auto model = parse_cpu("max", false);
  PANDA_CHECK(model.has_value());
  m.frontend = std::make_unique<X86Frontend>(false, model->model);
  m.backend = make_backend(backend);
  m.engine = std::make_unique<exec::Engine>(*m.frontend, *m.backend, *m.memory, m.clock);
  Cpu cpu(m.engine->cpu());
  apply_cpu(cpu.s(), *model);
  m.frontend->reset(m.engine->cpu());
  m.engine->set_outside(m.outside);
  m.engine->cpu().observer = &m.outside;
  for (unsigned seg = 0; seg < 6; seg++) set_segment(cpu, seg, 0, 0, 0xffff, 0x9300);
  set_segment(cpu, R_CS, 0, 0, 0xffff, 0x9b00);
  update_hflags(cpu);
}

RealModeExecutor::~RealModeExecutor() = default;

std::string RealModeExecutor::name() const { return impl_->kind == BackendKind::Jit ? "jit" : "interpreter"; }

Result RealModeExecutor::run(const std::vector<uint8_t>& code, const MachineState& before) {
  Impl& m = *impl_;
  Cpu cpu(m.engine->cpu());
  m.memory->write(GuestPhysAddr(kRealCode), code.data(), code.size());
  m.memory->write(GuestPhysAddr(kRealData), before.data.data(), before.data.size());
  for (unsigned i = 0; i < 8; i++) cpu.set_reg(i, before.gpr[i]);
  cpu.set_eflags(static_cast<uint32_t>(before.rflags) | 0x200);
  cpu.s().eip = kRealCode;
  update_hflags(cpu);
  m.outside.vector = -1;
  m.engine->set_count(m.engine->count());  // a new history: no fault was just taken
  // A repeated string instruction counts an instruction for each iteration.
  for (int i = 0; i < 400 && m.outside.vector < 0; i++) {
    m.engine->run(m.engine->count() + 1);
    if (cpu.s().eip != kRealCode) break;
  }
  Result result;
  result.state = before;
  result.outcome = m.outside.vector < 0 ? Outcome::Done : Outcome::Other;
  for (unsigned i = 0; i < 8; i++) result.state.gpr[i] = cpu.reg(i);
  result.state.rflags = cpu.eflags();
  result.state.rip = cpu.s().eip;
  m.memory->read(GuestPhysAddr(kRealData), result.state.data.data(), kDataBytes);
  return result;
}

}  // namespace panda::x86test
