// --backend=check: every unit runs twice from one state, on a back end that is believed (the oracle)
// and on the one under test (the subject), and CPU state, memory, counts, crossings and the way out
// must be the same. The first difference is reported with the unit; the run goes on as the oracle had
// it, without the subject.
//
// Where it compares, units do not chain: each exit comes back to the engine. Only a unit that branches
// back to its own start is linked, so that loops run as they do in the product. Apart from that the
// subject's code is what it is without a checker. Nothing is assumed about a unit but its entry,
// exits, counts and budget. Where it does not compare (set_interval), the subject runs as ever.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "backend/check/journal.h"
#include "base/types.h"
#include "exec/backend.h"
#include "exec/frontend.h"

namespace panda::check {

struct Stats {
  uint64_t units = 0;  // runs compared
  uint64_t insns = 0;
  uint64_t crossings = 0;
};

class CheckBackend final : public exec::Backend {
 public:
  CheckBackend(std::unique_ptr<exec::Backend> oracle, std::unique_ptr<exec::Backend> subject, exec::Frontend& frontend,
               GuestMemory& memory);
  ~CheckBackend() override;

  // Compares only what begins at a count in [from, to), and again `every` instructions later and so
  // on (0: once).
  void set_interval(InsnCount from, InsnCount to, uint64_t every = 0);
  // Called once, from inside run(), with the report.
  void on_difference(std::function<void(const std::string& report)> f) { report_to_ = std::move(f); }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] Stats stats() const;

  [[nodiscard]] std::string_view name() const override { return "check"; }
  void set_verify(bool on) override {
    oracle_->set_verify(on);
    subject_->set_verify(on);
  }
  bool compile(const ir::Unit& ir, exec::TranslationUnit& unit) override;
  exec::ExitInfo run(VcpuContext& cpu, exec::TranslationUnit& unit) override;
  void link(exec::TranslationUnit& from, uint32_t index, exec::TranslationUnit& to, bool counted) override;
  void unlink(exec::TranslationUnit& from, uint32_t index) override;
  void release(exec::TranslationUnit& unit) override;
  void reset() override;
  [[nodiscard]] exec::TranslationUnit* in_the_way() const override { return in_the_way_; }
  [[nodiscard]] exec::CodeSpace code_space() const override { return subject_->code_space(); }

 private:
  // The engine's unit as a back end has it.
  struct Proxy : exec::TranslationUnit {
    exec::TranslationUnit* engine = nullptr;
  };
  struct Pair {
    Proxy oracle;
    Proxy subject;
    ir::Unit ir;
  };
  // The CPU, before or after a run.
  struct CpuImage {
    std::vector<uint8_t> state;
    int64_t budget = 0;
    uint64_t count_limit = 0;
    uint64_t exact = 0;
    uint32_t exit_request = 0;
    uint32_t guest_mxcsr = 0;
    uint32_t watch_hits = 0;
    std::vector<Watch> watches;
  };

  [[nodiscard]] static Pair& pair_of(exec::TranslationUnit& unit) { return *static_cast<Pair*>(unit.backend_data); }
  exec::ExitInfo run_both(VcpuContext& cpu, exec::TranslationUnit& unit);
  exec::ExitInfo run_alone(VcpuContext& cpu, exec::TranslationUnit& unit, uint64_t most_insns);
  [[nodiscard]] uint64_t distance_to_interval(InsnCount now) const;  // 0: inside
  void save(const VcpuContext& cpu, CpuImage& out) const;
  void restore(VcpuContext& cpu, const CpuImage& from) const;
  [[nodiscard]] bool is_as(const CpuImage& a, const VcpuContext& b) const;
  void settle(VcpuContext& cpu, const exec::TranslationUnit& unit, const exec::ExitInfo& exit) const;
  void compare(bool on);
  static int64_t withhold(VcpuContext& cpu, uint64_t most_insns);
  static void give_back(VcpuContext& cpu, int64_t withheld, exec::ExitInfo& exit);
  [[nodiscard]] bool no_room(const exec::Backend& backend);

  // report.cpp
  [[nodiscard]] std::string difference_of_states() const;
  [[nodiscard]] std::string report(const exec::TranslationUnit& unit, const exec::ExitInfo& want,
                                   const exec::ExitInfo& got);

  std::unique_ptr<exec::Backend> oracle_;
  std::unique_ptr<exec::Backend> subject_;
  exec::Frontend& frontend_;
  GuestMemory& memory_;
  Journal journal_;
  std::vector<JumpCacheEntry> no_jumps_;  // stays empty
  std::unordered_set<Pair*> pairs_;
  exec::TranslationUnit* in_the_way_ = nullptr;
  CpuImage before_, want_, got_;
  InsnCount from_{0};
  uint64_t length_ = ~uint64_t{0};
  uint64_t every_ = 0;
  bool comparing_ = false;
  bool running_ = false;
  bool failed_ = false;
  Stats stats_;
  std::function<void(const std::string&)> report_to_;
};

}  // namespace panda::check
