"""One recording per architecture for all plugin tests: program.c, from its first wait to its second.

ctest makes it once (fixture plugin_recording_ARCH); a test that is run by hand makes it where it is
missing. PluginTest replays it, and knows the program's symbols and calls.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))

import guest  # noqa: E402
import known_program  # noqa: E402

FOLDER = os.path.join(guest.BUILD, "tests", "guest", "plugin-recording", guest.ARCH)
PROGRAM = os.path.join(FOLDER, "program")
WORD = 8 if guest.IS_64BIT else 4
DIGITS = 2 * WORD
SOURCE_FILE = os.path.join(HERE, "program.c")
COMPILER_OPTIONS = ["-m64" if guest.IS_64BIT else "-m32", "-O1", "-g0", "-std=gnu11", "-static", "-nostdlib", "-no-pie",
                    "-fno-pie", "-fno-optimize-sibling-calls", "-fno-stack-protector", "-fcf-protection=none",
                    "-fno-asynchronous-unwind-tables", "-fno-tree-loop-distribute-patterns", "-fno-builtin",
                    "-Wl,--build-id=none", "-Wl,-z,noexecstack"]


def made_of():
    """Changes where the recording must be made anew."""
    digest = hashlib.sha256()
    for path in (SOURCE_FILE, os.path.abspath(__file__), guest.program()):
        with open(path, "rb") as f:
            digest.update(f.read())
    return digest.hexdigest()


def facts():
    try:
        with open(os.path.join(FOLDER, "facts.json"), encoding="ascii") as f:
            return json.load(f)
    except FileNotFoundError:
        return None


def make():
    """Records it, unless that is done already."""
    os.makedirs(os.path.dirname(FOLDER), exist_ok=True)
    with open(FOLDER + ".lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        known = facts()
        if known is not None and known["made_of"] == made_of():
            return
        shutil.rmtree(FOLDER, ignore_errors=True)
        os.makedirs(FOLDER)
        guest.compile_c(COMPILER_OPTIONS, [SOURCE_FILE], PROGRAM)
        image = os.path.join(FOLDER, "known.cpio")
        with open(PROGRAM, "rb") as program, open(image, "wb") as f:
            f.write(known_program.initramfs({"init": program.read()}))
        with guest.Guest(cwd=FOLDER, initrd=image, append="nokaslr", ram=guest.SMALLEST_RAM) as g:
            g.wait_for("ready\n", 4 * guest.LIMIT_S)
            g.monitor("begin_record known")
            g.send("\n")
            g.wait_for("plugh: what the kernel prints\n")
            g.wait_for("done\n")
            g.send("\n")
            g.wait_for("done\n")
            g.monitor("end_record")
            g.send("\x01x")
            g.wait()
            stderr = g.stderr()
        found = re.search(r": recorded known: (\d+) instructions .*digest ([0-9a-f]{32}), ended by end_record$", stderr, re.M)
        assert found is not None, stderr
        with open(os.path.join(FOLDER, "facts.json"), "w", encoding="ascii") as f:
            json.dump({"digest": found.group(2), "instructions": int(found.group(1)), "made_of": made_of()}, f)


class Program:
    """What the program's file says: symbols, and its instructions."""

    def __init__(self):
        table = subprocess.run(["nm", "-S", PROGRAM], check=True, capture_output=True, text=True).stdout
        self.symbols, self.sizes = {}, {}
        for line in table.splitlines():
            fields = line.split()
            self.symbols[fields[-1]] = int(fields[0], 16)
            if len(fields) == 4:
                self.sizes[fields[-1]] = int(fields[1], 16)
        listing = subprocess.run(["objdump", "-d", "--no-show-raw-insn", PROGRAM], check=True, capture_output=True,
                                 text=True).stdout
        self.instructions = [(int(m[0], 16), m[1], m[2].strip()) for m in
                             re.findall(r"^ +([0-9a-f]+):\t(\S+) *(.*)$", listing, re.M)]
        with open(PROGRAM, "rb") as f:
            self.file = f.read()

    def __getitem__(self, name):
        return self.symbols[name]

    def inside(self, name, pc):
        return self.symbols[name] <= pc < self.symbols[name] + self.sizes[name]

    def instructions_of(self, name):
        return [i for i in self.instructions if self.inside(name, i[0])]

    def returns(self, function, callee):
        """The return addresses of function's calls of callee; callee None: of its indirect calls."""
        after = {a[0]: b[0] for a, b in zip(self.instructions, self.instructions[1:])}
        is_it = (lambda text: text.startswith("*")) if callee is None else (lambda text: text.endswith(f"<{callee}>"))
        return [after[pc] for pc, name, text in self.instructions_of(function) if name.startswith("call") and is_it(text)]

    def return_address(self, function, callee):
        found = self.returns(function, callee)
        assert len(found) == 1, (function, callee, found)
        return found[0]


class PluginTest(guest.GuestTest):
    def setUp(self):
        super().setUp()
        make()
        self.facts = facts()
        self.program = Program()
        for name in os.listdir(FOLDER):
            if name.startswith("known-rr"):
                os.symlink(os.path.join(FOLDER, name), self.path(name))

    def replay(self, plugins, *options, **how):
        """Replays under -panda PLUGINS: the digest must be the recording's, and the plugins must use the API rightly."""
        done = self.assert_agrees("known", self.facts["digest"], "-panda", plugins, *options, **how)
        self.assertNotIn("panda_", done.stderr, done)
        return done

    def refused(self, plugins, *mentions):
        """The plugins are refused, in one line that mentions these."""
        self.assert_refused(guest.replay("known", "-panda", plugins, cwd=self.work), *mentions, status=1)

    def text(self, name):
        with open(self.path(name), encoding="ascii") as f:
            return f.read()

    def lines(self, name):
        return self.text(name).splitlines()

    def bytes(self, name):
        with open(self.path(name), "rb") as f:
            return f.read()

    def callers_in_level3(self):
        """The return addresses of the calls that led to copy() in level3(), innermost first; _start's call of run() was
        before the recording."""
        chain = ["copy", "level3", "level2", "level1", "work", "run"]
        return [self.program.return_address(outer, inner) for inner, outer in zip(chain, chain[1:])]


if __name__ == "__main__":
    make()
    print(facts())
