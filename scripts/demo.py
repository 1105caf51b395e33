#!/usr/bin/env python3
"""Boots a stock Debian kernel, records a piece of its execution, replays the recording twice (bare,
and under the plugin that reports system calls) and sums up. Everything printed is computed from the
run. Files are left in build/demo/ to play with.
"""
import os
import re
import shutil
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PANDA = os.path.join(TOP, "build/release/bin/panda-system-x86_64")
GUEST = os.path.join(TOP, "build/guests/amd64")
OUT = os.path.join(TOP, "build/demo")
WORK = """
for i in 1 2 3; do dd if=/dev/urandom bs=64k count=24 2>/dev/null | md5sum; done
ls -lR /proc/1 | wc -l; gzip -c /bin/busybox | wc -c; sort /proc/kallsyms | tail -n 1; sleep 0.2; echo work do''ne
"""
SUMMARY = re.compile(r"(?:recorded|replayed) \S+: (\d+) instructions in ([0-9.]+) s")


def fail(what):
    sys.exit(f"demo: {what}")


class Machine:
    """A running guest whose terminal we type on."""

    def __init__(self, *options):
        self.process = subprocess.Popen([PANDA, *options], cwd=OUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, bufsize=0)
        self.seen = b""

    def wait_for(self, text, limit=120):
        deadline = time.monotonic() + limit
        while text not in self.seen:
            data = os.read(self.process.stdout.fileno(), 65536)
            if not data or time.monotonic() > deadline:
                fail(f"the guest did not get to {text!r}; it said:\n{self.seen[-2000:].decode('latin-1')}\n"
                     + (self.process.stderr.read().decode("latin-1") if not data else ""))
            self.seen += data
        before, self.seen = self.seen.split(text, 1)
        return before.decode("latin-1")

    def type(self, text):
        self.process.stdin.write(text.encode())

    def monitor(self, command):
        """A monitor command by way of Ctrl-A c; returns what it printed."""
        self.type("\x01c")
        self.wait_for(b"(qemu) ")
        self.type(command + "\n")
        said = self.wait_for(b"(qemu) ")
        self.type("\x01c")
        return said


def replay(*options):
    run = subprocess.run([PANDA, "-replay", "demo", *options], cwd=OUT, capture_output=True, text=True)
    if run.returncode != 0:
        fail(f"the replay failed:\n{run.stderr}")
    return run


def figures(text):
    match = SUMMARY.search(text)
    if match is None:
        fail(f"no summary line in:\n{text}")
    return int(match[1]), float(match[2])


def digest(text):
    return re.search(r"digest ([0-9a-f]+)", text)[1]


def row(name, instructions, seconds):
    print(f"  {name:24} {instructions:>15,} instructions {seconds:8.2f} s {instructions / 1e6 / seconds:8.1f} M instructions/s")


def main():
    for path, how in ((PANDA, "make build"), (os.path.join(GUEST, "vmlinuz"), "make guests")):
        if not os.path.exists(path):
            fail(f"{path} is missing: run '{how}'")
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)

    print("booting Debian's stock kernel ...", flush=True)
    started = time.monotonic()
    guest = Machine("-m", "256M", "-kernel", os.path.join(GUEST, "vmlinuz"), "-initrd", os.path.join(GUEST, "initrd.gz"),
                    "-append", "console=ttyS0 quiet", "-nographic", "-icount", "shift=0", "-no-reboot")
    guest.wait_for(b"/ # ")
    boot_seconds = time.monotonic() - started
    status = guest.monitor("info status")
    boot_instructions = int(re.search(r"instructions: (\d+)", status)[1])

    print("recording while the guest runs a script ...", flush=True)
    guest.monitor("begin_record demo")
    guest.type("".join(line + "\n" for line in WORK.strip().split("\n")))
    guest.wait_for(b"work done")
    guest.monitor("end_record")
    guest.type("\x01x")
    recorded = guest.process.stderr.read().decode()
    guest.process.wait()

    print("replaying it, bare and under the syscalls plugin ...", flush=True)
    bare = replay()
    watched = replay("-panda", "syscalls:names,summary=syscalls-summary.txt")

    digests = {digest(recorded), digest(bare.stderr), digest(watched.stderr)}
    with open(os.path.join(OUT, "syscalls-summary.txt"), encoding="ascii") as file:
        calls = [line.split() for line in file]
    total = next(int(c[0]) for c in calls if c[1] == "total")

    print("\nsummary")
    row("boot to a shell", boot_instructions, boot_seconds)
    row("recording", *figures(recorded))
    row("replay", *figures(bare.stderr))
    row("replay, syscalls plugin", *figures(watched.stderr))
    log, snapshot = (os.path.getsize(os.path.join(OUT, f"demo-rr-{part}")) for part in ("nondet.log", "snp"))
    print(f"  log {log:,} bytes, snapshot {snapshot:,} bytes")
    print(f"  system calls: {total:,}; most frequent: " +
          ", ".join(f"{name} {count}" for count, name in calls[:8] if name != "total"))
    if len(digests) != 1:
        fail(f"the digests of recording and replays differ: {', '.join(sorted(digests))}")
    print(f"  digests of recording and both replays agree: {digests.pop()}")
    print(f"  to look closer: cd {os.path.relpath(OUT)} && {os.path.relpath(PANDA, OUT)} -replay demo -panda syscalls:names")


if __name__ == "__main__":
    main()
