#include "backend/check/check_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "exec/translation_unit.h"

namespace panda::check {

using exec::Exit;
using exec::ExitInfo;
using exec::TranslationUnit;

namespace {

// A unit that loops leaves after so many instructions, so that the journal stays small.
constexpr uint64_t kMostInsns = 20'000;

// Does ExitInfo::unit mean something?
bool has_unit(const ExitInfo& exit) {
  return exit.kind == Exit::Direct || exit.kind == Exit::Budget || exit.kind == Exit::Request;
}

// What a unit that was left early had paid for and not done.
uint64_t not_completed(const TranslationUnit& unit, const ExitInfo& exit, uint32_t request) {
  if (exit.kind != Exit::Request || exit.index >= unit.insns.size()) return 0;
  const bool done = request == static_cast<uint32_t>(ExitRequest::Dispatch);
  return unit.insns[exit.index].refund - (done ? 1u : 0u);
}

// In pieces that the C library copies with ordinary stores: what is read right behind its string
// instructions waits for them.
void copy_state(uint8_t* to, const uint8_t* from, size_t size) {
  constexpr size_t kPiece = 512;
  for (; size > kPiece; size -= kPiece, to += kPiece, from += kPiece) std::memcpy(to, from, kPiece);
  std::memcpy(to, from, size);
}

}  // namespace

CheckBackend::CheckBackend(std::unique_ptr<exec::Backend> oracle, std::unique_ptr<exec::Backend> subject,
                           exec::Frontend& frontend, GuestMemory& memory)
    : oracle_(std::move(oracle)),
      subject_(std::move(subject)),
      frontend_(frontend),
      memory_(memory),
      journal_(memory),
      no_jumps_(empty_jumps()) {
  for (CpuImage* image : {&before_, &want_, &got_}) image->state.resize(frontend.state_size());
}

CheckBackend::~CheckBackend() { memory_.set_watch(nullptr); }

void CheckBackend::set_interval(InsnCount from, InsnCount to, uint64_t every) {
  PANDA_CHECK(from < to);
  from_ = from;
  length_ = to - from;
  every_ = every;
}

uint64_t CheckBackend::distance_to_interval(InsnCount now) const {
  if (now < from_) return from_ - now;
  const uint64_t into = every_ != 0 ? (now - from_) % every_ : now - from_;
  if (into < length_) return 0;
  return every_ != 0 ? every_ - into : ~uint64_t{0};
}

Stats CheckBackend::stats() const {
  Stats s = stats_;
  s.crossings = journal_.crossings() / 2;
  return s;
}

// Off: the subject's units are linked as the engine has linked them.
void CheckBackend::compare(bool on) {
  if (comparing_ == on) return;
  comparing_ = on;
  memory_.set_watch(on ? &journal_ : nullptr);
  for (Pair* pair : pairs_) {
    TranslationUnit& unit = *pair->subject.engine;
    for (uint32_t i = 0; i < unit.exits.size(); i++) {
      TranslationUnit* const to = unit.exits[i].to;
      if (to == nullptr || to == &unit) continue;
      if (on) {
        subject_->unlink(pair->subject, i);
      } else {
        subject_->link(pair->subject, i, pair_of(*to).subject, unit.exits[i].counted);
      }
    }
  }
}

// --- translations

bool CheckBackend::no_room(const exec::Backend& backend) {
  auto* const proxy = static_cast<Proxy*>(backend.in_the_way());
  in_the_way_ = proxy != nullptr ? proxy->engine : nullptr;
  return false;
}

bool CheckBackend::compile(const ir::Unit& ir, TranslationUnit& unit) {
  auto pair = std::make_unique<Pair>();
  for (Proxy* u : {&pair->oracle, &pair->subject}) {
    u->engine = &unit;
    u->key = unit.key;
    u->phys = unit.phys;
    u->phys_next = unit.phys_next;
    u->size = unit.size;
    u->insn_count = unit.insn_count;
    u->variant = unit.variant;
    u->exact = unit.exact;
    u->insns = ir.guest_insns;
    u->exits.resize(ir.exit_count);
  }
  if (!oracle_->compile(ir, pair->oracle)) return no_room(*oracle_);
  if (!subject_->compile(ir, pair->subject)) {
    oracle_->release(pair->oracle);
    return no_room(*subject_);
  }
  pair->ir = ir;
  pair->ir.insts.shrink_to_fit();
  unit.code = pair->subject.code;  // for the jump cache, where the subject runs alone
  unit.code_size = pair->subject.code_size;
  pairs_.insert(pair.get());
  unit.backend_data = pair.release();
  return true;
}

void CheckBackend::link(TranslationUnit& from, uint32_t index, TranslationUnit& to, bool counted) {
  Pair& p = pair_of(from);
  p.subject.exits[index].countdown = from.exits[index].countdown;
  if (&from == &to) oracle_->link(p.oracle, index, p.oracle, false);
  if (&from == &to || !comparing_) subject_->link(p.subject, index, pair_of(to).subject, counted);
}

void CheckBackend::unlink(TranslationUnit& from, uint32_t index) {
  Pair& p = pair_of(from);
  const bool own = from.exits[index].to == &from;
  if (own) oracle_->unlink(p.oracle, index);
  if (own || !comparing_) subject_->unlink(p.subject, index);
}

void CheckBackend::release(TranslationUnit& unit) {
  PANDA_CHECK(!running_);
  const std::unique_ptr<Pair> pair(&pair_of(unit));
  unit.code = unit.backend_data = nullptr;
  unit.code_size = 0;
  pairs_.erase(pair.get());
  oracle_->release(pair->oracle);
  subject_->release(pair->subject);
}

// The engine has released every unit.
void CheckBackend::reset() {
  oracle_->reset();
  subject_->reset();
}

// --- running

void CheckBackend::save(const VcpuContext& cpu, CpuImage& out) const {
  const auto* state = reinterpret_cast<const uint8_t*>(&cpu + 1);
  copy_state(out.state.data(), state, out.state.size());
  out.budget = cpu.budget;
  out.count_limit = cpu.count_limit;
  out.exact = cpu.exact;
  out.exit_request = cpu.exit_request;
  out.guest_mxcsr = cpu.guest_mxcsr;
  out.watch_hits = cpu.watch_hits;
  out.watches.assign(cpu.watches, cpu.watches + cpu.watch_count);
}

void CheckBackend::restore(VcpuContext& cpu, const CpuImage& from) const {
  copy_state(static_cast<uint8_t*>(cpu.state()), from.state.data(), from.state.size());
  cpu.budget = from.budget;
  cpu.count_limit = from.count_limit;
  cpu.exact = from.exact;
  cpu.exit_request = from.exit_request;
  cpu.guest_mxcsr = from.guest_mxcsr;
  cpu.watch_hits = from.watch_hits;
  cpu.watch_count = static_cast<uint32_t>(from.watches.size());
  std::copy(from.watches.begin(), from.watches.end(), cpu.watches);
}

bool CheckBackend::is_as(const CpuImage& a, const VcpuContext& b) const {
  return a.budget == b.budget && a.count_limit == b.count_limit && a.exact == b.exact &&
         a.exit_request == b.exit_request && a.guest_mxcsr == b.guest_mxcsr && a.watch_hits == b.watch_hits &&
         std::equal(a.watches.begin(), a.watches.end(), b.watches, b.watches + b.watch_count) &&
         std::memcmp(a.state.data(), &b + 1, a.state.size()) == 0;
}

// Where the engine will set the pc, what it is now means nothing.
void CheckBackend::settle(VcpuContext& cpu, const TranslationUnit& unit, const ExitInfo& exit) const {
  const bool sets_pc = exit.kind == Exit::Budget ||
                       (exit.kind == Exit::Request && cpu.exit_request != static_cast<uint32_t>(ExitRequest::Dispatch));
  if (sets_pc && exit.index < unit.insns.size()) frontend_.set_pc(cpu, unit.insns[exit.index].pc);
}

// Makes the unit leave after about so many instructions.
int64_t CheckBackend::withhold(VcpuContext& cpu, uint64_t most_insns) {
  if (cpu.budget <= 0 || static_cast<uint64_t>(cpu.budget) <= most_insns) return 0;
  const int64_t withheld = cpu.budget - static_cast<int64_t>(most_insns);
  cpu.budget -= withheld;
  cpu.count_limit -= static_cast<uint64_t>(withheld);
  return withheld;
}

void CheckBackend::give_back(VcpuContext& cpu, int64_t withheld, ExitInfo& exit) {
  cpu.budget += withheld;
  cpu.count_limit += static_cast<uint64_t>(withheld);
  if (withheld > 0 && exit.kind == Exit::Budget) exit.kind = Exit::Dispatch;  // settle() has set the pc
}

ExitInfo CheckBackend::run_both(VcpuContext& cpu, TranslationUnit& unit) {
  Pair& pair = pair_of(unit);
  compare(true);
  const int64_t withheld = withhold(cpu, kMostInsns);
  save(cpu, before_);

  journal_.begin_first(cpu);
  ExitInfo want = oracle_->run(cpu, pair.oracle);
  journal_.end_first(cpu);
  settle(cpu, unit, want);
  save(cpu, want_);

  restore(cpu, before_);
  journal_.begin_second(cpu);
  const ExitInfo got = subject_->run(cpu, pair.subject);
  journal_.end_second(cpu);
  settle(cpu, unit, got);

  stats_.units++;
  stats_.insns += static_cast<uint64_t>(before_.budget - want_.budget) - not_completed(unit, want, want_.exit_request);
  const bool same_way = want.kind == got.kind && want.index == got.index &&
                        (!has_unit(want) || (want.unit == &pair.oracle && got.unit == &pair.subject));
  const std::string elsewhere = journal_.differences();
  if (!same_way || !elsewhere.empty() || !is_as(want_, cpu)) {
    failed_ = true;
    save(cpu, got_);
    const std::string text = report(unit, want, got);
    restore(cpu, want_);
    journal_.take_first();
    if (report_to_) report_to_(text);
  }
  give_back(cpu, withheld, want);
  return want;
}

ExitInfo CheckBackend::run_alone(VcpuContext& cpu, TranslationUnit& unit, uint64_t most_insns) {
  compare(false);
  const int64_t withheld = withhold(cpu, most_insns);
  ExitInfo exit = subject_->run(cpu, pair_of(unit).subject);
  if (has_unit(exit)) {
    settle(cpu, *exit.unit, exit);
    TranslationUnit* const unit_of_engine = static_cast<Proxy*>(exit.unit)->engine;
    if (exit.kind == Exit::Direct) unit_of_engine->exits[exit.index].countdown = exit.unit->exits[exit.index].countdown;
    exit.unit = unit_of_engine;
  }
  give_back(cpu, withheld, exit);
  return exit;
}

ExitInfo CheckBackend::run(VcpuContext& cpu, TranslationUnit& unit) {
  PANDA_CHECK(!running_);
  running_ = true;
  const uint64_t distance = failed_ ? 0 : distance_to_interval(InsnCount(cpu.completed()));
  ExitInfo exit;
  if (distance > unit.insn_count) {  // else an interval begins a little early, as it would inside this unit
    exit = run_alone(cpu, unit, distance);
  } else {
    // Neither a jump nor the end of a unit goes on by itself.
    JumpCacheEntry* const jump_cache = std::exchange(cpu.jump_cache, no_jumps_.data());
    const auto next_code = std::exchange(cpu.next_code, nullptr);
    exit = failed_ ? oracle_->run(cpu, pair_of(unit).oracle) : run_both(cpu, unit);
    cpu.jump_cache = jump_cache;
    cpu.next_code = next_code;
    if (has_unit(exit)) exit.unit = &unit;
  }
  running_ = false;
  return exit;
}

}  // namespace panda::check
