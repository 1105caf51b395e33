#include "plugin/instrumentation.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/host_x87.h"

namespace panda::plugin {
namespace {

// Callbacks may read and write all registers. Those that may leave the unit adjust the budget too.
template <size_t N>
constexpr ir::HelperDesc descriptor(std::string_view name, const void* function, bool may_exit) {
  ir::HelperDesc desc;
  desc.name = name;
  desc.function = function;
  for (size_t i = 0; i < N; i++) desc.params[i] = ir::Type::I64;
  desc.may_exit = may_exit;
  desc.uses_budget = true;
  return desc;
}

template <typename F>
const void* address(F* f) {
  return reinterpret_cast<const void*>(f);
}

const ir::HelperDesc& invalidate_helper() {
  static const ir::HelperDesc desc =
      descriptor<2>("plugin_block_invalidate", address(&Instrumentation::block_invalidate), true);
  return desc;
}
const ir::HelperDesc& enter_helper() {
  static const ir::HelperDesc desc = descriptor<2>("plugin_block_enter", address(&Instrumentation::block_enter), false);
  return desc;
}
const ir::HelperDesc& leave_helper() {
  static const ir::HelperDesc desc = descriptor<3>("plugin_block_leave", address(&Instrumentation::block_leave), false);
  return desc;
}
const ir::HelperDesc& insn_helper() {
  static const ir::HelperDesc desc = descriptor<3>("plugin_insn_exec", address(&Instrumentation::insn_exec), false);
  return desc;
}
const ir::HelperDesc& insn_done_helper() {
  static const ir::HelperDesc desc = descriptor<3>("plugin_insn_done", address(&Instrumentation::insn_done), false);
  return desc;
}

ir::Value pointer(ir::Builder& b, const void* p) { return b.i64(reinterpret_cast<uint64_t>(p)); }

ir::Value insn_count(ir::Builder& b) { return b.emit(ir::Op::insn_count, ir::Type::I64, {}); }

bool is_true(uint64_t result) { return (result & 0xff) != 0; }

TranslationBlock& block_of(uint64_t tb) { return *reinterpret_cast<TranslationBlock*>(tb); }

}  // namespace

Instrumentation::Instrumentation(exec::Engine& engine, const Target& target, CallbackRegistry& registry)
    : engine_(engine), target_(target), registry_(registry) {
  VcpuContext& cpu = engine.cpu();
  store_field(target.env_ptr_offset, reinterpret_cast<uint64_t>(cpu.state()));
  cpu.observer = this;
  engine.set_instrumenter(this);
}

Instrumentation::~Instrumentation() {
  engine_.set_instrumenter(nullptr);
  engine_.cpu().observer = nullptr;
}

Instrumentation& Instrumentation::of(void* state) {
  return *static_cast<Instrumentation*>(VcpuContext::of(state).observer);
}

bool Instrumentation::fires(unsigned type) {
  switch (type) {
    case PANDA_CB_BEFORE_BLOCK_TRANSLATE:
    case PANDA_CB_AFTER_BLOCK_TRANSLATE:
    case PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT:
    case PANDA_CB_BEFORE_TCG_CODEGEN:
    case PANDA_CB_BEFORE_BLOCK_EXEC:
    case PANDA_CB_AFTER_BLOCK_EXEC:
    case PANDA_CB_INSN_TRANSLATE:
    case PANDA_CB_INSN_EXEC:
    case PANDA_CB_AFTER_INSN_TRANSLATE:
    case PANDA_CB_AFTER_INSN_EXEC:
    case PANDA_CB_START_BLOCK_EXEC:
    case PANDA_CB_END_BLOCK_EXEC:
    case PANDA_CB_GUEST_HYPERCALL:
    case PANDA_CB_MONITOR:
    case PANDA_CB_CPU_RESTORE_STATE:
    case PANDA_CB_BEFORE_LOADVM:
    case PANDA_CB_AFTER_LOADVM:
    case PANDA_CB_ASID_CHANGED:
    case PANDA_CB_AFTER_MACHINE_INIT:
    case PANDA_CB_AFTER_CPU_EXEC_ENTER:
    case PANDA_CB_BEFORE_CPU_EXEC_EXIT:
    case PANDA_CB_TOP_LOOP:
    case PANDA_CB_MAIN_LOOP_WAIT:
    case PANDA_CB_PRE_SHUTDOWN:
    case PANDA_CB_BEFORE_HANDLE_EXCEPTION:
      return true;
    default:
      return false;
  }
}

bool Instrumentation::leave_active() const {
  return registry_.active(PANDA_CB_AFTER_BLOCK_EXEC) || registry_.active(PANDA_CB_END_BLOCK_EXEC);
}

bool Instrumentation::blocks_active() const {
  return leave_active() || registry_.active(PANDA_CB_BEFORE_BLOCK_EXEC) || registry_.active(PANDA_CB_START_BLOCK_EXEC);
}

// ---- the state as plugins see it

void Instrumentation::store_field(uint32_t offset, uint64_t value) {
  if (offset != kNoField) std::memcpy(static_cast<uint8_t*>(engine_.cpu().state()) + offset, &value, sizeof(value));
}

void Instrumentation::set_fields(uint64_t pc, uint64_t count) {
  pc_ = pc & target_.address_mask;
  count_ = count;
  store_field(target_.guest_pc_offset, pc_);
  store_field(target_.instr_count_offset, count_);
}

void Instrumentation::synchronise() {
  if (in_compiled_) return;
  set_fields(engine_.frontend().current_key(engine_.cpu()).pc, engine_.count().value);
}

uint64_t Instrumentation::current_pc() {
  return in_compiled_ ? pc_ : engine_.frontend().current_key(engine_.cpu()).pc & target_.address_mask;
}

uint64_t Instrumentation::current_count() { return in_compiled_ ? count_ : engine_.count().value; }

void Instrumentation::want_dispatch() { dispatch_wanted_ = true; }

// The budget is used up at once where the registrations changed, so that the next block is looked up
// by the engine, which then drops the translations. The count stays: completed() is their difference.
void Instrumentation::compiled_callback_done(uint64_t generation_before) {
  in_compiled_ = false;
  if (generation_before == registry_.generation() && !dispatch_wanted_) return;
  dispatch_wanted_ = false;
  VcpuContext& cpu = engine_.cpu();
  if (cpu.budget <= 0) return;
  cpu.count_limit -= static_cast<uint64_t>(cpu.budget);
  cpu.budget = 0;
}

// ---- translating

TranslationBlock* Instrumentation::take_block() {
  std::erase_if(evicted_blocks_, [&](TranslationBlock* tb) {
    if (is_open(tb)) return false;
    free_blocks_.push_back(tb);
    return true;
  });
  if (free_blocks_.empty()) return &blocks_.emplace_back();
  TranslationBlock* tb = free_blocks_.back();
  free_blocks_.pop_back();
  *tb = {};
  return tb;
}

void Instrumentation::unit_begins(VcpuContext&, exec::TranslationUnit& unit) {
  if (unit.variant != exec::kExactResume && registry_.active(PANDA_CB_BEFORE_BLOCK_TRANSLATE)) {
    synchronise();
    registry_.call_all(PANDA_CB_BEFORE_BLOCK_TRANSLATE, engine_.cpu().state(), unit.key.pc & target_.address_mask);
  }
  TranslationBlock* tb = pending_ != nullptr ? pending_ : take_block();
  pending_ = tb;
  tb->pc = unit.key.pc & target_.address_mask;
  tb->cs_base = unit.key.pc_base;
  tb->flags = unit.key.flags;
  tb->phys_pc = unit.phys;
  tb->unit_ = &unit;
  unit.plugin_tb = tb;
}

void Instrumentation::emit_pc(uint64_t pc, ir::Builder& b) {
  b.set(b.unit().pc_offset, b.konst(b.unit().pc_type, pc & ir::mask_of(b.unit().pc_type)));
}

std::vector<Plugin*> Instrumentation::ask(unsigned translate_type, unsigned exec_type, VcpuContext& cpu, uint64_t pc) {
  std::vector<Plugin*> asking;
  bool any = false;
  if (registry_.active(translate_type)) {
    synchronise();
    for (Plugin* plugin : registry_.plugins_of(translate_type)) {
      bool wants = false;
      registry_.call(
          translate_type, plugin,
          [&](uint64_t result) {
            wants |= is_true(result);
            return false;
          },
          cpu.state(), pc & target_.address_mask);
      if (wants) asking.push_back(plugin);
      any |= wants;
    }
  }
  if (!any) return {};
  // A plugin that only listens hears of every instruction that somebody asked for.
  std::vector<Plugin*> listening;
  for (Plugin* plugin : registry_.plugins_of(exec_type)) {
    const bool asked = std::find(asking.begin(), asking.end(), plugin) != asking.end();
    if (asked || !registry_.has(translate_type, plugin)) listening.push_back(plugin);
  }
  return listening;
}

void Instrumentation::emit_insn_before(VcpuContext& cpu, exec::TranslationUnit& unit, uint64_t pc, ir::Builder& b) {
  last_pc_ = pc;
  const bool first = unit.insn_count == 0;
  auto* const tb = static_cast<TranslationBlock*>(unit.plugin_tb);
  const bool invalidate = first && !unit.exact && registry_.active(PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT);
  bool pc_set = false;
  const auto set_pc = [&] {
    if (!pc_set) emit_pc(pc, b);
    pc_set = true;
  };
  if (invalidate) {
    set_pc();
    b.call(invalidate_helper(), {pointer(b, tb), insn_count(b)});
  }
  if (first && blocks_active()) {
    set_pc();
    b.call(enter_helper(), {pointer(b, tb), insn_count(b)});
  }
  if (!registry_.active(PANDA_CB_INSN_TRANSLATE)) return;
  const uint64_t linear = pc + unit.key.pc_base;
  const uint64_t phys = unit.phys + (linear - unit.key.pc);
  if (answer_.phys != phys || answer_.pc != linear || answer_.generation != registry_.generation()) {
    answer_.plugins = ask(PANDA_CB_INSN_TRANSLATE, PANDA_CB_INSN_EXEC, cpu, linear);
    answer_.phys = phys;
    answer_.pc = linear;
    answer_.generation = registry_.generation();
  }
  for (Plugin* plugin : answer_.plugins) {
    set_pc();
    b.call(insn_helper(), {pointer(b, plugin), b.i64(linear & target_.address_mask), insn_count(b)});
  }
}

void Instrumentation::emit_insn_after(VcpuContext& cpu, exec::TranslationUnit& unit, uint64_t pc, ir::Builder& b) {
  answer_.phys = ~uint64_t{0};
  if (!registry_.active(PANDA_CB_AFTER_INSN_TRANSLATE)) return;
  const uint64_t linear = pc + unit.key.pc_base;
  for (Plugin* plugin : ask(PANDA_CB_AFTER_INSN_TRANSLATE, PANDA_CB_AFTER_INSN_EXEC, cpu, linear)) {
    b.call(insn_done_helper(), {pointer(b, plugin), b.i64(linear & target_.address_mask), insn_count(b)});
  }
}

// Does not set the pc slot: before exit_dispatch it holds the target already.
void Instrumentation::emit_unit_exit(VcpuContext&, exec::TranslationUnit& unit, ir::Builder& b) {
  if (!leave_active()) return;
  const uint64_t linear = (last_pc_ + unit.key.pc_base) & target_.address_mask;
  b.call(leave_helper(), {pointer(b, unit.plugin_tb), insn_count(b), b.i64(linear)});
}

void Instrumentation::unit_translated(VcpuContext& cpu, exec::TranslationUnit& unit) {
  answer_.phys = ~uint64_t{0};
  pending_ = nullptr;
  auto* const tb = static_cast<TranslationBlock*>(unit.plugin_tb);
  tb->size = static_cast<uint16_t>(unit.size);
  tb->icount = static_cast<uint16_t>(unit.insn_count);
  tb->tc_ptr = unit.code;
  tb->unit_ = &unit;
  if (unit.variant == exec::kExactResume) return;
  for (const unsigned type : {PANDA_CB_BEFORE_TCG_CODEGEN, PANDA_CB_AFTER_BLOCK_TRANSLATE}) {
    if (!registry_.active(type)) continue;
    synchronise();
    registry_.call_all(type, cpu.state(), tb);
  }
}

bool Instrumentation::is_open(const TranslationBlock* tb) const {
  return entered_ == tb || left_.tb == tb || early_tb_ == tb;
}

void Instrumentation::unit_dropped(exec::TranslationUnit& unit, bool evicted) {
  auto* const tb = static_cast<TranslationBlock*>(unit.plugin_tb);
  if (tb == nullptr) return;
  unit.plugin_tb = nullptr;
  // Plugins must not see from a block's course that its translation had to give way.
  if (evicted && is_open(tb)) {
    evicted_blocks_.push_back(tb);
    return;
  }
  if (entered_ == tb) close_open_block();
  if (early_tb_ == tb) early_tb_ = nullptr;
  free_blocks_.push_back(tb);
}

// ---- running

void Instrumentation::block_invalidate(void* state, uint64_t tb_word, uint64_t count) noexcept {
  const KeepX87Flags keep;
  Instrumentation& self = of(state);
  TranslationBlock& tb = block_of(tb_word);
  if (self.continues(tb, count) || self.invalidated_at_ == count) {
    self.invalidated_at_.reset();
    return;
  }
  const uint64_t generation = self.registry_.generation();
  self.set_fields(tb.pc, count);
  self.in_compiled_ = true;
  bool invalidate = false;
  self.registry_.call(
      PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT, nullptr,
      [&](uint64_t result) {
        invalidate |= is_true(result);
        return false;
      },
      state, &tb);
  if (invalidate) {
    // Back to the engine as if nothing of the block had run. Dispatch counts the current instruction
    // as done, so one is given back beforehand.
    VcpuContext& cpu = VcpuContext::of(state);
    self.registry_.new_generation();
    self.invalidated_at_ = count;
    self.in_compiled_ = false;
    cpu.budget++;
    cpu.request(ExitRequest::Dispatch);
    return;
  }
  self.compiled_callback_done(generation);
}

bool Instrumentation::continues(const TranslationBlock& tb, uint64_t count) const {
  const TranslationBlock* open = left_.tb;
  return open != nullptr && open != &tb && tb.pc == left_.resume_pc && count == left_.resume_count &&
         tb.pc > open->pc && tb.pc + tb.size <= open->pc + open->size && tb.flags == open->flags;
}

void Instrumentation::block_enter(void* state, uint64_t tb_word, uint64_t count) noexcept {
  const KeepX87Flags keep;
  Instrumentation& self = of(state);
  TranslationBlock& tb = block_of(tb_word);
  if (self.left_.tb != nullptr && self.continues(tb, count)) return;
  const uint64_t generation = self.registry_.generation();
  self.set_fields(tb.pc, count);
  self.in_compiled_ = true;
  self.close_open_block();
  self.entered_ = &tb;
  if (self.registry_.active(PANDA_CB_START_BLOCK_EXEC)) self.registry_.call_all(PANDA_CB_START_BLOCK_EXEC, state, &tb);
  if (self.registry_.active(PANDA_CB_BEFORE_BLOCK_EXEC))
    self.registry_.call_all(PANDA_CB_BEFORE_BLOCK_EXEC, state, &tb);
  self.compiled_callback_done(generation);
}

void Instrumentation::fire_leave(TranslationBlock& tb, uint8_t how) {
  void* const state = engine_.cpu().state();
  if (registry_.active(PANDA_CB_AFTER_BLOCK_EXEC)) registry_.call_all(PANDA_CB_AFTER_BLOCK_EXEC, state, &tb, how);
  if (registry_.active(PANDA_CB_END_BLOCK_EXEC)) registry_.call_all(PANDA_CB_END_BLOCK_EXEC, state, &tb);
}

void Instrumentation::block_leave(void* state, uint64_t tb_word, uint64_t count, uint64_t pc) noexcept {
  const KeepX87Flags keep;
  Instrumentation& self = of(state);
  TranslationBlock* tb = &block_of(tb_word);
  if (self.left_.tb != nullptr) {
    // The rest of a block that was interrupted: its end is the block's, or there is another rest.
    TranslationBlock* const open = self.left_.tb;
    if (tb->pc + tb->size < open->pc + open->size) {
      self.left_.resume_pc = tb->pc + tb->size;
      self.left_.resume_count = count + 1;
      return;
    }
    self.left_ = {};
    tb = open;
  }
  if (self.entered_ != tb) return;  // told already: its translation was dropped while it ran
  self.entered_ = nullptr;
  const uint64_t generation = self.registry_.generation();
  self.set_fields(pc, count + 1);
  self.in_compiled_ = true;
  self.fire_leave(*tb, TB_EXIT_IDX0);
  self.compiled_callback_done(generation);
}

// A block that was entered and did not pass one of its regular ends: a fault, an instruction run
// alone that was its last, or a helper that left for the dispatcher.
void Instrumentation::close_open_block() {
  TranslationBlock* const tb = std::exchange(entered_, nullptr);
  const OpenBlock left = std::exchange(left_, {});
  if (tb == nullptr || !leave_active()) return;
  const bool complete = left.tb == nullptr || left.resume_pc >= tb->pc + tb->size;
  synchronise();
  fire_leave(*tb, complete ? TB_EXIT_IDX0 : TB_EXIT_REQUESTED);
}

void Instrumentation::insn_exec(void* state, uint64_t plugin, uint64_t pc, uint64_t count) noexcept {
  const KeepX87Flags keep;
  Instrumentation& self = of(state);
  const uint64_t generation = self.registry_.generation();
  self.set_fields(pc, count);
  self.in_compiled_ = true;
  self.registry_.call(
      PANDA_CB_INSN_EXEC, reinterpret_cast<Plugin*>(plugin), [](uint64_t) { return false; }, state, pc);
  self.compiled_callback_done(generation);
}

void Instrumentation::insn_done(void* state, uint64_t plugin, uint64_t pc, uint64_t count) noexcept {
  const KeepX87Flags keep;
  Instrumentation& self = of(state);
  const uint64_t generation = self.registry_.generation();
  self.set_fields(pc, count + 1);
  self.in_compiled_ = true;
  self.registry_.call(
      PANDA_CB_AFTER_INSN_EXEC, reinterpret_cast<Plugin*>(plugin), [](uint64_t) { return false; }, state, pc);
  self.compiled_callback_done(generation);
}

// Either a fault, which exception() hears of next, or the instruction is run again by itself.
void Instrumentation::unit_left_early(VcpuContext& cpu, exec::TranslationUnit& unit) {
  if (unit.variant == exec::kExactResume) return;  // of a block that is open already
  early_tb_ = static_cast<TranslationBlock*>(unit.plugin_tb);
  early_count_ = cpu.completed();
  if (!leave_active()) {
    left_ = {};
    return;
  }
  const uint64_t pc = engine_.frontend().get_pc(cpu);
  auto* tb = static_cast<TranslationBlock*>(unit.plugin_tb);
  const auto at = std::find_if(unit.insns.begin(), unit.insns.end(), [&](const auto& i) { return i.pc == pc; });
  uint64_t next = tb->pc + tb->size;
  if (at != unit.insns.end() && at + 1 != unit.insns.end())
    next = ((at + 1)->pc + unit.key.pc_base) & target_.address_mask;
  if (left_.tb == nullptr) left_.tb = tb;
  left_.resume_pc = next;
  left_.resume_count = cpu.completed() + 1;
}

// ---- what the CPU reports

bool Instrumentation::asid_changes(VcpuContext& cpu, uint64_t old_value, uint64_t new_value) noexcept {
  const KeepX87Flags keep;
  if (old_value == new_value || !registry_.active(PANDA_CB_ASID_CHANGED)) return false;
  // The write ends its unit, whose instructions are all paid for; it has not completed itself.
  set_fields(engine_.frontend().current_key(cpu).pc, cpu.completed() - (cpu.exact != 0 ? 0 : 1));
  in_compiled_ = true;
  bool blocked = false;
  registry_.call(
      PANDA_CB_ASID_CHANGED, nullptr,
      [&](uint64_t result) {
        blocked |= is_true(result);
        return false;
      },
      cpu.state(), old_value, new_value);
  in_compiled_ = false;
  return blocked;
}

bool Instrumentation::hypercall(VcpuContext& cpu) noexcept {
  const KeepX87Flags keep;
  if (!registry_.active(PANDA_CB_GUEST_HYPERCALL)) return false;
  synchronise();
  bool handled = false;
  registry_.call(
      PANDA_CB_GUEST_HYPERCALL, nullptr,
      [&](uint64_t result) {
        handled |= is_true(result);
        return false;
      },
      cpu.state());
  return handled;
}

int32_t Instrumentation::exception(VcpuContext& cpu, int32_t vector) noexcept {
  if (early_tb_ != nullptr && early_count_ == cpu.completed() && registry_.active(PANDA_CB_CPU_RESTORE_STATE)) {
    synchronise();
    registry_.call_all(PANDA_CB_CPU_RESTORE_STATE, cpu.state(), early_tb_);
  }
  early_tb_ = nullptr;
  if (left_.tb != nullptr) {
    left_.resume_pc = 0;  // it does not go on
    close_open_block();
  }
  if (!registry_.active(PANDA_CB_BEFORE_HANDLE_EXCEPTION)) return vector;
  synchronise();
  int32_t deliver = vector;
  registry_.call(
      PANDA_CB_BEFORE_HANDLE_EXCEPTION, nullptr,
      [&](uint64_t result) {
        deliver = static_cast<int32_t>(result);
        return deliver != vector;
      },
      cpu.state(), vector);
  return deliver;
}

}  // namespace panda::plugin
