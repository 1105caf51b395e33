"""Memory callbacks on a whole guest: whoever runs the recording, they tell the same, and the replay agrees."""

import os
import re

import guest

PLUGIN = os.path.join(guest.BUILD, "tests", "plugins", guest.ARCH, "panda_memory_log.so")


class Memory(guest.GuestTest):
    def listen(self, name, arguments=""):
        return ["-panda-plugin", PLUGIN, "-panda-arg", f"memory_log:file={self.path(name)}{arguments}"]

    def lines(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read().splitlines()

    def counts(self, name):
        return {k: int(v) for k, v in (re.match(r"(.*): (\d+) [0-9a-f]{16}$", l).groups() for l in self.lines(name)[:6])}

    def test_back_ends_tell_the_same(self):
        with guest.Guest(cwd=self.work) as g:
            g.boot()
            g.monitor("begin_record work")
            g.command("ls / | md5sum; i=0; while [ $i -lt 30 ]; do i=$((i+1)); done; echo $i")
            g.monitor("end_record")
            digest = self.recorded_digest(g.stderr(), "work", "end_record")
        self.assert_agrees("work", digest)
        self.assert_agrees("work", digest, *self.listen("jit.txt", ",crossings"), seconds=600)
        self.assert_agrees("work", digest, "--backend=interp", *self.listen("interp.txt", ",crossings"), seconds=600)
        self.assertEqual(self.lines("jit.txt"), self.lines("interp.txt"))
        n = self.counts("jit.txt")
        self.assertGreater(n["virt after read"], 100_000)
        self.assertGreater(n["virt after write"], 50_000)
        # What was announced was made, but for faults.
        for kind in ("read", "write"):
            self.assertGreaterEqual(n[f"virt before {kind}"], n[f"virt after {kind}"])
            self.assertGreaterEqual(n[f"phys after {kind}"], n[f"virt after {kind}"])
        serial = re.match(r"serial: received (\d+) read (\d+) sent (\d+)", self.lines("jit.txt")[7])
        received, read, sent = (int(v) for v in serial.groups())
        self.assertGreater(received, 50)  # the typed line
        self.assertEqual(received, read)
        self.assertGreater(sent, received)  # its echo, and the output

    def test_recording_and_replay_tell_the_same(self):
        command = guest.shell_command("seq 1 50 | md5sum; poweroff -f")
        done = guest.Run([*guest.boot_options(command), "-nographic", "-icount", "shift=2", "-record", "run",
                          *self.listen("live.txt")], cwd=self.work, seconds=900)
        self.assertEqual(done.status, 0, done)
        digest = self.recorded_digest(done.stderr, "run", "power-off")
        self.assert_agrees("run", digest)
        self.assert_agrees("run", digest, *self.listen("replay.txt"), seconds=900)
        self.assertEqual(self.lines("live.txt"), self.lines("replay.txt"))


if __name__ == "__main__":
    guest.main()
