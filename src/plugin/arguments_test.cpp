#include "plugin/arguments.h"

#include <gtest/gtest.h>

namespace panda::plugin {
namespace {

TEST(PluginArguments, ParsesTheCommandLinesSyntax) {
  const auto specs = parse_plugin_list("stringsearch; callstack_instr;llvm_trace:base=/tmp,foo=6,flag,empty=,a=b=c");
  ASSERT_TRUE(specs.has_value());
  ASSERT_EQ(specs->size(), 3u);
  EXPECT_EQ((*specs)[0].name, "stringsearch");
  EXPECT_TRUE((*specs)[0].arguments.empty());
  EXPECT_EQ((*specs)[1].name, "callstack_instr");
  const auto& args = (*specs)[2].arguments;
  ASSERT_EQ(args.size(), 5u);
  EXPECT_EQ(args[0].key, "base");
  EXPECT_EQ(args[0].value, "/tmp");
  EXPECT_EQ(args[2].key, "flag");
  EXPECT_EQ(args[2].value, "");
  EXPECT_EQ(args[3].value, "");
  EXPECT_EQ(args[4].value, "b=c");
}

TEST(PluginArguments, BackslashProtectsSeparators) {
  const auto specs = parse_plugin_list(R"(a:text=x\;y\,z\\,b)");
  ASSERT_TRUE(specs.has_value());
  ASSERT_EQ(specs->size(), 1u);
  ASSERT_EQ((*specs)[0].arguments.size(), 2u);
  EXPECT_EQ((*specs)[0].arguments[0].value, R"(x;y,z\)");
  EXPECT_EQ((*specs)[0].arguments[1].key, "b");
}

TEST(PluginArguments, RefusesWhatNamesNoPlugin) {
  EXPECT_FALSE(parse_plugin_list("").has_value());
  EXPECT_FALSE(parse_plugin_list(" ; ").has_value());
  EXPECT_FALSE(parse_plugin_list("a;:x=1").has_value());
  EXPECT_FALSE(parse_plugin_list("a:=1").has_value());
}

TEST(PluginArguments, Values) {
  EXPECT_EQ(parse_unsigned("10"), 10u);
  EXPECT_EQ(parse_unsigned("0x10"), 16u);
  EXPECT_EQ(parse_unsigned("18446744073709551615"), ~uint64_t{0});
  for (const char* bad : {"", "-1", " 1", "1 ", "0xg", "18446744073709551616", "ten"}) {
    EXPECT_FALSE(parse_unsigned(bad).has_value()) << bad;
  }
  EXPECT_EQ(parse_bool(""), true);
  EXPECT_EQ(parse_bool("off"), false);
  EXPECT_FALSE(parse_bool("TRUE?").has_value());
  EXPECT_EQ(parse_double("1e3"), 1000.0);
  EXPECT_FALSE(parse_double("1.0.0").has_value());
}

TEST(PluginArguments, NamesOfFiles) {
  EXPECT_EQ(plugin_name_of("/a/b/panda_test.so"), "test");
  EXPECT_EQ(plugin_name_of("panda_test.so"), "test");
  EXPECT_EQ(plugin_name_of("test"), "test");
}

TEST(PluginArguments, UnknownOnesAreThoseNobodyAskedFor) {
  ArgumentStore store;
  store.add("p", {"known", "1"});
  store.add("p", {"other", "1"});
  store.add("q", {"known", "1"});
  EXPECT_TRUE(store.unknown("p").empty()) << "a plugin that reads none through the API may read them itself";
  store.asked_for("p", {.key = "known", .kind = "bool", .default_value = "", .help = ""});
  EXPECT_EQ(store.unknown("p"), std::vector<std::string>{"other"});
  store.forget("p");
  EXPECT_TRUE(store.of("p").empty());
  EXPECT_EQ(store.of("q").size(), 1u);
}

}  // namespace
}  // namespace panda::plugin
