// Plugin arguments: the command line's syntax, and which of them each plugin asked for, so that one
// that nobody knows can be named.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace panda::plugin {

struct Argument {
  std::string key;
  std::string value;  // "" where there was no '='
};

// An argument that a plugin has, as it asked for it.
struct AskedArgument {
  std::string key;
  std::string kind;           // "number", "bool", "string"
  std::string default_value;  // "": none
  std::string help;
  bool required = false;
};

struct PluginSpec {
  std::string name;  // or a path
  std::vector<Argument> arguments;
};

// 'name:key=value,key=value;other'. A backslash makes the next character an ordinary one.
[[nodiscard]] Result<std::vector<PluginSpec>> parse_plugin_list(std::string_view text);
// 'key=value,key' (what follows the colon)
[[nodiscard]] std::vector<Argument> parse_argument_list(std::string_view text);

[[nodiscard]] std::optional<bool> parse_bool(std::string_view text);
[[nodiscard]] std::optional<uint64_t> parse_unsigned(std::string_view text);  // decimal, 0x, 0 (octal)
[[nodiscard]] std::optional<double> parse_double(std::string_view text);

// "panda_x.so", "/dir/panda_x.so", "x" -> "x"
[[nodiscard]] std::string plugin_name_of(std::string_view file);

class ArgumentStore {
 public:
  void add(std::string_view plugin, Argument argument);
  [[nodiscard]] std::vector<Argument> of(std::string_view plugin) const;
  [[nodiscard]] std::set<std::string> plugins() const;  // those that there are arguments for
  void forget(std::string_view plugin);                 // it was unloaded: the next load has its own

  // --- what the plugin being initialised does with them
  void begin(std::string_view plugin);
  void asked_for(std::string_view plugin, AskedArgument argument);
  void problem(std::string message);
  // After init_plugin: what was wrong, if anything; unknown arguments (empty where none was asked for).
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }
  [[nodiscard]] std::vector<std::string> unknown(std::string_view plugin) const;
  [[nodiscard]] bool wants_help(std::string_view plugin) const;
  [[nodiscard]] std::string help(std::string_view plugin) const;  // a table of what it asked for

 private:
  struct Entry {
    std::string plugin;
    Argument argument;
  };
  std::vector<Entry> entries_;
  struct Asked {
    std::string plugin;
    AskedArgument argument;
  };
  std::vector<Asked> asked_;
  std::vector<std::string> problems_;
};

}  // namespace panda::plugin
