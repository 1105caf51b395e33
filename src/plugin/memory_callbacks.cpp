#include "plugin/memory_callbacks.h"

#include <algorithm>
#include <cstring>

#include "base/host_fp.h"
#include "base/types.h"
#include "memory/guest_memory.h"
#include "memory/mmu.h"
#include "plugin/instrumentation.h"

namespace panda::plugin {

using ir::Op;
using ir::Type;
using ir::Value;

MemoryCallbacks::MemoryCallbacks(Instrumentation& instrumentation, VcpuContext& cpu, const Target& target,
                                 CallbackRegistry& registry)
    : instrumentation_(instrumentation), cpu_(cpu), target_(target), registry_(registry), buffer_(buffers_.take()) {}

MemoryCallbacks::~MemoryCallbacks() {
  if (cpu_.accesses == this) cpu_.accesses = nullptr;
}

bool MemoryCallbacks::is_virtual(unsigned type) {
  return std::ranges::any_of(kTypes, [type](const Types& t) { return t.virt == type; });
}

void MemoryCallbacks::set_on(bool on) {
  if (on_ == on) return;
  on_ = on;
  registry_.new_generation();
  instrumentation_.want_dispatch();
}

// ---- translating

// The registrations that the unit is made for. Helpers report from now on too: none of another unit
// runs before the translations of the old registrations are gone.
void MemoryCallbacks::unit_begins(const exec::TranslationUnit& unit) {
  unit_ = &unit;
  insn_ = ~uint32_t{0};
  pending_.clear();
  dropped_.clear();
  const bool was = active_;
  active_ = on_ && (wanted(kBeforeLoad) || wanted(kBeforeStore) || wanted(kAfterLoad) || wanted(kAfterStore));
  if (active_ == was) return;
  cpu_.accesses = active_ ? this : nullptr;
  forget_seen();
  // What callbacks left in the host's x87 is not the guest's (base/host_fp.h); reporting units do not use it.
  if (!active_) __asm__ volatile("fnclex");
}

void MemoryCallbacks::unit_translated(exec::TranslationUnit& unit) {
  if (pending_.empty()) return;
  for (Site& site : pending_) {
    // Those of an instruction that did not fit in the end are nobody's.
    if (site.insn < unit.insns.size()) site.refund = unit.insns[site.insn].refund;
  }
  sites_[&unit] = std::move(pending_);
  pending_.clear();
}

void MemoryCallbacks::unit_dropped(const exec::TranslationUnit& unit) {
  const auto at = sites_.find(&unit);
  if (at == sites_.end()) return;
  dropped_.push_back(std::move(at->second));
  sites_.erase(at);
}

// May translated code call all of them itself?
bool MemoryCallbacks::all_direct(Phase phase) const {
  return !unit_->exact && registry_.emitted(kTypes[phase].phys).empty() &&
         std::ranges::all_of(registry_.emitted(kTypes[phase].virt), [](const Callback* c) { return c->direct; });
}

// An instruction may be emitted a second time, from its beginning: then the position has gone back.
void MemoryCallbacks::begin_place(ir::Builder& b, const Access* part) {
  const auto insn = static_cast<uint32_t>(b.unit().guest_insns.size() - 1);
  const bool first_part = part == nullptr || part->offset == 0;
  if (insn != insn_ || (first_part && b.next_index() <= last_place_)) places_ = not_noted_ = 0;
  insn_ = insn;
  last_place_ = b.next_index();
  places_++;
}

uint64_t MemoryCallbacks::add_site(ir::Builder& b, const Access& access, unsigned size) {
  const ir::GuestInsn& insn = b.unit().guest_insns.back();
  const auto byte = [](unsigned v) { return static_cast<uint8_t>(v); };
  pending_.push_back({this, (insn.pc + unit_->key.pc_base) & target_.address_mask, insn_, 0, places_, access.info.mode,
                      byte(size), byte(access.offset), byte(access.whole)});
  return reinterpret_cast<uint64_t>(&pending_.back());
}

// Before anything that may restart the instruction.
void MemoryCallbacks::emit_note(ir::Builder& b) {
  if (not_noted_ == 0) return;
  const uint64_t site = add_site(b, {}, 0);
  pending_.back().place = not_noted_;
  not_noted_ = 0;
  b.insn_goes_on();
  b.call(note_call(), {b.i64(site)});
}

const ir::HelperDesc& MemoryCallbacks::direct_call(const Callback& callback, unsigned size, Type data) {
  for (const DirectCall& c : direct_calls_) {
    if (c.function == callback.call.function && c.size == size && c.params[3] == data) return c;
  }
  DirectCall& made = direct_calls_.emplace_back(DirectCall{{callback.call}, &callback, this, size});
  made.ignores |= ir::kIsReport;
  made.params[3] = data;
  if (data != Type::Void) made.buffer = buffer_;
  if (callback.filter != nullptr) made.then = &filter_passed;
  return made;
}

void MemoryCallbacks::emit_direct(ir::Builder& b, Phase phase, const Access& access, Value data) {
  const std::vector<Callback*>& callbacks = registry_.emitted(kTypes[phase].virt);
  const uint64_t pc = (b.unit().guest_insns.back().pc + unit_->key.pc_base) & target_.address_mask;
  b.insn_goes_on();
  const auto looks = [](const Callback* c) { return c->call.reads.end != 0; };
  const auto filtered = [](const Callback* c) { return c->filter != nullptr; };
  if (std::ranges::any_of(callbacks, looks) || std::ranges::any_of(callbacks, filtered)) {
    instrumentation_.emit_pc(b, pc);
  }
  if (std::ranges::any_of(callbacks, looks)) instrumentation_.emit_count(b, false);
  const uint64_t mask = target_.address_mask;
  const Value address = mask == ~uint64_t{0} ? access.address : b.and_(access.address, b.i64(mask));
  for (const Callback* c : callbacks) {
    const ir::HelperDesc& call = direct_call(*c, access.whole, data.type);
    if (data.valid()) {
      b.call(call, {b.i64(pc), address, b.i64(access.whole), data});
    } else {
      b.call(call, {b.i64(pc), address, b.i64(access.whole)});
    }
  }
  not_noted_ = places_;
}

void MemoryCallbacks::emit(ir::Builder& b, Phase phase, const Access& access, Value data) {
  begin_place(b, &access);
  if (phase == kBeforeLoad || phase == kBeforeStore) emit_note(b);
  if (!wanted(phase)) return;
  const unsigned size = phase == kBeforeLoad ? access.whole : ir::size_bytes(access.type);
  if (size == access.whole && all_direct(phase)) return emit_direct(b, phase, access, data);
  const Value site = b.i64(add_site(b, access, size));
  if (!data.valid()) {
    b.call(helper_of(phase, false), {site, access.address, b.i64(0)});
    return;
  }
  if (data.type == Type::V128) {
    b.call(helper_of(phase, true), {site, access.address, b.emit(Op::vget_lane, Type::I64, {data}, 0),
                                    b.emit(Op::vget_lane, Type::I64, {data}, 1)});
    return;
  }
  if (data.type == Type::F32) data = b.emit(Op::bitcast, Type::I32, {data});
  if (data.type == Type::F64) data = b.emit(Op::bitcast, Type::I64, {data});
  b.call(helper_of(phase, false), {site, access.address, b.zext(Type::I64, data)});
}

void MemoryCallbacks::before_load(ir::Builder& b, const Access& access) { emit(b, kBeforeLoad, access, {}); }
void MemoryCallbacks::before_store(ir::Builder& b, const Access& access, Value data) {
  emit(b, kBeforeStore, access, data);
}
void MemoryCallbacks::after_load(ir::Builder& b, const Access& access, Value data) {
  emit(b, kAfterLoad, access, data);
}
void MemoryCallbacks::after_store(ir::Builder& b, const Access& access, Value data) {
  emit(b, kAfterStore, access, data);
}

const ir::HelperDesc& MemoryCallbacks::before_call(ir::Builder& b, const ir::HelperDesc& helper) {
  begin_place(b, nullptr);
  emit_note(b);
  instrumentation_.emit_pc(b, b.unit().guest_insns.back().pc + unit_->key.pc_base);
  instrumentation_.emit_count(b, false);
  const auto [at, made] = helpers_.try_emplace(&helper, helper);
  if (made) at->second.reads = at->second.writes = ir::kAllState;  // callbacks see and may change everything
  return at->second;
}

// ---- running

// The instruction may have been restarted before, and not come as far this time.
void MemoryCallbacks::insn_restarts() {
  const uint64_t now = cpu_.completed();
  const Made& made = made_.at(now);
  skip_.at(now);
  skip_.places = std::max(skip_.places, made.places);
  skip_.others = std::max(skip_.others, made.others);
  made_ = {};
}

void MemoryCallbacks::delivery_begins() {
  forget_seen();
  if (active_) instrumentation_.synchronise();
}

// One page after the other, as far as the pages are mapped.
void MemoryCallbacks::call_physical(void* state, Phase phase, uint64_t pc, const GuestAccess& access, uint8_t* data) {
  const unsigned type = kTypes[phase].phys;
  for (unsigned done = 0; done < access.size;) {
    const uint64_t at = access.address + done;
    const auto part = static_cast<unsigned>(std::min<uint64_t>(access.size - done, kPageSize - at % kPageSize));
    const TlbEntry& e = cpu_.tlb[access.mode].at(at);
    const uint64_t tag = (access.store ? e.write_tag : e.read_tag) & ~(kTlbSlow | kTlbMmio);
    uint64_t page = e.phys_page;
    if (tag != (at & kPageMask)) {
      Translation t;
      const panda::Access how = access.store ? panda::Access::Write : panda::Access::Read;
      if (!cpu_.memory->mmu()->translate(cpu_, at, how, access.mode, true, t)) return;
      page = t.phys;
    }
    const uint64_t phys = page | (at & ~kPageMask);
    if (phase == kBeforeLoad)
      registry_.call_all(type, state, pc, phys, uint64_t{part});
    else
      registry_.call_all(type, state, pc, phys, uint64_t{part}, data + done);
    done += part;
  }
}

template <MemoryCallbacks::Phase phase>
void MemoryCallbacks::call(void* state, uint64_t pc, const GuestAccess& access, uint8_t* data) {
  constexpr unsigned type = kTypes[phase].virt;
  const uint64_t size = access.size;
  const HostFp fp(cpu_.host_mxcsr);
  running_ = true;
  if constexpr (phase == kBeforeLoad)
    registry_.call_all(type, state, pc, access.address, size);
  else
    registry_.call_all(type, state, pc, access.address, size, data);
  if (registry_.active(kTypes[phase].phys)) call_physical(state, phase, pc, access, data);
  running_ = false;
}

// Calls for translated code, whose budget has paid for the whole unit; for a callback it stands as if for what is
// complete alone.
template <typename F>
void MemoryCallbacks::at_count(uint64_t count, F calls) {
  const uint64_t generation = registry_.generation();
  const auto paid = static_cast<int64_t>(cpu_.completed() - count);
  cpu_.budget += paid;
  calls();
  cpu_.budget -= paid;
  instrumentation_.callback_done(generation);
}

template <MemoryCallbacks::Phase phase>
void MemoryCallbacks::report(void* state, const Site& site, uint64_t address) {
  if (phase != kBeforeLoad && site.offset + site.size != site.whole) return;  // the other part fires
  const uint64_t count = count_at(site.refund);
  if (skip_.count == count && site.place <= skip_.places) return;
  made_.at(count).places = site.place;
  instrumentation_.set_moment(site.pc, count);
  const uint64_t start = phase == kBeforeLoad ? address : address - site.offset;
  const GuestAccess access{start & target_.address_mask, site.whole, site.mode,
                           phase == kBeforeStore || phase == kAfterStore};
  at_count(count, [&] { call<phase>(state, site.pc, access, data_); });
}

// Translated code has called the filter, which lets this access through. The state is up to date, but for the count.
void MemoryCallbacks::filter_passed(void* state, const ir::ReportCall& report, uint32_t refund,
                                    uint64_t address) noexcept {
  const auto& call = static_cast<const DirectCall&>(report);
  MemoryCallbacks& self = *call.owner;
  const Callback& callback = *call.callback;
  const uint64_t count = self.count_at(refund), pc = self.field(state, self.target_.guest_pc_offset);
  self.instrumentation_.set_moment(pc, count);
  self.at_count(count, [&] {
    const uint64_t size = call.size;
    const HostFp fp(self.cpu_.host_mxcsr);
    self.running_ = true;
    if (report.buffer == nullptr) {
      self.registry_.call_one(callback, state, pc, address, size);
    } else {
      std::memcpy(self.data_, report.buffer, size);
      self.registry_.call_one(callback, state, pc, address, size, self.data_);
    }
    self.running_ = false;
  });
}

void MemoryCallbacks::note(void*, uint64_t site_word) noexcept {
  const Site& site = *reinterpret_cast<const Site*>(site_word);
  site.owner->made_.at(site.owner->count_at(site.refund)).places = site.place;
}

const ir::HelperDesc& MemoryCallbacks::note_call() {
  static const ir::HelperDesc desc = [] {
    ir::HelperDesc made;
    made.name = "plugin_access_note";
    made.function = reinterpret_cast<const void*>(&note);
    made.params[0] = Type::I64;
    made.reads = made.writes = ir::kNoState;
    made.may_exit = false;
    made.uses_budget = true;
    made.keeps = scan_callback(made.function).keeps;
    return made;
  }();
  return desc;
}

template <MemoryCallbacks::Phase phase>
void MemoryCallbacks::report_site(void* state, uint64_t site_word, uint64_t address, uint64_t low) noexcept {
  const Site& site = *reinterpret_cast<const Site*>(site_word);
  if constexpr (phase != kBeforeLoad) std::memcpy(site.owner->data_ + site.offset, &low, sizeof low);
  site.owner->report<phase>(state, site, address);
}

template <MemoryCallbacks::Phase phase>
void MemoryCallbacks::report_wide(void* state, uint64_t site_word, uint64_t address, uint64_t low,
                                  uint64_t high) noexcept {
  const Site& site = *reinterpret_cast<const Site*>(site_word);
  std::memcpy(site.owner->data_ + site.offset, &low, sizeof low);
  std::memcpy(site.owner->data_ + site.offset + 8, &high, sizeof high);
  site.owner->report<phase>(state, site, address);
}

template <MemoryCallbacks::Phase phase>
const ir::HelperDesc& MemoryCallbacks::helper(bool wide) {
  static constexpr const char* kNames[] = {"plugin_before_load", "plugin_before_store", "plugin_after_load",
                                           "plugin_after_store"};
  const auto make = [](const void* function, std::array<Type, 4> params) {
    ir::HelperDesc desc;
    desc.name = kNames[phase];
    desc.function = function;
    desc.params = params;
    desc.may_exit = false;
    desc.uses_budget = true;
    return desc;
  };
  static const ir::HelperDesc narrow_desc =
      make(reinterpret_cast<const void*>(&report_site<phase>), {Type::I64, Type::I64, Type::I64});
  static const ir::HelperDesc wide_desc =
      make(reinterpret_cast<const void*>(&report_wide<phase>), {Type::I64, Type::I64, Type::I64, Type::I64});
  return wide ? wide_desc : narrow_desc;
}

const ir::HelperDesc& MemoryCallbacks::helper_of(Phase phase, bool wide) {
  switch (phase) {
    case kBeforeLoad:
      return helper<kBeforeLoad>(wide);
    case kBeforeStore:
      return helper<kBeforeStore>(wide);
    case kAfterLoad:
      return helper<kAfterLoad>(wide);
    case kAfterStore:
      break;
  }
  return helper<kAfterStore>(wide);
}

// ---- accesses that C++ code makes

void MemoryCallbacks::report(VcpuContext& cpu, Phase phase, const GuestAccess& access, const void* data) {
  if (!wanted(phase) || !on_) return;
  const uint64_t pc = field(cpu.state(), target_.guest_pc_offset), count = instrumentation_.current_count();
  Made& made = made_.at(count);
  made.others++;
  if (skip_.count == count && made.others <= skip_.others) return;
  const uint64_t generation = registry_.generation();
  instrumentation_.set_moment(pc, count);
  GuestAccess masked = access;
  masked.address &= target_.address_mask;
  if (data != nullptr) std::memcpy(data_, data, std::min(access.size, kLongest));
  switch (phase) {
    case kBeforeLoad:
      call<kBeforeLoad>(cpu.state(), pc, masked, data_);
      break;
    case kBeforeStore:
      call<kBeforeStore>(cpu.state(), pc, masked, data_);
      break;
    case kAfterLoad:
      call<kAfterLoad>(cpu.state(), pc, masked, data_);
      break;
    case kAfterStore:
      call<kAfterStore>(cpu.state(), pc, masked, data_);
      break;
  }
  instrumentation_.helper_callback_done(generation);
}

void MemoryCallbacks::before_access(VcpuContext& cpu, const GuestAccess& access, const void* data) noexcept {
  report(cpu, access.store ? kBeforeStore : kBeforeLoad, access, data);
}

void MemoryCallbacks::after_access(VcpuContext& cpu, const GuestAccess& access, const void* data) noexcept {
  report(cpu, access.store ? kAfterStore : kAfterLoad, access, data);
}

}  // namespace panda::plugin
