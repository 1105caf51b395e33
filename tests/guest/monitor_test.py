"""The monitor: behind the console, on its own, and what its commands do to the guest."""

import os
import time

import guest

PLUGIN = r"""
#include "panda/plugin.h"
#include <stdio.h>
#include <string.h>
static unsigned long blocks;
static void count(CPUState *cpu, TranslationBlock *tb) { (void)cpu; (void)tb; blocks++; }
static int monitor(Monitor *mon, const char *cmd) {
  if (strcmp(cmd, "blocks") == 0) monitor_printf(mon, "blocks %s\n", blocks > 1000 ? "many" : "few");
  return 0;
}
bool init_plugin(void *self) {
  panda_cb cb;
  cb.before_block_exec = count;
  panda_register_callback(self, PANDA_CB_BEFORE_BLOCK_EXEC, cb);
  cb.monitor = monitor;
  panda_register_callback(self, PANDA_CB_MONITOR, cb);
  return true;
}
void uninit_plugin(void *self) { (void)self; }
"""


class Monitor(guest.GuestTest):
    def build_plugin(self):
        defines = ["-DTARGET_I386"] + (["-DTARGET_X86_64"] if guest.IS_64BIT else [])
        include = os.path.join(guest.SOURCE, "include")
        return guest.compile_c(["-shared", "-fPIC", "-Wall", *defines, "-I" + include],
                               [self.write("blocks.c", PLUGIN)], self.path("panda_blocks.so"))

    def test_behind_the_console(self):
        with guest.Guest(cwd=self.work) as g:
            g.boot()
            text = g.monitor("help")
            for command in ("help", "info", "stop", "cont", "quit", "begin_record", "end_record", "load_plugin",
                            "unload_plugin", "list_plugins", "plugin_cmd"):
                self.assertRegex(text, rf"(?m)^(.\|)?{command}\b.* -- \w")
            self.assertIn("RIP=" if guest.IS_64BIT else "EIP=", g.monitor("info registers"))
            self.assertIn("CR3=", g.monitor("info registers"))
            self.assertIn("VM status: running", g.monitor("info status"))
            self.assertIn("unknown command: 'stpo'; the nearest is 'stop'", g.monitor("stpo"))
            self.assertIn("unknown command: 'xyzzyplugh'", g.monitor("xyzzyplugh"))
            self.assertIn("the nearest is 'info status'", g.monitor("info stauts"))
            self.assertIn("needs an argument: NAME", g.monitor("begin_record"))
            self.assertIn("takes no argument", g.monitor("stop now"))
            self.assertIn("a quote is not closed", g.monitor('begin_record "x'))
            self.assertEqual(g.monitor("").strip(), "")
            # What was typed into the monitor did not reach the guest.
            self.assertEqual(g.command("echo still th''ere").strip(), "still there")
            g.send("\x01h")
            self.assertIn("Ctrl-A x", g.wait_for("Ctrl-A Ctrl-A"))
            g.send("\x01x")
            self.assertEqual(g.wait(), 0)
            self.assertEqual(g.stderr(), "")

    def test_stop_and_cont(self):
        with guest.Guest() as g:
            g.boot()
            g.send("while :; do echo ti''ck; sleep 0.1; done\n")
            g.wait_for("tick\ntick\n")
            g.monitor("stop")
            self.assertIn("VM status: paused", g.monitor("info status"))
            count = next(l for l in g.monitor("info status").splitlines() if "instructions:" in l)
            with g.changed:
                g.at = len(g.seen)
            time.sleep(1)
            self.assertNotIn("tick", g.unread())
            self.assertIn(count, g.monitor("info status"))
            before = g.cpu_seconds()
            time.sleep(1)
            self.assertLess(g.cpu_seconds() - before, 0.2)
            g.monitor("cont")
            g.wait_for("tick\ntick\n")
            g.send("\x03")
            g.wait_for(guest.PROMPT)
            # The second that it stood still is not caught up with: a stopped clock goes on where it was.
            self.assertEqual(g.command("echo go''on").strip(), "goon")
            g.monitor("stop")
            g.send("\x01x")
            self.assertEqual(g.wait(), 0)

    def test_plugins_come_and_go(self):
        plugin = self.build_plugin()
        with guest.Guest(cwd=self.work) as g:
            g.boot()
            self.assertNotIn("blocks", g.monitor("list_plugins"))
            self.assertIn("no such file", g.monitor("load_plugin ./no.so"))
            self.assertIn("not found", g.monitor("load_plugin no_such"))
            g.monitor("load_plugin " + plugin)
            g.monitor("load_plugin syscalls names,file=calls.txt")
            listed = g.monitor("list_plugins")
            self.assertRegex(listed, r"0\b.*blocks")
            self.assertRegex(listed, r"1\b.*syscalls")
            g.command("ls /bin | head -3")
            self.assertIn("blocks many", g.monitor("plugin_cmd blocks"))
            self.assertIn("no loaded plugin has the name blokcs", g.monitor("unload_plugin blokcs"))
            self.assertIn("no loaded plugin has the index 7", g.monitor("unload_plugin 7"))
            self.assertRegex(g.monitor("load_plugin syscalls help"), r"names +bool +default false +add the names")
            g.monitor("unload_plugin blocks")
            self.assertNotIn("blocks", g.monitor("list_plugins"))
            self.assertNotIn("many", g.monitor("plugin_cmd blocks"))
            g.monitor("unload_plugin 0")
            with open(self.path("calls.txt"), encoding="ascii") as f:
                calls = f.read()
            self.assertIn(" (getdents64)\n", calls)
            self.assertEqual(g.command("echo with''out").strip(), "without")
            with open(self.path("calls.txt"), encoding="ascii") as f:
                self.assertEqual(f.read(), calls, "unloaded, but still writing")
            self.assertNotEqual(g.monitor("unload_plugin 7").strip(), "")
            g.send("\x01x")
            self.assertEqual(g.wait(), 0)

    def test_on_its_own_with_the_console_in_a_file(self):
        with guest.Guest("-monitor", "stdio", "-serial", "file:console", "-S", cwd=self.work,
                         append=guest.shell_command("echo in the file; poweroff -f")) as g:
            g.wait_for("(qemu) ")
            g.send("info status\n")
            status = g.wait_for("(qemu) ")
            self.assertIn("paused", status)
            self.assertIn("instructions: 0\n", status)
            time.sleep(0.5)
            g.send("info status\n")
            self.assertIn("instructions: 0\n", g.wait_for("(qemu) "))
            g.send("begin_record all\ncont\n")
            self.assertEqual(g.wait(), 0, g.stderr())
            digest = self.recorded_digest(g.stderr(), "all", "power-off")
        with open(self.path("console"), "rb") as f:
            self.assertIn(b"in the file\r\n", f.read())
        self.assert_agrees("all", digest)

    def test_quit_and_end_of_input(self):
        with guest.Guest("-monitor", "stdio", "-serial", "null", "-S") as g:
            g.wait_for("(qemu) ")
            g.send("info registers\nq")
            g.process.stdin.close()  # the last line has no end
            self.assertEqual(g.wait(), 0, g.stderr())
            self.assertIn("CR0=", g.seen)

    def test_of_a_replay(self):
        with guest.Guest("-record", "short", cwd=self.work) as g:
            time.sleep(1)
            g.send("\x01x")
            self.assertEqual(g.wait(), 0)
        commands = self.write("commands", "info status\nbegin_record x\nsystem_reset\nlist_plugins\ncont\n")
        done = guest.Run(["-replay", "short", "-monitor", "stdio", "-S"], cwd=self.work, stdin=commands)
        self.assertEqual(done.status, 0, done)
        self.assertIn("replaying short: 0 of", done.stdout)
        self.assertEqual(done.stdout.count("this is a replay"), 2, done)
        self.assertIn(" agrees", done.stderr, done)

    def test_nothing_on_the_terminal(self):
        done = guest.Run([*guest.boot_options(guest.shell_command("poweroff -f")), "-serial", "null", "-monitor", "none",
                          "-display", "none", "-net", "none", "-nic", "none", "-smp", "1", "-name", "quiet"])
        self.assertEqual((done.status, done.stdout, done.stderr), (0, "", ""))


if __name__ == "__main__":
    guest.main()
