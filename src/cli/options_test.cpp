#include "cli/options.h"

#include <gtest/gtest.h>

namespace panda::cli {
namespace {

Result<Config> parse(std::vector<std::string> words) { return parse_options("x86_64", words); }

std::string error(std::vector<std::string> words) {
  const auto c = parse(std::move(words));
  return c ? "accepted" : c.error().message;
}

#define EXPECT_ERROR(part, ...)                                                  \
  do {                                                                           \
    const std::string message = error(__VA_ARGS__);                              \
    EXPECT_NE(message.find(part), std::string::npos) << message;                 \
    EXPECT_EQ(message.find('\n'), std::string::npos) << "one line: " << message; \
  } while (false)

TEST(Options, AFullCommandLine) {
  const auto c = parse({"-kernel",
                        "k",
                        "-initrd",
                        "i",
                        "-append",
                        "console=ttyS0 a=b",
                        "-m",
                        "size=2G",
                        "-cpu",
                        "base,+avx",
                        "-nographic",
                        "-no-reboot",
                        "-S",
                        "-smp",
                        "1",
                        "-name",
                        "n",
                        "-icount",
                        "shift=3,sleep=off",
                        "-rtc",
                        "base=2001-02-03T04:05:06",
                        "--backend=interp",
                        "-panda",
                        "a:x=1;b",
                        "-panda-arg",
                        "a:y=2",
                        "-display",
                        "none",
                        "-net",
                        "none",
                        "-nic",
                        "none",
                        "-record",
                        "r"});
  ASSERT_TRUE(c.has_value()) << c.error().message;
  EXPECT_EQ(c->kernel, "k");
  EXPECT_EQ(c->append, "console=ttyS0 a=b");
  EXPECT_EQ(c->ram_bytes, uint64_t{2} << 30);
  EXPECT_EQ(c->cpu, "base,+avx");
  EXPECT_TRUE(c->no_reboot && c->start_stopped && c->backend == BackendKind::Interpreter);
  EXPECT_EQ(c->icount_shift, 3u);
  EXPECT_EQ(c->rtc_base_s, 981173106);
  EXPECT_EQ(c->record, "r");
  ASSERT_EQ(c->plugins.size(), 2u);
  EXPECT_EQ(c->plugins[1].text, "a:y=2");
  EXPECT_EQ(c->serial, SerialKind::Stdio);
  EXPECT_TRUE(c->monitor_on_stdio);
  EXPECT_FALSE(c->monitor_first);
}

TEST(Options, RoomForTranslations) {
  EXPECT_EQ(parse({"-kernel", "k"})->code_bytes, uint64_t{128} << 20);
  EXPECT_EQ(parse({"-kernel", "k", "-tb-size", "4"})->code_bytes, uint64_t{4} << 20);
  EXPECT_EQ(parse({"-kernel", "k", "-accel", "tcg"})->code_bytes, uint64_t{128} << 20);
  EXPECT_EQ(parse({"-kernel", "k", "-accel", "tcg,thread=single,tb-size=1024"})->code_bytes, uint64_t{1} << 30);
  EXPECT_ERROR("-tb-size 0: not a number of MiB from 4 to 1024", {"-tb-size", "0"});
  EXPECT_ERROR("-tb-size 3", {"-tb-size", "3"});
  EXPECT_ERROR("-tb-size 1025", {"-tb-size", "1025"});
  EXPECT_ERROR("-tb-size -1", {"-tb-size=-1"});
  EXPECT_ERROR("-tb-size 64M", {"-tb-size", "64M"});
  EXPECT_ERROR("-accel tcg,tb-size=: not a number", {"-accel", "tcg,tb-size="});
  EXPECT_ERROR("-accel tcg,tb-size=99999999999999999999", {"-accel", "tcg,tb-size=99999999999999999999"});
  EXPECT_ERROR("'tb-siez=3' is not tb-size=MIB", {"-accel", "tcg,tb-siez=3"});
  EXPECT_ERROR("-accel kvm: not available; there is: tcg", {"-accel", "kvm"});
}

TEST(Options, WhereConsoleAndMonitorGo) {
  const auto monitor_only = parse({"-kernel", "k", "-monitor", "stdio"});
  ASSERT_TRUE(monitor_only.has_value());
  EXPECT_EQ(monitor_only->serial, SerialKind::Null);
  EXPECT_TRUE(monitor_only->monitor_first);
  const auto file = parse({"-kernel", "k", "-serial", "file:/tmp/x", "-monitor", "stdio"});
  ASSERT_TRUE(file.has_value());
  EXPECT_EQ(file->serial, SerialKind::File);
  EXPECT_EQ(file->serial_path, "/tmp/x");
  EXPECT_TRUE(file->monitor_on_stdio);
  const auto quiet = parse({"-kernel", "k", "-serial", "null"});
  ASSERT_TRUE(quiet.has_value());
  EXPECT_FALSE(quiet->monitor_on_stdio);
  const auto both = parse({"-kernel", "k", "-serial", "mon:stdio", "-monitor", "none"});
  ASSERT_TRUE(both.has_value());
  EXPECT_TRUE(both->monitor_on_stdio);
}

TEST(Options, UnknownOnesAreNamedWithTheNearest) {
  EXPECT_ERROR("-kernal: no such option; the nearest is -kernel", {"-kernal", "x"});
  EXPECT_ERROR("the nearest is -monitor", {"--moniter=stdio"});
  EXPECT_ERROR("-enable-kvm: no such option", {"-enable-kvm"});
  EXPECT_ERROR("disk.img: not an option", {"disk.img"});
  EXPECT_ERROR("-: not an option", {"-"});
}

TEST(Options, WrongValues) {
  EXPECT_ERROR("-kernel needs an argument", {"-kernel"});
  EXPECT_ERROR("-nographic takes no argument", {"-nographic=1"});
  EXPECT_ERROR("-smp 2", {"-smp", "2"});
  EXPECT_ERROR("-icount shift=11", {"-icount", "shift=11"});
  EXPECT_ERROR("-icount sleep=off", {"-icount", "sleep=off"});
  EXPECT_ERROR("-rtc", {"-rtc", "base=2001-13-01"});
  EXPECT_ERROR("-serial tcp::1", {"-kernel", "k", "-serial", "tcp::1"});
  EXPECT_ERROR("-display gtk", {"-display", "gtk"});
  EXPECT_ERROR("-pandalog needs a file", {"-replay", "x", "-pandalog", ""});
  EXPECT_ERROR("-record-from", {"-record-from", "x:y"});
  EXPECT_ERROR("nothing to run", {"-m", "64M"});
  EXPECT_ERROR("-replay takes the machine", {"-replay", "x", "-kernel", "k"});
  EXPECT_ERROR("do not go together", {"-replay", "x", "-record", "k"});
}

TEST(Options, MemorySizes) {
  EXPECT_EQ(*parse_memory_size("64"), uint64_t{64} << 20);
  EXPECT_EQ(*parse_memory_size("8G"), uint64_t{8} << 30);
  EXPECT_EQ(*parse_memory_size("8g"), uint64_t{8} << 30);
  EXPECT_EQ(*parse_memory_size("131072K"), uint64_t{128} << 20);
  for (const char* bad : {"", "G", "63M", "0", "-1", "1.5G", "12X", "99999999999999999999", "18446744073709551615T",
                          "2000T", "67108865b"}) {
    EXPECT_FALSE(parse_memory_size(bad).has_value()) << bad;
  }
}

TEST(Options, HelpNamesEachOption) {
  const std::string text = help_text("p");
  for (const char* name : {"-kernel", "-replay", "-panda", "-backend", "-icount"}) {
    EXPECT_NE(text.find(std::string("  ") + name), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace panda::cli
