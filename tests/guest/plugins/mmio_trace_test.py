"""mmio_trace: the local APIC's end-of-interrupt register is written once for each interrupt."""

import json
import os

import recording

PROBE = os.path.join(recording.guest.BUILD, "tests", "plugins", recording.guest.ARCH, "panda_probe.so")
END_OF_INTERRUPT = 0xfee000b0


class MmioTrace(recording.PluginTest):
    def test_accesses(self):
        done = self.replay(f"mmio_trace:out_log=mmio.json;track_intexc:debug;{PROBE}:mmio")
        events = json.loads(self.text("mmio.json"))
        for e in events:
            self.assertEqual(set(e), {"type", "instr", "pc", "phys_addr", "virt_addr", "size", "value", "device"})
            self.assertIn(e["type"], "RW")
            self.assertIn(e["size"], (1, 2, 4, 8))
            self.assertEqual(int(e["phys_addr"], 16) & 0xfff, int(e["virt_addr"], 16) & 0xfff)
            self.assertIn(e["device"], ("lapic", "ioapic", "hpet", "vga"))
        self.assertEqual([e["instr"] for e in events], sorted(e["instr"] for e in events))
        ends = [e for e in events if int(e["phys_addr"], 16) == END_OF_INTERRUPT]
        self.assertTrue(all((e["type"], e["device"], int(e["value"], 16)) == ("W", "lapic", 0) for e in ends))
        interrupts = done.stdout.count("track_intexc: enter interrupt")
        self.assertGreater(interrupts, 0)
        self.assertIn(interrupts - len(ends), (0, 1))  # the last may not be done with

        probe = [line.split() for line in self.lines("probe.txt")]
        self.assertEqual([(t, int(a, 16), int(s), int(v, 16), d) for _, t, a, s, v, d in probe],
                         [(e["type"], int(e["phys_addr"], 16), e["size"], int(e["value"], 16), e["device"]) for e in events])


if __name__ == "__main__":
    recording.guest.main()
