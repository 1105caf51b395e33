"""RAM saved at a point holds what the program has written by then, and nothing that it writes later."""

import re

import recording

guest = recording.guest
SECRET = b"Xyzzy, said the known program"


class MemSaveP(recording.PluginTest):
    def save(self, arguments, *options):
        """Runs it; the instruction count at which it saved."""
        done = guest.replay("known", "-panda", "memsavep:" + arguments, *options, cwd=self.work)
        self.assertEqual(done.status, 0, done)
        found = re.search(r"memsavep: saved RAM to \S+ at instruction (\d+)", done.stderr)
        self.assertIsNotNone(found, done)
        return int(found.group(1))

    def first_count(self, pc):
        self.replay(f"pc_search:pc=0x{pc:x},first_last_only")
        return int(re.search(r"First Guest Instr:(\d+)", self.text("pc_matches.txt")).group(1))

    def copies(self, name):
        """How often the secret is in RAM: in the initramfs's file, in the program's data, and where it was copied to."""
        return self.bytes(name).count(SECRET)

    def test_before_and_after(self):
        before = self.first_count(self.program["level3"])
        after = self.first_count(self.program.return_address("level2", "level3"))
        self.assertEqual(self.save(f"instrcount={before},file=before.raw"), before)
        self.assertEqual(self.save(f"instrcount={after},file=after.raw,regfile=registers.txt"), after)
        self.assertEqual(len(self.bytes("before.raw")), int(guest.SMALLEST_RAM[:-1]) << 20)
        self.assertEqual(self.copies("after.raw"), self.copies("before.raw") + 1)
        registers = dict(line.split(" ", 1) for line in self.lines("registers.txt"))
        self.assertEqual(int(registers["EIP"], 16), self.program.return_address("level2", "level3"))
        self.assertEqual(len(registers["EAX"]), recording.DIGITS)
        self.assertEqual(int(registers["CS"].split()[0], 16) & 3, 3)
        # The interpreter has the same memory there.
        self.save(f"instrcount={after},file=interp.raw,regfile=interp.txt", "--backend=interp")
        self.assertEqual(self.bytes("interp.raw"), self.bytes("after.raw"))
        self.assertEqual(self.text("interp.txt"), self.text("registers.txt"))

    def test_percent_and_size(self):
        begin = self.save("percent=0,file=begin.raw")
        count = self.save("percent=50,size=1000000,file=half.raw")
        half = self.facts["instructions"] / 2
        self.assertLess(abs(count - begin - half), 100)
        self.assertEqual(len(self.bytes("half.raw")), 1000000)
        self.save(f"instrcount={count},file=whole.raw")
        self.assertEqual(self.bytes("half.raw")[:0x9f000], self.bytes("whole.raw")[:0x9f000])

    def test_a_point_that_is_not_reached(self):
        done = self.replay("memsavep:instrcount=99999999999")
        self.assertIn("memsavep: the replay ended before the given point", done.stderr)

    def test_refused(self):
        for arguments, mention in (("file=x", "either percent= or instrcount="), ("percent=1,instrcount=1", "either"),
                                   ("percent=101", "between 0 and 100"), ("percent=half", "percent"),
                                   ("instrcount=1,size=99999999999", "bytes of RAM")):
            self.refused("memsavep:" + arguments, "memsavep", mention)


if __name__ == "__main__":
    guest.main()
