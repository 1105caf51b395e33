"""The plugin to copy from does what its README says."""

import recording


class Sample(recording.PluginTest):
    def test_instructions_and_hypercall(self):
        done = self.replay("sample:file=instructions.txt")
        p = self.program
        listed = [int(line, 16) for line in self.lines("instructions.txt")]
        self.assertEqual(listed.count(p["count_body"]), 6000)
        self.assertEqual(listed.count(p["hypercall_insn"]), 1)
        self.assertEqual([pc for pc in listed if p.inside("level1", pc)], [pc for pc, _, _ in p.instructions_of("level1")])
        kernel = 1 << 63 if recording.guest.IS_64BIT else 0xc0000000
        self.assertLess(max(listed), kernel)
        self.assertRegex(done.stderr, rf"(?m)sample: hypercall from the guest, EBX={42:0{recording.DIGITS}x}$")

    def test_monitor_command(self):
        with recording.guest.Guest("-panda", "sample", cwd=self.work, initrd=recording.os.path.join(recording.FOLDER, "known.cpio"),
                                   append="nokaslr", ram=recording.guest.SMALLEST_RAM) as g:
            g.wait_for("ready\n")
            self.assertRegex(g.monitor("plugin_cmd sample"), r"sample: 0 instructions, 0 hypercalls")
            g.send("\n")
            g.wait_for("done\n")
            self.assertRegex(g.monitor("plugin_cmd sample"), r"sample: 0 instructions, 1 hypercalls")
            self.assertIn("how much was seen", g.monitor("plugin_cmd help"))


if __name__ == "__main__":
    recording.guest.main()
