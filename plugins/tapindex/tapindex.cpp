// How many bytes each tap point reads, and writes.
#include "callstack_instr/taps.hpp"

namespace {

using callstack::Access;

class TapIndex : public callstack::TapPlugin {
 public:
  TapIndex() {
    arguments().done();
    read_file_ = panda::Output("tap_reads.idx");
    write_file_ = panda::Output("tap_writes.idx");
    on_read([this](CPUState* cpu, const Access& access) { reads_[tap(cpu, access)] += access.size; });
    on_write([this](CPUState* cpu, const Access& access) { writes_[tap(cpu, access)] += access.size; });
  }
  ~TapIndex() override {
    write(read_file_, reads_);
    write(write_file_, writes_);
  }

 private:
  // Rows have no stack kind and no mode: what differs only there is one row.
  static void write(panda::Output& out, const callstack::TapMap<uint64_t>& taps) {
    callstack::write_word_size(out);
    const auto sorted = taps.sorted();
    for (size_t i = 0; i < sorted.size();) {
      const prog_point& p = sorted[i]->first;
      uint64_t bytes = 0;
      for (; i < sorted.size() && same_row(sorted[i]->first, p); i++) bytes += sorted[i]->second;
      const target_ulong row[4] = {p.caller, p.pc, p.sidFirst,
                                   static_cast<target_ulong>(std::min<uint64_t>(bytes, target_ulong(-1)))};
      out.write(row, sizeof row);
    }
  }
  static bool same_row(const prog_point& a, const prog_point& b) {
    return a.caller == b.caller && a.pc == b.pc && a.sidFirst == b.sidFirst;
  }

  panda::Output read_file_, write_file_;
  callstack::TapMap<uint64_t> reads_, writes_;
};

}  // namespace

PANDA_PLUGIN(TapIndex)
