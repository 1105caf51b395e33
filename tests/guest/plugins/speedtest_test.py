"""speedtest: its figures are those of the recording, and of each other."""

import os
import re

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_probe.so")


class Speedtest(recording.PluginTest):
    def total(self, arguments):
        done = self.replay("speedtest:" + arguments)
        lines = [l for l in done.stdout.splitlines() if l.startswith("speedtest: total ")]
        self.assertEqual(len(lines), 1, done)
        if "final_log" in arguments:
            self.assertEqual(done.stdout.count("speedtest:"), 1)
        return {key: float(value) for key, value in re.findall(r"(\w+)=([0-9.]+)", lines[0])}

    def test_instructions(self):
        total = self.total("final_log")
        self.assertEqual(set(total), {"instructions", "seconds", "mips"})
        self.assertEqual(total["instructions"], self.facts["instructions"])
        self.assertAlmostEqual(total["mips"] * total["seconds"] * 1e6 / total["instructions"], 1, delta=0.01)

    def test_everything(self):
        total = self.total("ratio,times,ints")
        self.assertEqual(total["instructions"], self.facts["instructions"])
        self.assertEqual(total["blocks"], total["user_blocks"] + total["kernel_blocks"])
        self.assertGreater(total["user_blocks"], 6000)  # each round of the loops is one
        self.assertLess(total["blocks"], total["instructions"])
        self.assertAlmostEqual(total["kernel_ratio"], total["kernel_blocks"] / total["blocks"], delta=0.0001)
        self.assertGreater(total["cpu_user"], 0)
        intexc = self.replay("track_intexc:debug")
        self.assertEqual(total["interrupts"], intexc.stdout.count("enter interrupt"))

    def test_delay(self):
        """Measured from the block on that begins at this count; figures are made there, and do no harm to the guest's."""
        self.replay(f"{PROBE}:hooks={hex(self.program['level1'])}:{hex(self.program['undefined'])}")
        first, last = (int(line.split()[6]) for line in self.lines("probe.txt"))
        total = self.total(f"final_log,times,delay={first}")
        later = self.total(f"final_log,times,delay={last}")
        self.assertEqual(total["instructions"] - later["instructions"], last - first)
        self.assertLess(total["instructions"], self.facts["instructions"])
        done = self.replay(f"speedtest:delay={last + self.facts['instructions']}")
        self.assertIn("nothing was measured", done.stderr)
        self.assertNotIn("speedtest: total", done.stdout)


if __name__ == "__main__":
    recording.guest.main()
