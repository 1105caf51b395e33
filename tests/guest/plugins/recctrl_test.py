"""recctrl: the guest begins and ends recordings of itself, which replay without the plugin."""

import os
import time

import recording

guest, known_program = recording.guest, recording.known_program
SOURCE = os.path.join(guest.SOURCE, "plugins", "recctrl", "guest", "recctrlu.c")
OPTIONS = ["-m64" if guest.IS_64BIT else "-m32", "-O2", "-static", "-nostdlib", "-fno-stack-protector", "-Wall", "-Werror"]


class Recctrl(guest.GuestTest):
    def setUp(self):
        super().setUp()
        tool = guest.compile_c(OPTIONS, [SOURCE], self.path("recctrlu"))
        with open(tool, "rb") as f, open(guest.guest_file("initrd.gz"), "rb") as base:
            # An archive before the other one: the kernel unpacks both.
            self.initrd = self.write("initrd", known_program.initramfs({"recctrlu": f.read()}) + base.read())

    def live(self, arguments=""):
        return guest.Guest("-panda", "recctrl" + arguments, cwd=self.work, initrd=self.initrd, ram="128M")

    def test_on_and_off(self):
        with self.live() as g:
            g.boot()
            self.assertIn("recctrlu: recording", g.command("/recctrlu toggle first"))
            self.assertEqual(g.command("i=0; while [ $i -lt 100 ]; do i=$((i+1)); done; echo $i").strip(), "100")
            self.assertEqual(g.command("/recctrlu toggle").strip(), "")
            g.command("true")
            first = self.recorded_digest(g.stderr(), "first", "end_record")
            # Names of recordings that exist get a number; begin and end in one command.
            g.command("/recctrlu toggle first; ls / | wc -l; /recctrlu toggle")
            g.command("true")
            second = self.recorded_digest(g.stderr(), "first-1", "end_record")
            for name in ("../escape", "/tmp/x", ".hidden", "-x", "a'b", "x" * 65):
                self.assertIn("refused: not a name", g.command(f'/recctrlu toggle "{name}"'))
            self.assertIn("refused: not in this mode", g.command("/recctrlu session_open"))
            self.assertIn("usage: recctrlu", g.command("/recctrlu"))
            g.send("\x01x")
            self.assertEqual(g.wait(), 0)
        self.assertEqual(sorted(n for n in os.listdir(self.work) if n.endswith("-rr-snp")), ["first-1-rr-snp", "first-rr-snp"])
        self.assert_agrees("first", first)
        self.assert_agrees("first-1", second, "-panda", "asid_instr_count:csv=counts.csv")

    def test_sessions_and_the_number_of_recordings(self):
        with self.live(":session_rec,nrec=2") as g:
            g.boot()
            self.assertIn("refused: not in this mode", g.command("/recctrlu toggle"))
            self.assertIn("refused: not in this mode", g.command("/recctrlu session_close"))
            g.command("/recctrlu session_open")
            g.command("/recctrlu session_open; /recctrlu session_close; echo still")
            g.command("/recctrlu session_close; true")
            g.command("true")
            digest = self.recorded_digest(g.stderr(), "recctrl", "end_record")
            g.send("/recctrlu session_open two; /recctrlu session_close\n")
            self.assertEqual(g.wait(), 0)  # two recordings are made
            stderr = g.stderr()
            self.assertEqual(stderr.count("recctrl: session 2 opened"), 1)
            self.assertIn("2 recordings are made: the run ends", stderr)
            second = self.recorded_digest(stderr, "two", "end_record")
        self.assert_agrees("recctrl", digest)
        self.assert_agrees("two", second)

    def test_time_is_over(self):
        with self.live(":timeout=1,nrec=1") as g:
            g.boot()
            began = time.monotonic()
            g.command("/recctrlu toggle timed")
            self.assertEqual(g.wait(), 0)
            self.assertGreater(time.monotonic() - began, 0.9)
            self.assertIn("recording ends: its time is over", g.stderr())
            digest = self.recorded_digest(g.stderr(), "timed", "end_record")
        self.assert_agrees("timed", digest)

    def test_dry(self):
        with self.live(":dry") as g:
            g.boot()
            self.assertIn("recctrlu: recording", g.command("/recctrlu toggle try"))
            g.command("/recctrlu toggle")
            g.send("\x01x")
            self.assertEqual(g.wait(), 0)
            self.assertIn("dry: recording try begins", g.stderr())
            self.assertIn("dry: recording ends", g.stderr())
        self.assertEqual([n for n in os.listdir(self.work) if "-rr-" in n], [])


if __name__ == "__main__":
    guest.main()
