#include "guest/x86/string_helpers.h"

#include <algorithm>
#include <cstring>

#include "base/types.h"
#include "guest/x86/debug.h"
#include "guest/x86/integer_helpers.h"
#include "guest/x86/system.h"
#include "memory/access.h"

namespace panda::x86 {

namespace {

uint64_t read_element(const uint8_t* p, unsigned bytes) {
  uint64_t v = 0;
  std::memcpy(&v, p, bytes);  // little-endian host
  return v;
}

class RepeatedString {
 public:
  RepeatedString(Cpu cpu, StringOp op)
      : cpu_(cpu),
        op_(op),
        bytes_(1u << op.size_log2),
        mask_(op.address_log2 == 3   ? ~uint64_t{0}
              : op.address_log2 == 2 ? 0xffff'ffff
                                     : 0xffff),
        step_(cpu.s().df < 0 ? -uint64_t{bytes_} : uint64_t{bytes_}),
        element_mask_(bytes_ == 8 ? ~uint64_t{0} : (uint64_t{1} << bytes_ * 8) - 1) {}

  void run(uint64_t pc) noexcept {
    VcpuContext& context = cpu_.context();
    uint64_t remaining = cpu_.reg(R_ECX) & mask_;
    if (remaining == 0) return;
    // The budget may be negative only by a bug elsewhere; one iteration is paid for in any case.
    uint64_t allowed = 1 + static_cast<uint64_t>(std::max<int64_t>(context.budget, 0));
    if (op_.one_only) allowed = 1;
    uint64_t done = 0;
    bool stopped = false;                               // the repeat condition failed: complete
    bool left = false;                                  // a fault, or an exact unit is needed
    const bool reported = context.accesses != nullptr;  // registers and count are right at each access
    const uint64_t first = cpu_.s().rr_guest_instr_count;
    while (done < std::min(remaining, allowed) && !stopped) {
      const uint64_t limit = std::min(remaining, allowed) - done;
      const uint64_t n = op_.one_only ? 0 : chunk(limit, stopped);
      if (n != 0) {
        done += n;
        continue;
      }
      if (context.exit_request != 0 || !element()) {
        left = true;
        break;
      }
      done += 1;
      stopped = condition_failed();
      if (reported) {
        commit(remaining - done);
        cpu_.s().rr_guest_instr_count = first + done;
      }
    }
    if (done != 0) commit(remaining - done);
    if (done != 0 && !stopped && done < remaining) between_iterations(cpu_.s());
    if (left) {
      context.budget -= static_cast<int64_t>(done);
      return;
    }
    context.budget -= static_cast<int64_t>(done) - 1;
    if (!stopped && done < remaining) {
      cpu_.s().eip = pc;
      context.request(ExitRequest::Dispatch);
    }
  }

 private:
  [[nodiscard]] bool uses_source() const { return op_.kind != StringKind::Stos && op_.kind != StringKind::Scas; }
  [[nodiscard]] bool uses_destination() const { return op_.kind != StringKind::Lods; }
  [[nodiscard]] bool writes() const { return op_.kind == StringKind::Movs || op_.kind == StringKind::Stos; }
  [[nodiscard]] bool down() const { return cpu_.s().df < 0; }
  [[nodiscard]] uint64_t source_offset() const { return cpu_.reg(R_ESI) & mask_; }
  [[nodiscard]] uint64_t destination_offset() const { return cpu_.reg(R_EDI) & mask_; }

  // Writes an index register at the address size.
  void set_index(unsigned number, uint64_t v) {
    if (mask_ == 0xffff) v = (cpu_.reg(number) & ~mask_) | (v & mask_);
    cpu_.set_reg(number, v & (mask_ == 0xffff ? ~uint64_t{0} : mask_));
  }
  void advance(uint64_t n) {
    if (uses_source()) set_index(R_ESI, source_offset() + step_ * n);
    if (uses_destination()) set_index(R_EDI, destination_offset() + step_ * n);
  }

  [[nodiscard]] uint64_t linear(unsigned seg, uint64_t offset) const {
    const State& s = cpu_.s();
    if ((s.hflags & kModeCs64) != 0) {
      return seg == R_FS || seg == R_GS ? offset + s.segs[seg].base : offset;
    }
    return (offset + s.segs[seg].base) & 0xffff'ffff;
  }
  [[nodiscard]] bool limits(unsigned seg) const {
    const uint64_t h = cpu_.s().hflags;
    if ((h & kModeCs64) != 0) return false;
    return (h & kModeLimits) != 0 || seg == R_FS || seg == R_GS || (seg == R_CS && is_protected(cpu_.s()));
  }
  [[nodiscard]] ir::MemInfo mem_info() const {
    const bool aligned = (cpu_.s().hflags & kModeAc) != 0 && bytes_ > 1;
    return {.mode = cpu_.mode(), .for_write = false, .align = static_cast<uint8_t>(aligned ? bytes_ : 0)};
  }

  // rCX and, for comparisons, the flags: at the end, whatever it is.
  void commit(uint64_t remaining) {
    set_index(R_ECX, remaining);
    if (op_.kind != StringKind::Scas && op_.kind != StringKind::Cmps) return;
    State& s = cpu_.s();
    s.cc_op = kCcSub + op_.size_log2;
    s.cc_dst = (left_ - right_) & element_mask_;
    s.cc_src = right_;
  }

  [[nodiscard]] bool condition_failed() const {
    if (op_.repeat == Repeat::Always) return false;
    return (left_ == right_) != (op_.repeat == Repeat::WhileEqual);
  }

  bool load(unsigned seg, uint64_t offset, uint64_t& v) {
    if (limits(seg) && !check_segment(cpu_, seg, offset, bytes_, false)) return false;
    v = 0;
    return load_guest(cpu_.context(), linear(seg, offset), bytes_, mem_info(), &v);
  }
  bool store(uint64_t offset, uint64_t v) {
    if (limits(R_ES) && !check_segment(cpu_, R_ES, offset, bytes_, true)) return false;
    return store_guest(cpu_.context(), linear(R_ES, offset), bytes_, mem_info(), &v);
  }

  // One iteration the careful way. False: left, nothing changed.
  bool element() {
    const uint64_t accumulator = cpu_.reg(R_EAX) & element_mask_;
    uint64_t v = 0;
    switch (op_.kind) {
      case StringKind::Movs:
        if (!load(op_.seg, source_offset(), v) || !store(destination_offset(), v)) return false;
        break;
      case StringKind::Stos:
        if (!store(destination_offset(), accumulator)) return false;
        break;
      case StringKind::Lods:
        if (!load(op_.seg, source_offset(), v)) return false;
        set_accumulator(v);
        break;
      case StringKind::Scas:
        if (!load(R_ES, destination_offset(), v)) return false;
        left_ = accumulator;
        right_ = v;
        break;
      case StringKind::Cmps: {
        uint64_t w = 0;
        if (!load(op_.seg, source_offset(), v) || !load(R_ES, destination_offset(), w)) return false;
        left_ = v;
        right_ = w;
        break;
      }
    }
    advance(1);
    return true;
  }

  void set_accumulator(uint64_t v) {
    if (bytes_ < 4) v |= cpu_.reg(R_EAX) & ~element_mask_;
    cpu_.set_reg(R_EAX, v);
  }

  // Elements from `offset` on, in the direction of travel, that stay in one page and in the
  // segment's offsets without wrapping.
  [[nodiscard]] uint64_t room(unsigned seg, uint64_t offset) const {
    const uint64_t address = linear(seg, offset);
    const uint64_t in_page = address & (kPageSize - 1);
    if (in_page + bytes_ > kPageSize) return 0;
    if (down()) return std::min(in_page, offset) / bytes_ + 1;
    const uint64_t to_wrap = mask_ - offset;  // bytes after the first
    const uint64_t page_rest = kPageSize - in_page;
    return (to_wrap < page_rest - 1 ? to_wrap + 1 : page_rest) / bytes_;
  }

  // Host pointer to the lowest byte of n elements from `offset` on, or null.
  uint8_t* map(unsigned seg, uint64_t offset, uint64_t n, bool write) {
    const uint64_t lowest = down() ? offset - (n - 1) * bytes_ : offset;
    const uint64_t size = n * bytes_;
    if (limits(seg) && !segment_permits(cpu_.s(), seg, lowest, size, write)) return nullptr;
    const auto host = [&](uint64_t at, uint64_t length) {
      return static_cast<uint8_t*>(map_guest(cpu_.context(), linear(seg, at), static_cast<unsigned>(length),
                                             write ? Access::Write : Access::Read, cpu_.mode()));
    };
    // Downwards, a fault must name the first element, not the lowest.
    if (lowest != offset && host(offset, bytes_) == nullptr) return nullptr;
    return host(lowest, size);
  }

  // Up to `limit` iterations on host memory. 0: go by element (or the exit request is set).
  uint64_t chunk(uint64_t limit, bool& stopped) {
    if ((cpu_.s().hflags & kModeAc) != 0 || cpu_.context().accesses != nullptr) return 0;
    uint64_t n = limit;
    if (uses_source()) n = std::min(n, room(op_.seg, source_offset()));
    if (uses_destination()) n = std::min(n, room(R_ES, destination_offset()));
    if (n == 0) return 0;
    uint8_t* source = nullptr;
    uint8_t* destination = nullptr;
    if (uses_source() && (source = map(op_.seg, source_offset(), n, false)) == nullptr) return 0;
    if (uses_destination() && (destination = map(R_ES, destination_offset(), n, writes())) == nullptr) return 0;
    switch (op_.kind) {
      case StringKind::Movs:
        move(destination, source, n);
        break;
      case StringKind::Stos:
        fill(destination, n);
        break;
      case StringKind::Lods:
        set_accumulator(read_element(down() ? source : source + (n - 1) * bytes_, bytes_));
        break;
      case StringKind::Scas:
      case StringKind::Cmps:
        n = compare(destination, source, n, stopped);
        break;
    }
    advance(n);
    return n;
  }

  // Copies in the order of the instruction: overlapping regions repeat their pattern as they do there.
  void move(uint8_t* to, const uint8_t* from, uint64_t n) {
    const uint64_t size = n * bytes_;
    const bool overtakes = down() ? to < from && to + size > from : from < to && from + size > to;
    if (!overtakes) {
      std::memmove(to, from, size);
      return;
    }
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t at = (down() ? n - 1 - i : i) * bytes_;
      std::memmove(to + at, from + at, bytes_);
    }
  }

  void fill(uint8_t* to, uint64_t n) {
    const uint64_t v = cpu_.reg(R_EAX) & element_mask_;
    switch (bytes_) {
      case 1:
        std::memset(to, static_cast<int>(v), n);
        break;
      case 2:
        fill_as(to, n, static_cast<uint16_t>(v));
        break;
      case 4:
        fill_as(to, n, static_cast<uint32_t>(v));
        break;
      default:
        fill_as(to, n, v);
        break;
    }
  }
  template <typename T>
  static void fill_as(uint8_t* to, uint64_t n, T v) {
    for (uint64_t i = 0; i < n; ++i) std::memcpy(to + i * sizeof(T), &v, sizeof(T));
  }

  // The number of iterations made; leaves the last pair compared in left_ and right_.
  uint64_t compare(const uint8_t* destination, const uint8_t* source, uint64_t n, bool& stopped) {
    const uint64_t accumulator = cpu_.reg(R_EAX) & element_mask_;
    for (uint64_t i = 0; i < n; ++i) {
      const uint64_t at = (down() ? n - 1 - i : i) * bytes_;
      left_ = source != nullptr ? read_element(source + at, bytes_) : accumulator;
      right_ = read_element(destination + at, bytes_);
      if (condition_failed()) {
        stopped = true;
        return i + 1;
      }
    }
    return n;
  }

  Cpu cpu_;
  StringOp op_;
  unsigned bytes_;
  uint64_t mask_;  // of the address size
  uint64_t step_;
  uint64_t element_mask_;
  uint64_t left_ = 0, right_ = 0;
};

void helper_string(void* state, uint32_t packed, uint64_t pc) noexcept {
  RepeatedString(Cpu(state), StringOp::unpack(packed)).run(pc);
}

}  // namespace

const ir::HelperDesc kHelperString = {.name = "x86_string",
                                      .function = reinterpret_cast<const void*>(&helper_string),
                                      .result = ir::Type::Void,
                                      .params = {ir::Type::I32, ir::Type::I64},
                                      .uses_budget = true};

}  // namespace panda::x86
