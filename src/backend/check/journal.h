// Makes it possible to run a unit twice from one state of the machine. During the first run it keeps
// what RAM and the soft TLBs held before they were changed, and every crossing of the line with its
// answer; then it undoes them. During the second run no device is asked: the crossings are answered
// from the first, and must be the same. Afterwards the pages that the first run wrote must look alike,
// and no other may have been written.
//
// In the second run, stores to pages that the first wrote hit the soft TLB as they would without a
// checker; any other store takes the slow path and is caught here.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/types.h"
#include "memory/guest_memory.h"
#include "memory/memory_watch.h"
#include "memory/outside.h"

namespace panda::check {

class Journal final : public MemoryWatch, public Outside {
 public:
  explicit Journal(GuestMemory& memory) : memory_(memory) {}

  // In this order, around the two runs. Between begin and end, cpu.outside is this journal.
  void begin_first(VcpuContext& cpu);
  void end_first(VcpuContext& cpu);  // RAM and TLBs are as before
  void begin_second(VcpuContext& cpu);
  void end_second(VcpuContext& cpu);

  // What the second run did otherwise, as text; empty: nothing.
  [[nodiscard]] std::string differences() const;
  // RAM as the first run left it.
  void take_first();
  [[nodiscard]] uint64_t crossings() const { return crossings_seen_; }

  // MemoryWatch
  void before_write(uint8_t* host, uint64_t size, uint64_t address, unsigned mode) noexcept override;
  void before_fill(uint64_t address, unsigned mode) noexcept override;
  void before_flush() noexcept override;

  // Outside
  uint64_t port_read(uint16_t port, unsigned size) override;
  void port_write(uint16_t port, unsigned size, uint64_t value) override;
  uint64_t mmio_read(GuestPhysAddr address, unsigned size) override;
  void mmio_write(GuestPhysAddr address, unsigned size, uint64_t value) override;
  std::optional<uint64_t> register_read(OutsideRegister kind, uint32_t index) override;
  bool register_write(OutsideRegister kind, uint32_t index, uint64_t value) override;
  // Not asked by a running unit.
  InsnCount next_event(InsnCount now) override { return inner_->next_event(now); }
  void service(InsnCount now) override { inner_->service(now); }
  bool interrupt_pending() override { return inner_->interrupt_pending(); }
  std::optional<uint8_t> acknowledge_interrupt(InsnCount now) override { return inner_->acknowledge_interrupt(now); }
  bool idle(InsnCount now) override { return inner_->idle(now); }
  bool stop_requested() override { return inner_->stop_requested(); }

 private:
  enum class Phase : uint8_t { Idle, First, Second };
  struct Write {
    uint8_t* host;
    uint32_t size;
    uint32_t old;  // position in old_bytes_
  };
  struct Fill {
    uint64_t address;
    unsigned mode;
    TlbEntry old;
  };
  struct StoredThrough {
    uint64_t page;  // guest virtual
    unsigned mode;
  };
  struct Page {
    uint8_t* host = nullptr;
    bool by_first = false;
    uint32_t stores = 0;  // of `through` in use
    std::array<StoredThrough, 2> through{};
  };
  struct Crossing {
    enum Kind : uint8_t { PortRead, PortWrite, MmioRead, MmioWrite, RegisterRead, RegisterWrite };
    Kind kind;
    uint64_t where;
    unsigned size;
    uint64_t value;   // written
    uint64_t answer;  // read
    bool ok;          // RegisterRead has a value, RegisterWrite succeeded
    uint32_t first_dma, end_dma;
  };
  struct Dma {  // by a device, while a crossing was answered
    uint8_t* host;
    std::vector<uint8_t> bytes;
  };
  using Bytes = std::array<uint8_t, kPageSize>;

  Page& page_of(const uint8_t* host);
  void forget();
  template <typename Ask>
  Crossing cross(Crossing crossing, Ask ask);
  [[nodiscard]] static std::string describe(const Crossing& c);
  [[nodiscard]] std::string place_of(const uint8_t* host) const;
  void let_stores_through(VcpuContext& cpu, bool on);

  GuestMemory& memory_;
  Outside* inner_ = nullptr;
  VcpuContext* cpu_ = nullptr;
  Phase phase_ = Phase::Idle;

  std::vector<Write> writes_;  // of the running phase
  std::vector<uint8_t> old_bytes_;
  std::vector<Fill> fills_;
  bool flushed_ = false;
  GuestMemory::TlbImage tlbs_;  // at the first flush
  std::vector<Page> pages_;
  std::vector<std::unique_ptr<Bytes>> after_first_;  // by page
  std::vector<uint32_t> page_number_;                // by RAM page: index into pages_ plus 1
  std::vector<Crossing> crossings_;
  std::vector<Dma> dma_;
  bool crossing_ = false;
  size_t next_crossing_ = 0;
  uint64_t crossings_seen_ = 0;
  std::string problems_;
};

}  // namespace panda::check
