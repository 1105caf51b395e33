#include "exec/engine.h"

#include <algorithm>
#include <cstdio>
#include <new>

#include "base/check.h"
#include "exec/translator.h"
#include "exec/unit_cache.h"
#include "ir/printer.h"
#include "ir/verifier.h"
#include "memory/access.h"
#include "memory/cpu_observer.h"

namespace panda::exec {

namespace {

constexpr uint64_t kLongestSlice = uint64_t{1} << 32;

// While the CPU enters a handler, which no instruction does.
class Delivery {
 public:
  Delivery(Instrumenter* instrumenter, VcpuContext& cpu) : instrumenter_(instrumenter), cpu_(cpu) {
    if (instrumenter_ != nullptr) instrumenter_->delivery_begins(cpu_);
  }
  ~Delivery() {
    if (instrumenter_ != nullptr) instrumenter_->delivery_ends(cpu_);
  }
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

 private:
  Instrumenter* instrumenter_;
  VcpuContext& cpu_;
};

}  // namespace

Engine::Engine(Frontend& frontend, Backend& backend, GuestMemory& memory, VirtualClock& clock)
    : frontend_(frontend), memory_(memory), backend_(backend), clock_(clock) {
  const size_t bytes = (sizeof(VcpuContext) + frontend.state_size() + 63) & ~size_t{63};
  cpu_storage_.reset(std::aligned_alloc(64, bytes));
  PANDA_CHECK(cpu_storage_ != nullptr);
  std::fill_n(static_cast<uint8_t*>(cpu_storage_.get()), bytes, uint8_t{0});
  cpu_ = new (cpu_storage_.get()) VcpuContext;
  cpu_->clock = &clock;
  cpu_->engine = this;
  cpu_->frontend = &frontend;
  memory.set_mmu(&frontend);
  memory.attach(*cpu_);
  cpu_->next_code = &Engine::next_code;
  memory.set_code_observer(this);
  cache_ = std::make_unique<UnitCache>(backend, memory, *cpu_);
  translator_ = std::make_unique<Translator>(frontend, memory, *cpu_);
  regions_ = std::make_unique<RegionFormer>(*cache_);
  choose_regions();
  frontend.reset(*cpu_);
}

Engine::~Engine() {
  cache_->clear();
  memory_.set_code_observer(nullptr);
}

void Engine::set_outside(Outside& outside) {
  outside_ = &outside;
  cpu_->outside = &outside;
}

void Engine::set_instrumenter(Instrumenter* instrumenter) {
  instrumenter_ = instrumenter;
  cache_->set_instrumenter(instrumenter);
  translator_->set_instrumenter(instrumenter);
  generation_ = instrumenter != nullptr ? instrumenter->generation() : 0;
  choose_regions();
  flush_translations();
}

void Engine::set_chaining(bool on) {
  if (chaining_ == on) return;
  chaining_ = on;
  flush_translations();  // links that exist must go
}

void Engine::choose_regions() {
  const bool may = max_unit_insns_ == kMaxUnitInsns && (instrumenter_ == nullptr || instrumenter_->allows_regions());
  regions_->set_threshold(may ? region_threshold_ : 0);
}

void Engine::set_count(InsnCount count) {
  PANDA_CHECK(!running_);
  cpu_->budget = 0;
  cpu_->count_limit = count.value;
  fault_at_.reset();
}

void Engine::flush_translations() {
  flush_wanted_ = true;
  if (!running_) flush_now();
}

void Engine::flush_now() {
  flush_wanted_ = false;
  current_ = nullptr;
  regions_->drop();
  cache_->clear();
  stats_.flushes++;
}

bool Engine::overlaps_code(uint64_t phys, uint64_t size) noexcept { return cache_->overlaps(phys, size); }

void Engine::invalidate_code(uint64_t phys, uint64_t size) noexcept {
  stats_.smc_invalidations += cache_->invalidate(phys, size);
}

void Engine::mappings_changed() noexcept { cache_->jumps().forget_all(); }

void Engine::space_changed(uint64_t id) noexcept { cache_->jumps().enter_space(id); }

bool Engine::compile(TranslationUnit& unit) {
  if (verify_) {
    if (const Status status = ir::verify(translator_->ir()); !status) {
      std::fprintf(stderr, "panda: unit at %#llx: %s\n%s", static_cast<unsigned long long>(unit.key.pc),
                   status.error().message.c_str(), ir::print(translator_->ir()).c_str());
      PANDA_CHECK(status.has_value());
    }
  }
  while (!backend_.compile(translator_->ir(), unit)) {
    TranslationUnit* const oldest = backend_.in_the_way();
    if (oldest == nullptr) return false;
    stats_.evictions += oldest->valid ? 1 : 0;
    cache_->evict(*oldest);
  }
  return true;
}

// The translation at the guest's pc; nullptr where the fetch faulted (exit_request is then set).
TranslationUnit* Engine::find_or_translate(uint32_t variant) {
  return find_or_translate(frontend_.current_key(*cpu_), variant);
}

TranslationUnit* Engine::find_or_translate(const UnitKey& key, uint32_t variant) {
  cache_->jumps().select(key);
  const unsigned mode = frontend_.fetch_mode(key.flags);
  uint64_t phys = 0;
  if (!fetch_address(*cpu_, key.pc, mode, phys)) return nullptr;
  if (TranslationUnit* unit = cache_->find(key, phys, variant)) {
    if (unit->region != nullptr) return unit->region;
    if (unit->phys_next == 0) return unit;
    uint64_t second = 0;
    if (!fetch_address(*cpu_, (key.pc & kPageMask) + kPageSize, mode, second)) return nullptr;
    if ((second & kPageMask) == unit->phys_next) return unit;
    cache_->invalidate(unit->phys, unit->size);
  }
  const uint32_t cap = variant >= kRest ? variant - kRest : variant >= kCapped ? variant - kCapped : max_unit_insns_;
  unsigned max_insns = std::min(cap, max_unit_insns_);
  std::unique_ptr<TranslationUnit> unit;
  do {
    if (unit != nullptr) {
      PANDA_CHECK(unit->insn_count > 1);
      max_insns = unit->insn_count / 2;
    }
    unit = translator_->translate(key, phys, variant, max_insns);
    if (unit == nullptr) return nullptr;
  } while (!compile(*unit));
  stats_.units_translated++;
  stats_.insns_translated += unit->insn_count;
  TranslationUnit& inserted = cache_->insert(std::move(unit));
  if (instrumenter_ != nullptr) instrumenter_->unit_translated(*cpu_, inserted);
  return &inserted;
}

TranslationUnit* Engine::known_jump(const UnitKey& key) {
  cache_->jumps().select(key);
  return cache_->jumps().find(key.pc - key.pc_base);
}

TranslationUnit* Engine::next_unit(bool by_direct_exit) {
  const UnitKey key = frontend_.current_key(*cpu_);
  if (TranslationUnit* unit = known_jump(key)) return unit;
  TranslationUnit* unit = find_or_translate(key, kNormal);
  if (by_direct_exit && unit != nullptr && unit->phys_next == 0) return unit;
  if (unit == nullptr || !unit->valid || (unit->variant != kNormal && unit->variant != kRegion)) return unit;
  const unsigned mode = frontend_.fetch_mode(key.flags);
  const bool global = memory_.fetched_globally(key.pc, mode) &&
                      (unit->phys_next == 0 || memory_.fetched_globally((key.pc & kPageMask) + kPageSize, mode));
  cache_->jumps().remember(*unit, global);
  return unit;
}

// VcpuContext::next_code: what translated code asks instead of coming back.
const void* Engine::next_code(void* state) noexcept {
  VcpuContext& cpu = VcpuContext::of(state);
  Engine& e = *static_cast<Engine*>(cpu.engine);
  if (cpu.exact != 0 || !e.may_go_on()) return nullptr;
  TranslationUnit* unit = e.known_jump(e.frontend_.current_key(cpu));
  if (unit == nullptr) return nullptr;
  e.current_ = unit;
  e.stats_.dispatches++;
  e.frontend_.starts(cpu);
  return unit->code;
}

// Translated code came back between two instructions: would run() find nothing to do but run on?
// Nothing can have become due, since the budget ends where the outside must be asked again.
bool Engine::may_go_on() {
  if (cpu_->budget <= 0 || flush_wanted_ || !chaining_ || resume_exact_ || outside_->stop_requested()) return false;
  if (frontend_.halted(*cpu_) || frontend_.wants_single_step(*cpu_)) return false;
  if (frontend_.accepts_interrupt(*cpu_) && outside_->interrupt_pending()) return false;
  return instrumenter_ == nullptr || (!instrumenter_->block_open() && instrumenter_->generation() == generation_);
}

// An exact unit completed its instruction.
void Engine::finish_exact() {
  cpu_->exact = 0;
  const Delivery delivery(instrumenter_, *cpu_);
  if (frontend_.after_exact(*cpu_)) stats_.exceptions++;
}

bool Engine::take_fault() {
  stats_.exceptions++;
  const InsnCount now = count();
  if (fault_at_ == now) {
    cpu_->budget--;
    fault_at_.reset();
  } else {
    fault_at_ = now;
  }
  const Delivery delivery(instrumenter_, *cpu_);
  return frontend_.deliver_exception(*cpu_);
}

// Translated code asked to be left. False: the guest's CPU shut down.
bool Engine::handle_request(TranslationUnit& unit, uint32_t index, bool& resume) {
  const auto request = static_cast<ExitRequest>(cpu_->exit_request);
  cpu_->exit_request = 0;
  const ir::GuestInsn& insn = unit.insns[index];
  const bool was_exact = cpu_->exact != 0;
  if (request == ExitRequest::Dispatch) {
    cpu_->budget += insn.refund - 1;
    cpu_->exact = 0;
    if (instrumenter_ != nullptr) instrumenter_->unit_left_early(*cpu_, unit, index, request);
    if (was_exact) finish_exact();
    return true;
  }
  cpu_->budget += insn.refund;
  cpu_->exact = 0;
  frontend_.set_pc(*cpu_, insn.pc);
  if (instrumenter_ != nullptr) instrumenter_->unit_left_early(*cpu_, unit, index, request);
  if (request == ExitRequest::Retranslate) cache_->invalidate(unit.phys, unit.size);
  if (request == ExitRequest::Restart || request == ExitRequest::Retranslate) {
    PANDA_CHECK(unit.variant != kExactResume);  // it would ask for ever
    if (instrumenter_ != nullptr) instrumenter_->insn_restarts(*cpu_);
    resume = true;
    return true;
  }
  return take_fault();
}

// A unit was left to `next`. What follows may make a region, and drop units for its sake: `next` is right again then,
// null where the fetch faults.
void Engine::left_to(const ExitInfo& exit, TranslationUnit*& next) {
  const auto direct = [&] { return exit.kind == Exit::Direct && exit.unit->valid; };
  if (regions_->following()) {
    if (!direct() || exit.unit != regions_->path().back() || !regions_->goes_on(*next)) {
      make_region();
      if (next->region != nullptr) next = next->region;
      if (!next->valid && (next = find_or_translate(kNormal)) == nullptr) return;
    }
  } else if (direct() && next->valid) {
    TranslationUnit::ExitLink& link = exit.unit->exits[exit.index];
    if (link.to == next && link.counted && --link.countdown <= 0) regions_->begin(*next);
  }
  // Either may have been dropped: by eviction, or by a plugin that was told of the translation.
  // What carries on a block may be left before that is over.
  if (direct() && next->valid && exit.unit->exits[exit.index].to == nullptr && next->phys_next == 0 &&
      !continues_block(exit.unit->variant)) {
    cache_->link(*exit.unit, exit.index, *next, regions_->countdown(*exit.unit, *next));
  }
}

// Of the path that was followed, which is complete.
void Engine::make_region() {
  const std::vector<TranslationUnit*> path = regions_->path();
  const bool closes = regions_->closes();
  regions_->stop();
  if (!std::ranges::all_of(path, [](const TranslationUnit* unit) { return unit->valid; })) return;
  TranslationUnit& head = *path.front();
  auto unit = path.size() > 1 ? translator_->translate_region(path, closes) : nullptr;
  if (unit == nullptr || !compile(*unit)) return regions_->refuse(head);
  if (!head.valid) return backend_.release(*unit);  // it gave way
  stats_.regions_translated++;
  stats_.insns_translated += unit->insn_count;
  cache_->replace_by_region(head, cache_->insert(std::move(unit)));
}

std::optional<StopReason> Engine::run_units(uint32_t variant) {
  // A guest that polls a device comes here for each access: the jump cache is the shorter way.
  TranslationUnit* unit = variant == kNormal && chaining_ ? next_unit() : find_or_translate(variant);
  while (unit != nullptr) {
    regions_->check();
    cache_->bury(unit);
    current_ = unit;
    stats_.dispatches++;
    frontend_.starts(*cpu_);
    const ExitInfo exit = backend_.run(*cpu_, *unit);
    switch (exit.kind) {
      case Exit::Direct:
      case Exit::Indirect: {
        if (cpu_->budget <= 0 || flush_wanted_ || !chaining_) return std::nullopt;
        if (instrumenter_ != nullptr && instrumenter_->block_open()) return std::nullopt;
        unit = next_unit(exit.kind == Exit::Direct);
        if (unit != nullptr) left_to(exit, unit);
        break;
      }
      case Exit::Dispatch:
        if (cpu_->exact != 0) {
          finish_exact();
          return std::nullopt;
        }
        if (!may_go_on()) return std::nullopt;
        regions_->stop();
        unit = next_unit();
        break;
      case Exit::Budget:
        cpu_->exact = 0;
        frontend_.set_pc(*cpu_, exit.unit->insns[exit.index].pc);
        if (cpu_->budget <= 0 || (instrumenter_ != nullptr && instrumenter_->block_open())) return std::nullopt;
        regions_->stop();
        // A region's head by itself may fit.
        if (TranslationUnit* base = exit.unit->base; base != nullptr && base->insn_count <= cpu_->budget) {
          unit = base;
          break;
        }
        unit = find_or_translate(kCapped + static_cast<uint32_t>(cpu_->budget));
        break;
      case Exit::Request: {
        const bool was_exact = cpu_->exact != 0;
        if (!handle_request(*exit.unit, exit.index, resume_exact_)) return StopReason::Shutdown;
        if (was_exact || !may_go_on()) return std::nullopt;
        regions_->stop();
        unit = next_unit();
        break;
      }
    }
  }
  // The fetch faulted: the pc slot is the address.
  cpu_->exit_request = 0;
  if (!take_fault()) return StopReason::Shutdown;
  return std::nullopt;
}

size_t Engine::units() const { return cache_->units(); }
size_t Engine::unit_record_bytes() const { return cache_->host_bytes(); }

StopReason Engine::run(InsnCount until) {
  PANDA_CHECK(outside_ != nullptr && !running_);
  running_ = true;
  std::optional<StopReason> stop;
  while (!stop) {
    current_ = nullptr;
    cache_->bury();
    if (instrumenter_ != nullptr && instrumenter_->generation() != generation_) {
      generation_ = instrumenter_->generation();
      choose_regions();
      flush_wanted_ = true;
    }
    if (flush_wanted_) flush_now();
    const InsnCount now = count();
    // A fault takes no count. Nothing may happen between it and the first instruction of its handler,
    // or one count would name two states; whatever waits is looked at one instruction later.
    const bool after_fault = fault_at_ == now;
    InsnCount due = now + 1;
    if (!after_fault) {
      due = outside_->next_event(now);
      if (due <= now) {
        outside_->service(now);
        due = outside_->next_event(now);
      }
      if (outside_->stop_requested()) {
        stop = StopReason::Requested;
        break;
      }
      if (now >= until) {
        stop = StopReason::CountReached;
        break;
      }
      if (outside_->interrupt_pending() && frontend_.accepts_interrupt(*cpu_)) {
        if (const auto vector = outside_->acknowledge_interrupt(now)) {
          stats_.interrupts++;
          frontend_.wake(*cpu_);
          resume_exact_ = false;
          const Delivery delivery(instrumenter_, *cpu_);
          const int32_t deliver = cpu_->observer != nullptr ? cpu_->observer->interrupt(*cpu_, *vector) : *vector;
          if (deliver >= 0 && !frontend_.deliver_interrupt(*cpu_, static_cast<uint8_t>(deliver))) {
            stop = StopReason::Shutdown;
          }
          continue;
        }
        due = outside_->next_event(now);
      }
    }
    if (!after_fault && frontend_.halted(*cpu_)) {
      if (!outside_->idle(now)) stop = outside_->stop_requested() ? StopReason::Requested : StopReason::IdleForever;
      continue;
    }
    // At least one instruction runs: a replay whose event was not taken at its count sees it passed.
    const InsnCount limit = after_fault ? now + 1 : std::min({std::max(due, now + 1), until, now + kLongestSlice});
    cpu_->count_limit = limit.value;
    cpu_->budget = static_cast<int64_t>(limit - now);
    uint32_t variant = frontend_.wants_single_step(*cpu_) ? kExact : kNormal;
    if (resume_exact_) {
      variant = kExactResume;
    } else if (instrumenter_ != nullptr && instrumenter_->block_open()) {
      const uint32_t rest = instrumenter_->resume_variant(*cpu_, variant == kExact ? 0 : cpu_->budget);
      if (rest != kNormal) variant = rest;
    }
    resume_exact_ = false;
    stop = run_units(variant);
    regions_->stop();
  }
  running_ = false;
  current_ = nullptr;
  return *stop;
}

}  // namespace panda::exec
