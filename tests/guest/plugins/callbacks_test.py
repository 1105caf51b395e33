"""On a real recording every callback that is not about memory comes as often as it must, in order and without gaps
(tests/plugin/events.c checks that as it happens), and makes no difference to the replay; and what a plugin answers to a
hypercall while recording is part of the recording.
"""

import os

import recording

guest = recording.guest
EVENTS = os.path.join(guest.BUILD, "tests", "plugins", guest.ARCH, "panda_events.so")


class Callbacks(recording.PluginTest):
    def events(self, arguments):
        self.replay(f"{EVENTS}:{arguments}")
        return {name: int(value) for name, value in (line.split() for line in self.lines("events.txt"))}

    def check_machine(self, n):
        self.assertEqual(n["wrong"], 0)
        for name in ("during_init", "after_init", "before_loadvm", "after_loadvm"):
            self.assertEqual(n[name], 1, name)
        self.assertEqual(n["enter"], n["exit"])
        self.assertGreaterEqual(n["ran"], 1)
        self.assertGreaterEqual(n["top_loop"], self.facts["instructions"] // 2_000_000)
        self.assertGreaterEqual(n["loop_wait"], n["top_loop"])
        self.assertGreater(n["asid"], 2)        # the program forks
        self.assertGreater(n["exceptions"], 2)  # page faults, the undefined instruction
        self.assertGreater(n["interrupts"], 2)
        self.assertEqual(n["hypercalls"], 1)
        self.assertEqual(n["answered"], 0)

    def test_the_machine_alone(self):
        self.check_machine(self.events("file=events.txt"))

    def test_blocks(self):
        n = self.events("blocks")
        self.check_machine(n)
        self.assertEqual(n["before"], n["after"] + n["open"])
        for other in ("start", "invalidate", "blocks_inline"):
            self.assertEqual(n["before"], n[other], other)
        self.assertEqual(n["after"], n["end"])
        self.assertEqual(n["translated"], n["codegen"])
        # The second page of an instruction may fault while it is decoded.
        self.assertLessEqual(n["translated"], n["translate"])
        self.assertLessEqual(n["translate"], n["translated"] + n["exceptions"])
        self.assertGreater(n["before"], n["translated"])
        self.assertGreaterEqual(n["early"], n["restored"])
        # An instruction of a block that ended early may not have run; of a repeated one more than one is counted.
        self.assertLessEqual(n["insns_inline"], n["icount"] + n["early"])

    def test_instructions(self):
        n = self.events("blocks,insns")
        self.check_machine(n)
        self.assertEqual(n["before"], n["after"] + n["open"])
        self.assertLessEqual(n["insns_done"], self.facts["instructions"])
        self.assertGreater(n["insns_done"], self.facts["instructions"] // 2)
        self.assertLessEqual(n["insns_done"], n["insns"])
        self.assertLessEqual(n["insns"] - n["insns_done"], n["early"] + n["insns_inline"] - n["insns_done"] + 1)

    def test_an_answer_to_a_hypercall_is_recorded(self):
        image = os.path.join(recording.FOLDER, "known.cpio")
        with guest.Guest("-panda", f"{EVENTS}:answer,file=live.txt", cwd=self.work, initrd=image, append="nokaslr",
                         ram=guest.SMALLEST_RAM) as g:
            g.wait_for("ready\n")
            g.monitor("begin_record answered")
            g.send("\n")
            g.wait_for("done\n")
            g.monitor("end_record")
            g.send("\x01x")
            g.wait()
            stderr = g.stderr()
        digest = guest.re.search(r"digest ([0-9a-f]{32}), ended by end_record", stderr)
        self.assertIsNotNone(digest, stderr)
        self.assertIn("answered 1\n", self.text("live.txt"))
        self.assert_agrees("answered", digest.group(1))  # without the plugin
        self.assert_agrees("answered", digest.group(1), "-panda", f"{EVENTS}:answer,file=again.txt")
        self.assertIn("answered 1\n", self.text("again.txt"))


if __name__ == "__main__":
    guest.main()
