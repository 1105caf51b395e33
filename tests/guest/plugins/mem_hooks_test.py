"""mem_hooks: the accesses to a buffer are those that the program makes, byte by byte."""

import os

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_probe.so")
SECRET = b"Xyzzy, said the known program"
COPIES = [SECRET, b"through a pointer", b"on another stack", b"after the throw"]


class MemHooks(recording.PluginTest):
    def accesses(self, name, size, flags, at=None):
        first = self.program[name]
        when = f",mem_at={hex(self.program[at])}" if at else ""
        self.replay(f"{PROBE}:mem={hex(first)}:{hex(first + size - 1)}:{flags}{when}")
        watched, *rows = self.lines("probe.txt")
        self.assertEqual(watched, "watch 1")
        rows = [r.split() for r in rows]
        return [(" ".join(r[:3]), int(r[3], 16), int(r[4], 16), int(r[5]), r[6]) for r in rows]

    def test_writes(self):
        expected = [(self.program["copy_store"], self.program["copied"] + i, 1, "%02x" % byte)
                    for text in COPIES for i, byte in enumerate(text)]
        rows = self.accesses("copied", len(SECRET), "awv")
        self.assertEqual(rows, [("virtual write after", *e) for e in expected])
        both = self.accesses("copied", len(SECRET), "bawv")
        self.assertEqual(both, [(f"virtual write {w}", *e) for e in expected for w in ("before", "after")])

    def test_reads(self):
        expected = [(self.program["copy_load"], self.program["secret"] + i, 1) for i in range(len(SECRET))]
        rows = self.accesses("secret", len(SECRET), "barv")
        self.assertEqual(rows, [(f"virtual read {w}", *e, "-" if w == "before" else "%02x" % SECRET[i])
                                for i, e in enumerate(expected) for w in ("before", "after")])

    def test_wide_accesses_at_the_edge(self):
        """Of a region of one byte inside a word, the whole access is told."""
        first = self.program["wide"] + 1
        self.replay(f"{PROBE}:mem={hex(first)}:{hex(first)}:arv")
        word = recording.WORD
        self.assertEqual(self.lines("probe.txt")[1:],
                         [f"virtual read after {hex(self.program['words_load'])} {hex(self.program['wide'])} {word} "
                          + b"four words of a wide sentence..."[:word].hex()])

    def test_physical_writes(self):
        rows = self.accesses("copied", len(SECRET), "awp", at="level1")
        first = rows[0][2]
        self.assertEqual(first & 0xfff, self.program["copied"] & 0xfff)
        self.assertEqual(rows, [("physical write after", self.program["copy_store"], first + i, 1, "%02x" % byte)
                                for text in COPIES for i, byte in enumerate(text)])

    def test_what_is_wrong_with_a_region(self):
        for region, why in (("0x10:0x8:awv", "stop_address is below start_address"), ("0x0:0x8:wv", "neither on_before"),
                            ("0x0:0x8:av", "neither on_read"), ("0x0:0x8:aw", "neither on_virtual")):
            done = self.replay(f"{PROBE}:mem={region}")
            self.assertEqual(self.lines("probe.txt"), ["watch 0"])
            self.assertIn(f"plugin mem_hooks: add_mem_hook: {why}", done.stderr)


if __name__ == "__main__":
    recording.guest.main()
