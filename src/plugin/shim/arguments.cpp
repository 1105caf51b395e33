// Arguments of the C API.
#include "plugin/arguments.h"

#include <limits>
#include <new>

#include "plugin/shim/shim.h"

namespace api = panda::plugin::api;
using panda::plugin::shim::copy;

namespace {

std::string_view plugin_of(const panda_arg_list* args) {
  return args != nullptr && args->plugin_name != nullptr ? args->plugin_name : "";
}

const char* find(const panda_arg_list* args, const char* name) {
  const char* found = nullptr;  // the last one counts: what stands later on the command line overrides
  for (int i = 0; args != nullptr && i < args->nargs; i++) {
    if (std::strcmp(args->list[i].key, name) == 0) found = args->list[i].value;
  }
  return found;
}

bool wants_help(const panda_arg_list* args) { return find(args, "help") != nullptr; }

struct Request {
  const panda_arg_list* args;
  const char* name;
  const char* kind;
  const char* help;
  bool required;
};

// The text of an argument, or nullptr; reports one that is required and missing.
const char* look_up(const Request& r, const std::string& default_text) {
  api::argument_asked(plugin_of(r.args), {.key = r.name,
                                          .kind = r.kind,
                                          .default_value = r.required ? "" : default_text,
                                          .help = r.help != nullptr ? r.help : "",
                                          .required = r.required});
  const char* value = find(r.args, r.name);
  if (value == nullptr && r.required && !wants_help(r.args)) {
    std::string message = std::string("the argument '") + r.name + "' is required";
    if (r.help != nullptr && *r.help != '\0') message += std::string(" (") + r.help + ")";
    api::argument_problem(std::move(message));
  }
  return value;
}

void bad_value(const Request& r, const char* value) {
  api::argument_problem(std::string("the argument '") + r.name + "=" + value + "' is not a valid " + r.kind);
}

template <typename T>
T number(const Request& r, T fallback) {
  const char* value = look_up(r, std::to_string(fallback));
  if (value == nullptr) return fallback;
  const auto parsed = panda::plugin::parse_unsigned(value);
  if (!parsed || *parsed > std::numeric_limits<T>::max()) {
    bad_value(r, value);
    return fallback;
  }
  return static_cast<T>(*parsed);
}

double real(const Request& r, double fallback) {
  const char* value = look_up(r, fmt::format("{}", fallback));
  if (value == nullptr) return fallback;
  const auto parsed = panda::plugin::parse_double(value);
  if (!parsed) bad_value(r, value);
  return parsed.value_or(fallback);
}

bool boolean(const Request& r) {
  const char* value = look_up(r, "false");
  if (value == nullptr) return false;
  const auto parsed = panda::plugin::parse_bool(value);
  if (!parsed) bad_value(r, value);
  return parsed.value_or(false);
}

const char* string(const Request& r, const char* fallback) {
  const char* value = look_up(r, fallback != nullptr ? fallback : "");
  return value != nullptr ? value : fallback;
}

}  // namespace

panda_arg_list* panda_get_args(const char* plugin_name) {
  const auto pairs = api::arguments_of(plugin_name != nullptr ? plugin_name : "");
  auto* args = static_cast<panda_arg_list*>(std::calloc(1, sizeof(panda_arg_list)));
  if (args == nullptr) throw std::bad_alloc();
  args->plugin_name = copy(plugin_name != nullptr ? plugin_name : "");
  args->list = static_cast<panda_arg*>(std::calloc(pairs.size() + 1, sizeof(panda_arg)));
  for (const auto& [key, value] : pairs) {
    panda_arg& a = args->list[args->nargs++];
    a.key = copy(key);
    a.value = copy(value);
  }
  if (wants_help(args)) api::argument_problem("only its arguments were asked for (help): it is not loaded");
  return args;
}

void panda_free_args(panda_arg_list* args) {
  if (args == nullptr) return;
  for (int i = 0; i < args->nargs; i++) {
    std::free(args->list[i].key);
    std::free(args->list[i].value);
  }
  const std::string plugin = args->plugin_name;
  std::free(args->list);
  std::free(args->plugin_name);
  std::free(args);
  api::arguments_taken(plugin);
}

using cstring = const char*;
// What a required argument is where it is missing, until the plugin notices: no null pointer, it would use it.
template <typename T>
constexpr T kMissing = T{};
template <>
constexpr cstring kMissing<cstring> = "";

#define PANDA_ARGUMENT_FORMS(suffix, type, kind, read)                                                        \
  type panda_parse_##suffix(panda_arg_list* args, const char* argname, type defval) {                         \
    return read({args, argname, kind, nullptr, false}, defval);                                               \
  }                                                                                                           \
  type panda_parse_##suffix##_req(panda_arg_list* args, const char* argname, const char* help) {              \
    return read({args, argname, kind, help, true}, kMissing<type>);                                           \
  }                                                                                                           \
  type panda_parse_##suffix##_opt(panda_arg_list* args, const char* argname, type defval, const char* help) { \
    return read({args, argname, kind, help, false}, defval);                                                  \
  }

PANDA_ARGUMENT_FORMS(ulong, target_ulong, "number", number)
PANDA_ARGUMENT_FORMS(uint32, uint32_t, "number", number)
PANDA_ARGUMENT_FORMS(uint64, uint64_t, "number", number)
PANDA_ARGUMENT_FORMS(double, double, "number", real)
PANDA_ARGUMENT_FORMS(string, cstring, "string", string)
#undef PANDA_ARGUMENT_FORMS

bool panda_parse_bool(panda_arg_list* args, const char* argname) {
  return boolean({args, argname, "bool", nullptr, false});
}
bool panda_parse_bool_req(panda_arg_list* args, const char* argname, const char* help) {
  return boolean({args, argname, "bool", help, true});
}
bool panda_parse_bool_opt(panda_arg_list* args, const char* argname, const char* help) {
  return boolean({args, argname, "bool", help, false});
}

char** str_split(char* a_str, const char a_delim) {
  std::vector<std::string> parts;
  std::string part;
  for (const char* p = a_str; *p != '\0'; p++) {
    if (*p != a_delim) {
      part += *p;
    } else if (!part.empty()) {
      parts.push_back(std::move(part));
      part.clear();
    }
  }
  if (!part.empty()) parts.push_back(std::move(part));
  auto** out = static_cast<char**>(std::calloc(parts.size() + 1, sizeof(char*)));
  if (out == nullptr) throw std::bad_alloc();
  for (size_t i = 0; i < parts.size(); i++) out[i] = copy(parts[i]);
  return out;
}
