// Which paths of n edges between basic blocks each address space took, how often, and the blocks in order.
//
// A block here is what a transfer of control leads to (jump, taken or not; call; return; system call). The engine's
// blocks are shorter: it cuts them at page ends and wherever an event is due or a fault occurs, which the guest's
// program knows nothing of. So a block that is not entered by a transfer of control is part of the one before, and
// the result is the same in whichever way the engine cuts. Whether an engine's block ends with a transfer is found
// when it is translated.
#include <cstdlib>
#include <map>
#include <set>
#include <unordered_map>
#include <vector>

#include "coverage/drcov.hpp"
#include "panda/plog-cc.hpp"
#include "panda/plugin.hpp"
#include "track_intexc/track_intexc_ext.h"

namespace {

using Path = std::vector<uint64_t>;
struct PathHash {
  size_t operator()(const Path &path) const {
    uint64_t hash = path.size();
    for (const uint64_t pc : path) hash = (hash ^ pc) * 0x9e3779b97f4a7c15, hash ^= hash >> 29;
    return static_cast<size_t>(hash);
  }
};

struct AddressSpace {
  bool begun = false;           // `main` was reached
  uint64_t block = 0, end = 0;  // the engine's block that ran last; end 0: none
  bool open = false;            // it was left early, or does not end with a transfer: the next may continue it
  bool early = false;
  Path window;  // the last blocks, n + 1 at most
  std::unordered_map<Path, uint64_t, PathHash> hits;
  std::vector<uint64_t> trace;  // not yet in the pandalog
};

constexpr size_t kMostEdges = 64;
constexpr size_t kTracePart = 65536;  // blocks per entry of the pandalog

class EdgeCoverage : public panda::Plugin {
 public:
  EdgeCoverage();
  ~EdgeCoverage() override;

 private:
  void note_end(CPUState *cpu, const TranslationBlock &tb);
  void enter(CPUState *cpu, const TranslationBlock &tb);
  void log_trace(uint64_t asid, AddressSpace &space);
  void log_edges(uint64_t asid, const AddressSpace &space);

  size_t n_;
  bool trace_, kernel_;
  target_ulong only_asid_;
  std::optional<uint64_t> main_;
  panda::Output csv_, drcov_;
  std::vector<coverage::Module> modules_;
  std::set<coverage::CoveredBlock> blocks_;         // the engine's
  std::set<uint64_t> insns_;                        // translated, their block not yet
  std::unordered_map<uint64_t, bool> is_transfer_;  // by the physical address behind a block: how it ends
  std::unordered_map<uint64_t, AddressSpace> spaces_;
  uint64_t current_asid_ = 0;
  AddressSpace *current_ = nullptr;
};

// x86: the instruction goes somewhere else than on, or may. Prefixes come first.
bool is_transfer(CPUState *cpu, uint64_t pc) {
  for (int i = 0; i < 14; i++, pc++) {
    const uint8_t op = panda::read<uint8_t>(cpu, static_cast<target_ulong>(pc)).value_or(0x90);
    const uint8_t next = panda::read<uint8_t>(cpu, static_cast<target_ulong>(pc + 1)).value_or(0);
    switch (op) {
      case 0x26:
      case 0x2e:
      case 0x36:
      case 0x3e:
      case 0x64:
      case 0x65:
      case 0x66:
      case 0x67:
      case 0xf0:
      case 0xf2:
      case 0xf3:
        continue;
      case 0x0f:  // SYSCALL, SYSRET, SYSENTER, SYSEXIT, Jcc
        return next == 0x05 || next == 0x07 || next == 0x34 || next == 0x35 || (next & 0xf0) == 0x80;
      case 0xff: {  // CALL and JMP, near and far, among others
        const unsigned digit = (next >> 3) & 7;
        return digit >= 2 && digit <= 5;
      }
      case 0x9a:
      case 0xea:
      case 0xc2:
      case 0xc3:
      case 0xca:
      case 0xcb:
      case 0xcc:
      case 0xcd:
      case 0xce:
      case 0xcf:
      case 0xe0:
      case 0xe1:
      case 0xe2:
      case 0xe3:
      case 0xe8:
      case 0xe9:
      case 0xeb:
      case 0xf1:
        return true;
      default:
        if (TARGET_LONG_BITS == 64 && (op & 0xf0) == 0x40 && (cpu->segs[R_CS].flags & DESC_L_MASK) != 0) continue;
        return (op & 0xf0) == 0x70;
    }
  }
  return false;
}

EdgeCoverage::EdgeCoverage() {
  panda::Arguments args = arguments();
  n_ = args.number<size_t>("n", 1, "edges in a path");
  trace_ = args.flag("trace", "log the blocks in order, too");
  const std::string main = args.text("main", "", "address at which an address space's coverage begins");
  only_asid_ = args.address("asid", 0, "only this address space");
  kernel_ = args.flag("kernel", "the kernel's code too, but for handlers of interrupts and exceptions");
  const std::string csv = args.text("csv", "", "file for the paths as rows");
  const std::string drcov = args.text("drcov", "", "file for the blocks in drcov format");
  const std::string modules = args.text("modules", "", "NAME@BEGIN-END+...: the modules of the drcov file");
  args.done();
  if (!modules.empty() && !coverage::parse_modules(modules, modules_)) {
    panda::refuse("the argument modules=%s is not NAME@BEGIN-END+...", modules.c_str());
  }
  if (n_ < 1 || n_ > kMostEdges) panda::refuse("the argument n must be between 1 and %zu", kMostEdges);
  if (!main.empty()) {
    char *end = nullptr;
    main_ = std::strtoull(main.c_str(), &end, 0);
    if (*end != '\0') {
      panda::refuse(
          "the argument main=%s is not an address; finding symbols needs operating-system introspection, "
          "which is not in this version",
          main.c_str());
    }
  }
  if (pandalog == 0 && csv.empty() && drcov.empty()) {
    panda::refuse("nothing to write to: give -pandalog FILE, or the argument csv or drcov");
  }
  if (trace_ && pandalog == 0) panda::refuse("the argument trace needs -pandalog FILE");
  csv_ = panda::Output(csv);
  drcov_ = panda::Output(drcov);
  if (kernel_) {
    panda_require("track_intexc");
    if (!init_track_intexc_api()) panda::refuse("cannot use the plugin track_intexc");
  }
  on_insn_translate([this](CPUState *, target_ulong pc) {
    insns_.insert(pc);
    return false;
  });
  on_after_block_translate([this](CPUState *cpu, TranslationBlock *tb) { note_end(cpu, *tb); });
  on_before_block_exec([this](CPUState *cpu, TranslationBlock *tb) { enter(cpu, *tb); });
  on_after_block_exec([this](CPUState *, TranslationBlock *tb, uint8_t exit_code) {
    if (exit_code > TB_EXIT_IDX1 && current_ != nullptr && current_->block == tb->pc) {
      current_->early = current_->open = true;
    }
  });
}

void EdgeCoverage::note_end(CPUState *cpu, const TranslationBlock &tb) {
  const uint64_t end = static_cast<uint64_t>(tb.pc) + tb.size;
  auto last = insns_.lower_bound(end);
  if (last != insns_.begin() && *--last >= tb.pc) is_transfer_[tb.phys_pc + tb.size] = is_transfer(cpu, *last);
  insns_.erase(insns_.lower_bound(tb.pc), insns_.lower_bound(end));
  if (insns_.size() > 4096) insns_.clear();  // of translations that came to nothing
}

void EdgeCoverage::enter(CPUState *cpu, const TranslationBlock &tb) {
  const bool in_kernel = panda_in_kernel_mode(cpu);
  if (in_kernel && (!kernel_ || check_in_interrupt() || check_in_exception())) return;
  const uint64_t asid = panda_current_asid(cpu);
  if (only_asid_ != 0 && asid != only_asid_) return;
  if (current_ == nullptr || asid != current_asid_) {
    current_ = &spaces_[asid];
    current_asid_ = asid;
  }
  AddressSpace &s = *current_;
  const uint64_t pc = tb.pc;
  if (!s.begun) {
    if (main_ && *main_ != pc) return;
    s.begun = true;
  }
  const bool continues = s.open && (s.early ? pc >= s.block && pc < s.end : pc == s.end);
  s.block = pc;
  s.end = pc + tb.size;
  s.early = false;
  const auto known = is_transfer_.find(tb.phys_pc + tb.size);
  s.open = known != is_transfer_.end() && !known->second;
  if (drcov_) blocks_.insert({asid, pc, tb.size});
  if (continues) return;
  if (s.window.size() > n_) s.window.erase(s.window.begin());
  s.window.push_back(pc);
  if (s.window.size() > n_) s.hits[s.window]++;
  if (!trace_) return;
  s.trace.push_back(pc);
  if (s.trace.size() == kTracePart) log_trace(asid, s);
}

void EdgeCoverage::log_trace(uint64_t asid, AddressSpace &space) {
  if (space.trace.empty()) return;
  auto entry = std::make_unique<panda::LogEntry>();
  entry->set_asid(asid);
  for (const uint64_t pc : space.trace) entry->mutable_trace()->add_pcs(pc);
  globalLog.write_entry(std::move(entry));
  space.trace.clear();
}

void EdgeCoverage::log_edges(uint64_t asid, const AddressSpace &space) {
  const std::map<Path, uint64_t> sorted(space.hits.begin(), space.hits.end());
  std::unique_ptr<panda::LogEntry> entry;
  if (pandalog != 0 && !sorted.empty()) {
    entry = std::make_unique<panda::LogEntry>();
    entry->set_asid(asid);
  }
  for (const auto &[path, hits] : sorted) {
    if (entry != nullptr) {
      panda::Edge *const edge = entry->mutable_edge_coverage()->add_edges();
      for (const uint64_t pc : path) edge->add_pc(pc);
      edge->set_hit_count(hits);
    }
    csv_.print("0x" TARGET_FMT_lx ",%" PRIu64, static_cast<target_ulong>(asid), hits);
    for (const uint64_t pc : path) csv_.print(",0x" TARGET_FMT_lx, static_cast<target_ulong>(pc));
    csv_.print("\n");
  }
  if (entry != nullptr) globalLog.write_entry(std::move(entry));
}

EdgeCoverage::~EdgeCoverage() {
  csv_.print("asid,hits");
  for (size_t i = 0; i <= n_; i++) csv_.print(",pc%zu", i);
  csv_.print("\n");
  std::map<uint64_t, AddressSpace *> in_order;
  for (auto &[asid, space] : spaces_) in_order[asid] = &space;
  for (const auto &[asid, space] : in_order) {
    if (trace_) log_trace(asid, *space);
    log_edges(asid, *space);
  }
  if (drcov_) coverage::Drcov::write(drcov_, modules_, {blocks_.begin(), blocks_.end()});
}

}  // namespace

PANDA_PLUGIN(EdgeCoverage)
