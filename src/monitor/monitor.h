// The monitor: lines of text in, text out. What a command does is the target's business; which
// commands exist is commands.inc's. Runs on the guest's thread, between two instructions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace panda::monitor {

// What the commands act on. Strings that are returned are shown to the user.
class Target {
 public:
  virtual ~Target() = default;
  virtual Status stop() = 0;
  virtual Status cont() = 0;
  virtual void quit() = 0;
  virtual Result<std::string> begin_record(const std::string& name) = 0;
  virtual Result<std::string> end_record() = 0;
  virtual Status system_reset() = 0;
  virtual Status system_powerdown() = 0;
  [[nodiscard]] virtual std::string describe_registers() = 0;
  [[nodiscard]] virtual std::string describe_status() = 0;
  [[nodiscard]] virtual std::string describe_jit() = 0;
  [[nodiscard]] virtual std::string describe_record() = 0;
  // The plugins' own commands return what to show. arguments: "key=value,key".
  virtual std::string load_plugin(const std::string& name_or_path, const std::string& arguments) = 0;
  virtual std::string unload_plugin(const std::string& index_or_name) = 0;
  [[nodiscard]] virtual std::string list_plugins() = 0;
  virtual std::string plugin_command(const std::string& text) = 0;
};

// Executes one line and returns what to show: empty, or text that ends with a newline.
[[nodiscard]] std::string execute(Target& target, std::string_view line);

// The command changes nothing of the machine: it may be executed while the guest is inside a block.
[[nodiscard]] bool only_answers(std::string_view line);

// Words of a line; "double quotes" keep blanks together, backslash escapes in them.
Result<std::vector<std::string>> split_words(std::string_view line);

inline constexpr std::string_view kPrompt = "(qemu) ";

}  // namespace panda::monitor
