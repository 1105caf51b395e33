"""asid_instr_count: the counts add up to the recording, and the parts are where the program runs."""

import os

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_probe.so")


class AsidInstrCount(recording.PluginTest):
    def counts(self, name):
        head, *rows = self.lines(name)
        self.assertEqual(head, "asid,instructions")
        return {int(asid, 16): int(count) for asid, count in (row.split(",") for row in rows)}

    def test_counts(self):
        self.replay("asid_instr_count:csv=counts.csv")
        counts = self.counts("counts.csv")
        self.assertEqual(sum(counts.values()), self.facts["instructions"])
        self.assertGreaterEqual(len(counts), 2)  # parent and child

    def test_api(self):
        begin, end = (hex(self.program[name]) for name in ("count_loop", "count_end"))
        self.replay(f"asid_instr_count:csv=counts.csv;{PROBE}:hooks={begin}:{end},type=count")
        counts = self.counts("counts.csv")
        self.assertEqual(sum(counts.values()), self.facts["instructions"])
        rows = [line.split() for line in self.lines("probe.txt")]
        # On x86_64 the loop's body is the function's first instruction: the first round of each is looked at.
        rows = [r for r, before in zip(rows, [None, *rows]) if before is None or (r[1], r[2]) != (before[1], before[2])]
        self.assertEqual([int(r[1], 16) for r in rows], [int(begin, 16), int(end, 16)] * 2)
        asids = [int(r[2], 16) for r in rows]
        self.assertEqual((asids[0], asids[2]), (asids[1], asids[3]))
        self.assertNotEqual(asids[0], asids[2])
        for first, last, times in ((rows[0], rows[1], 1000), (rows[2], rows[3], 5000)):
            self.assertEqual(first[3], first[4])  # the current address space's, by both functions
            here = int(last[3]) - int(first[3])
            self.assertGreaterEqual(here, 2 * times)
            self.assertLessEqual(here, int(last[5]) - int(first[5]))
        for r in rows:
            self.assertLess(int(r[3]), counts[int(r[2], 16)])
            self.assertLessEqual(int(r[3]), int(r[5]))
            self.assertLess(int(r[5]), self.facts["instructions"])  # counted from the recording's first one

    def test_a_place_that_cannot_be_written(self):
        self.refused("asid_instr_count:csv=/no/such/counts.csv", "plugin asid_instr_count: ", "/no/such/counts.csv")


if __name__ == "__main__":
    recording.guest.main()
