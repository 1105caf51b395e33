"""The system calls listed in a replay are those that a known program in the guest made, no more, no less.

Also the plugin of the document with a whole plugin in it, compiled as it stands: PANDA_CASE_STUDY
names the document, by default ../shared/spec/case-study-syscall-monitor.md beside the sources.
"""

import os
import re

import guest
import known_program

CASE_STUDY = os.environ.get("PANDA_CASE_STUDY") or os.path.join(
    guest.SOURCE, "..", "shared", "spec", "case-study-syscall-monitor.md")
DIGITS = 16 if guest.IS_64BIT else 8


class Syscalls(guest.GuestTest):
    def setUp(self):
        super().setUp()
        image, self.rows = known_program.make(self.work, guest.IS_64BIT)
        done = guest.Run([*guest.boot_options(initrd=image, append="vdso32=1"), "-nographic", "-icount", "shift=2",
                          "-record", "known"], cwd=self.work)
        self.assertEqual(done.status, 0, done)
        self.assertEqual(done.stdout.count("the known program ran\n"), 2 if guest.IS_64BIT else 1, done)
        self.entry = int(re.search(r"^([0-9a-f]{8})$", done.stdout, re.M).group(1), 16)
        self.digest = self.recorded_digest(done.stderr, "known", "power-off")

    def replay(self, *options):
        self.assert_agrees("known", self.digest, *options)

    def lines(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read().splitlines()

    def test_plugin_lists_exactly_these(self):
        self.replay("-panda", "syscalls:names,file=names.txt")
        listed = []
        for line in self.lines("names.txt"):
            found = re.fullmatch(rf"PC=([0-9a-f]{{{DIGITS}}}), SYSCALL=([0-9a-f]{{{DIGITS}}}) \((\w+)( \(i386\))?\)", line)
            self.assertIsNotNone(found, line)
            pc = int(found.group(1), 16)
            listed.append((None if self.entry <= pc < self.entry + 32 else pc, int(found.group(2), 16), found.group(3)))
        self.assertEqual([r[:2] for r in listed], [r[:2] for r in self.rows])
        for is_there, must in zip(listed, self.rows):
            if must[2]:
                self.assertEqual(is_there[2], must[2])
        # Without names it is the same list, in the same format, where the plugin writes by itself.
        self.replay("-panda", "syscalls")
        self.assertEqual(self.lines("syscalls.txt"), [l.partition(" (")[0] for l in self.lines("names.txt")])
        # A replay on which nothing is listed but counted, with the plugin loaded twice over, agrees as well.
        self.replay("-panda", "syscalls:file=none,summary=counts.txt")
        counts = dict(reversed(l.split(None, 1)) for l in self.lines("counts.txt"))
        self.assertEqual(counts["total"], str(len(self.rows)))
        self.assertEqual(counts["getppid (i386)" if guest.IS_64BIT else "getppid"], "300")

    def test_the_documents_plugin(self):
        if not os.path.isfile(CASE_STUDY):
            self.skipTest(f"{CASE_STUDY} is not here; set PANDA_CASE_STUDY")
        with open(CASE_STUDY, encoding="utf-8") as f:
            source = re.search(r"^```C\n(.*?)^```", f.read(), re.M | re.S).group(1)
        include = os.path.join(guest.SOURCE, "include")
        defines = ["-DTARGET_I386"] + (["-DTARGET_X86_64"] if guest.IS_64BIT else [])
        guest.compile_c(["-shared", "-fPIC", "-Wall", "-Werror", *defines, f"-I{include}", f"-I{include}/compat"],
                        [self.write("case_study.c", source)], self.path("panda_case_study.so"))
        self.replay("-panda", "syscalls:file=ours.txt;./panda_case_study.so")
        theirs = self.lines("syscalls.txt")
        ours = [l for l in self.lines("ours.txt") if self.entry <= int(l[3:3 + DIGITS], 16) < self.entry + 32]
        self.assertEqual(theirs, ours)
        self.assertEqual(len(theirs), sum(1 for r in self.rows if r[0] is None))
        self.assertGreater(len(theirs), 300)


if __name__ == "__main__":
    guest.main()
