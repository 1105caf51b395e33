"""A plugin that changes an instruction of the running block while recording: the guest runs what is in memory, and the
recording replays, without the plugin and with it (tests/plugin/patcher.c checks what the guest did)."""

import os

import recording

guest = recording.guest
PATCHER = os.path.join(guest.BUILD, "tests", "plugins", guest.ARCH, "panda_patcher.so")


class CodeChange(recording.PluginTest):
    def change(self, more):
        arguments = f"load={hex(self.program['copy_load'])},store={hex(self.program['copy_store'])}{more}"
        plugin = f"{PATCHER}:{arguments}"
        image = os.path.join(recording.FOLDER, "known.cpio")
        with guest.Guest(cwd=self.work, initrd=image, append="nokaslr", ram=guest.SMALLEST_RAM) as g:
            g.wait_for("ready\n", 4 * guest.LIMIT_S)
            self.assertEqual(g.monitor(f"load_plugin {PATCHER} {arguments}").strip(), "")
            g.monitor("begin_record changed")
            g.send("\n")
            g.wait_for("done\n")
            g.monitor("end_record")
            g.send("\x01x")
            g.wait()
            stderr = g.stderr()
        self.assertIn("patcher: 2 writes, 0 wrong\n", stderr)
        digest = self.recorded_digest(stderr, "changed", "end_record")
        self.assert_agrees("changed", digest)
        again = self.assert_agrees("changed", digest, "-panda", plugin)
        self.assertIn("patcher: 2 writes, 0 wrong\n", again.stderr)
        self.assertIn("plugin patcher: it writes guest memory in a replay", again.stderr)

    def test_before_an_instruction(self):
        self.change("")

    def test_before_a_block(self):
        self.change(",block")


if __name__ == "__main__":
    guest.main()
