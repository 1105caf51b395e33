// The C++ interface to pandalogs: globalLog is the log that -pandalog FILE opens.
//
//     if (pandalog) {
//       auto entry = std::make_unique<panda::LogEntry>();
//       entry->set_asid(panda_current_asid(cpu));
//       globalLog.write_entry(std::move(entry));
//     }
//
// Fields are those of all plugins' .proto fragments (docs/pandalog.md); `pc` and `instr` of globalLog's
// entries are filled in. Entries are owned by their unique_ptr: write_entry() frees what it is given,
// read_entry() gives what it made. Other PandaLog objects are logs of their own, which keep the pc and
// instr that they are given; they are read and written in programs too (link with panda_pandalog).
#ifndef PANDA_PLOG_CC_HPP
#define PANDA_PLOG_CC_HPP

#include <cstdint>
#include <memory>
#include <utility>

#include "panda/plog-cc-bridge.h"
#include "plog.pb.h"

enum PlMode { PL_MODE_WRITE, PL_MODE_READ_FWD, PL_MODE_READ_BWD, PL_MODE_UNKNOWN };

class PandaLog {
 public:
  PandaLog() : log_(panda_log_new()) {}
  ~PandaLog() { panda_log_delete(log_); }
  PandaLog(const PandaLog &) = delete;
  PandaLog &operator=(const PandaLog &) = delete;

  // What goes wrong is said on stderr; is_open() tells.
  void open_write(const char *path, uint32_t chunk_size) { note(panda_log_open_write(log_, path, chunk_size)); }
  void open_read(const char *path, PlMode mode) { note(panda_log_open_read(log_, path, mode == PL_MODE_READ_BWD)); }
  void open_read_fwd(const char *path) { open_read(path, PL_MODE_READ_FWD); }
  void open_read_bwd(const char *path) { open_read(path, PL_MODE_READ_BWD); }
  void open(const char *path, const char *mode) {
    if (mode != nullptr && mode[0] == 'w') {
      open_write(path, 0);
    } else {
      open_read_fwd(path);
    }
  }
  bool is_open() const { return log_ == nullptr ? pandalog != 0 || open_ : open_; }
  int close() {
    open_ = false;
    return panda_log_close(log_);
  }

  void write_entry(std::unique_ptr<panda::LogEntry> entry) {
    if (entry == nullptr) return;
    uint64_t pc = entry->pc();
    uint64_t instr = entry->instr();
    panda_log_stamp(log_, &pc, &instr);
    entry->set_pc(pc);
    entry->set_instr(instr);
    if (!entry->IsInitialized()) {
      panda_log_refuse_entry(log_, "an entry lacks required fields and is left out");
      return;
    }
    const size_t size = entry->ByteSizeLong();
    uint8_t *const room = panda_log_begin_entry(log_, size, instr);
    if (room == nullptr) return;
    entry->SerializeWithCachedSizesToArray(room);
    panda_log_end_entry(log_);
  }

  // The next entry, or nullptr.
  std::unique_ptr<panda::LogEntry> read_entry() {
    size_t size = 0;
    while (const uint8_t *bytes = panda_log_read_entry(log_, &size)) {
      auto entry = std::make_unique<panda::LogEntry>();
      if (entry->ParseFromArray(bytes, static_cast<int>(size))) return entry;
      panda_log_refuse_entry(log_, "an entry that was read is not a panda.LogEntry of this program's .proto");
    }
    return nullptr;
  }
  void seek(uint64_t instr) { panda_log_seek(log_, instr); }

 private:
  void note(int status) { open_ = status == 0; }

  panda_log *log_;  // nullptr: the machine's
  bool open_ = false;
};

extern PandaLog globalLog;

#endif
