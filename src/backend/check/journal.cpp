#include "backend/check/journal.h"

#include <fmt/format.h>

#include <cstring>
#include <iterator>

#include "base/check.h"

namespace panda::check {

void Journal::forget() {
  for (const Page& p : pages_) page_number_[static_cast<size_t>(p.host - memory_.ram().data()) >> kPageBits] = 0;
  pages_.clear();
  writes_.clear();
  old_bytes_.clear();
  fills_.clear();
  flushed_ = false;
  crossings_.clear();
  dma_.clear();
  next_crossing_ = 0;
  problems_.clear();
}

void Journal::begin_first(VcpuContext& cpu) {
  if (page_number_.empty()) page_number_.resize(memory_.size_bytes() >> kPageBits);
  forget();
  cpu_ = &cpu;
  inner_ = cpu.outside;
  cpu.outside = this;
  phase_ = Phase::First;
}

void Journal::end_first(VcpuContext& cpu) {
  phase_ = Phase::Idle;
  cpu.outside = inner_;
  while (after_first_.size() < pages_.size()) after_first_.push_back(std::make_unique<Bytes>());
  for (size_t i = 0; i < pages_.size(); i++) std::memcpy(after_first_[i]->data(), pages_[i].host, kPageSize);
  for (size_t i = writes_.size(); i-- > 0;) {
    std::memcpy(writes_[i].host, old_bytes_.data() + writes_[i].old, writes_[i].size);
  }
  if (flushed_) memory_.restore_tlb(tlbs_);
  for (size_t i = fills_.size(); i-- > 0;) cpu.tlb[fills_[i].mode].at(fills_[i].address) = fills_[i].old;
}

// On: what the first run stored to takes the fast path, where it would without a watch.
void Journal::let_stores_through(VcpuContext& cpu, bool on) {
  for (const Page& p : pages_) {
    for (unsigned i = 0; i < p.stores; i++) {
      TlbEntry& e = cpu.tlb[p.through[i].mode].at(p.through[i].page);
      if (!on) {
        if ((e.write_tag & ~kPageMask) == 0) e.write_tag |= kTlbSlow;
      } else if (e.write_tag == (p.through[i].page | kTlbSlow) && !memory_.is_code_page(e.phys_page) &&
                 !cpu.watched(p.through[i].page, kPageSize)) {
        e.write_tag &= ~kTlbSlow;
      }
    }
  }
}

void Journal::begin_second(VcpuContext& cpu) {
  writes_.clear();
  old_bytes_.clear();
  let_stores_through(cpu, true);
  cpu.outside = this;
  phase_ = Phase::Second;
}

void Journal::end_second(VcpuContext& cpu) {
  phase_ = Phase::Idle;
  cpu.outside = inner_;
  let_stores_through(cpu, false);
  for (size_t i = next_crossing_; i < crossings_.size(); i++) {
    problems_ += fmt::format("  not asked for: {}\n", describe(crossings_[i]));
  }
}

std::string Journal::place_of(const uint8_t* host) const {
  const auto offset = static_cast<uint64_t>(host - memory_.ram().data());
  for (const RamRange& r : memory_.ranges()) {
    if (offset - r.offset < r.size) return fmt::format("physical {:#x}", r.phys + (offset - r.offset));
  }
  return fmt::format("RAM offset {:#x}", offset);
}

std::string Journal::differences() const {
  constexpr unsigned kMost = 16;
  std::string text = problems_;
  unsigned shown = 0;
  for (size_t i = 0; i < pages_.size(); i++) {
    const Page& p = pages_[i];
    if (!p.by_first) continue;
    const uint8_t* want = after_first_[i]->data();
    if (std::memcmp(want, p.host, kPageSize) == 0) continue;
    for (uint64_t at = 0; at < kPageSize; at += 8) {
      uint64_t a = 0, b = 0;
      std::memcpy(&a, want + at, 8);
      std::memcpy(&b, p.host + at, 8);
      if (a == b || shown++ >= kMost) continue;
      text += fmt::format("  memory at {}: {:016x} | {:016x}\n", place_of(p.host + at), a, b);
    }
  }
  for (const Write& w : writes_) {
    const size_t page = static_cast<size_t>(w.host - memory_.ram().data()) >> kPageBits;
    if (pages_[page_number_[page] - 1].by_first || shown++ >= kMost) continue;
    text += fmt::format("  memory at {}: {} bytes stored to by the second alone\n", place_of(w.host), w.size);
  }
  if (shown > kMost) text += fmt::format("  and {} more\n", shown - kMost);
  return text;
}

void Journal::take_first() {
  for (size_t i = writes_.size(); i-- > 0;) {
    std::memcpy(writes_[i].host, old_bytes_.data() + writes_[i].old, writes_[i].size);
  }
  for (size_t i = 0; i < pages_.size(); i++) {
    if (pages_[i].by_first) std::memcpy(pages_[i].host, after_first_[i]->data(), kPageSize);
  }
}

// --- memory

Journal::Page& Journal::page_of(const uint8_t* host) {
  const size_t number = static_cast<size_t>(host - memory_.ram().data()) >> kPageBits;
  uint32_t& index = page_number_[number];
  if (index == 0) {
    pages_.push_back({memory_.ram().data() + (number << kPageBits), phase_ == Phase::First, 0, {}});
    index = static_cast<uint32_t>(pages_.size());
  }
  return pages_[index - 1];
}

void Journal::before_write(uint8_t* host, uint64_t size, uint64_t address, unsigned mode) noexcept {
  if (phase_ == Phase::Idle) return;
  Page& page = page_of(host);
  writes_.push_back({host, static_cast<uint32_t>(size), static_cast<uint32_t>(old_bytes_.size())});
  old_bytes_.insert(old_bytes_.end(), host, host + size);
  if (crossing_) dma_.push_back({host, std::vector<uint8_t>(size)});
  if (phase_ != Phase::First || mode == kNoMode || page.stores == page.through.size()) return;
  const uint64_t virtual_page = address & kPageMask;
  for (unsigned i = 0; i < page.stores; i++) {
    if (page.through[i].page == virtual_page && page.through[i].mode == mode) return;
  }
  page.through[page.stores++] = {virtual_page, mode};
}

void Journal::before_fill(uint64_t address, unsigned mode) noexcept {
  if (phase_ != Phase::First || flushed_) return;
  fills_.push_back({address, mode, cpu_->tlb[mode].at(address)});
}

void Journal::before_flush() noexcept {
  if (phase_ != Phase::First || flushed_) return;
  memory_.save_tlb(tlbs_);
  flushed_ = true;
}

// --- crossings

std::string Journal::describe(const Crossing& c) {
  constexpr const char* kKinds[] = {"port read",  "port write",    "MMIO read",
                                    "MMIO write", "register read", "register write"};
  std::string text = fmt::format("{} at {:#x}, size {}", kKinds[c.kind], c.where, c.size);
  const bool writes =
      c.kind == Crossing::PortWrite || c.kind == Crossing::MmioWrite || c.kind == Crossing::RegisterWrite;
  if (writes) text += fmt::format(", value {:#x}", c.value);
  return text;
}

template <typename Ask>
Journal::Crossing Journal::cross(Crossing c, Ask ask) {
  crossings_seen_++;
  if (phase_ == Phase::Second) {
    const Crossing* was = next_crossing_ < crossings_.size() ? &crossings_[next_crossing_++] : nullptr;
    const bool same =
        was != nullptr && was->kind == c.kind && was->where == c.where && was->size == c.size && was->value == c.value;
    if (!same) {
      problems_ +=
          fmt::format("  asked for: {}, instead of: {}\n", describe(c), was != nullptr ? describe(*was) : "nothing");
      c.answer = ~uint64_t{0};
      c.ok = false;
      return c;
    }
    for (uint32_t i = was->first_dma; i < was->end_dma; i++) {
      page_of(dma_[i].host);
      std::memcpy(dma_[i].host, dma_[i].bytes.data(), dma_[i].bytes.size());
    }
    return *was;
  }
  c.first_dma = static_cast<uint32_t>(dma_.size());
  crossing_ = true;
  ask(c);
  crossing_ = false;
  c.end_dma = static_cast<uint32_t>(dma_.size());
  // In order: of bytes that were written twice, each has the last value, which is what counts.
  for (uint32_t i = c.first_dma; i < c.end_dma; i++)
    std::memcpy(dma_[i].bytes.data(), dma_[i].host, dma_[i].bytes.size());
  crossings_.push_back(c);
  return c;
}

uint64_t Journal::port_read(uint16_t port, unsigned size) {
  return cross({Crossing::PortRead, port, size, 0, 0, true, 0, 0},
               [&](Crossing& c) { c.answer = inner_->port_read(port, size); })
      .answer;
}

void Journal::port_write(uint16_t port, unsigned size, uint64_t value) {
  cross({Crossing::PortWrite, port, size, value, 0, true, 0, 0},
        [&](Crossing&) { inner_->port_write(port, size, value); });
}

uint64_t Journal::mmio_read(GuestPhysAddr address, unsigned size) {
  return cross({Crossing::MmioRead, address.value, size, 0, 0, true, 0, 0},
               [&](Crossing& c) { c.answer = inner_->mmio_read(address, size); })
      .answer;
}

void Journal::mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) {
  cross({Crossing::MmioWrite, address.value, size, value, 0, true, 0, 0},
        [&](Crossing&) { inner_->mmio_write(address, size, value); });
}

namespace {
uint64_t place(OutsideRegister kind, uint32_t index) { return uint64_t{static_cast<uint32_t>(kind)} << 32 | index; }
}  // namespace

std::optional<uint64_t> Journal::register_read(OutsideRegister kind, uint32_t index) {
  const Crossing c = cross({Crossing::RegisterRead, place(kind, index), 8, 0, 0, true, 0, 0}, [&](Crossing& x) {
    const auto v = inner_->register_read(kind, index);
    x.ok = v.has_value();
    x.answer = v.value_or(0);
  });
  return c.ok ? std::optional(c.answer) : std::nullopt;
}

bool Journal::register_write(OutsideRegister kind, uint32_t index, uint64_t value) {
  return cross({Crossing::RegisterWrite, place(kind, index), 8, value, 0, true, 0, 0},
               [&](Crossing& c) { c.ok = inner_->register_write(kind, index, value); })
      .ok;
}

}  // namespace panda::check
