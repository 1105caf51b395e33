// Every instruction form, on random and boundary inputs: our engine on each back end against the
// host CPU (64-bit mode) and Unicorn. PANDA_INSN_INPUTS sets how many inputs a form gets.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>

#include "engine_executor.h"
#include "forms.h"
#include "guest/x86/rows.h"
#include "guest/x86/state.h"
#include "host_executor.h"
#include "skip.h"
#include "undefined.h"
#include "unicorn_executor.h"

namespace panda::x86test {
namespace {

struct Group {
  const char* name;
  std::span<const x86::Row> (*rows)();
};
const Group kGroups[] = {{"integer", x86::integer_rows}, {"control", x86::control_rows}, {"string", x86::string_rows},
                         {"x87", x86::x87_rows},         {"mmx", x86::mmx_rows},         {"sse", x86::sse_rows}};

unsigned inputs_per_form() {
  const char* text = std::getenv("PANDA_INSN_INPUTS");
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 0)) : 24;
}

uint64_t interesting(Rng& rng) {
  static const uint64_t kBoundary[] = {0, 1, 2, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
                                       0xffffffff, 0x7fffffffffffffff, 0x8000000000000000, ~uint64_t{0}, 0x3f, 0x40};
  const uint64_t r = rng();
  if (r % 3 != 0) return rng() >> (r / 3 % 4 * 16);
  return kBoundary[r / 3 % std::size(kBoundary)];
}

double interesting_double(Rng& rng) {
  static const double kValues[] = {0.0, -0.0, 1.0, -1.0, 0.5, 3.0, 1e300, -1e300, 1e-310, 2147483647.5, -2147483649.0,
                                   9.3e18, 1e-5, 65536.0, __builtin_inf(), -__builtin_inf(), __builtin_nan("")};
  if (rng() % 2) return kValues[rng() % std::size(kValues)];
  return static_cast<double>(static_cast<int64_t>(rng())) / static_cast<double>(1 + rng() % 100000);
}

void put(uint8_t* at, const void* from, size_t n) { std::memcpy(at, from, n); }

void random_lanes(uint8_t* at, Rng& rng) {
  switch (rng() % 4) {
    case 0:
      for (size_t i = 0; i < 16; i += 8) {
        const uint64_t v = rng();
        put(at + i, &v, 8);
      }
      break;
    case 1:
      for (size_t i = 0; i < 16; i += 8) {
        const double v = interesting_double(rng);
        put(at + i, &v, 8);
      }
      break;
    case 2:
      for (size_t i = 0; i < 16; i += 4) {
        const auto v = static_cast<float>(interesting_double(rng));
        put(at + i, &v, 4);
      }
      break;
    default:
      for (size_t i = 0; i < 16; i += 8) {
        const uint64_t v = interesting(rng);
        put(at + i, &v, 8);
      }
  }
}

MachineState random_state(Rng& rng, Mode mode) {
  MachineState s;
  for (auto& r : s.gpr) r = mode == Mode::Long64 ? interesting(rng) : static_cast<uint32_t>(interesting(rng));
  s.gpr[4] = kData + 0x1000 + rng() % 32 * 8;
  s.rflags = 0x202 | (rng() & x86::kArithmeticFlags);
  s.data.resize(kDataBytes);
  for (size_t i = 0; i < s.data.size(); i += 16) random_lanes(&s.data[i], rng);
  const uint16_t fcw = rng() % 4 ? 0x37f : static_cast<uint16_t>(0x7f | (rng() % 4) << 10 | (rng() % 2 ? 0x300 : 0x200));
  const uint32_t mxcsr = 0x1f80 | (rng() % 4 ? 0u : static_cast<uint32_t>(rng() % 4) << 13);
  put(&s.fx[0], &fcw, 2);
  put(&s.fx[24], &mxcsr, 4);
  const auto top = static_cast<uint16_t>((rng() % 8) << 11);
  put(&s.fx[2], &top, 2);
  s.fx[4] = rng() % 3 ? 0xff : static_cast<uint8_t>(rng());  // abridged tags: mostly full
  for (size_t i = 0; i < 8; i++) {
    const long double v = rng() % 4 ? static_cast<long double>(interesting_double(rng))
                                    : static_cast<long double>(static_cast<int64_t>(rng()));
    put(&s.fx[32 + 16 * i], &v, 10);
  }
  for (size_t i = 0; i < 16; i++) random_lanes(&s.fx[160 + 16 * i], rng);
  return s;
}

// One line per difference; empty where the results agree.
std::string differences(const Result& want, const Result& got, uint32_t undefined, Mode mode, uint16_t fsw_mask) {
  static const char* const kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  std::string text;
  if (want.outcome != got.outcome) {
    return fmt::format("  outcome: want {} got {}\n", static_cast<int>(want.outcome), static_cast<int>(got.outcome));
  }
  const bool fault = want.outcome != Outcome::Done;
  const unsigned gprs = mode == Mode::Long64 ? 16 : 8;
  for (unsigned i = 0; i < gprs; i++) {
    if (want.state.gpr[i] != got.state.gpr[i]) {
      text += fmt::format("  {}: want {:#x} got {:#x}\n", kNames[i], want.state.gpr[i], got.state.gpr[i]);
    }
  }
  const uint64_t flags = (x86::kArithmeticFlags | x86::kDF_) & ~undefined;
  if (!fault && ((want.state.rflags ^ got.state.rflags) & flags) != 0) {
    text += fmt::format("  flags: want {:#x} got {:#x}\n", want.state.rflags & flags, got.state.rflags & flags);
  }
  if (!fault && want.state.rip != got.state.rip) {
    text += fmt::format("  rip: want {:#x} got {:#x}\n", want.state.rip, got.state.rip);
  }
  if (want.state.data != got.state.data) {
    for (size_t i = 0; i < want.state.data.size(); i++) {
      if (want.state.data[i] != got.state.data[i]) {
        text += fmt::format("  memory {:#x}: want {:#04x} got {:#04x}\n", kData + i, want.state.data[i], got.state.data[i]);
        break;
      }
    }
  }
  const auto field = [&](const char* what, size_t at, size_t n, uint64_t mask = ~uint64_t{0}) {
    uint64_t a = 0, b = 0;
    put(reinterpret_cast<uint8_t*>(&a), &want.state.fx[at], n);
    put(reinterpret_cast<uint8_t*>(&b), &got.state.fx[at], n);
    if (((a ^ b) & mask) != 0) text += fmt::format("  {}: want {:#x} got {:#x}\n", what, a, b);
  };
  field("fcw", 0, 2);
  field("fsw", 2, 2, fsw_mask);
  field("ftw", 4, 1);
  field("mxcsr", 24, 4);
  for (unsigned i = 0; i < 8; i++) {
    field("st low", 32 + 16 * i, 8);
    field("st high", 40 + 16 * i, 2);
  }
  for (unsigned i = 0; i < gprs; i++) {
    field("xmm low", 160 + 16 * i, 8);
    field("xmm high", 168 + 16 * i, 8);
  }
  return text;
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

  std::vector<std::unique_ptr<Executor>> oracles, engines;
  if (mode == Mode::Long64) oracles.push_back(std::make_unique<HostExecutor>());
  oracles.push_back(std::make_unique<UnicornExecutor>(mode));
  engines.push_back(std::make_unique<EngineExecutor>(mode, BackendKind::Interpreter));
  engines.push_back(std::make_unique<EngineExecutor>(mode, BackendKind::Jit));

  unsigned cases = 0, failures = 0, failed_forms = 0;
  for (const Form& form : forms) {
    Rng rng(std::hash<std::string>{}(form.name()));
    bool form_failed = false;
    for (unsigned i = 0; i < inputs_per_form(); i++) {
      MachineState before = random_state(rng, mode);
      const Encoded code = encode(form, mode, rng, before);
      if (code.bytes.empty()) continue;
      prepare(form, before, rng);
      if (undefined_result(form, code, before)) continue;
      const uint32_t undefined = undefined_flags(form, code, before);
      std::vector<Result> got;
      for (auto& engine : engines) got.push_back(engine->run(code.bytes, before));
      for (auto& oracle : oracles) {
        if (oracle_is_wrong(oracle->name(), form)) continue;
        const Result want = oracle->run(code.bytes, before);
        for (size_t e = 0; e < engines.size(); e++) {
          cases++;
          const std::string diff = differences(want, got[e], undefined, mode, fsw_mask(form));
          if (diff.empty()) continue;
          failures++;
          if (!form_failed) {
            std::string bytes;
            for (uint8_t b : code.bytes) bytes += fmt::format("{:02x} ", b);
            std::string registers;
            for (unsigned r = 0; r < 16; r++) registers += fmt::format("{:x} ", before.gpr[r]);
            ADD_FAILURE() << form.name() << " on the " << engines[e]->name() << " against the " << oracle->name()
                          << ", input " << i << "\n  bytes: " << bytes << "\n  before: " << registers
                          << fmt::format("flags {:x}\n", before.rflags) << diff;
          }
          form_failed = true;
        }
      }
    }
    failed_forms += form_failed ? 1 : 0;
  }
  RecordProperty("forms", static_cast<int>(forms.size()));
  RecordProperty("cases", static_cast<int>(cases));
  std::printf("%s: %zu forms, %u comparisons, %u failed in %u forms\n", kGroups[group_number].name, forms.size(), cases,
              failures, failed_forms);
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
