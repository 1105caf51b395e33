#include "plugin/arguments.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>

namespace panda::plugin {
namespace {

// Splits at unescaped `separator`s; backslashes stay for the next level but before the separator.
std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts(1);
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 1 < text.size()) {
      parts.back() += text[i];
      parts.back() += text[++i];
    } else if (text[i] == separator) {
      parts.emplace_back();
    } else {
      parts.back() += text[i];
    }
  }
  return parts;
}

std::string unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '\\' && i + 1 < text.size()) i++;
    out += text[i];
  }
  return out;
}

std::string trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return std::string(text);
}

}  // namespace

std::vector<Argument> parse_argument_list(std::string_view text) {
  std::vector<Argument> out;
  for (const std::string& part : split(text, ',')) {
    if (part.empty()) continue;
    const size_t eq = part.find('=');
    if (eq == std::string::npos)
      out.push_back({unescape(part), ""});
    else
      out.push_back({unescape(part.substr(0, eq)), unescape(part.substr(eq + 1))});
  }
  return out;
}

Result<std::vector<PluginSpec>> parse_plugin_list(std::string_view text) {
  std::vector<PluginSpec> out;
  for (const std::string& raw : split(text, ';')) {
    const std::string part = trim(raw);
    if (part.empty()) continue;
    const size_t colon = part.find(':');
    PluginSpec spec;
    spec.name = unescape(part.substr(0, colon));
    if (spec.name.empty()) return fail("-panda '{}': a plugin's name is missing", text);
    if (colon != std::string::npos) spec.arguments = parse_argument_list(std::string_view(part).substr(colon + 1));
    for (const Argument& a : spec.arguments) {
      if (a.key.empty()) return fail("-panda '{}': an argument of {} has no name", text, spec.name);
    }
    out.push_back(std::move(spec));
  }
  if (out.empty()) return fail("-panda '{}': no plugin named", text);
  return out;
}

std::optional<bool> parse_bool(std::string_view text) {
  for (const std::string_view yes : {"", "1", "true", "yes", "on", "y"}) {
    if (text == yes) return true;
  }
  for (const std::string_view no : {"0", "false", "no", "off", "n"}) {
    if (text == no) return false;
  }
  return std::nullopt;
}

std::optional<uint64_t> parse_unsigned(std::string_view text) {
  const std::string s(text);
  if (s.empty() || s[0] < '0' || s[0] > '9') return std::nullopt;
  char* end = nullptr;
  errno = 0;
  const unsigned long long value = std::strtoull(s.c_str(), &end, 0);
  if (errno != 0 || *end != '\0') return std::nullopt;
  return value;
}

std::optional<double> parse_double(std::string_view text) {
  const std::string s(text);
  if (s.empty()) return std::nullopt;
  char* end = nullptr;
  const double value = std::strtod(s.c_str(), &end);
  if (*end != '\0') return std::nullopt;
  return value;
}

std::string plugin_name_of(std::string_view file) {
  const size_t slash = file.rfind('/');
  if (slash != std::string_view::npos) file.remove_prefix(slash + 1);
  if (file.ends_with(".so")) file.remove_suffix(3);
  if (file.starts_with("panda_")) file.remove_prefix(6);
  return std::string(file);
}

void ArgumentStore::add(std::string_view plugin, Argument argument) {
  entries_.push_back({std::string(plugin), std::move(argument)});
}

std::vector<Argument> ArgumentStore::of(std::string_view plugin) const {
  std::vector<Argument> out;
  for (const Entry& e : entries_) {
    if (e.plugin == plugin) out.push_back(e.argument);
  }
  return out;
}

std::set<std::string> ArgumentStore::plugins() const {
  std::set<std::string> out;
  for (const Entry& e : entries_) out.insert(e.plugin);
  return out;
}

void ArgumentStore::forget(std::string_view plugin) {
  std::erase_if(entries_, [&](const Entry& e) { return e.plugin == plugin; });
  std::erase_if(asked_, [&](const Asked& a) { return a.plugin == plugin; });
}

void ArgumentStore::begin(std::string_view plugin) {
  problems_.clear();
  std::erase_if(asked_, [&](const Asked& a) { return a.plugin == plugin; });
}

void ArgumentStore::asked_for(std::string_view plugin, AskedArgument argument) {
  for (const Asked& a : asked_) {
    if (a.plugin == plugin && a.argument.key == argument.key) return;
  }
  asked_.push_back({std::string(plugin), std::move(argument)});
}

void ArgumentStore::problem(std::string message) { problems_.push_back(std::move(message)); }

std::vector<std::string> ArgumentStore::unknown(std::string_view plugin) const {
  std::vector<std::string> known;
  for (const Asked& a : asked_) {
    if (a.plugin == plugin) known.push_back(a.argument.key);
  }
  std::vector<std::string> out;
  if (known.empty()) return out;
  for (const Argument& a : of(plugin)) {
    if (a.key != "help" && std::find(known.begin(), known.end(), a.key) == known.end()) out.push_back(a.key);
  }
  return out;
}

bool ArgumentStore::wants_help(std::string_view plugin) const {
  const std::vector<Argument> all = of(plugin);
  return std::any_of(all.begin(), all.end(), [](const Argument& a) { return a.key == "help"; });
}

std::string ArgumentStore::help(std::string_view plugin) const {
  std::string out;
  for (const Asked& a : asked_) {
    if (a.plugin != plugin) continue;
    const AskedArgument& g = a.argument;
    const std::string value = g.required ? "required" : g.default_value.empty() ? "" : "default " + g.default_value;
    std::string line = fmt::format("  {:<20} {:<7} {:<22} {}", g.key, g.kind, value, g.help);
    while (line.back() == ' ') line.pop_back();
    out += line + "\n";
  }
  return out.empty() ? fmt::format("The plugin {} has no arguments.\n", plugin)
                     : fmt::format("Arguments of the plugin {}:\n{}", plugin, out);
}

}  // namespace panda::plugin
