#include "translation.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <random>

#include "backend/check/check_backend.h"
#include "backend/interp/interp_backend.h"
#include "backend/x64/x64_backend.h"
#include "base/check.h"
#include "base/virtual_clock.h"
#include "exec/engine.h"
#include "guest/x86/cpu_models.h"
#include "guest/x86/fpu_state.h"
#include "guest/x86/frontend.h"
#include "guest/x86/state.h"
#include "guest/x86/system.h"
#include "ir/printer.h"
#include "ir/verifier.h"
#include "no_outside.h"

namespace panda::fuzz {
namespace {

using namespace panda::x86;

constexpr uint64_t kRamBytes = 64 * kPageSize;
constexpr uint64_t kRoot = 0x1000, kTable2 = 0x2000, kTable3 = 0x3000, kPageTable = 0x4000;
constexpr uint64_t kCodePage = 0x2'0000, kNextPage = 0x2'1000, kOtherPage = 0x3'0000;
constexpr uint64_t kData = 0x2'8000;
constexpr size_t kMaxCode = 64;

struct ModeInfo {
  const char* name;
  bool is_64bit;  // which target
  uint64_t cr0, cr4, efer;
  uint32_t eflags;
  uint32_t code_flags, data_flags;  // descriptors' second words
  uint8_t cpl;
};
constexpr uint64_t kPaging = 0x8000'0000;
constexpr std::array<ModeInfo, kModes> kModeInfo = {{
    {"real", false, 0x30, 0x600, 0, 2, 0x9b00, 0x9300, 0},
    {"v86", false, kPaging | 0x33, 0x600, 0, 0x2'3002, 0xfb00, 0xf300, 3},
    {"protected16", false, kPaging | 0x33, 0x600, 0, 2, 0x0000'9b00, 0x0000'9300, 0},
    {"protected32", false, kPaging | 0x33, 0x600, 0, 2, 0x00cf'9b00, 0x00cf'9300, 0},
    {"user32", false, kPaging | 0x1'0033, 0x4'0600, 0, 2, 0x00cf'fb00, 0x00cf'f300, 3},
    {"long64", true, kPaging | 0x33, 0x620, 0xd01, 2, 0x00af'9b00, 0x00cf'9300, 0},
    {"compat32", true, kPaging | 0x1'0033, 0x620, 0xd01, 2, 0x00cf'fb00, 0x00cf'f300, 3},
}};

struct Input {
  const ModeInfo* mode;
  unsigned model;
  uint8_t page_kind;  // behind the code: 0 not mapped, 1 the next page, 2 another, 3 user code misses it
  unsigned insns;
  uint64_t seed;
  std::span<const uint8_t> code;
};

Input parse(std::span<const uint8_t> bytes) {
  Input in{};
  in.mode = &kModeInfo[bytes[0] % kModes];
  in.model = bytes[1];
  in.page_kind = bytes[2] & 3;
  in.insns = 1 + (bytes[2] >> 2) % 16;
  in.code = bytes.subspan(kHeaderBytes);
  in.code = in.code.first(std::min(in.code.size(), kMaxCode));
  in.seed = 0xcbf2'9ce4'8422'2325;
  for (const uint8_t b : bytes) in.seed = (in.seed ^ b) * 0x100'0000'01b3;
  return in;
}

}  // namespace

const char* mode_name(unsigned mode) { return kModeInfo[mode].name; }

// A page with nothing behind it that could be read.
struct TranslationFuzzer::Guard {
  uint8_t* pages;
  Guard() {
    void* p = mmap(nullptr, 2 * kPageSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    PANDA_CHECK(p != MAP_FAILED);
    pages = static_cast<uint8_t*>(p);
    PANDA_CHECK(mprotect(pages + kPageSize, kPageSize, PROT_NONE) == 0);
  }
  ~Guard() { munmap(pages, 2 * kPageSize); }
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  std::span<const uint8_t> put(std::span<const uint8_t> bytes) const {
    uint8_t* at = pages + kPageSize - bytes.size();
    std::copy(bytes.begin(), bytes.end(), at);
    return {at, bytes.size()};
  }
};

struct TranslationFuzzer::Machine {
  x86test::Nothing outside;
  VirtualClock clock;
  std::unique_ptr<GuestMemory> memory;
  std::unique_ptr<X86Frontend> frontend;
  std::unique_ptr<exec::Backend> backend;
  std::unique_ptr<exec::Engine> engine;
  State at_reset;
  std::string report;

  Machine(bool is_64bit, const std::string& model);
  void load(const Input& in);
  void map_pages(const Input& in);
  std::string translate(const Input& in, const Guard& guard, bool& decoded);
};

TranslationFuzzer::Machine::Machine(bool is_64bit, const std::string& model) {
  const auto cpu = parse_cpu(model, is_64bit);
  PANDA_CHECK(cpu.has_value());
  auto created = GuestMemory::create(kRamBytes, {{0, kRamBytes, 0}});
  PANDA_CHECK(created.has_value());
  memory = std::move(*created);
  frontend = std::make_unique<X86Frontend>(is_64bit, cpu->model);
  auto jit = x64::create_backend(8 << 20);
  PANDA_CHECK(jit.has_value());
  auto checker = std::make_unique<check::CheckBackend>(std::make_unique<interp::InterpBackend>(), std::move(*jit),
                                                       *frontend, *memory);
  checker->on_difference([this](const std::string& text) { report = text; });
  backend = std::move(checker);
  engine = std::make_unique<exec::Engine>(*frontend, *backend, *memory, clock);
  engine->set_verify(true);
  apply_cpu(Cpu(engine->cpu()).s(), *cpu);
  frontend->reset(engine->cpu());
  engine->set_outside(outside);
  engine->cpu().observer = &outside;
  at_reset = Cpu(engine->cpu()).s();
}

// One to one, all present to everybody, but for the page behind the code.
void TranslationFuzzer::Machine::map_pages(const Input& in) {
  const auto poke = [&](uint64_t at, uint64_t v, unsigned size) { memory->write(GuestPhysAddr(at), &v, size); };
  constexpr uint64_t kAll = 0x67;  // present, writable, user, accessed, dirty
  const bool wide = in.mode->is_64bit;
  if (wide) {
    poke(kRoot, kTable2 | 7, 8);
    poke(kTable2, kTable3 | 7, 8);
    poke(kTable3, kPageTable | 7, 8);
  } else {
    poke(kRoot, kPageTable | 7, 4);
  }
  for (uint64_t page = 0; page < kRamBytes; page += kPageSize) {
    uint64_t entry = page | kAll;
    if (page == kNextPage && in.page_kind == 0) entry = 0;
    if (page == kNextPage && in.page_kind == 2) entry = kOtherPage | kAll;
    if (page == kNextPage && in.page_kind == 3) entry &= ~uint64_t{4};
    poke(kPageTable + (page >> kPageBits) * (wide ? 8 : 4), entry, wide ? 8 : 4);
  }
}

void TranslationFuzzer::Machine::load(const Input& in) {
  const ModeInfo& m = *in.mode;
  std::mt19937_64 rng(in.seed);
  std::vector<uint8_t> ram(kRamBytes);
  for (uint64_t at = kData; at < kData + 2 * kPageSize; at += 8) {
    const uint64_t v = rng();
    std::memcpy(&ram[at], &v, 8);
  }
  // The code ends at its page's end, or goes over it.
  const uint64_t start =
      kNextPage - (rng() % 4 != 0 ? in.code.size() : 1 + rng() % std::max<size_t>(in.code.size(), 1));
  for (size_t i = 0; i < in.code.size(); i++) {
    const uint64_t at = start + i;
    ram[in.page_kind == 2 && at >= kNextPage ? at - kNextPage + kOtherPage : at] = in.code[i];
  }
  memory->write(GuestPhysAddr(0), ram.data(), ram.size());
  map_pages(in);

  Cpu cpu(engine->cpu());
  State& s = cpu.s();
  s = at_reset;
  cpu.set_cr(0, m.cr0);
  cpu.set_cr(3, kRoot);
  cpu.set_cr(4, m.cr4);
  s.efer = m.efer;
  cpu.set_eflags(m.eflags | (rng() & 0xcd5));
  const bool segment_bases = m.code_flags == 0x9b00 || m.code_flags == 0xfb00;
  const uint64_t code_base = segment_bases ? kCodePage : 0;
  const uint32_t limit = (m.code_flags & 0x80'0000) != 0 ? 0xffff'ffff : 0xffff;
  for (unsigned seg = 0; seg < 6; seg++) {
    const bool code = seg == R_CS;
    const uint64_t base = code ? code_base : segment_bases ? kData & 0xffff0 : 0;
    set_segment(cpu, seg, static_cast<uint16_t>(base >> 4 | m.cpl), base, limit, code ? m.code_flags : m.data_flags);
  }
  s.eip = start - code_base;
  for (unsigned i = 0; i < cpu.reg_count(); i++) {
    const uint64_t kinds[] = {rng(), kData + rng() % (2 * kPageSize), rng() % 16, ~uint64_t{0} - rng() % 3};
    cpu.set_reg(i, kinds[rng() % 4]);
  }
  cpu.set_reg(R_ESP, segment_bases ? 0x1800 : kData + 0x1800);
  for (auto& r : s.fpregs) r.d = {rng(), static_cast<uint16_t>(rng())};
  for (auto& t : s.fptags) t = static_cast<uint8_t>(rng() & 1);
  s.fpstt = static_cast<uint32_t>(rng() % 8);
  for (auto& r : s.xmm_regs) r._q_ZMMReg[0] = rng(), r._q_ZMMReg[1] = rng();
  set_mxcsr(cpu, 0x1f80 | (rng() & 0xe000));
  update_hflags(cpu);
  memory->flush_tlb(engine->cpu());
  outside.vector = -1;
  engine->set_count(InsnCount(0));
  report.clear();
}

// The front end by itself, with the code's last byte before a page that cannot be read.
std::string TranslationFuzzer::Machine::translate(const Input& in, const Guard& guard, bool& decoded) {
  const exec::UnitKey key = frontend->current_key(engine->cpu());
  for (size_t size = 1; size <= std::min<size_t>(in.code.size(), 16); size++) {
    for (const bool exact : {false, true}) {
      ir::Unit unit;
      unit.pc_offset = frontend->pc_offset();
      unit.pc_type = frontend->pc_type();
      unit.exact = exact;
      ir::Builder b(unit);
      frontend->begin_unit(key);
      b.begin_block();
      if (exact) b.emit(ir::Op::exact_begin, ir::Type::Void, {});
      b.count(1);
      b.insn(key.pc - key.pc_base, 0);
      exec::InsnRequest request;
      request.bytes = guard.put(in.code.first(size));
      request.pc = key.pc;
      request.pc_base = key.pc_base;
      request.flags = key.flags;
      request.first = true;
      request.exact = exact;
      const exec::InsnResult result = frontend->translate(request, b);
      if (result.end == exec::InsnEnd::NeedBytes) {
        if (size >= kMaxInsnBytes) return fmt::format("{} bytes are not enough", size);
        continue;
      }
      if (result.end == exec::InsnEnd::NeedExact) {
        if (exact) return "an exact unit needs an exact unit";
        continue;
      }
      decoded = true;
      if (result.size == 0 || result.size > size) return fmt::format("of {} bytes {} were used", size, result.size);
      unit.guest_insns.back().refund = 1;
      if (result.end == exec::InsnEnd::Next) b.exit_dispatch();
      if (const Status status = ir::verify(unit); !status) return status.error().message + "\n" + ir::print(unit);
    }
  }
  return {};
}

TranslationFuzzer::TranslationFuzzer() : guard_(std::make_unique<Guard>()) {}
TranslationFuzzer::~TranslationFuzzer() = default;

std::unique_ptr<TranslationFuzzer::Machine>& TranslationFuzzer::machine(bool is_64bit, unsigned model) {
  const std::vector<std::string> names = cpu_model_names(is_64bit);
  const size_t number = model % std::min(names.size(), std::size(machines_[0]));
  auto& m = machines_[is_64bit ? 1 : 0][number];
  if (m == nullptr) m = std::make_unique<Machine>(is_64bit, names[number]);
  return m;
}

Outcome TranslationFuzzer::run(std::span<const uint8_t> bytes) {
  Outcome outcome;
  if (bytes.size() <= kHeaderBytes) return outcome;
  const Input in = parse(bytes);
  std::unique_ptr<Machine>& slot = machine(in.mode->is_64bit, in.model);
  Machine& m = *slot;
  m.load(in);
  outcome.problem = m.translate(in, *guard_, outcome.decoded);
  if (outcome.problem.empty()) {
    m.engine->run(InsnCount(in.insns));
    outcome.insns = m.engine->count().value;
    outcome.problem = m.report;
    if (!m.report.empty()) slot.reset();  // a checker that has found something does not go on
  }
  if (!outcome.problem.empty()) {
    std::string hex;
    for (const uint8_t b : bytes) hex += fmt::format("{:02x}", b);
    outcome.problem = fmt::format("input {} ({}):\n{}", hex, in.mode->name, outcome.problem);
  }
  return outcome;
}

}  // namespace panda::fuzz
