// At which instruction counts given program counters are executed.
#include <fstream>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "panda/plugin.hpp"

namespace {

// Decimal or 0x...
bool parse_number(const std::string& text, uint64_t& out) {
  if (text.empty() || text[0] == '-' || text[0] == '+' || std::isspace(static_cast<unsigned char>(text[0])) != 0)
    return false;
  char* end = nullptr;
  errno = 0;
  out = std::strtoull(text.c_str(), &end, 0);
  return errno == 0 && *end == '\0' && static_cast<target_ulong>(out) == out;
}

struct Span {
  uint64_t first = 0;
  uint64_t last = 0;
  bool seen = false;
  void add(uint64_t count) {
    if (!seen) first = count;
    last = count;
    seen = true;
  }
};

class PcSearch : public panda::Plugin {
 public:
  PcSearch() {
    panda::Arguments args = arguments();
    const auto pc = args.number<uint64_t>("pc", 0, "program counter to search for");
    first_last_only_ = args.flag("first_last_only", "only the first and the last time of each");
    const std::string file = args.text("pc_file", "", "file with program counters, one a line");
    const std::string out = args.text("out_file", "pc_matches.txt", "where to write");
    const std::string range = args.text("pc_range", "", "FIRST-LAST: a range of program counters");
    const int given = args.given("pc") + !file.empty() + !range.empty();
    args.done();
    if (given != 1) panda::refuse("give one of pc=, pc_file= and pc_range=");
    if (!file.empty()) {
      read_file(file);
    } else if (!range.empty()) {
      read_range(range);
    } else {
      if (static_cast<target_ulong>(pc) != pc) panda::refuse("pc=0x%" PRIx64 ": not an address of this guest", pc);
      add(pc);
    }
    out_ = panda::Output(out);
    on_insn_translate([this](CPUState*, target_ulong at) { return in_range(at) || index_.find(at) != index_.end(); });
    on_insn_exec([this](CPUState*, target_ulong at) { executed(at); });
  }
  ~PcSearch() override {
    if (!first_last_only_) return;
    for (const uint64_t pc : pcs_) {
      const Span& span = index_.find(pc)->second;
      if (!span.seen) continue;
      out_.print("PC:0x%" PRIx64 " First Guest Instr:%" PRIu64 " Last Guest Instr:%" PRIu64 "\n", pc, span.first,
                 span.last);
    }
    if (is_range_ && range_span_.seen) {
      out_.print("PC Range:0x%" PRIx64 "-0x%" PRIx64 " First Guest Instr:%" PRIu64 " Last Guest Instr:%" PRIu64 "\n",
                 range_first_, range_last_, range_span_.first, range_span_.last);
    }
  }

 private:
  void add(uint64_t pc) {
    if (index_.try_emplace(pc).second) pcs_.push_back(pc);
  }

  void read_file(const std::string& path) {
    std::ifstream file(path);
    if (!file) panda::refuse("cannot read %s", path.c_str());
    std::string line;
    for (unsigned number = 1; std::getline(file, line); number++) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      if (line.empty()) continue;
      uint64_t pc = 0;
      if (!parse_number(line, pc)) panda::refuse("%s:%u: '%s' is not an address", path.c_str(), number, line.c_str());
      add(pc);
    }
    if (pcs_.empty()) panda::refuse("%s lists no program counter", path.c_str());
  }

  void read_range(const std::string& text) {
    const size_t hyphen = text.find('-');
    if (hyphen == std::string::npos || !parse_number(text.substr(0, hyphen), range_first_) ||
        !parse_number(text.substr(hyphen + 1), range_last_) || range_first_ > range_last_) {
      panda::refuse("pc_range=%s: two addresses with a hyphen between them, the lower first", text.c_str());
    }
    is_range_ = true;
  }

  [[nodiscard]] bool in_range(target_ulong pc) const { return is_range_ && pc >= range_first_ && pc <= range_last_; }

  void executed(target_ulong pc) {
    const uint64_t count = rr_get_guest_instr_count();
    if (!first_last_only_) {
      out_.print("PC:0x%" PRIx64 " Guest Instr:%" PRIu64 "\n", static_cast<uint64_t>(pc), count);
    } else if (is_range_) {
      range_span_.add(count);
    } else {
      index_.find(pc)->second.add(count);
    }
  }

  bool first_last_only_ = false;
  std::vector<uint64_t> pcs_;  // in the order they were given
  std::unordered_map<uint64_t, Span> index_;
  bool is_range_ = false;
  uint64_t range_first_ = 0, range_last_ = 0;
  Span range_span_;
  panda::Output out_;
};

}  // namespace

PANDA_PLUGIN(PcSearch)
