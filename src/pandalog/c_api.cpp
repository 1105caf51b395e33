// The C interface: include/panda/plog.h and plog-cc-bridge.h, but for what depends on the fields of
// entries. It is global by its nature: `pandalog` and the machine's log are here, and nowhere else.
#include <protobuf-c/protobuf-c.h>

#include <cstdlib>
#include <new>

#include "panda/plog-cc-bridge.h"
#include "pandalog/log.h"

namespace pl = panda::pandalog;

struct panda_log {
  pl::Log log;
};

// PandaLog's object globalLog: the pointer of plog-cc.hpp's class is null, which means the machine's log.
struct GlobalPandaLog {
  panda_log* log;
  bool open;
};

extern "C" {
int pandalog = 0;
GlobalPandaLog globalLog = {nullptr, false};
void panda_pprint_message(const ProtobufCMessage* message);  // c_print.cpp
}

namespace {

// What only plugins call is to be linked all the same.
[[gnu::used]] void (*const kPrinting)(const ProtobufCMessage*) = panda_pprint_message;

struct Machine {
  pl::Log log;
  pl::MachineHooks hooks;
};

Machine& machine() {
  static Machine m;
  return m;
}

pl::Log& log_of(panda_log* log) { return log != nullptr ? log->log : machine().log; }

// 0, or -1 and the message on stderr.
int answer(const panda::Status& status) {
  if (status) return 0;
  pl::Log::say(status.error().message);
  return -1;
}

// The protobuf-c fields that every entry has.
uint64_t* field(ProtobufCMessage* entry, const char* name) {
  const ProtobufCFieldDescriptor* f = protobuf_c_message_descriptor_get_field_by_name(entry->descriptor, name);
  if (f == nullptr || f->type != PROTOBUF_C_TYPE_UINT64 || f->label != PROTOBUF_C_LABEL_REQUIRED) return nullptr;
  return reinterpret_cast<uint64_t*>(reinterpret_cast<char*>(entry) + f->offset);
}

}  // namespace

namespace panda::pandalog {

void set_machine(MachineHooks hooks) { machine().hooks = hooks; }

Status open_machine_log(const std::string& path) {
  PANDA_TRY_STATUS(machine().log.open_write(path, 0));
  ::pandalog = 1;
  return {};
}

void close_machine_log() {
  ::pandalog = 0;
  static_cast<void>(machine().log.close());
}

}  // namespace panda::pandalog

extern "C" {

panda_log* panda_log_new(void) { return new panda_log; }
void panda_log_delete(panda_log* log) {
  if (log == nullptr) return;
  static_cast<void>(log->log.close());
  delete log;
}

int panda_log_open_write(panda_log* log, const char* path, uint32_t chunk_size) {
  const int status = answer(log_of(log).open_write(path, chunk_size));
  if (log == nullptr && status == 0) pandalog = 1;
  return status;
}
int panda_log_open_read(panda_log* log, const char* path, int backwards) {
  return answer(log_of(log).open_read(path, backwards != 0 ? pl::Direction::Backward : pl::Direction::Forward));
}
int panda_log_close(panda_log* log) {
  if (log == nullptr) pandalog = 0;
  return log_of(log).close() ? 0 : -1;
}

void panda_log_stamp(panda_log* log, uint64_t* pc, uint64_t* instr) {
  if (log != nullptr || machine().hooks.stamp == nullptr) return;
  const pl::Stamp stamp = machine().hooks.stamp();
  *pc = stamp.pc;
  *instr = stamp.instr;
}

uint8_t* panda_log_begin_entry(panda_log* log, size_t size, uint64_t instr) {
  pl::Log& l = log_of(log);
  pl::Writer* writer = l.writer();
  if (writer == nullptr) {
    l.say_once("pandalog: an entry was written while no log is open for writing (-pandalog FILE): it is dropped");
    return nullptr;
  }
  uint8_t* const room = writer->begin_entry(size, panda::InsnCount(instr));
  if (room == nullptr) {
    l.say_once(writer->problem());
    if (log == nullptr) pandalog = 0;
  }
  return room;
}
void panda_log_end_entry(panda_log* log) { log_of(log).writer()->end_entry(); }
void panda_log_refuse_entry(panda_log* log, const char* why) {
  const std::string who = log == nullptr && machine().hooks.who != nullptr ? machine().hooks.who() : "";
  log_of(log).say_once((who.empty() ? "pandalog: " : "plugin " + who + ": pandalog: ") + why);
}

const uint8_t* panda_log_read_entry(panda_log* log, size_t* size) {
  pl::Log& l = log_of(log);
  if (l.reader() == nullptr) {
    l.say_once("pandalog: an entry was asked for while no log is open for reading");
    return nullptr;
  }
  const auto entry = l.reader()->next();
  l.report_problems();
  if (!entry) return nullptr;
  *size = entry->size();
  return entry->data();
}
void panda_log_seek(panda_log* log, uint64_t instr) {
  pl::Log& l = log_of(log);
  if (l.reader() == nullptr) return;
  l.reader()->seek(panda::InsnCount(instr));
  l.report_problems();
}

// ---- the machine's log

void pandalog_write_entry(ProtobufCMessage* entry) {
  uint64_t* const pc = field(entry, "pc");
  uint64_t* const instr = field(entry, "instr");
  if (pc == nullptr || instr == nullptr) {
    panda_log_refuse_entry(nullptr, "what is to be written is not an initialised Panda__LogEntry");
    return;
  }
  panda_log_stamp(nullptr, pc, instr);
  if (!protobuf_c_message_check(entry)) {
    panda_log_refuse_entry(nullptr, "an entry lacks required fields and is left out");
    return;
  }
  uint8_t* const room = panda_log_begin_entry(nullptr, protobuf_c_message_get_packed_size(entry), *instr);
  if (room == nullptr) return;
  protobuf_c_message_pack(entry, room);
  panda_log_end_entry(nullptr);
}

void pandalog_write_packed(size_t entry_size, unsigned char* buf) {
  const auto instr = pl::find_varint({buf, entry_size}, pl::kInstrTag);
  if (!instr) {
    panda_log_refuse_entry(nullptr, "what is to be written is not a serialised panda.LogEntry");
    return;
  }
  uint8_t* const room = panda_log_begin_entry(nullptr, entry_size, *instr);
  if (room == nullptr) return;
  std::memcpy(room, buf, entry_size);
  panda_log_end_entry(nullptr);
}

unsigned char* pandalog_read_packed(void) {
  size_t size = 0;
  const uint8_t* entry = panda_log_read_entry(nullptr, &size);
  if (entry == nullptr) return nullptr;
  auto* out = static_cast<unsigned char*>(std::malloc(sizeof size + size));
  if (out == nullptr) throw std::bad_alloc();
  std::memcpy(out, &size, sizeof size);
  std::memcpy(out + sizeof size, entry, size);
  return out;
}

void pandalog_open_write(const char* filename, uint32_t chunk_size) {
  panda_log_open_write(nullptr, filename, chunk_size);
}
void pandalog_open_read_fwd(const char* filename) { panda_log_open_read(nullptr, filename, 0); }
void pandalog_open_read_bwd(const char* filename) { panda_log_open_read(nullptr, filename, 1); }
void pandalog_open(const char* filename, const char* mode) {
  if (mode != nullptr && mode[0] == 'w') {
    pandalog_open_write(filename, 0);
  } else {
    pandalog_open_read_fwd(filename);
  }
}
void pandalog_close(void) { panda_log_close(nullptr); }
void pandalog_seek(uint64_t instr) { panda_log_seek(nullptr, instr); }

void panda_start_pandalog(const char* name) { pandalog_open_write(name, 0); }
void pandalog_init(const char* fname) { pandalog_open_write(fname, 0); }
void pandalog_cc_init_write(const char* path) { pandalog_open_write(path, 0); }
void pandalog_cc_init_read(const char* path) { pandalog_open_read_fwd(path); }
void pandalog_cc_init_read_bwd(const char* path) { pandalog_open_read_bwd(path); }
void pandalog_cc_seek(uint64_t instr) { panda_log_seek(nullptr, instr); }
void pandalog_cc_close(void) { panda_log_close(nullptr); }

}  // extern "C"
