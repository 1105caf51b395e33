#!/usr/bin/env python3
"""Runs the instruction tests of a build directory and prints docs/fidelity.md: what they covered."""

import collections
import os
import re
import subprocess
import sys
import tempfile

INPUTS = os.environ.get("PANDA_INSN_INPUTS", "16")
PROGRAMS = ("insn_test", "unicorn_test", "fault_test", "prefix_test", "vex_test", "sequence_test", "x87_test", "flow_test")
EXACT = ("host", "unicorn")  # each form by itself, on inputs made for it
RANDOM = ("prefixes", "sequences", "flow")


def run(build, lines):
    """The lines that the test programs wrote; their exit status must be good."""
    for program in PROGRAMS:
        print(f"{program} ...", file=sys.stderr, flush=True)
        done = subprocess.run([os.path.join(build, "bin", program), "--gtest_brief=1"], stdout=sys.stderr, check=False,
                              env={**os.environ, "PANDA_INSN_INPUTS": INPUTS, "PANDA_FIDELITY": lines})
        if done.returncode != 0:
            sys.exit(f"{program} failed: nothing is written")
    with open(lines, encoding="ascii") as f:
        return [line.rstrip("\n").split("\t") for line in f]


def table(head, rows, left=1):
    print("| " + " | ".join(head) + " |")
    print("|---" * left + "|" + "---:|" * (len(head) - left))
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    print()


class Records:
    """What the lines say. A form is known by its mode and name."""

    def __init__(self, lines):
        self.known = {}  # form -> (extension, mnemonic)
        self.tested = collections.defaultdict(lambda: collections.defaultdict(int))  # oracle -> form -> cases
        self.mnemonics = collections.defaultdict(set)  # extension -> mnemonics
        self.chapters = {}
        self.reasons = {}
        self.totals = collections.defaultdict(int)  # (test, mode, what) -> count
        for kind, *fields in lines:
            if kind == "known":
                mode, extension, mnemonic, form = fields
                self.known[mode, form] = extension, mnemonic
            elif kind == "mnemonic":
                chapter, extension, mnemonic, reason = fields
                self.mnemonics[extension].add(mnemonic)
                self.chapters[mnemonic] = chapter
                if reason:
                    self.reasons[mnemonic] = reason
            elif kind == "total":
                test, mode, what, count = fields
                self.totals[test, mode, what] += int(count)
            else:
                oracle, mode, _, _, form, cases, _ = fields
                self.tested[oracle][mode, form] += int(cases)
        self.faults = sorted(o for o in self.tested if o.startswith("fault "))
        self.covered = {k for k in self.known if any(self.tested[o].get(k) for o in EXACT)}

    def forms(self, oracles, among=None):
        return {k for k in (self.known if among is None else among) if any(self.tested[o].get(k) for o in oracles)}

    def cases(self, oracles, among=None):
        return sum(n for o in oracles for k, n in self.tested[o].items() if among is None or k in among)


def by_extension(r):
    rows = []
    for extension in sorted(r.mnemonics, key=lambda e: (e != "base", e)):
        forms = {k for k, v in r.known.items() if v[0] == extension}
        rows.append((extension, len(r.mnemonics[extension]), len(forms), len(r.forms(["host"], forms)),
                     len(r.forms(["unicorn"], forms)), len(r.forms(r.faults, forms)), len(r.forms(["prefixes"], forms)),
                     len(r.forms(["sequences"], forms)), len(r.forms(["flow"], forms)), len(forms - r.covered),
                     r.cases([*EXACT, *r.faults, "prefixes"], forms)))
    table(("extension", "mnemonics", "forms", "host", "Unicorn", "faults", "prefixes", "sequences", "flow", "not tested",
           "cases"), rows)


def untested(r):
    groups = collections.defaultdict(list)
    tested_mnemonics = {r.known[k][1] for k in r.covered}
    for mnemonic in sorted(r.chapters):
        if mnemonic in tested_mnemonics:
            continue
        reason = r.reasons.get(mnemonic) or ("system instruction" if r.chapters[mnemonic] == "system"
                                             else "no form that the tests can encode")
        groups[reason].append(mnemonic)
    for reason in sorted(groups):
        print(f"- {reason}: {', '.join(groups[reason])}")
    print("\n## Forms not tested, of mnemonics that are\n")
    left = sorted({f"{form} ({mode})" for (mode, form), (_, mnemonic) in r.known.items()
                   if (mode, form) not in r.covered and mnemonic in tested_mnemonics})
    print("\n".join(f"- {text}" for text in left) if left else "None.")
    print("\n## Forms with a memory operand that no fault test reached, of mnemonics that are tested\n")
    left = collections.defaultdict(set)
    for mode, form in r.covered - r.forms(r.faults):
        if re.search(r"\bm(\d+|any)\b|\bvm[xy]\b", form):
            left[r.known[mode, form][1]].add(f"{form} ({mode})")
    for mnemonic in sorted(left):
        print(f"- {'; '.join(sorted(left[mnemonic]))}")
    if not left:
        print("None.")


def main(build):
    with tempfile.TemporaryDirectory() as work:
        r = Records(run(build, os.path.join(work, "lines")))
    both = r.cases([*EXACT, *r.faults, "prefixes"])
    print("# Fidelity\n")
    print("What the instruction tests cover, made by `make fidelity`. A form is a mnemonic with the kinds and sizes of its")
    print("operands and its prefixes; a case is one input on one engine (interpreter, JIT, JIT for an old host, JIT inside a")
    print(f"region), compared in registers, flags, x87, SSE and memory. {INPUTS} inputs a form, 64 where it reads flags;")
    print("`PANDA_INSN_INPUTS` sets how many.\n")
    print(f"{len(r.known)} forms in 64-bit and 32-bit code, {len(r.covered)} of them tested by themselves; {both} cases: "
          f"{r.cases(['host'])} against the")
    print(f"host's CPU, {r.cases(['unicorn'])} against Unicorn (which takes the forms in 16-bit code too: "
          f"{sum(1 for (mode, _), n in r.tested['unicorn'].items() if mode == '16' and n)}), {r.cases(r.faults)} faults,")
    print(f"{r.cases(['prefixes'])} with further prefixes, redundant and meaningless ones among them.\n")
    print("*faults*: forms whose memory operands have faulted. *prefixes*, *sequences*, *flow*: forms that were behind random")
    print("prefixes, in random sequences, and in random programs with branches, loops and calls.\n")
    by_extension(r)
    print("## Faults at memory operands\n")
    table(("kind", "forms, 64-bit", "forms, 32-bit", "cases"),
          [(o[len("fault "):].replace("_", " "), *(sum(1 for m, _ in r.tested[o] if m == mode) for mode in ("64", "32")),
            r.cases([o])) for o in r.faults])
    print("## Random code\n")
    table(("test", "mode", "what", "how many"), [(*k, n) for k, n in sorted(r.totals.items())], left=3)
    print("## Mnemonics not tested this way\n")
    print("Some are covered elsewhere, as their reason says; system instructions by guest programs (`tests/x86/guest`).\n")
    untested(r)


if __name__ == "__main__":
    main(sys.argv[1])
