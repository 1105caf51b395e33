#include "cli/options.h"

#include <array>
#include <charconv>
#include <span>

#include "base/nearest.h"
#include "board/pc_map.h"
#include "board/rtc_base.h"
#include "plugin/arguments.h"

namespace panda::cli {
namespace {

enum class Id : uint8_t {
#define OPTION(id, name, argument, help) id,
#include "cli/options.inc"
#undef OPTION
};

struct Row {
  Id id;
  std::string_view name;
  std::string_view argument;
  std::string_view help;
};

constexpr std::array kRows = {
#define OPTION(id, name, argument, help) Row{Id::id, name, argument, help},
#include "cli/options.inc"
#undef OPTION
};

constexpr uint64_t kMinRam = board::kMinRamBytes;
constexpr uint64_t kMaxRam = board::kMaxRamBytes;
constexpr unsigned kMaxIcountShift = 10;
constexpr unsigned kAutoIcountShift = 2;  // 4 ns per instruction, near to what the JIT runs at

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t at = text.find(separator);
    parts.push_back(text.substr(0, at));
    if (at == std::string_view::npos) return parts;
    text.remove_prefix(at + 1);
  }
}

template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  const auto r = std::from_chars(text.data(), text.data() + text.size(), value);
  if (r.ec != std::errc() || r.ptr != text.data() + text.size()) return std::nullopt;
  return value;
}

Status parse_icount(std::string_view text, Config& c) {
  for (std::string_view part : split(text, ',')) {
    if (part.starts_with("shift=")) part.remove_prefix(6);
    if (part == "sleep=on" || part == "sleep=off" || part == "align=off") continue;
    if (part == "auto") {
      c.icount_shift = kAutoIcountShift;
      continue;
    }
    const auto shift = number<unsigned>(part);
    if (!shift || *shift > kMaxIcountShift) {
      return fail("-icount {}: not shift=0 to shift={}, shift=auto or sleep=on|off", text, kMaxIcountShift);
    }
    c.icount_shift = *shift;
  }
  if (!c.icount_shift) return fail("-icount {}: no shift=N given", text);
  return {};
}

Status parse_rtc(std::string_view text, Config& c) {
  for (const std::string_view part : split(text, ',')) {
    if (part == "clock=vm" || part == "clock=host" || part == "driftfix=none") continue;
    if (!part.starts_with("base="))
      return fail("-rtc {}: '{}' is not base=utc, base=localtime or base=DATE", text, part);
    PANDA_TRY(c.rtc_base_s, board::parse_rtc_base(part.substr(5)));
  }
  return {};
}

Status parse_interval(std::string_view text, Config& c) {
  const std::vector<std::string_view> parts = split(text, '/');
  const std::vector<std::string_view> ends = split(parts[0], '-');
  const auto every = parts.size() == 2 ? number<uint64_t>(parts[1]) : std::optional<uint64_t>(0);
  const auto from = number<uint64_t>(ends[0]);
  const auto to = number<uint64_t>(ends.back());
  c.check_from = from.value_or(0);
  c.check_to = to.value_or(0);
  c.check_every = every.value_or(0);
  const bool numbers = from && to && every && ends.size() == 2 && parts.size() <= 2;
  if (!numbers || c.check_from >= c.check_to || (parts.size() == 2 && c.check_every < c.check_to - c.check_from)) {
    return fail("-check-interval {}: not FROM-TO or FROM-TO/EVERY, instruction counts", text);
  }
  return {};
}

Status parse_tb_size(std::string_view option, std::string_view text, Config& c) {
  constexpr unsigned kMin = 4, kMax = 1024;  // in less a kernel hardly gets on
  const auto mib = number<uint64_t>(text);
  if (!mib || *mib < kMin || *mib > kMax) {
    return fail("{}{}: not a number of MiB from {} to {}", option, text, kMin, kMax);
  }
  c.code_bytes = *mib << 20;
  return {};
}

Status parse_accel(std::string_view text, Config& c) {
  std::vector<std::string_view> parts = split(text, ',');
  if (parts[0].starts_with("accel=")) parts[0].remove_prefix(6);
  if (parts[0] != "tcg") return fail("-accel {}: not available; there is: tcg", parts[0]);
  for (const std::string_view part : std::span(parts).subspan(1)) {
    constexpr std::string_view kSize = "tb-size=";
    if (part == "thread=single") continue;
    if (!part.starts_with(kSize)) return fail("-accel tcg: '{}' is not tb-size=MIB or thread=single", part);
    PANDA_TRY_STATUS(parse_tb_size("-accel tcg,tb-size=", part.substr(kSize.size()), c));
  }
  return {};
}

Status one_of(std::string_view option, std::string_view value, std::initializer_list<std::string_view> allowed) {
  std::string list;
  for (const std::string_view a : allowed) {
    if (value == a) return {};
    list += fmt::format("{}{}", list.empty() ? "" : ", ", a);
  }
  return fail("-{} {}: not available; there is: {}", option, value, list);
}

// What was said about where things go, before it is decided together.
struct Placement {
  std::optional<std::string> serial;
  std::optional<std::string> monitor;
};

Status place(const Placement& p, Config& c) {
  const bool monitor_given = p.monitor.has_value();
  c.monitor_on_stdio = !monitor_given || *p.monitor == "stdio";
  c.monitor_first = monitor_given && c.monitor_on_stdio;
  if (!p.serial) {
    c.serial = c.monitor_first ? SerialKind::Null : SerialKind::Stdio;
    return {};
  }
  const std::string& s = *p.serial;
  if (s == "stdio") {
    c.serial = SerialKind::Stdio;
  } else if (s == "mon:stdio") {
    c.serial = SerialKind::Stdio;
    c.monitor_on_stdio = true;
    c.monitor_first = false;
  } else if (s.starts_with("file:") && s.size() > 5) {
    c.serial = SerialKind::File;
    c.serial_path = s.substr(5);
  } else if (s == "null" || s == "none") {
    c.serial = SerialKind::Null;
  } else {
    return fail("-serial {}: not available; there is: stdio, mon:stdio, file:PATH, null", s);
  }
  // Without the console on the terminal the monitor is there only where it was asked for.
  if (c.serial != SerialKind::Stdio && !monitor_given) c.monitor_on_stdio = false;
  return {};
}

// -panda help, or NAME:help among its plugins.
bool asks_for_help(std::string_view list) {
  const auto specs = plugin::parse_plugin_list(list);
  if (!specs) return false;  // said when the plugins are loaded
  for (const plugin::PluginSpec& s : *specs) {
    if (s.name == "help") return true;
    for (const plugin::Argument& a : s.arguments) {
      if (a.key == "help") return true;
    }
  }
  return false;
}

Status apply(const Row& row, const std::string& v, Config& c, Placement& placement) {
  switch (row.id) {
    case Id::Kernel:
      c.kernel = v;
      break;
    case Id::Initrd:
      c.initrd = v;
      break;
    case Id::Append:
      c.append = v;
      break;
    case Id::Memory: {
      PANDA_TRY(c.ram_bytes, parse_memory_size(v.starts_with("size=") ? std::string_view(v).substr(5) : v));
      break;
    }
    case Id::Cpu:
      if (v == "help" || v == "?") c.info = Config::Info::CpuHelp;
      c.cpu = v;
      break;
    case Id::Smp:
      if (v != "1" && v != "cpus=1") return fail("-smp {}: the machine has one CPU", v);
      break;
    case Id::Machine:
    case Id::MachineShort: {
      const std::string_view type = split(v, ',').front();
      return one_of(row.name, type.starts_with("type=") ? type.substr(5) : type, {"pc"});
    }
    case Id::Name:
      c.name = v;
      break;
    case Id::Nographic:
      break;
    case Id::Display:
      return one_of(row.name, v, {"none"});
    case Id::Serial:
      placement.serial = v;
      break;
    case Id::Monitor:
      PANDA_TRY_STATUS(one_of(row.name, v, {"stdio", "none", "null"}));
      placement.monitor = v;
      break;
    case Id::Net:
    case Id::Nic:
    case Id::Vga:
      return one_of(row.name, v, {"none"});
    case Id::Parallel:
      return one_of(row.name, v, {"none", "null"});
    case Id::NoReboot:
      c.no_reboot = true;
      break;
    case Id::NoDefaults:
    case Id::NoUserConfig:
      break;
    case Id::StartStopped:
      c.start_stopped = true;
      break;
    case Id::Icount:
      return parse_icount(v, c);
    case Id::Rtc:
      return parse_rtc(v, c);
    case Id::Record:
      if (v.empty()) return fail("-record needs a name");
      c.record = v;
      break;
    case Id::RecordFrom:
      return fail(
          "-record-from is not available: there are no disk snapshots to start from; use -record NAME or "
          "the monitor's begin_record");
    case Id::Replay:
      if (v.empty()) return fail("-replay needs a name");
      c.replay = v;
      break;
    case Id::Panda:
      if (asks_for_help(v)) c.info = Config::Info::PluginHelp;
      c.plugins.push_back({Config::PluginOption::Kind::List, v});
      break;
    case Id::PandaPlugin:
      c.plugins.push_back({Config::PluginOption::Kind::File, v});
      break;
    case Id::PandaArg:
      if (asks_for_help(v)) c.info = Config::Info::PluginHelp;
      c.plugins.push_back({Config::PluginOption::Kind::Argument, v});
      break;
    case Id::PandaOs:
      c.os = v;
      break;
    case Id::Pandalog:
      if (v.empty()) return fail("-pandalog needs a file");
      c.pandalog = v;
      break;
    case Id::Backend:
      PANDA_TRY_STATUS(one_of(row.name, v, {"jit", "interp", "check"}));
      c.backend = v == "check" ? BackendKind::Check : v == "interp" ? BackendKind::Interpreter : BackendKind::Jit;
      break;
    case Id::Accel:
      return parse_accel(v, c);
    case Id::TbSize:
      return parse_tb_size("-tb-size ", v, c);
    case Id::CheckInterval:
      return parse_interval(v, c);
    case Id::Verify:
      c.verify = true;
      break;
    case Id::LibraryPath:
    case Id::ExtraPlugins:
      c.plugin_directory = v;
      break;
    case Id::Version:
      c.info = Config::Info::Version;
      break;
    case Id::Help:
    case Id::HelpShort:
      c.info = Config::Info::Help;
      break;
  }
  return {};
}

Status unknown(std::string_view word) {
  std::vector<std::string> names;
  for (const Row& r : kRows) names.emplace_back(r.name);
  std::string_view bare = word;
  bare.remove_prefix(std::min(bare.find_first_not_of('-'), bare.size()));
  const std::string near = nearest_word(bare.substr(0, bare.find('=')), names);
  if (near.empty()) return fail("{}: no such option; -help lists them", word);
  return fail("{}: no such option; the nearest is -{}", word, near);
}

Status check_together(const Config& c) {
  if (c.info != Config::Info::None) return {};
  if (c.backend == BackendKind::Check) {
    if (!c.plugins.empty())
      return fail("--backend=check runs everything twice, plugins would see it twice: leave them out");
  } else if (c.check_from != 0 || c.check_to != ~uint64_t{0}) {
    return fail("-check-interval goes with --backend=check");
  }
  if (!c.replay.empty()) {
    if (!c.record.empty()) return fail("-record and -replay do not go together");
    if (!c.kernel.empty() || !c.initrd.empty() || !c.append.empty()) {
      return fail("-replay takes the machine from the recording: leave out -kernel, -initrd and -append");
    }
    return {};
  }
  if (c.kernel.empty()) return fail("nothing to run: give -kernel FILE, or -replay NAME; -help lists the options");
  return {};
}

}  // namespace

Result<uint64_t> parse_memory_size(std::string_view text) {
  const std::string_view whole = text;
  uint64_t unit = uint64_t{1} << 20;
  if (!text.empty() && (text.back() < '0' || text.back() > '9')) {
    switch (text.back() | 0x20) {
      case 'b':
        unit = 1;
        break;
      case 'k':
        unit = uint64_t{1} << 10;
        break;
      case 'm':
        unit = uint64_t{1} << 20;
        break;
      case 'g':
        unit = uint64_t{1} << 30;
        break;
      case 't':
        unit = uint64_t{1} << 40;
        break;
      default:
        return fail("-m {}: not a size like 512M or 2G", whole);
    }
    text.remove_suffix(1);
  }
  const auto value = number<uint64_t>(text);
  if (!value) return fail("-m {}: not a size like 512M or 2G", whole);
  if (*value > kMaxRam / unit || *value * unit < kMinRam) {
    return fail("-m {}: out of range: {}M to {}G", whole, kMinRam >> 20, kMaxRam >> 30);
  }
  const uint64_t bytes = *value * unit;
  if (bytes % 4096 != 0) return fail("-m {}: not a multiple of the page size", whole);
  return bytes;
}

Result<Config> parse_options(std::string_view architecture, const std::vector<std::string>& arguments) {
  Config c;
  c.architecture = architecture;
  Placement placement;
  for (size_t i = 0; i < arguments.size(); i++) {
    const std::string& word = arguments[i];
    if (word.size() < 2 || word[0] != '-') {
      return fail("{}: not an option; disks are not available, give -kernel FILE", word);
    }
    std::string_view name = std::string_view(word).substr(word.starts_with("--") ? 2 : 1);
    const Row* row = nullptr;
    std::optional<std::string> value;
    for (const Row& r : kRows) {
      if (r.name == name) row = &r;
    }
    if (const size_t equals = name.find('='); row == nullptr && equals != std::string_view::npos) {
      for (const Row& r : kRows) {
        if (r.name == name.substr(0, equals)) row = &r;
      }
      value = std::string(name.substr(equals + 1));
    }
    if (row == nullptr) return tl::unexpected<Error>(unknown(word).error());
    if (row->argument.empty()) {
      if (value) return fail("-{} takes no argument", row->name);
    } else if (!value) {
      if (i + 1 == arguments.size()) return fail("-{} needs an argument: {}", row->name, row->argument);
      value = arguments[++i];
    }
    PANDA_TRY_STATUS(apply(*row, value.value_or(""), c, placement));
  }
  PANDA_TRY_STATUS(place(placement, c));
  PANDA_TRY_STATUS(check_together(c));
  return c;
}

std::string help_text(std::string_view program) {
  std::string text =
      fmt::format("usage: {} -kernel FILE [options], or {} -replay NAME [options]\n\n", program, program);
  for (const Row& r : kRows) {
    const std::string left = fmt::format("  -{}{}{}", r.name, r.argument.empty() ? "" : " ", r.argument);
    text += left.size() < 34 ? fmt::format("{:<34}{}\n", left, r.help) : fmt::format("{}\n{:34}{}\n", left, "", r.help);
  }
  return text;
}

}  // namespace panda::cli
