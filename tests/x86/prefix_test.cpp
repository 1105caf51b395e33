// Every form with prefixes before it that it does not need: segment overrides, operand and address size, LOCK,
// REP and REPNE, REX before other prefixes, several of each, up to more than the 15 bytes that an instruction may
// have. What they make of it (another size, another instruction, #UD, #GP) is what the host CPU makes of it.
//
// PANDA_PREFIX_INPUTS: how many a form gets.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "compare.h"
#include "engine_executor.h"
#include "forms.h"
#include "guest/x86/row_table.h"
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

using x86::DecodedInsn, x86::DecodeStatus;
constexpr size_t kLongest = x86::kMaxInsnBytes;

unsigned inputs_per_form() {
  const char* text = std::getenv("PANDA_PREFIX_INPUTS");
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 0)) : 6;
}

// FS is left out: its base is not zero on the host. GS the same in 32-bit code.
uint8_t random_prefix(Rng& rng, Mode mode) {
  static const uint8_t kPrefixes[] = {0x26, 0x2e, 0x36, 0x3e, 0x66, 0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x65};
  if (mode == Mode::Long64 && rng() % 4 == 0) return static_cast<uint8_t>(0x40 + rng() % 16);
  return kPrefixes[rng() % (mode == Mode::Long64 ? std::size(kPrefixes) : std::size(kPrefixes) - 1)];
}

Bytes with_prefixes(const Bytes& code, unsigned prefix_count, Rng& rng, Mode mode) {
  Bytes out = code;
  size_t room = prefix_count + 1;
  const uint64_t more = rng() % 16 == 0 ? rng() % 14 : 0;
  for (uint64_t n = 1 + rng() % 3 + more; n > 0; n--, room++) {
    out.insert(out.begin() + static_cast<std::ptrdiff_t>(rng() % room), random_prefix(rng, mode));
  }
  return out;
}

Kind register_kind(const ZydisDecodedOperand& op) {
  if (!x86::is_general_register(op.reg.value)) return Kind::Xmm;
  if (op.reg.value == ZYDIS_REGISTER_CL) return Kind::Cl;
  return op.size == 8 ? Kind::R8 : op.size == 16 ? Kind::R16 : op.size == 32 ? Kind::R32 : Kind::R64;
}
Kind memory_kind(const ZydisDecodedOperand& op) {
  return op.size == 8 ? Kind::M8 : op.size == 16 ? Kind::M16 : op.size == 32 ? Kind::M32 : Kind::M64;
}

// As far as the table of undefined flags wants it.
Form form_of(const DecodedInsn& d) {
  Form form{d.insn.mnemonic, {}, 0};
  for (unsigned i = 0; i < d.insn.operand_count; i++) {
    const ZydisDecodedOperand& op = d.ops[i];
    if (op.visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) continue;
    switch (op.type) {
      case ZYDIS_OPERAND_TYPE_REGISTER:
        form.operands.push_back(register_kind(op));
        break;
      case ZYDIS_OPERAND_TYPE_MEMORY:
        form.operands.push_back(memory_kind(op));
        break;
      default:
        form.operands.push_back(op.encoding == ZYDIS_OPERAND_ENCODING_NONE ? Kind::Imm1 : Kind::Imm8);
    }
  }
  return form;
}

// REX can make it address memory that nobody has prepared, and that the host may have.
bool addresses_alike(const DecodedInsn& a, const DecodedInsn& b) {
  for (unsigned i = 0; i < std::min(a.insn.operand_count, b.insn.operand_count); i++) {
    if (a.ops[i].type != ZYDIS_OPERAND_TYPE_MEMORY || b.ops[i].type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
    const auto number = [](ZydisRegister r) {
      return x86::is_general_register(r) ? x86::general_register(r).number : ~0u;
    };
    if (number(a.ops[i].mem.base) != number(b.ops[i].mem.base)) return false;
    if (number(a.ops[i].mem.index) != number(b.ops[i].mem.index)) return false;
  }
  return true;
}

struct Group {
  const char* name;
  std::span<const x86::Row> (*rows)();
};
const Group kGroups[] = {{"integer", x86::integer_rows}, {"control", x86::control_rows}, {"string", x86::string_rows},
                         {"x87", x86::x87_rows},         {"mmx", x86::mmx_rows},         {"sse", x86::sse_rows}};

class PrefixTest : public testing::TestWithParam<std::tuple<Mode, size_t>> {};

TEST_P(PrefixTest, MeansWhatItMeansToTheHost) {
  const auto [mode, group_number] = GetParam();
  const Group& group = kGroups[group_number];
  std::vector<ZydisMnemonic> mnemonics;
  for (const x86::Row& row : group.rows()) {
    if (!skipped(row.mnemonic, row.feature)) mnemonics.push_back(row.mnemonic);
  }
  HostExecutor host(mode);
  std::vector<std::unique_ptr<EngineExecutor>> engines;
  for (const BackendKind kind : {BackendKind::Interpreter, BackendKind::Jit}) {
    engines.push_back(std::make_unique<EngineExecutor>(mode, kind));
  }
  const uint64_t flags = x86::kModePe | (mode == Mode::Long64 ? x86::kModeLma | x86::kModeCs64 : x86::kModeCs32);
  const x86::Decoder decoder;
  const x86::RowTable rows;
  unsigned cases = 0, undefined = 0, changed = 0, too_long = 0, failures = 0;
  for (const Form& form : all_forms(mnemonics, mode)) {
    Rng rng(std::hash<std::string>{}(form.name()));
    const unsigned cases_before = cases;
    for (unsigned i = 0; i < inputs_per_form() && failures < 20; i++) {
      MachineState before = random_state(rng, mode);
      const Encoded code = encode(form, mode, rng, before);
      DecodedInsn d{};
      if (code.bytes.empty() || decoder.decode(code.bytes, flags, d) != DecodeStatus::Ok) continue;
      if (d.insn.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY) continue;
      prepare(form, before, rng);
      Bytes bytes = with_prefixes(code.bytes, d.insn.raw.prefix_count, rng, mode);
      while (bytes.size() < kLongest) bytes.push_back(static_cast<uint8_t>(rng()));
      const DecodedInsn bare = d;
      const DecodeStatus status = decoder.decode(bytes, flags, d);
      Encoded prefixed{bytes, code.memory};
      Form meant = form;
      if (status == DecodeStatus::Ok) {
        if (d.insn.length > bytes.size() || !addresses_alike(bare, d)) continue;
        prefixed.bytes.resize(d.insn.length);
        meant = form_of(d);
        const x86::FoundRow found = rows.find(d);
        if (found.row == nullptr || skipped(d.insn.mnemonic, found.row->feature)) continue;
        if (undefined_result(meant, prefixed, before)) continue;
      } else if (status == DecodeStatus::Truncated) {
        continue;
      }
      if (!host.runs(prefixed.bytes)) continue;
      const uint32_t masked = status == DecodeStatus::Ok ? undefined_flags(meant, prefixed, before) : 0;
      Result found = host.run(prefixed.bytes, before);
      // The kernel calls its half of the addresses present.
      if (found.vector == x86::kPF && found.cr2 >> 63 != 0) found.error &= ~1u;
      undefined += found.outcome == Outcome::Invalid ? 1 : 0;
      changed += d.insn.mnemonic != form.mnemonic ? 1 : 0;
      too_long += status == DecodeStatus::TooLong ? 1 : 0;
      for (auto& engine : engines) {
        const Result got = engine->run(prefixed.bytes, before);
        Result want = found;
        forgive(meant, prefixed, before, got, want);
        cases++;
        const std::string diff = differences(want, got, masked, mode);
        if (diff.empty()) continue;
        failures++;
        std::string hex;
        for (const uint8_t b : prefixed.bytes) hex += fmt::format("{:02x} ", b);
        std::string registers;
        for (const uint64_t r : before.gpr) registers += fmt::format("{:x} ", r);
        ADD_FAILURE() << form.name() << " on the " << engine->name() << ": " << hex << "\n  before: " << registers
                      << "\n"
                      << listing(prefixed.bytes, mode) << diff;
      }
    }
    if (cases != cases_before) tally("prefixes", mode == Mode::Long64 ? "64" : "32", form, cases - cases_before, false);
  }
  tally_total("prefix_test", mode, "of its comparisons: undefined on the host", undefined);
  tally_total("prefix_test", mode, "of its comparisons: made another instruction", changed);
  tally_total("prefix_test", mode, "of its comparisons: longer than 15 bytes", too_long);
  std::printf("%s: %u comparisons, %u undefined, %u another instruction, %u too long, %u failed\n", group.name, cases,
              undefined, changed, too_long, failures);
  EXPECT_GT(cases, 0u);
}

std::string test_name(const testing::TestParamInfo<std::tuple<Mode, size_t>>& info) {
  return std::string(kGroups[std::get<1>(info.param)].name) + (std::get<0>(info.param) == Mode::Long64 ? "_64" : "_32");
}
INSTANTIATE_TEST_SUITE_P(X86, PrefixTest,
                         testing::Combine(testing::Values(Mode::Long64, Mode::Protected32),
                                          testing::Range(size_t{0}, std::size(kGroups))),
                         test_name);

}  // namespace
}  // namespace panda::x86test
