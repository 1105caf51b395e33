#include "monitor/monitor.h"

#include <gtest/gtest.h>

namespace panda::monitor {
namespace {

class FakeTarget final : public Target {
 public:
  std::string calls;
  Status stop() override { return note("stop"); }
  Status cont() override { return note("cont"); }
  void quit() override { calls += "quit;"; }
  Result<std::string> begin_record(const std::string& name) override {
    calls += "begin " + name + ";";
    return "recording\n";
  }
  Result<std::string> end_record() override { return fail("nothing is being recorded"); }
  Status system_reset() override { return note("reset"); }
  Status system_powerdown() override { return note("powerdown"); }
  std::string describe_registers() override { return "RAX\n"; }
  std::string describe_status() override { return "VM status: running\n"; }
  std::string describe_jit() override { return "translations: 1\n"; }
  std::string describe_record() override { return "not recording\n"; }
  std::string load_plugin(const std::string& name, const std::string& arguments) override {
    calls += "load " + name + " [" + arguments + "];";
    return {};
  }
  std::string unload_plugin(const std::string& index_or_name) override {
    calls += "unload " + index_or_name + ";";
    return {};
  }
  std::string list_plugins() override { return "0 x\n"; }
  std::string plugin_command(const std::string& text) override {
    calls += "cmd <" + text + ">;";
    return "done\n";
  }

 private:
  Status note(const char* what) {
    calls += std::string(what) + ";";
    return {};
  }
};

TEST(Monitor, RunsCommands) {
  FakeTarget t;
  EXPECT_EQ(execute(t, "  stop "), "");
  EXPECT_EQ(execute(t, "c"), "");
  EXPECT_EQ(execute(t, "begin_record \"my name\""), "recording\n");
  EXPECT_EQ(execute(t, "load_plugin x a=1,b=2"), "");
  EXPECT_EQ(execute(t, "unload_plugin 3\r"), "");
  EXPECT_EQ(execute(t, "plugin_cmd  dump  all  "), "done\n");
  EXPECT_EQ(execute(t, "q"), "");
  EXPECT_EQ(t.calls, "stop;cont;begin my name;load x [a=1,b=2];unload 3;cmd <dump  all>;quit;");
  EXPECT_EQ(execute(t, ""), "");
  EXPECT_EQ(execute(t, "info status"), "VM status: running\n");
  EXPECT_EQ(execute(t, "info registers"), "RAX\n");
  EXPECT_EQ(execute(t, "info jit"), "translations: 1\n");
}

TEST(Monitor, KnowsWhatOnlyAnswers) {
  for (const char* line : {"help", "?", "info status", "list_plugins", "plugin_cmd x", "no_such", "", "\"open"}) {
    EXPECT_TRUE(only_answers(line)) << line;
  }
  for (const char* line :
       {"stop", "c", "q", "begin_record x", "end_record", "system_reset", "load_plugin x", "unload_plugin 0"}) {
    EXPECT_FALSE(only_answers(line)) << line;
  }
}

TEST(Monitor, SaysWhatIsWrong) {
  FakeTarget t;
  EXPECT_EQ(execute(t, "end_record"), "Error: nothing is being recorded\n");
  EXPECT_EQ(execute(t, "begin_recrod x"), "unknown command: 'begin_recrod'; the nearest is 'begin_record'\n");
  EXPECT_EQ(execute(t, "begin_record"), "begin_record: needs an argument: NAME\n");
  EXPECT_EQ(execute(t, "begin_record \"\""), "begin_record: needs an argument: NAME\n");
  EXPECT_NE(execute(t, "begin_record a b").find("one name"), std::string::npos);
  EXPECT_EQ(execute(t, "begin_record \"a"), "Error: a quote is not closed\n");
  EXPECT_EQ(execute(t, "stop now"), "stop: takes no argument\n");
  EXPECT_EQ(execute(t, "unload_plugin"), "unload_plugin: needs an argument: INDEX|NAME\n");
  EXPECT_NE(execute(t, "info registes").find("'info registers'"), std::string::npos);
  EXPECT_EQ(t.calls, "");
}

TEST(Monitor, HelpListsAll) {
  FakeTarget t;
  const std::string all = execute(t, "help");
  for (const char* name : {"begin_record NAME", "end_record", "load_plugin", "plugin_cmd", "q|quit"}) {
    EXPECT_NE(all.find(name), std::string::npos) << name;
  }
  EXPECT_NE(execute(t, "help stop").find("stop the guest"), std::string::npos);
}

}  // namespace
}  // namespace panda::monitor
