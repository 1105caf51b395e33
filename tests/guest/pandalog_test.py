"""A plugin's pandalog of a replay: each reader has as many entries as the plugin wrote, and what is wrong
with a log, or with the place for one, is one clear line, while the replay goes on."""

import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib

import guest
import known_program

PLUGIN = os.path.join(guest.BUILD, "tests", "plugins", guest.ARCH, "panda_log_c.so")
SCHEMA = os.path.join(guest.BUILD, "tests", "plugin", "plog_log_c", guest.ARCH, "plog.desc")
SCRIPT = os.path.join(guest.SOURCE, "scripts", "plog_reader.py")


def run(command, **how):
    return subprocess.run(command, capture_output=True, text=True, timeout=guest.LIMIT_S * 3, check=False, **how)


def reader(*arguments):
    return run([os.path.join(guest.BUILD, "bin", "plog_reader"), "--schema", SCHEMA, *arguments])


def script(*arguments):
    return run([sys.executable, SCRIPT, "--schema", SCHEMA, *arguments])


def entries_by_the_layout(path):
    """(instr of the chunk, entries) by the file's layout alone."""
    with open(path, "rb") as f:
        data = f.read()
    version, _, directory, _, _ = struct.unpack("<IIQII", data[:24])
    assert version == 2
    count, = struct.unpack_from("<I", data, directory)
    chunks = list(struct.iter_unpack("<QQQ", data[directory + 4:]))
    assert len(chunks) == count
    for (_, begin, entries), end in zip(chunks, [c[1] for c in chunks[1:]] + [directory]):
        chunk, at = zlib.decompress(data[begin:end]), 0
        for _ in range(entries):
            at += 4 + struct.unpack_from("<I", chunk, at)[0]
        assert at == len(chunk)
    return sum(c[2] for c in chunks)


class Pandalog(guest.GuestTest):
    recording = None  # (folder, digest): made by the first test, for all

    def setUp(self):
        super().setUp()
        if Pandalog.recording is None:
            folder = os.path.join(os.path.dirname(self.work), "pandalog-recording-" + guest.ARCH)
            shutil.rmtree(folder, ignore_errors=True)
            os.makedirs(folder)
            image, _ = known_program.make(folder, guest.IS_64BIT)
            done = guest.Run([*guest.boot_options(initrd=image, append="vdso32=1"), "-nographic", "-icount", "shift=2",
                              "-record", "known"], cwd=folder, seconds=400)
            self.assertEqual(done.status, 0, done)
            Pandalog.recording = folder, self.recorded_digest(done.stderr, "known", "power-off")
        folder, self.digest = Pandalog.recording
        for name in os.listdir(folder):
            if name.startswith("known-rr"):
                os.link(os.path.join(folder, name), self.path(name))

    @classmethod
    def tearDownClass(cls):
        if Pandalog.recording is not None:
            shutil.rmtree(Pandalog.recording[0], ignore_errors=True)

    def test_what_is_written_is_read(self):
        done = self.assert_agrees("known", self.digest, "-panda", PLUGIN + ":every=2000", "-pandalog", "blocks.plog", seconds=400)
        written = int(re.search(r"^log_c: (\d+) blocks logged$", done.stderr, re.M).group(1))
        self.assertGreater(written, 100_000)
        log = self.path("blocks.plog")
        self.assertEqual(entries_by_the_layout(log), written + 1)

        counts = reader("--count", log)
        self.assertEqual((counts.returncode, counts.stderr), (0, ""))
        by_field = dict(reversed(line.split()) for line in counts.stdout.splitlines())
        self.assertEqual(by_field, {"asid": str(written), "test_block": str(written), "test_text": str(written + 1),
                                    "entries": str(written + 1)})

        # A stretch of it, by both readers.
        middle = reader("--json", "--instr", "20000000-22000000", log)
        ours = [json.loads(line) for line in middle.stdout.splitlines()]
        self.assertGreater(len(ours), 50)
        instrs = [int(e["instr"]) for e in ours]
        self.assertEqual(instrs, sorted(set(instrs)))
        theirs = []
        with subprocess.Popen([sys.executable, SCRIPT, "--schema", SCHEMA, "--lines", "--instr", "20000000", log],
                              stdout=subprocess.PIPE, text=True) as process:
            for _ in ours:
                theirs.append(json.loads(process.stdout.readline()))
            process.kill()
        self.assertEqual(theirs, ours)
        backward = reader("--json", "--backward", "--instr", "20000000-22000000", log)
        self.assertEqual(backward.stdout.splitlines()[::-1], middle.stdout.splitlines())

        # Filters.
        asids = {e["asid"] for e in ours}
        one = reader("--count", "--asid", ours[0]["asid"], "--instr", "20000000-22000000", log)
        self.assertIn(f" {sum(e['asid'] == ours[0]['asid'] for e in ours)} entries", one.stdout, asids)
        text = reader("--field", "test_text", "--backward", log)
        self.assertRegex(text.stdout.splitlines()[0], r'^instr=\d+  pc=0x[0-9a-f]+ :  test_text="the end"$')
        self.assertEqual(len(text.stdout.splitlines()), written + 1)

        # Cut in the middle: all before is read, and it is said.
        with open(log, "rb") as f:
            data = f.read()
        cut = self.write("cut.plog", data[:len(data) // 2])
        done = reader("--count", cut)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cut off", done.stderr)
        there = int(re.search(r"(\d+) entries$", done.stdout.strip()).group(1))
        self.assertGreater(there, written // 4)
        self.assertLess(there, written)

    def test_a_killed_run_leaves_a_readable_log(self):
        log = self.path("killed.plog")
        with subprocess.Popen([guest.program(), "-replay", "known", "-panda", PLUGIN + ":every=2000", "-pandalog", log],
                              cwd=self.work, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            end = time.monotonic() + guest.LIMIT_S
            while (not os.path.exists(log) or os.path.getsize(log) < 100_000) and time.monotonic() < end:
                time.sleep(0.05)
            process.kill()
            self.assertEqual(process.wait(), -signal.SIGKILL)
        done = reader("--count", log)
        self.assertIn("interrupted", done.stderr)
        self.assertGreater(int(re.search(r"(\d+) entries$", done.stdout.strip()).group(1)), 1000)

    def test_a_full_disk_ends_the_log_not_the_replay(self):
        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        done = run([guest.program(), "-replay", "known", "-panda", PLUGIN + ":every=2000", "-pandalog", "full.plog"],
                   cwd=self.work, stdin=subprocess.DEVNULL, preexec_fn=small_files)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stderr, rf"digest {self.digest} agrees")
        self.assertEqual(done.stderr.count("panda: pandalog full.plog: cannot be written: File too large"), 1, done.stderr)
        left = reader("--count", self.path("full.plog"))
        self.assertEqual(left.returncode, 1)
        self.assertGreater(int(re.search(r"(\d+) entries$", left.stdout.strip()).group(1)), 1000)

    def test_places_where_no_log_can_be(self):
        for place, why in (("/no/such/x.plog", "No such file"), (self.work, "Is a directory"),
                           ("/dev/full", "No space left on device")):
            self.assert_refused(guest.replay("known", "-pandalog", place, cwd=self.work), f"pandalog {place}: ", why,
                                status=1)


if __name__ == "__main__":
    guest.main()
