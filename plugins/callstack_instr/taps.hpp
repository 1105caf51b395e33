// What plugins that sort memory accesses by tap point share.
//
//     struct Sizes : callstack::TapPlugin {
//       callstack::TapMap<uint64_t> sizes;
//       Sizes() { on_access([this](CPUState *cpu, const callstack::Access &a) { sizes[tap(cpu, a)] += a.size; }); }
//     };
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "callstack_instr/callstack_instr_ext.h"
#include "callstack_instr/prog_point.h"
#include "panda/plugin.hpp"

namespace callstack {

struct Access {
  target_ulong pc;
  target_ulong addr;
  size_t size;
  const uint8_t* data;
  bool is_write;
};

// By tap point; references stay valid. Few tap points make most accesses, so the last ones are found fast.
template <typename T>
class TapMap {
 public:
  T& operator[](const prog_point& p) {
    auto& recent = recent_[hash_prog_point()(p) >> 8 & (kRecent - 1)];
    if (recent == nullptr || !(recent->first == p)) recent = &*all_.try_emplace(p).first;
    return recent->second;
  }
  [[nodiscard]] size_t size() const { return all_.size(); }
  void clear() {
    recent_.fill(nullptr);
    all_.clear();
  }
  // In the order of prog_point: by pc, then caller.
  [[nodiscard]] std::vector<const std::pair<const prog_point, T>*> sorted() const {
    std::vector<const std::pair<const prog_point, T>*> out;
    out.reserve(all_.size());
    for (const auto& entry : all_) out.push_back(&entry);
    std::sort(out.begin(), out.end(), [](const auto* a, const auto* b) { return a->first < b->first; });
    return out;
  }

 private:
  static constexpr size_t kRecent = 4096;
  std::unordered_map<prog_point, T, hash_prog_point> all_;
  std::array<std::pair<const prog_point, T>*, kRecent> recent_{};
};

template <typename F, bool is_write>
struct Listener {
  F f;
  void operator()(CPUState* cpu, target_ulong pc, target_ulong addr, size_t size, uint8_t* buf) {
    f(cpu, Access{pc, addr, size, buf, is_write});
  }
  static bool wants(const Listener& l, target_ulong pc, target_ulong addr, size_t size, const uint8_t* data)
    requires panda::detail::has_filter<F>
  {
    return F::wants(l.f, pc, addr, size, data);
  }
};

class TapPlugin : public panda::Plugin {
 public:
  TapPlugin() {
    panda_require("callstack_instr");
    if (!init_callstack_instr_api()) panda::refuse("needs the plugin callstack_instr");
  }

  // The access's tap point.
  static prog_point tap(CPUState* cpu, const Access& access) {
    prog_point p;
    get_prog_point(cpu, &p);
    p.pc = access.pc;
    return p;
  }

 protected:
  // f(cpu, access) after each read, each write of virtual memory. F may have a filter, as panda/plugin.hpp has it.
  template <typename F>
  panda::Callback& on_read(F f) {
    panda_enable_memcb();
    return on_virt_mem_after_read(Listener<F, false>{std::move(f)});
  }
  template <typename F>
  panda::Callback& on_write(F f) {
    panda_enable_memcb();
    return on_virt_mem_after_write(Listener<F, true>{std::move(f)});
  }
  template <typename F>
  void on_access(F f) {
    on_read(f);
    on_write(f);
  }
};

// A binary file of the tap plugins begins with the size of a guest word.
inline void write_word_size(panda::Output& out) {
  const uint32_t size = sizeof(target_ulong);
  out.write(&size, sizeof(size));
}

inline std::string stack_id(const prog_point& p) {
  const std::unique_ptr<char, decltype(&std::free)> text(get_stackid_string(p), &std::free);
  return text.get();
}

}  // namespace callstack
