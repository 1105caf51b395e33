"""Every function of the plugin API, called in a running Debian: what it answers there, that a recording that a
plugin makes replays, and that plugins do not perturb it."""

import os
import re
import subprocess

import guest


class PluginApi(guest.GuestTest):
    def build(self, name):
        env = {**os.environ, "PKG_CONFIG_PATH": os.path.join(guest.BUILD, "lib", "pkgconfig")}
        flags = subprocess.run(["pkg-config", "--cflags", "panda-plugin-" + guest.ARCH], env=env, check=True,
                               stdout=subprocess.PIPE, text=True).stdout.split()
        source = os.path.join(guest.SOURCE, "tests", "plugin", name + ".c")
        guest.compile_c(["-shared", "-Wall", "-Werror", f'-DPLUGIN_NAME="{name}"', *flags], [source],
                        self.path(f"panda_{name}.so"))

    def counts(self, stderr):
        found = re.search(r"functions: (\d+) checks, (\d+) wrong, (\d+) of user code", stderr)
        self.assertIsNotNone(found, stderr)
        return [int(n) for n in found.groups()]

    def test_functions(self):
        self.build("functions")
        done = guest.Run([*guest.boot_options(append=guest.shell_command("seq 1 3000 | md5sum; poweroff -f")), "-nographic", "-icount", "shift=2",
                          "-panda", "./panda_functions.so:real,writes,record=made"], cwd=self.work, seconds=600)
        self.assertEqual(done.status, 0, done)
        checks, wrong, user = self.counts(done.stderr)
        self.assertEqual(wrong, 0, done)
        self.assertGreater(checks, 10000)
        self.assertGreater(user, 0)
        digest = self.recorded_digest(done.stderr, "made", "end_record")
        self.assert_agrees("made", digest)
        replayed = self.assert_agrees("made", digest, "-panda", "./panda_functions.so:real")
        if replayed is not None:
            checks, wrong, user = self.counts(replayed.stderr)
            self.assertEqual(wrong, 0, replayed)
            self.assertGreater(checks, 100)

    def control(self, g, command, result=0):
        self.assertIn(f"control: {command.split()[0]} {result}\n", g.monitor("plugin_cmd " + command))

    def test_control_of_the_machine(self):
        self.build("control")
        with guest.Guest("-panda", "./panda_control.so", cwd=self.work) as g:
            g.boot()
            self.control(g, "end", -2)           # RRCTRL_EINVALID: nothing is recorded
            self.control(g, "record_from x", -2)  # from a snapshot: there are none
            self.control(g, "replay x", -2)       # a machine that runs
            self.control(g, "end_replay", -2)
            self.control(g, "mode", 0)
            self.control(g, "record first")
            self.control(g, "mode", 1)
            self.control(g, "record other", -1)  # RRCTRL_EPENDING: one at a time
            self.assertEqual(g.command("seq 1 2000 | md5sum").strip(), "ea4d0a24dabcaa11f9aa979b872d162b  -")
            self.control(g, "end")
            self.control(g, "mode", 0)
            self.control(g, "record second")
            self.control(g, "cleanup_record")
            self.control(g, "mode", 0)
            self.control(g, "stop")
            paused = g.monitor("info status")
            self.assertIn("VM status: paused", paused)
            self.assertEqual(g.monitor("info status"), paused)
            self.control(g, "cont")
            self.assertIn("VM status: running", g.monitor("info status"))
            self.assertEqual(g.command("echo goes on").strip(), "goes on")
            for command in ("snap x", "revert x", "delvm x", "checkpoint"):
                self.control(g, command, -1)
            self.control(g, "reset")
            self.assertIn(" is up\n", g.boot())
            self.control(g, "quit")
            self.assertEqual(g.wait(), 0)
            stderr = g.stderr()
        self.assertEqual(stderr.count("snapshots of a running machine are not in this version"), 1, stderr)
        self.assertEqual(stderr.count("checkpoints of a replay are not in this version"), 1, stderr)
        for name in ("first", "second"):
            self.assert_agrees(name, self.recorded_digest(stderr, name, "end_record"), "-panda", "./panda_control.so")

    def test_a_plugin_that_goes_wrong_leaves_the_others_and_the_guest_alone(self):
        """One throws in a callback, one unloads itself in one, one counts: recorded, and replayed, to the end."""
        for name in ("nonsense", "counter"):
            self.build(name)
        self.write("thrower.cpp", """
#include <stdexcept>
#include "panda/plugin.hpp"
namespace {
struct Thrower : panda::Plugin {
  Thrower() {
    on_after_block_exec([n = 0](CPUState *, TranslationBlock *, uint8_t) mutable {
      if (++n == 1000) throw std::runtime_error("a thousand blocks");
    });
  }
};
}
PANDA_PLUGIN(Thrower)
""")
        include = os.path.join(guest.SOURCE, "include")
        defines = ["-DTARGET_I386"] + (["-DTARGET_X86_64"] if guest.IS_64BIT else [])
        subprocess.run(["c++", "-std=c++20", "-shared", "-fPIC", "-Wall", "-Werror", *defines, f"-I{include}", "-o",
                        self.path("panda_thrower.so"), self.path("thrower.cpp")], check=True)
        plugins = ["-panda", "./panda_thrower.so;./panda_nonsense.so:unload;./panda_counter.so:insns,only=0xffffffff"]
        done = guest.Run([*guest.boot_options(append=guest.shell_command("echo it is up; poweroff -f")), "-nographic", "-icount",
                          "shift=2", "-record", "wrong", *plugins], cwd=self.work, seconds=600)
        self.assertEqual(done.status, 0, done)
        self.assertIn("it is up", done.stdout)
        failed = "panda: plugin thrower: its callback AFTER_BLOCK_EXEC failed: an exception: a thousand blocks; the plugin is disabled"
        self.assertEqual(done.stderr.count(failed), 1, done)
        self.assertEqual(done.stderr.count("nonsense: 1 blocks"), 1, done)
        again = self.assert_agrees("wrong", self.recorded_digest(done.stderr, "wrong", "power-off"), *plugins)
        self.assertEqual(again.stderr.count(failed), 1, again)

    def test_lists_plugins_and_arguments(self):
        done = guest.Run(["-panda", "help"], cwd=self.work)
        self.assertEqual((done.status, done.stderr), (0, ""), done)
        self.assertRegex(done.stdout, r"(?m)^  syscalls +/.*/panda_syscalls.so$")
        done = guest.Run(["-panda", "syscalls:help"], cwd=self.work)
        self.assertEqual((done.status, done.stderr), (0, ""), done)
        self.assertRegex(done.stdout, r"(?m)^  file +string +default syscalls.txt +file for the calls ")
        self.assertEqual(os.listdir(self.work), [], "only told, nothing written")
        done = guest.Run(["-panda", "no_such:help"], cwd=self.work)
        self.assert_refused(done, "no_such", "not found", status=1)


if __name__ == "__main__":
    guest.main()
