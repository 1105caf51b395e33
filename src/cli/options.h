// The command line: options.inc parsed into a Config. No option has an effect here; a wrong one is
// refused with a message that names it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace panda::cli {

enum class SerialKind : uint8_t { Null, Stdio, File };
enum class BackendKind : uint8_t { Jit, Interpreter, Check };

struct Config {
  std::string architecture;  // "x86_64", "i386"
  std::string kernel;
  std::string initrd;
  std::string append;
  uint64_t ram_bytes = uint64_t{128} << 20;
  std::string cpu;  // empty: the default model
  std::string name;
  SerialKind serial = SerialKind::Stdio;
  std::string serial_path;
  bool monitor_on_stdio = true;  // with the serial console there too: multiplexed, Ctrl-A c switches
  bool monitor_first = false;    // -monitor stdio was given: input goes to the monitor first
  bool no_reboot = false;
  bool start_stopped = false;
  std::optional<unsigned> icount_shift;
  std::optional<int64_t> rtc_base_s;  // seconds since 1970; nullopt: the host's date, or a fixed one with -icount
  std::string record;
  std::string replay;
  struct PluginOption {
    enum class Kind : uint8_t { List, File, Argument } kind;  // -panda, -panda-plugin, -panda-arg
    std::string text;
  };
  std::vector<PluginOption> plugins;  // in the order given
  std::string os;
  std::string pandalog;  // file that plugins log to; empty: none
  BackendKind backend = BackendKind::Jit;
  uint64_t code_bytes = uint64_t{128} << 20;  // room for translated code
  uint64_t check_from = 0;
  uint64_t check_to = ~uint64_t{0};
  uint64_t check_every = 0;  // 0: once
  bool verify = false;
  std::string plugin_directory;
  enum class Info : uint8_t { None, Help, Version, CpuHelp, PluginHelp };
  Info info = Info::None;  // print this and exit
};

Result<Config> parse_options(std::string_view architecture, const std::vector<std::string>& arguments);
[[nodiscard]] std::string help_text(std::string_view program);

// "512" (MiB), "512M", "2G", ...
Result<uint64_t> parse_memory_size(std::string_view text);

}  // namespace panda::cli
