"""The recording that the plugin tests share is what it claims to be: it replays, and the guest did what program.c says."""

import recording


class Recording(recording.PluginTest):
    def test_system_calls(self):
        self.replay("syscalls:file=calls.txt,names")
        names = [line.rpartition("(")[2].rstrip(")") for line in self.lines("calls.txt")]
        last = ["write", "read", "write"]
        self.assertEqual(names[:14], ["getpid"] * 7 + ["mmap", "write", "fork", "wait4"] + last)
        self.assertIn(names[14:], ([], ["read"]))

    def test_the_programs_listing(self):
        callers = self.callers_in_level3()
        self.assertEqual(len(callers), 5)
        for pc, function in zip(callers, ("level3", "level2", "level1", "work", "run")):
            self.assertTrue(self.program.inside(function, pc))
        self.assertEqual(len(self.program.returns("apply", None)), 1)


if __name__ == "__main__":
    recording.guest.main()
