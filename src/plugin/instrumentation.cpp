#include "plugin/instrumentation.h"

#include <algorithm>
#include <utility>

#include "base/host_fp.h"

namespace panda::plugin {
namespace {

// Callbacks may read and write all registers. Those that may leave the unit adjust the budget too.
template <size_t N, typename F>
ir::HelperDesc descriptor(std::string_view name, F* function, bool may_exit) {
  ir::HelperDesc desc;
  desc.name = name;
  desc.function = reinterpret_cast<const void*>(function);
  for (size_t i = 0; i < N; i++) desc.params[i] = ir::Type::I64;
  desc.may_exit = may_exit;
  desc.uses_budget = true;
  return desc;
}

ir::Value pointer(ir::Builder& b, const void* p) { return b.i64(reinterpret_cast<uint64_t>(p)); }

ir::Value insn_count(ir::Builder& b) {
  b.insn_goes_on();
  return b.emit(ir::Op::insn_count, ir::Type::I64, {});
}

bool is_true(uint64_t result) { return (result & 0xff) != 0; }

TranslationBlock& block_of(uint64_t tb) { return *reinterpret_cast<TranslationBlock*>(tb); }

// TranslationBlock::engine_
constexpr uint64_t kLeaveEmitted = 1;  // the unit's code tells of the block's end
constexpr uint64_t kBlockTold = 2;     // somebody hears of the block

}  // namespace

const ir::HelperDesc Instrumentation::kGuarded = descriptor<2>("plugin_callback", &Instrumentation::guarded, false);
const ir::HelperDesc Instrumentation::kGuarded2 = descriptor<3>("plugin_callback2", &Instrumentation::guarded2, false);
const ir::HelperDesc Instrumentation::kGuardedList =
    descriptor<3>("plugin_callback_list", &Instrumentation::guarded_list, false);
const ir::HelperDesc Instrumentation::kCountList =
    descriptor<2>("plugin_counters", &Instrumentation::count_list, false);
const ir::HelperDesc Instrumentation::kLookAtCode =
    descriptor<0>("plugin_look_at_code", &Instrumentation::look_at_code, true);
const ir::HelperDesc Instrumentation::kInvalidate =
    descriptor<2>("plugin_block_invalidate", &Instrumentation::block_invalidate, true);
const ir::HelperDesc Instrumentation::kPartEnds = descriptor<3>("plugin_part_ends", &Instrumentation::part_ends, false);

Instrumentation::Instrumentation(exec::Engine& engine, const Target& target, CallbackRegistry& registry)
    : engine_(engine), target_(target), registry_(registry), memory_(*this, engine.cpu(), target, registry) {
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

// ---- between blocks

// The budget is used up at once where the registrations changed, so that the next block is looked up
// by the engine, which then drops the translations. The count stays: completed() is their difference.
void Instrumentation::leave_at_next_block() {
  dispatch_wanted_ = false;
  VcpuContext& cpu = engine_.cpu();
  if (cpu.budget <= 0) return;
  cpu.count_limit -= static_cast<uint64_t>(cpu.budget);
  cpu.budget = 0;
}

// ---- inline counters

uint64_t* Instrumentation::add_counter(Plugin& plugin, Counts what) {
  counters_.push_back({&plugin, what, counter_values_.take()});
  registry_.new_generation();
  return counters_.back().value;
}

// The value's memory is not used again: translations that count may still run for a while.
void Instrumentation::remove_counter(const Plugin& plugin, const uint64_t* value) {
  const auto is_it = [&](const Counter& c) { return c.plugin == &plugin && c.value == value; };
  if (std::erase_if(counters_, is_it) != 0) registry_.new_generation();
}

void Instrumentation::remove_counters(const Plugin& plugin) {
  if (std::erase_if(counters_, [&](const Counter& c) { return c.plugin == &plugin; }) != 0) registry_.new_generation();
}

void Instrumentation::emit_counters(Counts what, uint32_t amount, ir::Builder& b) const {
  const auto counts = [what](const Counter& c) { return c.counts == what && c.plugin->enabled; };
  if (static_cast<size_t>(std::ranges::count_if(counters_, counts)) > kManyCalls) {
    b.call(kCountList, {b.i64(static_cast<uint64_t>(what)), b.i64(amount)});
    return;
  }
  for (const Counter& c : counters_) {
    if (!counts(c)) continue;
    b.emit(ir::Op::bump, ir::Type::Void, {}, reinterpret_cast<uint64_t>(c.value), amount);
  }
}

// ---- translating

void Instrumentation::unit_begins(VcpuContext& cpu, exec::TranslationUnit& unit) {
  memory_.unit_begins(unit);
  // Not told again where it must be translated a second time, for want of room or of its second page.
  const bool again = pending_ != nullptr && pending_->phys_pc == unit.phys;
  if (!exec::continues_block(unit.variant) && !again && registry_.active(PANDA_CB_BEFORE_BLOCK_TRANSLATE)) {
    synchronise();
    registry_.call_all(PANDA_CB_BEFORE_BLOCK_TRANSLATE, cpu.state(), unit.key.pc & target_.address_mask);
  }
  if (pending_ == nullptr) pending_ = blocks_.take();
  TranslationBlock* const tb = pending_;
  *tb = {};
  tb->pc = unit.key.pc & target_.address_mask;
  tb->cs_base = unit.key.pc_base;
  tb->flags = unit.key.flags;
  tb->phys_pc = unit.phys;
  tb->unit_ = &unit;
  unit.plugin_tb = tb;
}

void Instrumentation::emit_moment(Moment& moment, ir::Builder& b) {
  if (moment.done) return;
  moment.done = true;
  const uint64_t pc_mask = ir::mask_of(b.unit().pc_type);
  if (moment.set_pc) b.set(b.unit().pc_offset, b.konst(b.unit().pc_type, moment.pc_register & pc_mask));
  emit_pc(b, moment.pc);
  b.insn_goes_on();
  emit_count(b, moment.after);
}

void Instrumentation::emit_calls(const Calls& calls, Moment& moment, ir::Builder& b) {
  const std::vector<Callback*>& all = calls.callbacks;
  const ir::Value argument = all.empty() ? ir::Value{} : b.i64(calls.argument);
  if (all.size() > kManyCalls) {
    emit_moment(moment, b);
    moment.careful = true;
    b.call(kGuardedList, {pointer(b, &*lists_.insert(all).first), argument, b.i64(calls.second.value_or(0))});
    return;
  }
  for (const Callback* c : all) {
    const bool looks = c->call.reads.end != 0 || c->call.writes.end != 0;
    if (!c->direct || looks) emit_moment(moment, b);
    if (!c->direct) moment.careful = true;
    if (c->direct) {
      calls.second ? b.call(c->call, {argument, b.i64(*calls.second)}) : b.call(c->call, {argument});
    } else if (calls.second) {
      b.call(kGuarded2, {pointer(b, c), argument, b.i64(*calls.second)});
    } else {
      b.call(kGuarded, {pointer(b, c), argument});
    }
  }
}

void Instrumentation::emit_look_at_code(const Moment& moment, ir::Builder& b) {
  if (moment.careful || careful_after_) b.call(kLookAtCode, {});
  careful_after_ = false;
}

const std::vector<Callback*>& Instrumentation::ask(InsnAnswer& answer, unsigned translate_type, unsigned exec_type,
                                                   const exec::TranslationUnit& unit, uint64_t linear) {
  const uint64_t phys = unit.phys + (linear - unit.key.pc);
  if (answer.phys == phys && answer.pc == linear && answer.generation == registry_.generation()) {
    return answer.callbacks;
  }
  answer.callbacks.clear();
  answer.phys = phys;
  answer.pc = linear;
  answer.generation = registry_.generation();
  if (!registry_.active(translate_type)) return answer.callbacks;
  synchronise();
  std::vector<Plugin*> asking;
  for (Plugin* plugin : registry_.plugins_of(translate_type)) {
    bool wants = false;
    registry_.call(
        translate_type, plugin,
        [&](uint64_t result) {
          wants |= is_true(result);
          return false;
        },
        engine_.cpu().state(), linear & target_.address_mask);
    if (wants) asking.push_back(plugin);
  }
  if (asking.empty()) return answer.callbacks;
  // A plugin that only listens hears of every instruction that somebody asked for.
  for (Callback* c : registry_.emitted(exec_type)) {
    const bool asked = std::find(asking.begin(), asking.end(), c->plugin) != asking.end();
    if (asked || !registry_.has(translate_type, c->plugin)) answer.callbacks.push_back(c);
  }
  return answer.callbacks;
}

bool Instrumentation::blocks_told() const {
  return leave_emitted() || !counters_.empty() || !registry_.emitted(PANDA_CB_BEFORE_BLOCK_EXEC).empty() ||
         !registry_.emitted(PANDA_CB_START_BLOCK_EXEC).empty() ||
         !registry_.emitted(PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT).empty() ||
         !registry_.emitted(PANDA_CB_INSN_EXEC).empty() || !registry_.emitted(PANDA_CB_AFTER_INSN_EXEC).empty();
}

bool Instrumentation::leave_emitted() const {
  return !registry_.emitted(PANDA_CB_AFTER_BLOCK_EXEC).empty() || !registry_.emitted(PANDA_CB_END_BLOCK_EXEC).empty();
}

void Instrumentation::emit_insn_before(VcpuContext&, exec::TranslationUnit& unit, uint64_t pc, ir::Builder& b) {
  last_pc_ = pc;
  if (unit.insn_count == 0) careful_after_ = false;
  auto* const tb = static_cast<TranslationBlock*>(unit.plugin_tb);
  const auto tb_word = reinterpret_cast<uint64_t>(tb);
  const uint64_t linear = pc + unit.key.pc_base;
  Moment moment{.pc = linear, .pc_register = pc, .set_pc = true, .after = false};
  if (unit.insn_count == 0 && !exec::continues_block(unit.variant)) {
    if (!registry_.emitted(PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT).empty()) {
      emit_moment(moment, b);
      b.call(kInvalidate, {pointer(b, tb), insn_count(b)});
    }
    emit_counters(Counts::Blocks, 1, b);
    emit_calls({registry_.emitted(PANDA_CB_BEFORE_BLOCK_EXEC), tb_word}, moment, b);
    emit_calls({registry_.emitted(PANDA_CB_START_BLOCK_EXEC), tb_word}, moment, b);
    if (leave_emitted()) tb->engine_ |= kLeaveEmitted;
    if (blocks_told()) tb->engine_ |= kBlockTold;
  }
  if (!registry_.emitted(PANDA_CB_INSN_EXEC).empty() || registry_.active(PANDA_CB_INSN_TRANSLATE)) {
    const auto& callbacks = ask(before_, PANDA_CB_INSN_TRANSLATE, PANDA_CB_INSN_EXEC, unit, linear);
    emit_calls({callbacks, linear & target_.address_mask}, moment, b);
  }
  emit_look_at_code(moment, b);
}

void Instrumentation::emit_insn_after(VcpuContext&, exec::TranslationUnit& unit, uint64_t pc, ir::Builder& b) {
  if (registry_.emitted(PANDA_CB_AFTER_INSN_EXEC).empty() && !registry_.active(PANDA_CB_AFTER_INSN_TRANSLATE)) return;
  const uint64_t linear = pc + unit.key.pc_base;
  const auto& callbacks = ask(after_, PANDA_CB_AFTER_INSN_TRANSLATE, PANDA_CB_AFTER_INSN_EXEC, unit, linear);
  const size_t index = b.unit().guest_insns.size() - 1;
  if (!callbacks.empty()) {
    auto& insns = after_insns_[static_cast<TranslationBlock*>(unit.plugin_tb)];
    if (insns.size() <= index) insns.resize(index + 1);
    insns[index] = callbacks;
  }
  // Does not set the pc slot: before exit_dispatch it holds the target already.
  Moment moment{.pc = linear, .pc_register = 0, .set_pc = false, .after = true};
  emit_calls({callbacks, linear & target_.address_mask}, moment, b);
  careful_after_ = moment.careful;
}

void Instrumentation::emit_unit_exit(VcpuContext&, exec::TranslationUnit& unit, ir::Builder& b) {
  emit_counters(Counts::Insns, static_cast<uint32_t>(b.unit().guest_insns.size()), b);
  const uint64_t linear = last_pc_ + unit.key.pc_base;
  const auto tb_word = reinterpret_cast<uint64_t>(unit.plugin_tb);
  if (exec::continues_block(unit.variant)) {
    if (!blocks_told()) return;
    b.call(kPartEnds, {b.i64(tb_word), insn_count(b), b.i64(linear & target_.address_mask)});
    return;
  }
  Moment moment{.pc = linear, .pc_register = 0, .set_pc = false, .after = true};
  emit_calls({registry_.emitted(PANDA_CB_END_BLOCK_EXEC), tb_word}, moment, b);
  emit_calls({registry_.emitted(PANDA_CB_AFTER_BLOCK_EXEC), tb_word, TB_EXIT_IDX0}, moment, b);
}

void Instrumentation::unit_translated(VcpuContext& cpu, exec::TranslationUnit& unit) {
  memory_.unit_translated(unit);
  pending_ = nullptr;
  // An answer about an instruction that did not fit is for the unit that begins with it.
  for (InsnAnswer* answer : {&before_, &after_}) {
    if (answer->pc - unit.key.pc < unit.size) answer->phys = ~uint64_t{0};
  }
  auto* const tb = static_cast<TranslationBlock*>(unit.plugin_tb);
  tb->size = static_cast<uint16_t>(unit.size);
  tb->icount = static_cast<uint16_t>(unit.insn_count);
  tb->tc_ptr = unit.code;
  tb->unit_ = &unit;
  if (exec::continues_block(unit.variant)) return;
  for (const unsigned type : {PANDA_CB_BEFORE_TCG_CODEGEN, PANDA_CB_AFTER_BLOCK_TRANSLATE}) {
    if (!registry_.active(type)) continue;
    synchronise();
    registry_.call_all(type, cpu.state(), tb);
  }
}

void Instrumentation::unit_dropped(exec::TranslationUnit& unit, bool evicted) {
  memory_.unit_dropped(unit);
  auto* const tb = static_cast<TranslationBlock*>(unit.plugin_tb);
  if (tb == nullptr) return;
  before_.phys = after_.phys = ~uint64_t{0};
  if (in_call_ && open_.tb != tb) {
    dropped_.push_back(tb);
    return;
  }
  unit.plugin_tb = nullptr;
  if (open_.tb == tb) {
    open_.orphan = true;
    // Plugins must not see from a block's course that its translation had to give way.
    open_.dropped = !evicted;
    return;
  }
  after_insns_.erase(tb);
  blocks_.give(tb);
}

// ---- running

// The budget has paid for the whole unit; while a callback runs it stands as if for what is complete alone, so that
// everybody who asks for the count (the recorder, of a plugin's writes) gets the right one.
template <typename Call>
void Instrumentation::call_guarded(void* state, Call call) {
  VcpuContext& cpu = VcpuContext::of(state);
  const HostFp fp(cpu.host_mxcsr);
  const uint64_t generation = registry_.generation();
  const auto paid = static_cast<int64_t>(cpu.completed() - current_count());
  cpu.budget += paid;
  in_call_ = true;
  call();
  in_call_ = false;
  cpu.budget -= paid;
  callback_done(generation);
}

void Instrumentation::guarded(void* state, uint64_t callback, uint64_t argument) noexcept {
  Instrumentation& self = of(state);
  self.call_guarded(state,
                    [&] { self.registry_.call_one(*reinterpret_cast<const Callback*>(callback), state, argument); });
}

void Instrumentation::guarded2(void* state, uint64_t callback, uint64_t argument, uint64_t second) noexcept {
  Instrumentation& self = of(state);
  self.call_guarded(
      state, [&] { self.registry_.call_one(*reinterpret_cast<const Callback*>(callback), state, argument, second); });
}

// Those that take no second argument do not look at it.
void Instrumentation::guarded_list(void* state, uint64_t list, uint64_t argument, uint64_t second) noexcept {
  Instrumentation& self = of(state);
  self.call_guarded(state, [&] {
    for (const Callback* c : *reinterpret_cast<const std::vector<Callback*>*>(list)) {
      self.registry_.call_one(*c, state, argument, second);
    }
  });
}

void Instrumentation::count_list(void* state, uint64_t what, uint64_t amount) noexcept {
  for (const Counter& c : of(state).counters_) {
    if (c.counts == static_cast<Counts>(what) && c.plugin->enabled) *c.value += amount;
  }
}

// A plugin's write stands in a recording at the count of the callback, and a replay makes it there: what runs from
// here on must be what is in memory now.
void Instrumentation::look_at_code(void* state) noexcept {
  if (!of(state).dropped_.empty()) VcpuContext::of(state).request(ExitRequest::Restart);
}

void Instrumentation::block_invalidate(void* state, uint64_t tb_word, uint64_t count) noexcept {
  const HostFp fp(VcpuContext::of(state).host_mxcsr);
  Instrumentation& self = of(state);
  if (self.invalidated_at_ == count) {
    self.invalidated_at_.reset();
    return;
  }
  const uint64_t generation = self.registry_.generation();
  bool invalidate = false;
  self.in_call_ = true;
  self.registry_.call(
      PANDA_CB_BEFORE_BLOCK_EXEC_INVALIDATE_OPT, nullptr,
      [&](uint64_t result) {
        invalidate |= is_true(result);
        return false;
      },
      state, &block_of(tb_word));
  self.in_call_ = false;
  if (invalidate || !self.dropped_.empty()) {
    // Back to the engine as if nothing of the block had run. Dispatch counts the current instruction
    // as done, so one is given back beforehand.
    VcpuContext& cpu = VcpuContext::of(state);
    self.registry_.new_generation();
    self.invalidated_at_ = count;
    cpu.budget++;
    cpu.exact = 0;
    cpu.request(ExitRequest::Dispatch);
    return;
  }
  self.callback_done(generation);
}

void Instrumentation::give_back_dropped() {
  for (TranslationBlock* tb : dropped_) {
    after_insns_.erase(tb);
    blocks_.give(tb);
  }
  dropped_.clear();
}

void Instrumentation::end_block(TranslationBlock& tb, uint8_t how) {
  if ((tb.engine_ & kLeaveEmitted) == 0) return;
  void* const state = engine_.cpu().state();
  registry_.call_all(PANDA_CB_END_BLOCK_EXEC, state, &tb);
  registry_.call_all(PANDA_CB_AFTER_BLOCK_EXEC, state, &tb, how);
}

void Instrumentation::close_open_block(uint8_t how) {
  block_open_ = false;
  const OpenBlock open = std::exchange(open_, {});
  if (open.tb == nullptr) return;
  end_block(*open.tb, how);
  if (!open.orphan) return;
  after_insns_.erase(open.tb);
  blocks_.give(open.tb);
}

// The end of a unit that carries on the open block.
void Instrumentation::part_ends(void* state, uint64_t tb_word, uint64_t count, uint64_t pc) noexcept {
  Instrumentation& self = of(state);
  OpenBlock& open = self.open_;
  if (open.tb == nullptr) return;  // of a block whose plugins were unloaded meanwhile
  const TranslationBlock& part = block_of(tb_word);
  open.left -= std::min<uint32_t>(open.left, part.icount);
  open.resume_pc = (part.pc + part.size) & self.target_.address_mask;
  open.resume_count = count + 1;
  if (open.left != 0 && !open.dropped) return;
  const HostFp fp(VcpuContext::of(state).host_mxcsr);
  const uint64_t generation = self.registry_.generation();
  self.set_moment(pc, count + 1);
  self.close_open_block(open.left == 0 ? TB_EXIT_IDX0 : TB_EXIT_REQUESTED);
  self.callback_done(generation);
}

// An instruction that completed by leaving the unit has not passed its calls.
void Instrumentation::finish_insn(TranslationBlock& tb, uint32_t index, uint64_t pc) {
  const auto found = after_insns_.find(&tb);
  if (found == after_insns_.end() || index >= found->second.size()) return;
  const std::vector<Callback*> callbacks = found->second[index];
  set_moment(pc, engine_.count().value);
  for (const Callback* c : callbacks) registry_.call_one(*c, engine_.cpu().state(), pc & target_.address_mask);
}

void Instrumentation::restore_state(TranslationBlock& tb) {
  synchronise();
  registry_.call_all(PANDA_CB_CPU_RESTORE_STATE, engine_.cpu().state(), &tb);
}

void Instrumentation::unit_left_early(VcpuContext& cpu, exec::TranslationUnit& unit, uint32_t index, ExitRequest why) {
  auto* const tb = static_cast<TranslationBlock*>(unit.plugin_tb);
  const uint64_t linear = (unit.insns[index].pc + unit.key.pc_base) & target_.address_mask;
  const uint64_t now = engine_.frontend().current_key(cpu).pc & target_.address_mask;
  const bool complete = why == ExitRequest::Dispatch && now != linear;  // else a string instruction, to go on with
  if (why == ExitRequest::Dispatch && !complete && invalidated_at_ == cpu.completed()) {
    give_back_dropped();
    return;
  }
  const bool dropped = std::find(dropped_.begin(), dropped_.end(), tb) != dropped_.end();  // by a callback of its own
  for (const Counter& c : counters_) {
    if (c.counts == Counts::Insns) *c.value += index + (why == ExitRequest::Dispatch ? 1 : 0);
  }
  if (!exec::continues_block(unit.variant)) {
    if (tb == nullptr) return;
    if ((tb->engine_ & kBlockTold) == 0) {
      if (why == ExitRequest::Fault) restore_state(*tb);
      give_back_dropped();
      return;
    }
    open_ = {.tb = tb, .left = static_cast<uint32_t>(unit.insns.size()), .orphan = dropped};
    std::erase(dropped_, tb);
  }
  give_back_dropped();
  open_.dropped |= dropped;
  if (open_.tb == nullptr) {
    if (why == ExitRequest::Fault && tb != nullptr) restore_state(*tb);
    return;
  }
  block_open_ = true;
  open_.left -= std::min<uint32_t>(open_.left, index + (complete ? 1 : 0));
  open_.resume_pc = now;
  open_.resume_count = cpu.completed();
  if (complete && tb != nullptr) finish_insn(*tb, index, linear);
  if (why == ExitRequest::Fault) {
    restore_state(*open_.tb);
    close_open_block(TB_EXIT_REQUESTED);
  } else if (open_.left == 0) {
    set_moment(linear, cpu.completed());
    close_open_block(TB_EXIT_IDX0);
  }
}

uint32_t Instrumentation::resume_variant(VcpuContext& cpu, int64_t budget) {
  const exec::UnitKey key = engine_.frontend().current_key(cpu);
  const bool same = !open_.dropped && (key.pc & target_.address_mask) == open_.resume_pc &&
                    cpu.completed() == open_.resume_count && key.flags == open_.tb->flags;
  if (same && budget > 0) return exec::kRest + static_cast<uint32_t>(std::min<int64_t>(open_.left, budget));
  synchronise();
  close_open_block(TB_EXIT_REQUESTED);
  return exec::kNormal;
}

// ---- what the CPU reports

bool Instrumentation::asid_changes(VcpuContext& cpu, uint64_t old_value, uint64_t new_value) noexcept {
  if (old_value == new_value || !registry_.active(PANDA_CB_ASID_CHANGED)) return false;
  const HostFp fp(cpu.host_mxcsr);
  // The write ends its unit, whose instructions are all paid for; it has not completed itself.
  set_moment(engine_.frontend().current_key(cpu).pc, cpu.completed() - (cpu.exact != 0 ? 0 : 1));
  bool blocked = false;
  registry_.call(
      PANDA_CB_ASID_CHANGED, nullptr,
      [&](uint64_t result) {
        blocked |= is_true(result);
        return false;
      },
      cpu.state(), old_value, new_value);
  if (blocked && on_cpu_written) on_cpu_written();
  return blocked;
}

bool Instrumentation::hypercall(VcpuContext& cpu) noexcept {
  if (!registry_.active(PANDA_CB_GUEST_HYPERCALL)) return false;
  const HostFp fp(cpu.host_mxcsr);
  synchronise();
  bool handled = false;
  registry_.call(
      PANDA_CB_GUEST_HYPERCALL, nullptr,
      [&](uint64_t result) {
        handled |= is_true(result);
        return false;
      },
      cpu.state());
  if (handled && on_cpu_written) on_cpu_written();
  return handled;
}

int32_t Instrumentation::exception(VcpuContext& cpu, int32_t vector) noexcept {
  if (block_open_) {
    synchronise();
    close_open_block(TB_EXIT_REQUESTED);
  }
  return decide(cpu, PANDA_CB_BEFORE_HANDLE_EXCEPTION, vector);
}

int32_t Instrumentation::interrupt(VcpuContext& cpu, int32_t vector) noexcept {
  if (block_open_) {
    synchronise();
    close_open_block(TB_EXIT_REQUESTED);
  }
  return decide(cpu, PANDA_CB_BEFORE_HANDLE_INTERRUPT, vector);
}

// The first result that differs from the argument is taken.
int32_t Instrumentation::decide(VcpuContext& cpu, unsigned type, int32_t vector) {
  if (!registry_.active(type)) return vector;
  const HostFp fp(cpu.host_mxcsr);
  synchronise();
  in_exception_ = true;
  int32_t deliver = vector;
  registry_.call(
      type, nullptr,
      [&](uint64_t result) {
        deliver = static_cast<int32_t>(result);
        return deliver != vector;
      },
      cpu.state(), vector);
  in_exception_ = false;
  if (deliver != vector && on_changed) {
    on_changed(type == PANDA_CB_BEFORE_HANDLE_INTERRUPT ? "an interrupt" : "an exception");
  }
  return deliver;
}

}  // namespace panda::plugin
