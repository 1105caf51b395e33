// One log as the C interface has it: closed, being written or being read. The machine's log, which
// that interface speaks to where it is given none, is global as the interface is; a machine's plugin
// host opens and closes it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "base/result.h"
#include "pandalog/reader.h"
#include "pandalog/writer.h"

namespace panda::pandalog {

struct Stamp {
  uint64_t pc = 0;
  uint64_t instr = 0;
};

class Log {
 public:
  Status open_write(const std::string& path, uint32_t chunk_bytes);  // 0: the default
  Status open_read(const std::string& path, Direction direction);
  Status close();
  [[nodiscard]] Writer* writer() { return writer_.get(); }
  [[nodiscard]] Reader* reader() { return reader_.get(); }
  // One line on stderr. The second: once until the log is closed.
  static void say(const std::string& line);
  void say_once(const std::string& line);
  // Says what the reader has found wrong since the last call.
  void report_problems();

 private:
  std::unique_ptr<Writer> writer_;
  std::unique_ptr<Reader> reader_;
  std::vector<std::string> said_;
  size_t reported_ = 0;
};

// The machine's log, which belongs to the guest's thread.
struct MachineHooks {
  Stamp (*stamp)() = nullptr;  // where the guest is; nullptr: there is no machine, entries keep the stamps they have
  std::string (*who)() = nullptr;  // the plugin that runs, for messages; "": none
};
void set_machine(MachineHooks hooks);
Status open_machine_log(const std::string& path);
// What could not be written is said on stderr.
void close_machine_log();

}  // namespace panda::pandalog
