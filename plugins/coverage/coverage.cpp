// Which blocks, or which edges between blocks, are executed, as CSV and as drcov.
//
// The callback comes at each block. Nearly always the block was seen before: a table of the last record at
// each of many places answers that before the set of all records is asked.
#include <array>
#include <ctime>
#include <map>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "coverage/drcov.hpp"
#include "panda/plugin.hpp"

namespace {

constexpr const char* kDefaultFile = "coverage.csv";

struct Block {
  target_ulong pc = 0;
  uint32_t size = 0;  // bytes
  bool operator==(const Block&) const = default;
};

struct Record {
  target_ulong asid = 0;
  bool kernel = false;
  Block from;  // of an edge
  Block block;
  bool operator==(const Record&) const = default;
};

struct RecordHash {
  size_t operator()(const Record& r) const {
    const uint64_t h = (r.block.pc * UINT64_C(0x9e3779b97f4a7c15)) ^ (r.asid * UINT64_C(0xc2b2ae3d27d4eb4f)) ^
                       (r.from.pc * UINT64_C(0x165667b19e3779f9)) ^ r.block.size ^ r.from.size << 8;
    return h ^ h >> 31;
  }
};

struct Range {
  target_ulong first = 0;
  target_ulong last = ~target_ulong{0};
};

// FIRST-LAST, hexadecimal with 0x or decimal.
Range parse_range(const char* name, const std::string& text) {
  Range range;
  char* rest = nullptr;
  range.first = static_cast<target_ulong>(std::strtoull(text.c_str(), &rest, 0));
  const char* const second = rest + 1;
  if (rest == text.c_str() || *rest != '-')
    panda::refuse("%s=%s: two addresses with a hyphen between them", name, text.c_str());
  range.last = static_cast<target_ulong>(std::strtoull(second, &rest, 0));
  if (rest == second || *rest != '\0' || range.last < range.first) {
    panda::refuse("%s=%s: two addresses with a hyphen between them, the lower first", name, text.c_str());
  }
  return range;
}

class Coverage : public panda::Plugin {
 public:
  Coverage() {
    panda::Arguments args = arguments();
    const std::string pc = args.text("pc", "", "FIRST-LAST: only blocks within these addresses");
    const std::string exclude = args.text("exclude_pc", "", "FIRST-LAST: no block that touches these addresses");
    const std::string process = args.text("process_name", "", "only blocks of this process");
    const std::string privilege = args.text("privilege", "all", "only blocks run as: user, kernel; all");
    const bool start_disabled = args.flag("start_disabled", "collect nothing until the monitor's coverage_enable");
    const std::string file = args.text("filename", kDefaultFile, "where to write");
    const std::string mode = args.text("mode", "asid-block", "asid-block, edge; osi-block");
    full_ = args.flag("full", "each execution, not only the first");
    summary_ = args.flag("summary", "at the end, print how many blocks each address space has run");
    const std::string hooks =
        args.text("hook_filter", "", "PASS-BLOCK: collect from address PASS to address BLOCK, in that ASID");
    drcov_path_ = args.text("drcov", "", "also write the blocks as drcov, for Lighthouse");
    const std::string modules = args.text("modules", "", "NAME@BEGIN-END+...: the modules of the drcov file");
    args.done();

    if (mode == "osi-block") {
      panda::refuse(
          "mode=osi-block needs operating system introspection, which is not in this version: use asid-block");
    }
    if (!process.empty()) {
      panda::refuse(
          "process_name needs operating system introspection, which is not in this version: use pc= or privilege=");
    }
    if (mode != "asid-block" && mode != "edge")
      panda::refuse("mode=%s: it is asid-block, edge or osi-block", mode.c_str());
    edges_ = mode == "edge";
    if (!pc.empty()) only_ = parse_range("pc", pc);
    if (!exclude.empty()) not_ = parse_range("exclude_pc", exclude), has_not_ = true;
    if (privilege != "all" && privilege != "user" && privilege != "kernel") {
      panda::refuse("privilege=%s: it is user, kernel or all", privilege.c_str());
    }
    user_ = privilege != "kernel";
    kernel_ = privilege != "user";
    if (!hooks.empty()) set_hooks(parse_hooks(hooks));
    if (!modules.empty() && !coverage::parse_modules(modules, modules_)) {
      panda::refuse("modules=%s: NAME@BEGIN-END, several with '+' between them", modules.c_str());
    }
    if (!modules.empty() && drcov_path_.empty()) panda::refuse("modules= is for the drcov file: give drcov=FILE too");
    if (!drcov_path_.empty() && edges_) panda::refuse("a drcov file has blocks, not edges: use mode=asid-block");

    on_monitor([this](Monitor* mon, const char* command) {
      monitor(mon, command);
      return 0;
    });
    blocks_ = &on_before_block_exec([this](CPUState* cpu, TranslationBlock* tb) { executed(cpu, *tb); });
    if (start_disabled) {
      blocks_->disable();
    } else {
      open(file);
    }
    if (!drcov_path_.empty()) drcov_ = panda::Output(drcov_path_);
  }

  ~Coverage() override {
    if (summary_) print_summary();
    if (drcov_) write_drcov();
  }

 private:
  // A filter that two addresses turn off and on, for the address space that came to the first.
  struct Hooks {
    target_ulong pass = 0;
    target_ulong block = 0;
  };

  static Hooks parse_hooks(const std::string& text) {
    char* rest = nullptr;
    Hooks hooks;
    hooks.pass = static_cast<target_ulong>(std::strtoull(text.c_str(), &rest, 0));
    const char* const second = rest + 1;
    const bool good = rest != text.c_str() && *rest == '-';
    if (good) hooks.block = static_cast<target_ulong>(std::strtoull(second, &rest, 0));
    if (!good || rest == second || *rest != '\0') {
      panda::refuse("hook_filter=%s: two addresses with a hyphen between them", text.c_str());
    }
    return hooks;
  }

  void set_hooks(const Hooks& hooks) {
    passing_ = false;
    on_insn_translate([hooks](CPUState*, target_ulong at) { return at == hooks.pass || at == hooks.block; });
    on_insn_exec([this, hooks](CPUState* cpu, target_ulong at) {
      const target_ulong asid = panda_current_asid(cpu);
      if (at == hooks.pass && !passing_) {
        passing_ = true;
        passing_asid_ = asid;
        // Its own block was asked for before.
        if (has_last_block_ && last_asid_ == asid) record(cpu, last_block_);
      } else if (at == hooks.block && asid == passing_asid_) {
        passing_ = false;
      }
    });
    hooked_ = true;
  }

  void open(const std::string& path) {
    out_ = panda::Output(path);
    char date[32];
    const time_t now = time(nullptr);
    tm parts{};
    strftime(date, sizeof date, "%FT%TZ", gmtime_r(&now, &parts));
    out_.print("PANDA Build Date,%s\nExecution Time,%s\n", build_date().c_str(), date);
    if (edges_) {
      out_.print("from pc,from size,to pc,to size\n");
    } else {
      out_.print("asid\nasid,in kernel,block address,block size\n");
    }
    seen_.clear();
    recent_.fill({});
    last_.clear();
  }

  // __DATE__ is "Nov  7 2026".
  static std::string build_date() {
    tm parts{};
    char text[16];
    strptime(__DATE__, "%b %d %Y", &parts);
    strftime(text, sizeof text, "%F", &parts);
    return text;
  }

  void executed(CPUState* cpu, const TranslationBlock& tb) {
    const Block block{static_cast<target_ulong>(tb.pc), tb.size};
    if (hooked_) {
      last_block_ = block;
      last_asid_ = panda_current_asid(cpu);
      has_last_block_ = true;
      if (!passing_ || last_asid_ != passing_asid_) return;
    }
    record(cpu, block);
  }

  void record(CPUState* cpu, const Block& block) {
    const bool in_kernel = panda_in_kernel(cpu);
    if (in_kernel ? !kernel_ : !user_) return;
    const auto last_byte = static_cast<target_ulong>(block.pc + block.size - 1);
    if (block.pc < only_.first || last_byte > only_.last) return;
    if (has_not_ && block.pc <= not_.last && last_byte >= not_.first) return;

    Record now{panda_current_asid(cpu), in_kernel, {}, block};
    if (edges_) {
      // Where an interrupt or a system call comes between two blocks, they still follow each other.
      Block& last = last_[now.asid * 2 + static_cast<target_ulong>(in_kernel)];
      std::swap(now.from, last);
      last = block;
      if (now.from.size == 0) return;
      // A line does not say of which address space an edge is.
      now.asid = 0;
      now.kernel = false;
    }
    Record& recent = recent_[RecordHash()(now) & (kRecent - 1)];
    const bool known = recent == now || !seen_.insert(now).second;
    recent = now;
    if (known && !full_) return;
    if (edges_) {
      out_.print("0x%" PRIx64 ",%" PRIu32 ",0x%" PRIx64 ",%" PRIu32 "\n", uint64_t{now.from.pc}, now.from.size,
                 uint64_t{block.pc}, block.size);
    } else {
      out_.print("0x%" PRIx64 ",%d,0x%" PRIx64 ",%" PRIu32 "\n", uint64_t{now.asid}, in_kernel ? 1 : 0,
                 uint64_t{block.pc}, block.size);
    }
    if (!known && (drcov_ || summary_)) covered_.insert({now.asid, block.pc, block.size});
  }

  void monitor(Monitor* mon, const std::string& command) {
    static const std::string kEnable = "coverage_enable";
    if (command == "help") {
      monitor_printf(mon, "coverage_enable[=FILE]: collect coverage, into this file (%s)\n", kDefaultFile);
      monitor_printf(mon, "coverage_disable: stop collecting, and close the file\n");
    } else if (command == "coverage_disable") {
      if (!out_) return void(monitor_printf(mon, "coverage: nothing is being collected\n"));
      blocks_->disable();
      out_.close();
    } else if (command == kEnable || command.rfind(kEnable + "=", 0) == 0) {
      if (out_) return void(monitor_printf(mon, "coverage: is being collected already\n"));
      const std::string file = command.size() > kEnable.size() + 1 ? command.substr(kEnable.size() + 1) : kDefaultFile;
      try {
        open(file);
        blocks_->enable();
      } catch (const panda::Refusal& why) {
        monitor_printf(mon, "coverage: %s\n", why.what());
      }
    }
  }

  void print_summary() {
    std::map<uint64_t, size_t> count;
    for (const coverage::CoveredBlock& block : covered_) count[block.asid]++;
    for (const auto& [asid, blocks] : count) printf("coverage: asid 0x%" PRIx64 ": %zu blocks\n", asid, blocks);
    fflush(stdout);
  }

  void write_drcov() {
    coverage::Drcov::write(drcov_, modules_, std::vector<coverage::CoveredBlock>(covered_.begin(), covered_.end()));
  }

  static constexpr size_t kRecent = 1 << 14;

  bool edges_ = false, full_ = false, summary_ = false;
  Range only_, not_;
  bool has_not_ = false, user_ = true, kernel_ = true;
  bool hooked_ = false, passing_ = true;
  target_ulong passing_asid_ = 0;
  Block last_block_;
  target_ulong last_asid_ = 0;
  bool has_last_block_ = false;
  std::string drcov_path_;
  std::vector<coverage::Module> modules_;
  panda::Output out_, drcov_;
  panda::Callback* blocks_ = nullptr;
  std::unordered_set<Record, RecordHash> seen_;
  std::array<Record, kRecent> recent_;
  std::unordered_map<target_ulong, Block> last_;  // by ASID and mode
  std::set<coverage::CoveredBlock> covered_;
};

}  // namespace

PANDA_PLUGIN(Coverage)
