"""Instruction counts of program counters: as many as the known loop has rounds, each where the interpreter has it too."""

import re

import recording


class PcSearch(recording.PluginTest):
    def found(self, name="pc_matches.txt"):
        out = []
        for line in self.lines(name):
            match = re.fullmatch(r"PC:0x([0-9a-f]+) Guest Instr:(\d+)", line)
            self.assertIsNotNone(match, line)
            out.append((int(match[1], 16), int(match[2])))
        return out

    def test_a_loop(self):
        body, end = self.program["count_body"], self.program["count_end"]
        self.replay(f"pc_search:pc=0x{body:x}")
        rows = self.found()
        self.assertEqual((len(rows), {pc for pc, _ in rows}), (6000, {body}))
        counts = [n for _, n in rows]
        self.assertEqual(counts, sorted(counts))
        # Two instructions a round, if nothing comes between.
        steps = [b - a for a, b in zip(counts, counts[1:])]
        self.assertGreater(steps.count(2), 5900)
        self.replay(f"pc_search:pc={body},out_file=interp.txt", "--backend=interp")
        self.assertEqual(self.text("interp.txt"), self.text("pc_matches.txt"))

        self.write("pcs.txt", f"0x{end:x}\n\n{body}\r\n0x{self.program['never_called']:x}\n")
        self.replay("pc_search:first_last_only=true,pc_file=pcs.txt,out_file=few.txt")
        ends, bodies = self.lines("few.txt")
        self.assertEqual(bodies, f"PC:0x{body:x} First Guest Instr:{counts[0]} Last Guest Instr:{counts[-1]}")
        first, last = re.fullmatch(rf"PC:0x{end:x} First Guest Instr:(\d+) Last Guest Instr:(\d+)", ends).groups()
        self.assertEqual((int(first), int(last)), (counts[999] + 2, counts[-1] + 2))

    def test_a_range(self):
        p = self.program
        first, last = p["level1"], p["level1"] + p.sizes["level1"] - 1
        self.replay(f"pc_search:pc_range=0x{first:x}-0x{last:x}")
        rows = self.found()
        self.assertEqual([pc for pc, _ in rows], [pc for pc, _, _ in p.instructions_of("level1")])
        self.replay(f"pc_search:pc_range={first}-{last},first_last_only,out_file=span.txt")
        self.assertEqual(self.lines("span.txt"), [f"PC Range:0x{first:x}-0x{last:x} First Guest Instr:{rows[0][1]} "
                                                  f"Last Guest Instr:{rows[-1][1]}"])

    def test_refused(self):
        self.write("pcs.txt", "0x10\nten\n")
        for arguments, mention in (("out_file=x", "give one of"), ("pc=1,pc_range=1-2", "give one of"),
                                   ("pc_range=2-1", "the lower first"), ("pc_range=12", "hyphen"),
                                   ("pc_file=missing", "missing"), ("pc_file=pcs.txt", "pcs.txt:2"),
                                   ("pc=1,out_file=/no/such/x", "/no/such/x")):
            self.refused("pc_search:" + arguments, "pc_search", mention)


if __name__ == "__main__":
    recording.guest.main()
