// Every instruction form, on random and boundary inputs: our engine against the host CPU, in 64-bit and in 32-bit
// code. The engine is the interpreter, the JIT with one-instruction units, the same as for a host that has no
// more than the least, and the JIT with the instruction inside a region. PANDA_INSN_INPUTS sets how many inputs a
// form gets; one that reads flags gets each combination of them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

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

struct Group {
  const char* name;
  std::span<const x86::Row> (*rows)();
};
const Group kGroups[] = {{"integer", x86::integer_rows}, {"control", x86::control_rows}, {"string", x86::string_rows},
                         {"x87", x86::x87_rows},         {"mmx", x86::mmx_rows},         {"sse", x86::sse_rows},
                         {"avx", x86::avx_rows}};

unsigned inputs_per_form() {
  const char* text = std::getenv("PANDA_INSN_INPUTS");
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 0)) : 16;
}

std::string floating_point(const MachineState& s) {
  const auto field = [&](size_t at, size_t n) {
    uint64_t v = 0;
    std::memcpy(&v, &s.fx[at], n);
    return v;
  };
  return fmt::format("  fcw {:x} fsw {:x} ftw {:x} mxcsr {:x} st0 {:x}:{:016x} st1 {:x}:{:016x}\n", field(0, 2),
                     field(2, 2), field(4, 1), field(24, 4), field(40, 2), field(32, 8), field(56, 2), field(48, 8));
}

struct Compared {
  std::string engine;
  Result got, want;
};

bool reads_flags(const Form& form, Mode mode) {
  static const x86::Decoder decoder;
  Rng rng(1);
  MachineState state = random_state(rng, mode);
  for (unsigned tries = 0; tries < 8; tries++) {
    const Encoded code = encode(form, mode, rng, state);
    const uint64_t flags = x86::kModePe | (mode == Mode::Long64 ? x86::kModeLma | x86::kModeCs64 : x86::kModeCs32);
    x86::DecodedInsn d{};
    if (code.bytes.empty() || decoder.decode(code.bytes, flags, d) != x86::DecodeStatus::Ok) continue;
    return d.insn.cpu_flags != nullptr && (d.insn.cpu_flags->tested & x86::kArithmeticFlags) != 0;
  }
  return false;
}

// The combination of arithmetic flags that the bits of `number` stand for.
void set_flags(MachineState& state, unsigned number) {
  state.rflags &= ~uint64_t{x86::kArithmeticFlags};
  for (const unsigned bit : {0u, 2u, 4u, 6u, 7u, 11u}) {
    state.rflags |= uint64_t{number & 1} << bit;
    number >>= 1;
  }
}

class InsnTest : public testing::TestWithParam<std::tuple<Mode, size_t>> {};

TEST_P(InsnTest, AgreesWithTheOracles) {
  const auto [mode, group_number] = GetParam();
  std::vector<ZydisMnemonic> mnemonics;
  std::map<ZydisMnemonic, x86::Feature> features;
  for (const x86::Row& row : kGroups[group_number].rows()) {
    if (!skipped(row.mnemonic, row.feature)) mnemonics.push_back(row.mnemonic);
  }
  const std::vector<Form> forms = all_forms(mnemonics, mode);
  ASSERT_FALSE(forms.empty());

  HostExecutor host(mode);
  std::vector<std::unique_ptr<EngineExecutor>> engines;
  for (const BackendKind kind : {BackendKind::Interpreter, BackendKind::Jit, BackendKind::JitForOldHost}) {
    engines.push_back(std::make_unique<EngineExecutor>(mode, kind));
    engines.back()->set_max_unit_insns(1);
  }
  EngineExecutor regions(mode, BackendKind::Jit);

  unsigned cases = 0, failures = 0, failed_forms = 0;
  for (const Form& form : forms) {
    Rng rng(std::hash<std::string>{}(form.name()));
    bool form_failed = false;
    const unsigned cases_before = cases;
    const unsigned inputs = reads_flags(form, mode) ? std::max(64u, inputs_per_form()) : inputs_per_form();
    for (unsigned i = 0; i < inputs; i++) {
      MachineState before = random_state(rng, mode);
      const Encoded code = encode(form, mode, rng, before);
      if (code.bytes.empty() || !host.runs(code.bytes)) continue;
      prepare(form, before, rng);
      if (inputs > inputs_per_form()) set_flags(before, i);
      if (undefined_result(form, code, before)) continue;
      const uint32_t undefined = undefined_flags(form, code, before);
      std::vector<Compared> compared;
      const Result found = host.run(code.bytes, before);
      for (auto& engine : engines) compared.push_back({engine->name(), engine->run(code.bytes, before), found});
      MachineState region_before = before;
      const Steps region = in_region(form, code, mode, region_before, rng);
      compared.push_back(
          {"jit in a region", regions.run_to_end(region.bytes(), region_before), host.run(region, region_before)});
      for (Compared& c : compared) {
        cases++;
        const bool in_region = &c == &compared.back();
        forgive(form, code, in_region ? region_before : before, c.got, c.want);
        const std::string diff = differences(c.want, c.got, undefined, mode, in_region);
        if (diff.empty()) continue;
        failures++;
        if (!form_failed) {
          std::string bytes;
          for (uint8_t b : code.bytes) bytes += fmt::format("{:02x} ", b);
          std::string registers;
          for (unsigned r = 0; r < 16; r++) registers += fmt::format("{:x} ", before.gpr[r]);
          ADD_FAILURE() << form.name() << " on the " << c.engine << " against the host, input " << i
                        << "\n  bytes: " << bytes << "\n  before: " << registers
                        << fmt::format("flags {:x}\n", before.rflags) << floating_point(before)
                        << (in_region ? listing(region.bytes(), mode) : "") << diff;
        }
        form_failed = true;
      }
    }
    failed_forms += form_failed ? 1 : 0;
    tally("host", mode == Mode::Long64 ? "64" : "32", form, cases - cases_before, form_failed);
  }
  RecordProperty("forms", static_cast<int>(forms.size()));
  RecordProperty("cases", static_cast<int>(cases));
  std::printf("%s: %zu forms, %u comparisons, %u failed in %u forms\n", kGroups[group_number].name, forms.size(), cases,
              failures, failed_forms);
}

// No test of its own: tells make fidelity what there is.
TEST(Inventory, IsTold) {
  tally_inventory();
  EXPECT_EQ(extension_name(feature_of(ZYDIS_MNEMONIC_CRC32)), "sse4.2");
}

std::string test_name(const testing::TestParamInfo<std::tuple<Mode, size_t>>& info) {
  return std::string(kGroups[std::get<1>(info.param)].name) + (std::get<0>(info.param) == Mode::Long64 ? "_64" : "_32");
}
INSTANTIATE_TEST_SUITE_P(X86, InsnTest,
                         testing::Combine(testing::Values(Mode::Long64, Mode::Protected32),
                                          testing::Range(size_t{0}, std::size(kGroups))),
                         test_name);

}  // namespace
}  // namespace panda::x86test
