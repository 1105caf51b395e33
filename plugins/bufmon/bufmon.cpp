// Lists every access to the buffers of search_buffers.txt.
#include <fstream>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include "callstack_instr/taps.hpp"

namespace {

using callstack::Access;

struct Buffer {
  target_ulong begin;
  target_ulong last;
  target_ulong asid;
};

class BufMon : public callstack::TapPlugin {
 public:
  BufMon() {
    arguments().done();
    read_buffers("search_buffers.txt");
    out_ = panda::Output("buffer_taps.txt");
    on_access([this](CPUState* cpu, const Access& access) { look(cpu, access); });
  }

 private:
  void read_buffers(const char* path) {
    std::ifstream file(path);
    if (!file) panda::refuse("cannot read %s: it says which buffers to watch, see the README", path);
    std::string line;
    for (unsigned number = 1; std::getline(file, line); number++) {
      std::istringstream words(line);
      std::string more;
      target_ulong begin = 0, size = 0, asid = 0;
      if (!(words >> more)) continue;
      words.seekg(0);
      if (!(words >> std::hex >> begin >> size >> asid) || words >> more || size == 0 ||
          static_cast<target_ulong>(begin + (size - 1)) < begin) {
        panda::refuse("%s:%u: a buffer is address, size and ASID, in hexadecimal", path, number);
      }
      buffers_.push_back({begin, static_cast<target_ulong>(begin + (size - 1)), asid});
      lowest_ = std::min(lowest_, begin);
      highest_ = std::max(highest_, buffers_.back().last);
    }
    if (buffers_.empty()) panda::refuse("%s lists no buffer", path);
  }

  void look(CPUState* cpu, const Access& access) {
    const auto last = static_cast<target_ulong>(access.addr + (access.size - 1));
    if (last < lowest_ || access.addr > highest_) return;
    const target_ulong asid = panda_current_asid(cpu);
    for (const Buffer& buffer : buffers_) {
      if (buffer.asid != asid || last < buffer.begin || access.addr > buffer.last) continue;
      const prog_point p = tap(cpu, access);
      out_.print("%s %" PRIu64 " " TARGET_FMT_lx " " TARGET_FMT_lx " " TARGET_FMT_lx " " TARGET_FMT_lx " %zu ",
                 access.is_write ? "WRITE" : "READ", rr_get_guest_instr_count(), p.caller, p.pc, asid, access.addr,
                 access.size);
      for (size_t i = 0; i < access.size; i++) out_.print("%02x", access.data[i]);
      out_.print("\n");
      return;  // buffers may overlap: an access is one line
    }
  }

  std::vector<Buffer> buffers_;
  target_ulong lowest_ = ~target_ulong{0};
  target_ulong highest_ = 0;
  panda::Output out_;
};

}  // namespace

PANDA_PLUGIN(BufMon)
