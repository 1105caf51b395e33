#include "apigen/generate.h"

#include <algorithm>
#include <cctype>

namespace panda::apigen {
namespace {

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return std::isalnum(c) != 0 ? std::toupper(c) : '_'; });
  return text;
}

std::string separated(const Function& f) { return f.result.ends_with('*') ? f.result : f.result + " "; }

std::string prototype(const Function& f) {
  std::string out = separated(f) + f.name + "(";
  for (const Parameter& p : f.parameters) out += (out.back() == '(' ? "" : ", ") + p.declaration;
  return out + (f.parameters.empty() ? "void)" : ")");
}

std::string pointer(const std::string& plugin, const Function& f) { return "panda_ext_" + plugin + "_" + f.name + "_"; }

// A weak and hidden definition: sources of one plugin that include this share it, other plugins do not.
std::string forwarder(const std::string& plugin, const Function& f) {
  const std::string p = pointer(plugin, f);
  std::string arguments;
  for (const Parameter& a : f.parameters) arguments += (arguments.empty() ? "" : ", ") + a.name;
  std::string out = fmt::format("PANDA_EXT_SHARED void *{} = 0;\n", p);
  out += fmt::format("PANDA_EXT_SHARED {} {{\n", prototype(f));
  out += fmt::format("  if (!{}) panda_fail(\"{} was called before init_{}_api()\");\n", p, f.name, plugin);
  out += fmt::format("  {}((__typeof__(&{})){})({});\n}}\n", f.result == "void" ? "" : "return ", f.name, p, arguments);
  return out;
}

}  // namespace

std::string generate(const std::string& plugin, const std::string& header, const Declarations& d) {
  const std::string guard = "PANDA_EXT_" + upper(plugin) + "_H";
  std::string out = fmt::format(
      "/* Made by panda-apigen: the functions that the plugin {0} offers to others. Call init_{0}_api() in\n"
      " * init_plugin; false: they cannot be had, and the plugin is not loaded, for the reason that is said. */\n"
      "#ifndef {1}\n#define {1}\n\n#include \"panda/plugin.h\"\n",
      plugin, guard);
  const auto mentions = [&](std::string_view what) {
    return std::any_of(d.items.begin(), d.items.end(), [&](const Item& i) {
      return i.directive.empty() && prototype(i.function).find(what) != std::string::npos;
    });
  };
  if (mentions("Panda__")) out += "#include \"panda/plog.h\"\n";
  if (header.empty()) {
    for (const std::string& include : d.includes) out += "#include " + include + "\n";
  }
  out += "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n";
  if (!header.empty()) out += fmt::format("#include \"{}\"\n", header);
  out +=
      "\n#ifndef PANDA_EXT_SHARED\n#define PANDA_EXT_SHARED __attribute__((weak, visibility(\"hidden\")))\n#endif\n\n";
  std::string found;
  for (const Item& item : d.items) {
    if (!item.directive.empty()) {
      out += "#" + item.directive + "\n";
      found += "#" + item.directive + "\n";
      continue;
    }
    if (header.empty()) out += prototype(item.function) + ";\n";
    out += forwarder(plugin, item.function);
    found += fmt::format("  ok = panda_find_function(plugin, \"{}\", \"{}\", &{}) && ok;\n", plugin, item.function.name,
                         pointer(plugin, item.function));
  }
  out += fmt::format(
      "\nstatic inline bool init_{0}_api(void) {{\n  void *plugin = panda_need_plugin(\"{0}\");\n  bool ok = plugin != "
      "0;\n"
      "  if (!ok) return false;\n{1}  return ok;\n}}\n",
      plugin, found);
  out += "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
  return out;
}

}  // namespace panda::apigen
