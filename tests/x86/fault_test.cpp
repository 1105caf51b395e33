// Faults at each memory operand of every form, the implicit ones too (stack, string and MASKMOV operands): our
// engine against the host CPU in vector, error code, CR2 and the whole state, alone and inside a region.
// PANDA_FAULT_INPUTS sets how many inputs a form gets of each kind.
//
// The second page of the data area is what a kind makes of it. That a page belongs to the supervisor is told to
// the host by taking the page away: its error code then has to differ in the bit P alone.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <set>

#include "compare.h"
#include "engine_executor.h"
#include "forms.h"
#include "guest/x86/decoder.h"
#include "guest/x86/rows.h"
#include "guest/x86/state.h"
#include "host_executor.h"
#include "random_state.h"
#include "skip.h"
#include "steps.h"
#include "tally.h"
#include "undefined.h"

namespace panda::x86test {
namespace {

enum class Where : uint8_t {
  Inside,      // in the second page
  Straddling,  // from the first into the second
  Entering,    // from before the data area, where nothing is, into it
  NotCanonical,
  Misaligned,  // with EFLAGS.AC
};
struct FaultKind {
  const char* name;
  Where where;
  PageAccess access;
};
const FaultKind kKinds[] = {
    {"absent", Where::Inside, PageAccess::Absent},
    {"read_only", Where::Inside, PageAccess::ReadOnly},
    {"supervisor", Where::Inside, PageAccess::Supervisor},
    {"into_absent", Where::Straddling, PageAccess::Absent},
    {"into_read_only", Where::Straddling, PageAccess::ReadOnly},
    {"into_supervisor", Where::Straddling, PageAccess::Supervisor},
    {"from_absent", Where::Entering, PageAccess::Writable},
    {"not_canonical", Where::NotCanonical, PageAccess::Writable},
    {"misaligned", Where::Misaligned, PageAccess::Writable},
};
constexpr uint64_t kAc = 0x40000;

struct Group {
  const char* name;
  std::span<const x86::Row> (*rows)();
};
const Group kGroups[] = {{"integer", x86::integer_rows}, {"control", x86::control_rows}, {"string", x86::string_rows},
                         {"x87", x86::x87_rows},         {"mmx", x86::mmx_rows},         {"sse", x86::sse_rows},
                         {"avx", x86::avx_rows}};

unsigned inputs_per_form() {
  const char* text = std::getenv("PANDA_FAULT_INPUTS");
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 0)) : 1;
}

// A memory operand: which register moves it, where it lies now, how many bytes it has.
struct Place {
  unsigned base;
  uint64_t at;
  unsigned bytes;
};

std::vector<Place> places_of(const Bytes& code, Mode mode, const MachineState& state) {
  static const x86::Decoder decoder;
  const uint64_t flags = x86::kModePe | (mode == Mode::Long64 ? x86::kModeLma | x86::kModeCs64 : x86::kModeCs32);
  std::vector<Place> places;
  x86::DecodedInsn d{};
  if (decoder.decode(code, flags, d) != x86::DecodeStatus::Ok) return places;
  for (unsigned i = 0; i < d.insn.operand_count; i++) {
    const ZydisDecodedOperand& op = d.ops[i];
    if (op.type != ZYDIS_OPERAND_TYPE_MEMORY || op.mem.type == ZYDIS_MEMOP_TYPE_AGEN) continue;
    if (!x86::is_general_register(op.mem.base)) continue;
    const unsigned base = x86::general_register(op.mem.base).number;
    uint64_t at = state.gpr[base] + static_cast<uint64_t>(op.mem.disp.value);
    if (x86::is_general_register(op.mem.index)) {
      at += state.gpr[x86::general_register(op.mem.index).number] * op.mem.scale;
    }
    places.push_back({base, mode == Mode::Long64 ? at : at & 0xffffffff, std::max(op.size / 8u, 1u)});
  }
  return places;
}

uint64_t target(const FaultKind& kind, unsigned bytes, Rng& rng) {
  const uint64_t part = bytes > 1 ? 1 + rng() % (bytes - 1) : 0;  // of it in the first page
  switch (kind.where) {
    case Where::Inside:
      return kData + kPage + 0x400 + rng() % 16 * 32;
    case Where::Straddling:
      return kData + kPage - part;
    case Where::Entering:
      return kData - part;
    case Where::NotCanonical:
      return 0x8000'0000'0000 + (rng() & 0x7fff'0000'0000'fff0);
    default:
      return kData + 0x800 + rng() % 16 * 32 + 1 + rng() % 15;
  }
}

class FaultTest : public testing::TestWithParam<std::tuple<Mode, size_t>> {
 protected:
  FaultTest() : mode_(std::get<0>(GetParam())), host_(mode_) {
    for (const BackendKind kind : {BackendKind::Interpreter, BackendKind::Jit}) {
      engines_.push_back(std::make_unique<EngineExecutor>(mode_, kind));
    }
  }
  ~FaultTest() override { host_.protect(PageAccess::Writable); }

  void compare(const Form& form, const FaultKind& kind, const Steps& steps, const MachineState& before,
               const Encoded& code, EngineExecutor& engine) {
    const bool alone = steps.insns.size() == 1;
    const Result got = alone ? engine.run(code.bytes, before) : engine.run_to_end(steps.bytes(), before);
    Result want = host_.run(steps, before);
    if (kind.access == PageAccess::Supervisor && want.vector == x86::kPF && want.cr2 - (kData + kPage) < kPage) {
      want.error |= 1;
    }
    forgive(form, code, before, got, want);
    cases_++;
    if (want.outcome != Outcome::Done) faulted_[form.name()]++;
    const std::string diff = differences(want, got, ~0u, mode_);
    if (diff.empty()) return;
    if (++failures_ > 20) return;
    ADD_FAILURE() << form.name() << " (" << kind.name << ") on the " << engine.name() << (alone ? "" : " in a region")
                  << fmt::format(", vector {} error {:#x} cr2 {:#x}, host {} {:#x} {:#x}\n", got.vector, got.error,
                                 got.cr2, want.vector, want.error, want.cr2)
                  << fmt::format("  rsp {:#x} rbp {:#x} rbx {:#x} fcw {:#x} fsw {:#x}\n", before.gpr[4], before.gpr[5],
                                 before.gpr[3], before.fx[0] | before.fx[1] << 8, before.fx[2] | before.fx[3] << 8)
                  << listing(steps.bytes(), mode_) << diff;
  }

  Mode mode_;
  HostExecutor host_;
  std::vector<std::unique_ptr<EngineExecutor>> engines_;
  std::map<std::string, unsigned> faulted_;  // form -> comparisons
  unsigned cases_ = 0, failures_ = 0;
};

TEST_P(FaultTest, AtEachMemoryOperand) {
  const Group& group = kGroups[std::get<1>(GetParam())];
  std::vector<ZydisMnemonic> mnemonics;
  for (const x86::Row& row : group.rows()) {
    if (!skipped(row.mnemonic, row.feature)) mnemonics.push_back(row.mnemonic);
  }
  const std::vector<Form> forms = all_forms(mnemonics, mode_);
  std::set<std::string> with_memory;
  for (const FaultKind& kind : kKinds) {
    if (kind.where == Where::NotCanonical && mode_ != Mode::Long64) continue;
    host_.protect(kind.access);
    for (auto& engine : engines_) engine->protect(kind.access);
    faulted_.clear();
    with_memory.clear();
    const unsigned cases_before = cases_;
    for (const Form& form : forms) {
      Rng rng(std::hash<std::string>{}(form.name() + kind.name));
      for (unsigned i = 0; i < inputs_per_form(); i++) {
        MachineState state = random_state(rng, mode_);
        const Encoded code = encode(form, mode_, rng, state);
        if (code.bytes.empty() || !host_.runs(code.bytes)) continue;
        prepare(form, state, rng);
        for (const Place& place : places_of(code.bytes, mode_, state)) {
          MachineState before = state;
          before.gpr[place.base] += target(kind, place.bytes, rng) - place.at;
          if (mode_ != Mode::Long64) before.gpr[place.base] &= 0xffffffff;
          if (kind.where == Where::Misaligned) before.rflags |= kAc;
          if (undefined_result(form, code, before)) continue;
          with_memory.insert(form.name());
          Steps alone;
          alone.insns.push_back(code.bytes);
          for (auto& engine : engines_) compare(form, kind, alone, before, code, *engine);
          const Steps region = in_region(form, code, mode_, before, rng);
          compare(form, kind, region, before, code, *engines_.back());
        }
      }
    }
    const std::string oracle = std::string("fault ") + kind.name;
    for (const Form& form : forms) {
      const auto found = faulted_.find(form.name());
      if (found != faulted_.end()) {
        tally(oracle.c_str(), mode_ == Mode::Long64 ? "64" : "32", form, found->second, false);
      }
    }
    std::printf("%s, %s: %zu forms with memory, %zu faulted, %u comparisons\n", group.name, kind.name,
                with_memory.size(), faulted_.size(), cases_ - cases_before);
    if (kind.access == PageAccess::Absent && kind.where == Where::Inside) {
      EXPECT_GE(faulted_.size() * 10, with_memory.size() * 9) << "the operands must reach the page";
    }
  }
  EXPECT_EQ(failures_, 0u);
}

std::string test_name(const testing::TestParamInfo<std::tuple<Mode, size_t>>& info) {
  return std::string(kGroups[std::get<1>(info.param)].name) + (std::get<0>(info.param) == Mode::Long64 ? "_64" : "_32");
}
INSTANTIATE_TEST_SUITE_P(X86, FaultTest,
                         testing::Combine(testing::Values(Mode::Long64, Mode::Protected32),
                                          testing::Range(size_t{0}, std::size(kGroups))),
                         test_name);

}  // namespace
}  // namespace panda::x86test
