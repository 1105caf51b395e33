"""Record and replay: what was recorded in a working guest is replayed to the same digest."""

import os
import signal
import time

import guest


def read(path):
    with open(path, "rb") as f:
        return f.read()


class Record(guest.GuestTest):
    def replay_everywhere(self, name, digest, interpreter=True):
        """JIT and interpreter, each bare and with the plugin, whose lists must be the same."""
        self.assert_agrees(name, digest)
        self.assert_agrees(name, digest, "-panda", "syscalls:file=jit.txt,names")
        calls = read(self.path("jit.txt"))
        self.assertGreater(calls.count(b"\n"), 10)
        if interpreter:
            self.assert_agrees(name, digest, "--backend=interp", seconds=300)
            self.assert_agrees(name, digest, "--backend=interp", "-panda", "syscalls:file=interp.txt,names", seconds=300)
            self.assertEqual(read(self.path("interp.txt")), calls)

    def test_from_the_monitor_while_the_guest_works(self):
        with guest.Guest(cwd=self.work) as g:
            g.boot()
            self.assertIn("nothing is being recorded", g.monitor("end_record"))
            self.assertIn("recording to work-rr-snp and work-rr-nondet.log", g.monitor("begin_record work"))
            self.assertIn("already", g.monitor("begin_record other"))
            self.assertIn("recording work:", g.monitor("info record"))
            self.assertEqual(g.command("echo hel''lo; sleep 0.3; ls / | wc -l; grep -c . /proc/interrupts").split()[0],
                             "hello")
            time.sleep(0.3)
            self.assertEqual(g.command("i=0; while [ $i -lt 300 ]; do i=$((i+1)); done; echo $i").strip(), "300")
            g.monitor("end_record")
            digest = self.recorded_digest(g.stderr(), "work", "end_record")
            log = read(self.path("work-rr-nondet.log"))
            self.assertIn("exists already; recordings are not overwritten", g.monitor("begin_record work"))
            self.assertIn("not recording", g.monitor("info record"))
            # The guest goes on, and a second recording of the same run is as good as the first.
            g.monitor("begin_record again")
            self.assertEqual(g.command("echo go''es on").strip(), "goes on")
            g.send("\x01x")
            self.assertEqual(g.wait(), 0)
            second = self.recorded_digest(g.stderr(), "again", "quit")
        self.assertEqual(read(self.path("work-rr-nondet.log")), log)
        self.replay_everywhere("work", digest)
        self.assert_agrees("again", second)

    def test_with_isolated_page_tables(self):
        """Each system call loads CR3 twice; the replay begins without the address spaces that the guest had lately."""
        with guest.Guest(cwd=self.work, append="pti=on") as g:
            g.boot()
            g.command("ls / | wc -l")
            g.monitor("begin_record isolated")
            self.assertEqual(g.command("i=0; while [ $i -lt 40 ]; do i=$((i+$(echo 1))); done; ls /proc | wc -l; echo $i")
                             .split()[-1], "40")
            g.monitor("end_record")
            digest = self.recorded_digest(g.stderr(), "isolated", "end_record")
        self.assert_agrees("isolated", digest)
        self.assert_agrees("isolated", digest, "--backend=interp", seconds=300)

    def test_from_the_first_instruction_to_power_off(self):
        """Without the host's clock two runs with the same input write the same log, byte for byte."""
        command = guest.shell_command("seq 1 500 | md5sum; sleep 1; date; poweroff -f")
        digests = []
        for name in ("one", "two"):
            done = guest.Run([*guest.boot_options(command), "-nographic", "-icount", "shift=2", "-record", name],
                             cwd=self.work)
            self.assertEqual(done.status, 0, done)
            digests.append(self.recorded_digest(done.stderr, name, "power-off"))
            time.sleep(1.1)  # so that a date taken from the host would differ
        self.assertEqual(digests[0], digests[1])
        self.assertEqual(read(self.path("one-rr-nondet.log")), read(self.path("two-rr-nondet.log")))
        self.assertEqual(read(self.path("one-rr-snp")), read(self.path("two-rr-snp")))
        self.replay_everywhere("one", digests[0], interpreter=False)

    def test_typed_input_is_at_the_same_count_with_icount(self):
        keys = self.write("keys", "\n" * 3 + "echo ty''ped; cat /proc/uptime\npoweroff -f\n")
        outputs, digests = [], []
        for name in ("one", "two"):
            done = guest.Run([*guest.boot_options(), "-nographic", "-icount", "shift=2", "-record", name],
                             cwd=self.work, stdin=keys)
            self.assertEqual(done.status, 0, done)
            self.assertIn("\ntyped\n", done.stdout, done)
            outputs.append(done.stdout)
            digests.append(self.recorded_digest(done.stderr, name, "power-off"))
        self.assertEqual(outputs[0], outputs[1])
        self.assertEqual(digests[0], digests[1])
        self.assertEqual(read(self.path("one-rr-nondet.log")), read(self.path("two-rr-nondet.log")))

    def test_ended_by_quit(self):
        with guest.Guest("-record", "quit", cwd=self.work) as g:
            g.boot()
            g.command("ls -l /dev | wc -l")
            g.send("\x01c")
            g.wait_for("(qemu) ")
            g.send("quit\n")
            self.assertEqual(g.wait(), 0, g.stderr())
            self.assert_agrees("quit", self.recorded_digest(g.stderr(), "quit", "quit"))

    def test_ended_by_sigterm(self):
        for wait_for in ("is up", guest.PROMPT):  # busy, and idle
            name = "busy" if wait_for != guest.PROMPT else "idle"
            with self.subTest(name), guest.Guest("-record", name, cwd=self.work) as g:
                g.wait_for(wait_for)
                g.process.send_signal(signal.SIGTERM)
                self.assertEqual(g.wait(), 0, g.stderr())
                self.assert_agrees(name, self.recorded_digest(g.stderr(), name, "signal"))

    def test_ended_by_triple_fault(self):
        done = guest.Run([*guest.boot_options("reboot=triple " + guest.shell_command("reboot -f")), "-nographic",
                          "-no-reboot", "-icount", "shift=2", "-record", "triple"], cwd=self.work)
        self.assertEqual(done.status, 0, done)
        self.assert_agrees("triple", self.recorded_digest(done.stderr, "triple", "CPU shutdown"))

    def test_killed(self):
        """What was written up to the kill is replayed, and not called a success."""
        with guest.Guest("-record", "killed", cwd=self.work) as g:
            g.boot()
            g.command("echo wor''ks")
            time.sleep(0.5)
            g.process.kill()
            g.wait()
        done = guest.replay("killed", cwd=self.work)
        self.assert_refused(done, "killed-rr-nondet.log", "cut off at byte", "last whole chunk", status=3)
        # Nearly everything is there: the boot takes far more than these instructions.
        self.assertGreater(int(done.stderr.split("replayed killed: ")[1].split()[0]), 100_000_000, done)

    def test_existing_recording_is_kept(self):
        for name in ("a-rr-snp", "b-rr-nondet.log"):
            self.write(name, "precious")
            done = guest.Run([*guest.boot_options(), "-nographic", "-record", name[0]], cwd=self.work)
            self.assert_refused(done, name, "not overwritten")
            self.assertEqual(read(self.path(name)), b"precious")
        self.assertEqual(sorted(os.listdir(self.work)), ["a-rr-snp", "b-rr-nondet.log"])

    def test_recording_that_cannot_be_written(self):
        done = guest.Run([*guest.boot_options(), "-nographic", "-record", "no/such/folder/x"], cwd=self.work)
        self.assert_refused(done, "no/such/folder/x-rr-snp", "No such file")


if __name__ == "__main__":
    guest.main()
