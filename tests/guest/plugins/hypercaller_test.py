"""hypercaller: the program's CPUID is answered by the function that was registered for its number."""

import os

import recording

guest = recording.guest
PROBE = os.path.join(guest.BUILD, "tests", "plugins", guest.ARCH, "panda_probe.so")


class Hypercaller(recording.PluginTest):
    def test_a_number_nobody_registered(self):
        self.replay(f"{PROBE}:hypercall=0x7654321")
        self.assertEqual(self.lines("probe.txt"), [])

    def test_answered_while_recording(self):
        """The answer is the guest's: made live, in a replay without the plugins, and again in one with them."""
        behind = self.program["hypercall_insn"] + 2
        probe, trace = f"{PROBE}:hypercall=0xabcd0001", f"user,begin={hex(behind)},end={hex(behind + 1)}"
        image = os.path.join(recording.FOLDER, "known.cpio")
        with guest.Guest("-panda", probe, cwd=self.work, initrd=image, append="nokaslr", ram=guest.SMALLEST_RAM) as g:
            g.wait_for("ready\n")
            g.monitor(f"load_plugin trace {trace}")  # not from the start: a boot with it takes minutes
            g.monitor("begin_record answered")
            g.send("\n")
            g.wait_for("done\n")
            g.monitor("end_record")
            g.send("\x01x")
            g.wait()
            digest = self.recorded_digest(g.stderr(), "answered", "end_record")
        self.assert_agrees("answered", digest)
        for run in ("live", "replay"):
            if run == "replay":
                self.assert_agrees("answered", digest, "-panda", f"{probe};trace:{trace}")
            self.assertEqual(self.lines("probe.txt"), ["hypercall 0xabcd0001 42"])
            register = "rax" if guest.IS_64BIT else "eax"
            self.assertIn(f"{register}=0x54,", self.lines("trace.txt")[0])


if __name__ == "__main__":
    guest.main()
