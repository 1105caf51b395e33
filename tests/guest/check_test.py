"""Interpreter and JIT in lockstep over a whole boot, live and in replay, with every translation verified.

The boot has thousands of millions of instructions; here half a million in every 50 million are
compared. PANDA_CHECK_ALL=1 compares all, which takes ten minutes or more.
"""

import os
import re

import guest

ALL = os.environ.get("PANDA_CHECK_ALL") == "1"


class Check(guest.GuestTest):
    def checked(self, stderr, at_least):
        found = re.search(r": checked (\d+) units, (\d+) instructions, (\d+) crossings in [0-9.]+ s: (.*)$", stderr, re.M)
        self.assertIsNotNone(found, stderr)
        self.assertEqual(found.group(4), "no difference", stderr)
        self.assertGreater(int(found.group(2)), at_least, stderr)
        self.assertGreater(int(found.group(3)), 0, stderr)

    def test_boot_and_replay(self):
        first, then = ([], []) if ALL else (["--check-interval=0-500000/50000000"],
                                            ["--check-interval=25000000-25500000/100000000"])
        options = ["-nographic", "-icount", "auto", "-no-reboot", "-record", "boot", "--verify"]
        booted = guest.Run([*guest.boot_options(append=guest.shell_command("poweroff -f")), *options, "--backend=check",
                            *first], cwd=self.work, seconds=7200)
        self.assertEqual(booted.status, 0, booted)
        self.assertIn("is up", booted.stdout)
        self.checked(booted.stderr, 20_000_000)
        digest = self.recorded_digest(booted.stderr, "boot", "power-off")
        self.assert_agrees("boot", digest)
        self.checked(self.assert_agrees("boot", digest, "--backend=check", *then, seconds=7200).stderr, 10_000_000)

    def test_refused(self):
        kernel = ["-kernel", guest.guest_file("vmlinuz")]
        self.assert_refused(guest.Run([*kernel, "--backend=check", "-panda", "syscalls"]), "check", "plugins")
        self.assert_refused(guest.Run([*kernel, "-check-interval", "1-2"]), "-check-interval", "--backend=check")
        for text in ("", "1", "2-1", "1-1", "1-x", "0-10/5", "0-10/5/6", "-5"):
            self.assert_refused(guest.Run([*kernel, "--backend=check", "-check-interval=" + text]), "-check-interval", "FROM-TO")


if __name__ == "__main__":
    guest.main()
