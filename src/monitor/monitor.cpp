#include "monitor/monitor.h"

#include <array>

#include "base/nearest.h"
#include "base/version.h"

namespace panda::monitor {
namespace {

enum class Id : uint8_t {
#define COMMAND(id, name, alias, arguments, help) id,
#include "monitor/commands.inc"
#undef COMMAND
};

struct Row {
  Id id;
  std::string_view name;
  std::string_view alias;
  std::string_view arguments;
  std::string_view help;
};

constexpr std::array kRows = {
#define COMMAND(id, name, alias, arguments, help) Row{Id::id, name, alias, arguments, help},
#include "monitor/commands.inc"
#undef COMMAND
};

constexpr std::array<std::string_view, 6> kInfo = {"registers", "status", "jit", "version", "record", "plugins"};

const Row* find(std::string_view word) {
  for (const Row& r : kRows) {
    if (r.name == word || (!r.alias.empty() && r.alias == word)) return &r;
  }
  return nullptr;
}

std::string unknown(std::string_view word) {
  std::vector<std::string> names;
  for (const Row& r : kRows) names.emplace_back(r.name);
  const std::string near = nearest_word(word, names);
  if (near.empty()) return fmt::format("unknown command: '{}'; 'help' lists them\n", word);
  return fmt::format("unknown command: '{}'; the nearest is '{}'\n", word, near);
}

std::string describe(const Row& r) {
  std::string left = fmt::format("{}{}{}", r.name, r.arguments.empty() ? "" : " ", r.arguments);
  if (!r.alias.empty()) left = fmt::format("{}|{}", r.alias, left);
  return fmt::format("{:<40} -- {}\n", left, r.help);
}

std::string help(const std::vector<std::string>& words) {
  if (words.size() > 1) {
    const Row* row = find(words[1]);
    return row != nullptr ? describe(*row) : unknown(words[1]);
  }
  std::string text;
  for (const Row& r : kRows) text += describe(r);
  return text;
}

std::string info(Target& target, const std::vector<std::string>& words) {
  const std::string what = words.size() > 1 ? words[1] : "";
  if (what == "registers") return target.describe_registers();
  if (what == "status") return target.describe_status();
  if (what == "jit") return target.describe_jit();
  if (what == "version") return fmt::format("PANDA {}\n", kVersion);
  if (what == "record") return target.describe_record();
  if (what == "plugins") return target.list_plugins();
  if (what.empty()) {
    std::string text;
    for (const std::string_view i : kInfo) text += fmt::format("info {}\n", i);
    return text;
  }
  const std::string near = nearest_word(what, {kInfo.begin(), kInfo.end()});
  return near.empty() ? fmt::format("info {}: unknown; 'info' lists them\n", what)
                      : fmt::format("info {}: unknown; the nearest is 'info {}'\n", what, near);
}

std::string show(const Status& s) { return s ? std::string() : fmt::format("Error: {}\n", s.error().message); }
std::string show(const Result<std::string>& s) { return s ? *s : fmt::format("Error: {}\n", s.error().message); }

std::string needs(const Row& r) { return fmt::format("{}: needs an argument: {}\n", r.name, r.arguments); }

std::string load_plugin(Target& target, const std::vector<std::string>& words) {
  std::string arguments;
  for (size_t i = 2; i < words.size(); i++) arguments += (i > 2 ? "," : "") + words[i];
  return target.load_plugin(words[1], arguments);
}

// What follows the command's name, as it was typed.
std::string rest_of(std::string_view line) {
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  line.remove_prefix(std::min(line.find_first_of(" \t"), line.size()));
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  while (!line.empty() && (line.back() == ' ' || line.back() == '\t')) line.remove_suffix(1);
  if (line.size() >= 2 && line.front() == '"' && line.back() == '"') line = line.substr(1, line.size() - 2);
  return std::string(line);
}

}  // namespace

Result<std::vector<std::string>> split_words(std::string_view line) {
  std::vector<std::string> words;
  size_t i = 0;
  while (true) {
    while (i < line.size() && (line[i] == ' ' || line[i] == '\t' || line[i] == '\r')) i++;
    if (i == line.size()) return words;
    std::string word;
    bool quoted = false;
    for (; i < line.size(); i++) {
      const char ch = line[i];
      if (ch == '"') {
        quoted = !quoted;
      } else if (quoted && ch == '\\' && i + 1 < line.size()) {
        word += line[++i];
      } else if (!quoted && (ch == ' ' || ch == '\t' || ch == '\r')) {
        break;
      } else {
        word += ch;
      }
    }
    if (quoted) return fail("a quote is not closed");
    words.push_back(std::move(word));
  }
}

bool only_answers(std::string_view line) {
  const auto words = split_words(line);
  if (!words || words->empty()) return true;
  const Row* row = find(words->front());
  return row == nullptr || row->id == Id::Help || row->id == Id::Info || row->id == Id::ListPlugins ||
         row->id == Id::PluginCmd;
}

std::string execute(Target& target, std::string_view line) {
  const auto words = split_words(line);
  if (!words) return fmt::format("Error: {}\n", words.error().message);
  if (words->empty()) return {};
  const Row* row = find(words->front());
  if (row == nullptr) return unknown(words->front());
  const bool optional = row->arguments.starts_with('[') || row->id == Id::Info;
  if (row->arguments.empty() && words->size() > 1) return fmt::format("{}: takes no argument\n", row->name);
  if (!row->arguments.empty() && !optional && (words->size() < 2 || (*words)[1].empty())) return needs(*row);
  switch (row->id) {
    case Id::Help:
      return help(*words);
    case Id::Info:
      return info(target, *words);
    case Id::Stop:
      return show(target.stop());
    case Id::Cont:
      return show(target.cont());
    case Id::Quit:
      target.quit();
      return {};
    case Id::BeginRecord:
      if (words->size() > 2) return "begin_record: one name; put it in quotes if it has blanks\n";
      return show(target.begin_record((*words)[1]));
    case Id::EndRecord:
      return show(target.end_record());
    case Id::SystemReset:
      return show(target.system_reset());
    case Id::SystemPowerdown:
      return show(target.system_powerdown());
    case Id::LoadPlugin:
      return load_plugin(target, *words);
    case Id::UnloadPlugin:
      return target.unload_plugin((*words)[1]);
    case Id::ListPlugins:
      return target.list_plugins();
    case Id::PluginCmd:
      return target.plugin_command(rest_of(line));
  }
  return {};
}

}  // namespace panda::monitor
