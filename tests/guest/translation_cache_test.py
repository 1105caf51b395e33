"""The translation cache keeps to its limit, and what it throws out is not missed.

The guest's only program (programs/codegen.c) generates far more code than fits. Its checksums are the
host's own; the process does not grow; a recording made with a small cache replays with any.
"""

import os
import re

import guest
import known_program

ROUNDS = 6
SMALLEST = "4"  # MiB
# Guest RAM becomes resident by huge pages of 2 MiB, so a few of the kernel's own first writes show as several MiB;
# three rounds of translations that nothing throws out would be more than 64.
SLACK_MIB = 16
LONG_S = 400  # a busy host takes its time


def sums(text):
    return re.findall(r"round \d+: sum [0-9a-f]{8}, \d+ wrong", text)


class TranslationCache(guest.GuestTest):
    def setUp(self):
        super().setUp()
        self.source = os.path.join(guest.SOURCE, "tests", "guest", "programs", "codegen.c")
        program = guest.compile_c(["-m64" if guest.IS_64BIT else "-m32", "-O2", "-static"], [self.source],
                                  self.path("codegen"))
        with open(program, "rb") as f:
            self.initramfs = self.write("codegen.cpio", known_program.initramfs({"init": f.read()}))

    def native(self, rounds):
        found = sums(guest.run_natively(["-O2", "-static"], self.source, self.path("native"), ROUNDS=str(rounds)))
        self.assertEqual(len(found), rounds)
        self.assertTrue(all(line.endswith(", 0 wrong") for line in found), found)
        return found

    def test_the_process_does_not_grow(self):
        with guest.Guest("-tb-size", SMALLEST, initrd=self.initramfs, append=f"ROUNDS={ROUNDS}") as g:
            g.wait_for("round 2:", LONG_S)
            early = g.resident_mib()
            g.wait_for(f"round {ROUNDS - 1}:", LONG_S)
            late = g.resident_mib()
            info = {m[0]: int(m[1]) for m in re.findall(r"(?m)^([\w ]+): (\d+)", g.monitor("info jit"))}
            g.wait_for("codegen done", LONG_S)
            self.assertEqual(g.wait(), 0, g.stderr())
            self.assertEqual(sums(g.seen), self.native(ROUNDS))
        self.assertLess(late - early, SLACK_MIB, info)
        self.assertLessEqual(info["code"], int(SMALLEST) * 1024)
        self.assertLess(info["records about them"], 16 * 1024, info)
        # Each round's functions are gone before they run again.
        self.assertGreater(info["evicted"], (ROUNDS - 3) * 2 * 32768, info)
        self.assertGreaterEqual(info["made"], info["evicted"] + info["translations"])

    def test_recorded_and_replayed(self):
        done = guest.Run([*guest.boot_options(initrd=self.initramfs, append="ROUNDS=2"), "-nographic", "-icount", "shift=2",
                          "-accel", "tcg,tb-size=" + SMALLEST, "-record", "small"], cwd=self.work, seconds=LONG_S)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(sums(done.stdout), self.native(2))
        digest = self.recorded_digest(done.stderr, "small", "power-off")
        self.assert_agrees("small", digest, seconds=LONG_S)
        self.assert_agrees("small", digest, "-tb-size", SMALLEST, seconds=LONG_S)
        for size, name in ((SMALLEST, "small.txt"), ("128", "large.txt")):
            self.assert_agrees("small", digest, "-tb-size", size, "-panda", "syscalls:file=" + name, seconds=LONG_S)
        with open(self.path("small.txt"), "rb") as small, open(self.path("large.txt"), "rb") as large:
            listed = small.read()
            self.assertEqual(listed, large.read())
        self.assertGreater(listed.count(b"\n"), 5)
        # The same machine without a small cache is the same run.
        done = guest.Run([*guest.boot_options(initrd=self.initramfs, append="ROUNDS=2"), "-nographic", "-icount", "shift=2",
                          "-record", "large"], cwd=self.work, seconds=LONG_S)
        self.assertEqual(self.recorded_digest(done.stderr, "large", "power-off"), digest)


if __name__ == "__main__":
    guest.main()
