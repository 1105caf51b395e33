#include "backend/interp/interp_backend.h"

#include <algorithm>
#include <iterator>

#include "backend/interp/step.h"
#include "base/check.h"

namespace panda::interp {
namespace {

constexpr StepFunction kFunctions[] = {
#define OP(name, result, a, b, c, effects) &ops::name,
#include "ir/opcodes.inc"
#undef OP
};
static_assert(std::size(kFunctions) == ir::kOpCount);

Program& program_of(exec::TranslationUnit& unit) { return *static_cast<Program*>(unit.backend_data); }

// The guest instruction that a block's `count` stands before: its budget exit names it.
uint32_t first_insn(const ir::Unit& ir, const ir::Block& block) {
  for (const ir::Inst& in : ir.body(block)) {
    if (in.op == ir::Op::insn) return static_cast<uint32_t>(in.imm);
  }
  return 0;
}

uint32_t aux_of(const ir::Unit& ir, const ir::Block& block, const ir::Inst& in) {
  switch (in.op) {
    case ir::Op::count:
      return first_insn(ir, block);
    case ir::Op::crc32c:
    case ir::Op::vset_lane:
      return ir::size_bytes(ir.insts[in.args[1]].type);
    default:
      return in.aux;
  }
}

// Registers are numbered within the block, since no value leaves it.
Step step_of(const ir::Unit& ir, const ir::Block& block, uint32_t index) {
  const ir::Inst& in = ir.insts[index];
  Step s;
  s.run = kFunctions[static_cast<unsigned>(in.op)];
  s.imm = in.imm;
  s.aux = aux_of(ir, block, in);
  s.dst = index - block.first;
  for (unsigned k = 0; k < in.nargs; k++) s.args[k] = in.args[k] - block.first;
  s.type = in.type;
  s.from = in.nargs > 0 ? ir.insts[in.args[0]].type : ir::Type::Void;
  s.nargs = in.nargs;
  return s;
}

}  // namespace

struct InterpBackend::RegisterFile {
  std::vector<Reg> regs;
};

InterpBackend::InterpBackend(size_t capacity_bytes)
    : registers_(std::make_unique<RegisterFile>()), capacity_bytes_(capacity_bytes) {}

InterpBackend::~InterpBackend() = default;

bool InterpBackend::compile(const ir::Unit& ir, exec::TranslationUnit& unit) {
  PANDA_CHECK(running_ == 0);
  const size_t bytes = ir.insts.size() * sizeof(Step);
  if (used_bytes_ + bytes > capacity_bytes_) {
    in_the_way_ = bytes <= capacity_bytes_ ? programs_.front().unit : nullptr;
    return false;
  }
  programs_.emplace_back();
  Program* const program = &programs_.back();
  program->unit = &unit;
  program->insns = ir.guest_insns;
  program->links.assign(ir.exit_count, {});
  program->pc_offset = ir.pc_offset;
  program->f80_control = ir.f80_control;
  program->f80_status = ir.f80_status;
  program->pc_type = ir.pc_type;
  program->steps.reserve(ir.insts.size());
  size_t registers = 0;
  for (const ir::Block& block : ir.blocks) {
    program->block_entry.push_back(static_cast<uint32_t>(program->steps.size()));
    for (uint32_t i = 0; i < block.count; i++) program->steps.push_back(step_of(ir, block, block.first + i));
    registers = std::max<size_t>(registers, block.count);
  }
  if (registers_->regs.size() < registers) registers_->regs.resize(registers);
  used_bytes_ += bytes;
  program->position = std::prev(programs_.end());
  unit.code = unit.backend_data = program;
  unit.code_size = bytes;
  return true;
}

exec::ExitInfo InterpBackend::run(VcpuContext& cpu, exec::TranslationUnit& unit) {
  Frame f;
  f.regs = registers_->regs.data();
  f.cpu = &cpu;
  f.state = static_cast<uint8_t*>(cpu.state());
  f.enter(program_of(unit));
  running_++;
  do {
    const Step* s = f.next++;
    s->run(f, *s);
  } while (f.next != nullptr);
  running_--;
  f.leave_guest_fp();
  return f.exit;
}

void InterpBackend::link(exec::TranslationUnit& from, uint32_t index, exec::TranslationUnit& to, bool counted) {
  program_of(from).links.at(index) = {&program_of(to), counted};
}

void InterpBackend::unlink(exec::TranslationUnit& from, uint32_t index) { program_of(from).links.at(index) = {}; }

void InterpBackend::release(exec::TranslationUnit& unit) {
  PANDA_CHECK(running_ == 0);
  used_bytes_ -= unit.code_size;
  programs_.erase(program_of(unit).position);
  unit.code = unit.backend_data = nullptr;
  unit.code_size = 0;
}

void InterpBackend::reset() {
  PANDA_CHECK(running_ == 0);
  programs_.clear();
  used_bytes_ = 0;
}

}  // namespace panda::interp
