"""track_intexc: handlers are entered and left as the program's exceptions and the guest's interrupts come."""

import os
import re

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_probe.so")
LINE = re.compile(r"track_intexc: (enter|leave) (interrupt|exception)(?: (\d+))? instr=(\d+) pc=0x([0-9a-f]+) "
                  r"asid=0x([0-9a-f]+) (?:from|to)=(user|kernel) depth=(\d+)$")


class TrackIntexc(recording.PluginTest):
    def test_entries_and_returns(self):
        done = self.replay("track_intexc:debug")
        events = []
        for line in done.stdout.splitlines():
            if line.startswith("track_intexc: "):
                found = LINE.match(line)
                self.assertIsNotNone(found, line)
                events.append(found.groups())
        # The child's undefined instruction: entered once, and never gone back from to its user mode.
        ud2 = [i for i, e in enumerate(events) if e[0:3] == ("enter", "exception", "6")]
        self.assertEqual(len(ud2), 1)
        what = events[ud2[0]]
        self.assertEqual((int(what[4], 16), what[6], what[7]), (self.program["undefined_insn"], "user", "1"))
        child = what[5]
        self.assertEqual([e for e in events[ud2[0] + 1:] if e[5] == child and e[0] == "leave" and e[6] == "user"], [])
        # All others are left, each back to where it came from.
        open_handlers = {}
        for e in events:
            stack = open_handlers.setdefault(e[5], [])
            if e[0] == "enter":
                if e[6] == "user":
                    self.assertEqual(stack, [])
                stack.append(e)
            else:
                entered = stack.pop()
                self.assertEqual((entered[1], entered[6]), (e[1], e[6]))
            self.assertEqual(int(e[7]), len(stack))
        left = [stack for asid, stack in open_handlers.items() if asid != child and stack]
        self.assertLessEqual(sum(len(s) for s in left), 1, left)  # the one in which the recording ended
        entered = [e for e in events if e[0] == "enter"]
        self.assertGreater(len([e for e in entered if e[1:3] == ("exception", "14")]), 2)
        self.assertGreater(len([e for e in entered if e[1] == "interrupt"]), 0)
        self.assertEqual([e for e in entered if e[1] == "exception" and int(e[2]) >= 32], [])

    def test_api(self):
        done = self.replay(f"track_intexc:debug;{PROBE}:intexc")
        fields = self.lines("probe.txt")[0].split()
        seen = dict(zip(fields[::2], map(int, fields[1::2])))
        entered = len(re.findall(r"track_intexc: enter exception", done.stdout))
        self.assertEqual(seen["handlers"], entered)
        self.assertEqual((seen["in"], seen["not_in"]), (entered, 0))  # in the block that follows each
        self.assertGreater(seen["user_blocks"], 6000)
        self.assertEqual(seen["wrong"], 0)


if __name__ == "__main__":
    recording.guest.main()
