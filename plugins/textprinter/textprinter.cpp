// Writes what passes through the tap points of tap_points.txt, byte by byte, with the callers.
#include <zlib.h>

#include <fstream>
#include <optional>
#include <sstream>
#include <string>
#include <unordered_set>

#include "callstack_instr/taps.hpp"

namespace {

using callstack::Access;

constexpr uint32_t kCallers = 16;

// A gzip file of text lines.
class Log {
 public:
  explicit Log(const char* path) : path_(path), file_(gzopen(path, "wb")) {
    if (file_ == nullptr) panda::refuse("cannot write %s: %s", path, std::strerror(errno));
  }
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;
  ~Log() {
    if (gzclose(file_) != Z_OK || failed_) {
      std::fprintf(stderr, "panda: plugin textprinter: %s is incomplete\n", path_);
    }
  }
  void write(const std::string& text) {
    if (!failed_ && gzwrite(file_, text.data(), static_cast<unsigned>(text.size())) <= 0) failed_ = true;
  }

 private:
  const char* path_;
  gzFile file_;
  bool failed_ = false;
};

void append_word(std::string& line, target_ulong word) {
  char text[24];
  std::snprintf(text, sizeof text, TARGET_FMT_lx " ", word);
  line += text;
}

class TextPrinter : public callstack::TapPlugin {
 public:
  TextPrinter() {
    arguments().done();
    read_points("tap_points.txt");
    reads_.emplace("read_tap_buffers.txt.gz");
    writes_.emplace("write_tap_buffers.txt.gz");
    on_read([this](CPUState* cpu, const Access& access) { look(cpu, access, *reads_); });
    on_write([this](CPUState* cpu, const Access& access) { look(cpu, access, *writes_); });
  }

 private:
  void read_points(const char* path) {
    std::ifstream file(path);
    if (!file) panda::refuse("cannot read %s: it says which tap points to write, see the README", path);
    std::string line;
    int kind = -1;
    for (unsigned number = 1; std::getline(file, line); number++) {
      std::istringstream words(line);
      std::string first;
      if (!(words >> first)) continue;
      words.seekg(0);
      if (kind < 0) {
        if (!(words >> kind) || kind < 0 || kind > STACK_THREADED) {
          panda::refuse("%s:%u: the first line is the stack type: 0 (asid), 1 (heuristic) or 2 (threaded)", path,
                        number);
        }
        continue;
      }
      prog_point p{};
      p.stackKind = static_cast<stack_type>(kind);
      words >> std::hex >> p.caller >> p.pc >> p.sidFirst;
      if (kind != STACK_ASID) words >> p.sidSecond;
      if (!words || words >> first) {
        panda::refuse("%s:%u: a tap point is caller, pc and %s, in hexadecimal", path, number,
                      kind == STACK_ASID ? "ASID" : "two numbers of the stack");
      }
      points_.insert(p);
      pcs_.insert(p.pc);
    }
    if (points_.empty()) panda::refuse("%s lists no tap point", path);
  }

  void look(CPUState* cpu, const Access& access, Log& log) {
    accesses_++;
    if (pcs_.find(access.pc) == pcs_.end()) return;
    prog_point p = tap(cpu, access);
    p.isKernelMode = false;  // is not in the list: the pc says it
    if (points_.find(p) == points_.end()) return;

    target_ulong callers[kCallers];
    const uint32_t n = get_callers(callers, kCallers, cpu);
    std::string head;
    for (uint32_t i = n; i > 0; i--) append_word(head, callers[i - 1]);
    append_word(head, p.pc);
    head += std::to_string(static_cast<int>(p.stackKind)) + " ";
    append_word(head, p.sidFirst);
    append_word(head, p.sidSecond);
    for (size_t i = 0; i < access.size; i++) {
      std::string line = head;
      append_word(line, static_cast<target_ulong>(access.addr + i));
      char rest[32];
      std::snprintf(rest, sizeof rest, "%" PRIu64 " %02x\n", accesses_, access.data[i]);
      log.write(line + rest);
    }
  }

  std::optional<Log> reads_, writes_;
  std::unordered_set<prog_point, hash_prog_point> points_;
  std::unordered_set<target_ulong> pcs_;
  uint64_t accesses_ = 0;
};

}  // namespace

PANDA_PLUGIN(TextPrinter)
