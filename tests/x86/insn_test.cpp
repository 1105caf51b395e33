// Every instruction form, on random and boundary inputs: our engine on each back end against the
// host CPU, in 64-bit and in 32-bit code. PANDA_INSN_INPUTS sets how many inputs a form gets.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "compare.h"
#include "engine_executor.h"
#include "forms.h"
#include "guest/x86/rows.h"
#include "guest/x86/state.h"
#include "host_executor.h"
#include "random_state.h"
#include "skip.h"
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

class InsnTest : public testing::TestWithParam<std::tuple<Mode, size_t>> {};

TEST_P(InsnTest, AgreesWithTheOracles) {
  const auto [mode, group_number] = GetParam();
  if (!HostExecutor::offers(mode)) GTEST_SKIP() << "this host runs no 32-bit code";
  std::vector<ZydisMnemonic> mnemonics;
  std::map<ZydisMnemonic, x86::Feature> features;
  for (const x86::Row& row : kGroups[group_number].rows()) {
    if (!skipped(row.mnemonic, row.feature)) mnemonics.push_back(row.mnemonic);
  }
  const std::vector<Form> forms = all_forms(mnemonics, mode);
  ASSERT_FALSE(forms.empty());

  HostExecutor host(mode);
  std::vector<std::unique_ptr<Executor>> engines;
  engines.push_back(std::make_unique<EngineExecutor>(mode, BackendKind::Interpreter));
  engines.push_back(std::make_unique<EngineExecutor>(mode, BackendKind::Jit));

  unsigned cases = 0, failures = 0, failed_forms = 0;
  for (const Form& form : forms) {
    Rng rng(std::hash<std::string>{}(form.name()));
    bool form_failed = false;
    const unsigned cases_before = cases;
    for (unsigned i = 0; i < inputs_per_form(); i++) {
      MachineState before = random_state(rng, mode);
      const Encoded code = encode(form, mode, rng, before);
      if (code.bytes.empty()) continue;
      prepare(form, before, rng);
      if (undefined_result(form, code, before)) continue;
      const uint32_t undefined = undefined_flags(form, code, before);
      std::vector<Result> got;
      for (auto& engine : engines) got.push_back(engine->run(code.bytes, before));
      const Result found = host.run(code.bytes, before);
      for (size_t e = 0; e < engines.size(); e++) {
        cases++;
        Result want = found;
        forgive(form, code, before, got[e], want);
        const std::string diff = differences(want, got[e], undefined, mode);
        if (diff.empty()) continue;
        failures++;
        if (!form_failed) {
          std::string bytes;
          for (uint8_t b : code.bytes) bytes += fmt::format("{:02x} ", b);
          std::string registers;
          for (unsigned r = 0; r < 16; r++) registers += fmt::format("{:x} ", before.gpr[r]);
          ADD_FAILURE() << form.name() << " on the " << engines[e]->name() << " against the host, input " << i
                        << "\n  bytes: " << bytes << "\n  before: " << registers
                        << fmt::format("flags {:x}\n", before.rflags) << floating_point(before) << diff;
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
